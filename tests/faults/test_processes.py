"""Processes killed at random moments, while many people upload at once."""

import random

import psutil
import pytest

from tests.faults.audit import COMPLETED, CUT_OFF, Expectation, audit
from tests.faults.http_faults import late
from tests.faults.killer import VICTIMS, Killer
from tests.faults.rough_system import rough_system
from tests.support.local_system import wait_until

UPLOADS = 40
SEED = 20

# Three deaths at one image are what the settings call enough; with luck there are none.
COMPLETED_OR_CUT_OFF = Expectation(COMPLETED | CUT_OFF, COMPLETED | CUT_OFF)


@pytest.fixture(scope="module")
def system(tmp_path_factory, database_url_of_module):
    with rough_system(
        tmp_path_factory.mktemp("processes"), DATABASE_URL=database_url_of_module
    ) as system:
        yield system


def test_nothing_acknowledged_is_lost_whoever_is_killed(system):
    chance = random.Random(SEED)
    victims = chance.sample(sorted(VICTIMS), len(VICTIMS))
    numbers = system.new_numbers(UPLOADS)

    with Killer(system, victims, chance, seconds_between=(0.3, 1.5)):
        system.send_all_until_taken(numbers)

    found = audit(system, otherwise=COMPLETED_OR_CUT_OFF)
    assert found.problems == []
    assert found.acknowledged == UPLOADS


def test_a_function_killed_in_the_middle_of_a_call_costs_exactly_that_call(system):
    (number,) = system.new_numbers(1)
    system.gemini.faults[number].append(late(30))
    system.send_until_taken(number)
    # A call is noted first, and only then is it looked up who makes it.
    wait_until(lambda: any(call.pid for call in system.gemini.calls_of(number)), seconds=30)

    (call,) = system.gemini.calls_of(number)
    system.kill(psutil.Process(call.pid))

    assert system.result(number)["status"] == "completed"
    assert len(system.gemini.calls_of(number)) == 2
    assert audit(system, numbers=[number]).problems == []
