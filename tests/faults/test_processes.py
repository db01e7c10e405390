"""Tests of processes killed at random moments during many uploads."""

import random

import psutil
import pytest

from tests.faults.audit import COMPLETED, CUT_OFF, Expectation, audit
from tests.faults.faulty_system import faulty_system
from tests.faults.http_faults import delayed
from tests.faults.killer import TARGETS, Killer
from tests.support.local_system import wait_until

UPLOADS = 24
CLIENTS = 4
SEED = 20

# A job fails if its function is killed at all three attempts, which may happen at random.
COMPLETED_OR_CUT_OFF = Expectation(COMPLETED | CUT_OFF, COMPLETED | CUT_OFF)


@pytest.fixture(scope="module")
def system(tmp_path_factory, database_url_of_module):
    with faulty_system(
        tmp_path_factory.mktemp("processes"),
        DATABASE_URL=database_url_of_module,
        # While one is killed, the other one serves.
        LOCAL_WEB_PROCESSES="2",
    ) as system:
        yield system


def test_no_acknowledged_upload_is_lost_when_processes_are_killed(system):
    rng = random.Random(SEED)
    targets = rng.sample(sorted(TARGETS), len(TARGETS))
    numbers = system.new_numbers(UPLOADS)

    with Killer(system, targets, rng, seconds_between=(0.3, 1.5)):
        system.send_all_until_accepted(numbers, concurrency=CLIENTS)

    found = audit(system, otherwise=COMPLETED_OR_CUT_OFF)
    assert found.problems == []
    assert found.acknowledged == UPLOADS


def test_a_function_killed_during_a_call_causes_one_more_call(system):
    (number,) = system.new_numbers(1)
    system.gemini.faults[number].append(delayed(30))
    system.send_until_accepted(number)
    # The call is recorded before its process is looked up.
    wait_until(lambda: any(call.pid for call in system.gemini.calls_of(number)), seconds=60)

    (call,) = system.gemini.calls_of(number)
    system.kill(psutil.Process(call.pid))

    assert system.result(number)["status"] == "completed"
    assert len(system.gemini.calls_of(number)) == 2
    assert audit(system, numbers=[number]).problems == []
