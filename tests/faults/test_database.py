"""The database going away, coming back, changing its mind and its password, under uploads."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.faults.audit import audit
from tests.faults.database_faults import breakable_database, system_on
from tests.faults.http_faults import late

UPLOADS = 6


@pytest.fixture(scope="module")
def database(mysql_of_module):
    with breakable_database(mysql_of_module) as database:
        yield database


@pytest.fixture(scope="module")
def system(database, tmp_path_factory):
    with system_on(database, tmp_path_factory.mktemp("database")) as system:
        yield system


@pytest.fixture
def uploads_go_on(system):
    """Uploads images as people do, again and again until they are taken, while a fault runs."""

    def run(fault):
        numbers = system.new_numbers(UPLOADS)
        # One upload is under way when the fault comes, the others come while it is there.
        system.s3.faults[numbers[0], "PUT original"].append(late(1))
        with ThreadPoolExecutor(UPLOADS) as people:
            first = people.submit(system.send_until_taken, numbers[0])
            broken = people.submit(fault)
            others = [people.submit(system.send_until_taken, n) for n in numbers[1:]]
            for done in (first, broken, *others):
                done.result()
        return numbers

    return run


def assert_whole(system, numbers):
    found = audit(system, numbers=numbers)
    assert found.problems == []
    assert found.acknowledged == len(numbers)


@pytest.mark.parametrize("fault", ["freeze", "restart"])
def test_ten_seconds_without_an_answer_lose_nothing(system, database, uploads_go_on, fault):
    numbers = uploads_go_on(lambda: getattr(database, fault)(10))

    assert_whole(system, numbers)


def test_a_server_that_is_killed_has_kept_what_was_acknowledged(system, database, uploads_go_on):
    numbers = uploads_go_on(lambda: database.crash(1))

    assert_whole(system, numbers)


def test_connections_killed_in_the_middle_of_transactions_lose_nothing(
    system, database, uploads_go_on
):
    killed = []

    numbers = uploads_go_on(lambda: killed.append(database.kill_connections(3)))

    assert killed[0] > 0
    assert_whole(system, numbers)


def test_a_deadlock_costs_one_more_attempt_and_nothing_else(system, database):
    number = system.new_number()
    system.s3.faults[number, "PUT original"].append(late(2))
    with ThreadPoolExecutor(1) as person:
        sent = person.submit(system.send, number)
        was_victim = database.deadlock(system, number)
        sent.result()

    assert was_victim
    assert_whole(system, [number])


def test_a_rotated_password_is_followed(system, database, uploads_go_on):
    numbers = uploads_go_on(lambda: database.rotate_password(1))

    assert_whole(system, numbers)


def test_a_full_disk_refuses_uploads_and_loses_none(system, database, uploads_go_on):
    numbers = uploads_go_on(lambda: database.fill_disk(4))

    assert set(system.rejected.values()) <= {"database_unavailable"}
    assert_whole(system, numbers)


def test_a_database_that_only_reads_after_a_failover_loses_nothing(system, database, uploads_go_on):
    numbers = uploads_go_on(lambda: database.refuse_writes(4))

    assert set(system.rejected.values()) <= {"database_unavailable"}
    assert_whole(system, numbers)


def test_readiness_names_the_database_while_it_is_away_and_liveness_stays(system, database):
    seen = {}

    def look():
        for path in ("/health", "/health/ready"):
            seen[path] = requests.get(system.url + path, timeout=30)

    database.server.stop()
    try:
        look()
    finally:
        database.server.start()

    assert seen["/health"].status_code == 200
    assert seen["/health/ready"].status_code == 503
    assert seen["/health/ready"].json()["dependencies"]["database"] == "unavailable"


def test_everything_adds_up_after_all_of_it(system):
    found = audit(system)

    assert found.problems == []
