"""Tests of each fault of the database during uploads."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.faults.audit import audit
from tests.faults.database_faults import faulty_database, system_with_database
from tests.faults.http_faults import delayed
from tests.support.time_limits import scaled

UPLOADS = 4


@pytest.fixture(scope="module")
def database(mysql_of_module):
    with faulty_database(mysql_of_module) as database:
        yield database


@pytest.fixture(scope="module")
def system(database, tmp_path_factory):
    with system_with_database(database, tmp_path_factory.mktemp("database")) as system:
        yield system


@pytest.fixture
def upload_during(system):
    """Return a function that uploads images during a fault and returns their numbers."""

    def run(fault):
        numbers = system.new_numbers(UPLOADS)
        # One upload is under way when the fault begins, and the others begin during the fault.
        system.s3.faults[numbers[0], "PUT original"].append(delayed(1))
        with ThreadPoolExecutor(UPLOADS) as clients:
            first = clients.submit(system.send_until_accepted, numbers[0])
            running_fault = clients.submit(fault)
            others = [clients.submit(system.send_until_accepted, n) for n in numbers[1:]]
            for future in (first, running_fault, *others):
                future.result()
        return numbers

    return run


def assert_consistent(system, numbers):
    found = audit(system, numbers=numbers)
    assert found.problems == []
    assert found.acknowledged == len(numbers)


def test_a_database_that_is_frozen_for_ten_seconds_loses_no_upload(system, database, upload_during):
    numbers = upload_during(lambda: database.freeze(10))

    assert_consistent(system, numbers)


def test_without_the_database_for_ten_seconds_no_upload_is_lost_and_only_readiness_fails(
    system, database, upload_during
):
    answers = []

    def stop_and_ask():
        database.server.stop()
        try:
            started_at = time.monotonic()
            for path in ("/health", "/health/ready"):
                answers.append(requests.get(system.url + path, timeout=scaled(30)))
            time.sleep(max(0, started_at + 10 - time.monotonic()))
        finally:
            database.server.start()

    numbers = upload_during(stop_and_ask)

    live, ready = answers
    assert live.status_code == 200
    assert ready.status_code == 503
    assert ready.json()["dependencies"]["database"] == "unavailable"
    assert_consistent(system, numbers)


def test_a_killed_server_keeps_every_acknowledged_upload(system, database, upload_during):
    numbers = upload_during(lambda: database.crash(1))

    assert_consistent(system, numbers)


def test_connections_killed_during_transactions_lose_no_upload(system, database, upload_during):
    killed = []

    numbers = upload_during(lambda: killed.append(database.kill_connections(3)))

    assert killed[0] > 0
    assert_consistent(system, numbers)


def test_a_deadlock_loses_no_upload(system, database):
    number = system.new_number()

    was_function_rolled_back = database.deadlock(system, number)

    assert was_function_rolled_back
    assert_consistent(system, [number])


def test_a_rotated_password_loses_no_upload(system, database, upload_during):
    numbers = upload_during(lambda: database.rotate_password(1))

    assert_consistent(system, numbers)


def test_a_full_disk_rejects_uploads_but_loses_none(system, database, upload_during):
    numbers = upload_during(lambda: database.fill_disk(4))

    assert set(system.rejected.values()) <= {"database_unavailable"}
    assert_consistent(system, numbers)


def test_a_read_only_database_after_a_failover_loses_no_upload(system, database, upload_during):
    numbers = upload_during(lambda: database.refuse_writes(4))

    assert set(system.rejected.values()) <= {"database_unavailable"}
    assert_consistent(system, numbers)


def test_the_whole_system_is_consistent_after_all_faults(system):
    found = audit(system)

    assert found.problems == []
