"""Run functions in the runtime client of Lambda and retry failures as Lambda does."""

import io
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import psutil
import pytest

from local_cloud import processes
from local_cloud.console import Console
from local_cloud.event_queue import Delivery
from local_cloud.function_host import (
    FunctionHost,
    ProcessStarter,
    QueueReader,
    RetryPolicy,
    Scheduler,
    invoke_once,
)
from local_cloud.function_process import FunctionProcess, InitError, runtime_client
from local_cloud.logs import Log
from local_cloud.runtime_api import Failure
from local_cloud.template import Function, Schedule
from tests.support.local_system import wait_until
from tests.support.programs import is_running
from tests.support.time_limits import scaled

pytestmark = pytest.mark.slow

HANDLERS = """
import json, os, signal, time

def complete(event, context):
    print(json.dumps({"message": "a log line"}))
    return {"outcome": "completed", "image_id": 1, "error": None, "text": event["text"]}

def describe_invocation(event, context):
    return {
        "request_id": context.aws_request_id,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "arn": context.invoked_function_arn,
        "name": context.function_name,
        "memory": context.memory_limit_in_mb,
        "group": context.log_group_name,
        "trace": os.environ["_X_AMZN_TRACE_ID"],
        "secret": os.environ.get("A_SECRET_OF_THE_SHELL"),
    }

def fail(event, context):
    raise ValueError("not today")

def complete_later(event, context):
    time.sleep(event["seconds"])
    return {"outcome": "completed"}

def hang(event, context):
    time.sleep(60)

def die(event, context):
    os.kill(os.getpid(), signal.SIGKILL)

def hoard(event, context):
    hoarded = []
    while True:
        hoarded.append(bytearray(os.urandom(1024)) * 5000)
        time.sleep(0.01)

def die_once(event, context):
    if not os.path.exists(event["died"]):
        open(event["died"], "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"outcome": "completed"}

def fail_permanently(event, context):
    error = {"code": "not_an_image", "message": "This is not an image."}
    return {"outcome": "failed", "error": error}

def postpone(event, context):
    error = {"code": "model_busy", "message": event["reason"]}
    return {"outcome": "postponed", "error": error}

def skip(event, context):
    return {"outcome": "skipped"}

def record(event, context):
    with open(os.path.join(os.path.dirname(__file__), "seen"), "a") as seen:
        print(json.dumps(event), file=seen)
"""


CLIENTS = ["awslambdaric", "local_cloud.runtime_client"]


@pytest.fixture(params=CLIENTS)
def make_process(tmp_path, request):
    (tmp_path / "toys.py").write_text(HANDLERS)
    (tmp_path / "broken.py").write_text("import a_module_that_is_not_there\n")
    (tmp_path / "faulty.py").write_text("def inner():\n    raise RuntimeError('no')\n\ninner()\n")
    made = []

    def make(handler: str, timeout_seconds: int = 10, memory_megabytes: int = 128):
        function = Function(
            "ToyFunction", handler, timeout_seconds, memory_megabytes, {}, frozenset()
        )
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
        log = Log(tmp_path / "toy.log")
        made.append(FunctionProcess(function, environment, log, request.param))
        return made[-1]

    yield make
    for process in made:
        process.stop()


def test_a_function_returns_results_and_its_output_goes_to_its_log_file(make_process, tmp_path):
    process = make_process("toys.complete")
    process.start()

    outcomes = [process.invoke("1", {"text": "ä"}), process.invoke("2", {"text": "b"})]

    assert [outcome.response["text"] for outcome in outcomes] == ["ä", "b"]
    assert (tmp_path / "toy.log").read_text() == '{"message": "a log line"}\n' * 2


def test_a_function_receives_the_context_of_lambda_and_no_variables_of_the_shell(
    make_process, monkeypatch
):
    monkeypatch.setenv("A_SECRET_OF_THE_SHELL", "secret")
    process = make_process("toys.describe_invocation")

    response = invoke_once(process, {}).response

    assert 9_000 < response["remaining_ms"] <= 10_000
    assert response["arn"] == "arn:aws:lambda:us-east-1:123456789012:function:toy"
    assert (response["name"], response["memory"]) == ("toy", "128")
    assert response["group"] == "/aws/lambda/toy"
    assert re.fullmatch(r"Root=1-\w{8}-\w{24};Parent=\w{16};Sampled=0", response["trace"])
    assert response["secret"] is None


def test_the_process_survives_an_exception_of_the_handler(make_process):
    process = make_process("toys.fail")
    process.start()
    pid = process.pid

    outcome = process.invoke("1", {})

    assert outcome == Failure("ValueError", "not today", was_killed=False)
    assert process.is_running
    assert process.pid == pid


def test_a_function_is_killed_at_its_timeout(make_process):
    process = make_process("toys.hang", timeout_seconds=1)
    process.start()

    outcome = process.invoke("1", {})

    assert outcome == Failure("Sandbox.Timedout", "Task timed out after 1.00 seconds", True)
    assert not process.is_running


def test_a_function_over_its_memory_limit_is_killed(make_process):
    process = make_process("toys.hoard")
    process.start()

    outcome = process.invoke("1", {})

    assert outcome.error_type == "Runtime.OutOfMemory"
    assert re.fullmatch(r"used \d+ MB of the 128 MB allowed", outcome.error_message)
    assert not process.is_running


def test_a_dead_process_is_reported_and_can_be_restarted(make_process):
    process = make_process("toys.die")
    process.start()

    outcome = process.invoke("1", {})
    process.start()

    assert outcome.error_type == "Runtime.ExitError"
    assert outcome.error_message == "the function's process was killed by SIGKILL"
    assert outcome.was_killed
    assert process.is_running


def test_a_failed_import_reports_the_reason(make_process):
    with pytest.raises(InitError, match="No module named 'a_module_that_is_not_there'"):
        make_process("broken.handler").start()


def test_an_exception_at_import_reports_the_traceback(make_process):
    with pytest.raises(InitError, match=r"(?s)RuntimeError: no.*faulty\.py.*line 2, in inner"):
        make_process("faulty.handler").start()


def test_our_runtime_client_is_used_only_where_lambdas_own_is_missing(monkeypatch):
    assert runtime_client() == CLIENTS[0]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert runtime_client() == CLIENTS[1]


@dataclass
class FakeQueue:
    """A queue that redelivers events at once and records the requested delay."""

    waiting: queue.Queue = field(default_factory=queue.Queue)
    delays: list[int] = field(default_factory=list)
    deleted: threading.Event = field(default_factory=threading.Event)
    records: list[dict] = field(default_factory=list)

    def send(self, event: dict, attempt: int = 1) -> None:
        detail = {"object": {"key": "originals/0123456789abcdef.jpg"}}
        self.waiting.put(Delivery("id", {"detail": detail, **event}, attempt, "receipt"))

    def receive(self, *, must_wait: bool = True) -> Delivery | None:
        try:
            return self.waiting.get(timeout=0.05 if must_wait else 0)
        except queue.Empty:
            return None

    def delete(self, delivery: Delivery) -> None:
        self.deleted.set()

    def redeliver(self, delivery: Delivery, delay_seconds: int) -> None:
        self.delays.append(delay_seconds)
        again = Delivery(delivery.request_id, delivery.event, delivery.attempt + 1, "receipt")
        self.waiting.put(again)

    def move_to_failed(self, delivery: Delivery, record: dict) -> None:
        self.records.append(record)
        self.deleted.set()


@pytest.fixture
def host():
    printed = io.StringIO()
    host = FunctionHost(Console(printed))
    host.printed = printed
    yield host
    host.stop(grace_seconds=1)


def run_reader(host, process, event, seconds=30):
    """Process one event until the queue deletes it, and return the queue."""
    console = Console(host.printed)
    fake_queue = FakeQueue()
    reader = QueueReader(
        process, fake_queue, RetryPolicy(3, 5), ProcessStarter("toy", console), console
    )
    fake_queue.send(event)
    host.start(reader)
    assert fake_queue.deleted.wait(scaled(seconds)), host.printed.getvalue()
    return fake_queue


def test_a_completed_event_prints_one_line(host, make_process):
    run_reader(host, make_process("toys.complete"), {"text": "hello"})

    line = r"\d\d:\d\d:\d\d  toy         originals/01234567….jpg  completed  0\.\d\d s\n"
    assert re.fullmatch(line, host.printed.getvalue())


def test_a_failure_recorded_by_the_function_is_printed_with_its_reason(host, make_process):
    run_reader(host, make_process("toys.fail_permanently"), {})

    assert host.printed.getvalue().endswith("failed: This is not an image.\n")


def test_jobs_that_are_postponed_for_the_same_reason_print_one_line(host, make_process):
    console = Console(host.printed)
    fake_queue = FakeQueue()
    process = make_process("toys.postpone")
    starter = ProcessStarter("toy", console)
    reader = QueueReader(process, fake_queue, RetryPolicy(3, 5), starter, console)
    for reason in ("Wait until 14:05.", "Wait until 14:05.", "Wait until 14:06."):
        fake_queue.send({"reason": reason})
    host.start(reader)

    wait_until(lambda: "14:06" in host.printed.getvalue(), seconds=8)

    assert [line[10:] for line in host.printed.getvalue().splitlines()] == [
        "toy         postponed: Wait until 14:05.",
        "toy         postponed: Wait until 14:06.",
    ]


def test_a_skipped_event_prints_nothing(host, make_process):
    run_reader(host, make_process("toys.skip"), {})

    assert host.printed.getvalue() == ""


def test_a_failing_event_is_attempted_three_times_with_increasing_delays(host, make_process):
    fake_queue = run_reader(host, make_process("toys.fail"), {})

    assert fake_queue.delays == [5, 10]
    printed = host.printed.getvalue()
    assert "retry in 5 s: ValueError: not today" in printed
    assert "failed after 3 attempts: ValueError: not today" in printed
    [record] = fake_queue.records
    assert record["requestPayload"]["detail"]["object"]["key"] == "originals/0123456789abcdef.jpg"
    assert record["requestContext"]["functionArn"].endswith(":function:ToyFunction:$LATEST")
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responsePayload"] == {"errorType": "ValueError", "errorMessage": "not today"}


def test_another_process_starts_only_when_an_event_waits_and_all_others_are_busy(
    host, make_process
):
    console = Console(host.printed)
    starter = ProcessStarter("toy", console)
    fake_queue = FakeQueue()
    first, spare = (make_process("toys.complete_later") for _ in range(2))
    policy = RetryPolicy(3, 5)
    host.start(QueueReader(first, fake_queue, policy, starter, console))
    host.start(QueueReader(spare, fake_queue, policy, starter, console, helped=(first,)))

    for _ in range(3):  # One after the other.
        fake_queue.deleted.clear()
        fake_queue.send({"seconds": 0})
        assert fake_queue.deleted.wait(scaled(30))
    assert first.is_running
    assert not spare.is_running
    for _ in range(2):  # At the same time.
        fake_queue.send({"seconds": scaled(8)})
    wait_until(lambda: first.is_busy and spare.is_busy, seconds=8)


def test_no_more_processes_start_at_once_than_there_are_processors():
    starting = []
    most = []

    class SlowProcess:
        is_running = False
        pid = None

        def start(self):
            starting.append(self)
            most.append(len(starting))
            time.sleep(0.05)
            starting.remove(self)

    processors = os.cpu_count()
    starter = ProcessStarter("toy", Console(io.StringIO()))
    threads = [
        threading.Thread(target=starter.keep_ready, args=(SlowProcess(), threading.Event()))
        for _ in range(2 * processors + 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert max(most) <= processors
    assert len(most) == len(threads)


def test_an_event_over_the_attempt_limit_fails_without_another_attempt(host, make_process):
    console = Console(host.printed)
    fake_queue = FakeQueue()
    fake_queue.send({}, attempt=4)
    process = make_process("toys.complete")

    host.start(
        QueueReader(process, fake_queue, RetryPolicy(3, 5), ProcessStarter("toy", console), console)
    )

    assert fake_queue.deleted.wait(scaled(30)), host.printed.getvalue()
    [record] = fake_queue.records
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert "completed" not in host.printed.getvalue()


@pytest.mark.parametrize("detail", [None, {}, {"object": None}, {"object": {"key": ["k"]}}])
def test_an_event_without_a_key_is_attempted_and_fails(host, make_process, detail):
    fake_queue = run_reader(host, make_process("toys.fail"), {"detail": detail})

    assert fake_queue.delays == [5, 10]
    assert "failed after 3 attempts: ValueError: not today" in host.printed.getvalue()


def test_a_retry_after_a_crash_waits_until_the_claim_has_expired(host, make_process, tmp_path):
    process = make_process("toys.die_once", timeout_seconds=20)

    started_at = time.monotonic()
    fake_queue = run_reader(host, process, {"died": str(tmp_path / "died")})
    ran_seconds = time.monotonic() - started_at

    [delay] = fake_queue.delays
    assert 20 + 5 - ran_seconds < delay <= 20 + 7
    assert "completed" in host.printed.getvalue()


def test_a_process_that_ends_while_idle_is_restarted(host, make_process):
    process = make_process("toys.complete")
    fake_queue = run_reader(host, process, {"text": "first"})

    first_pid = process.pid
    os.kill(first_pid, signal.SIGKILL)
    wait_until(lambda: process.pid != first_pid, seconds=30)
    fake_queue.deleted.clear()
    fake_queue.send({"text": "second"})

    assert fake_queue.deleted.wait(scaled(30))
    assert "ended while idle" in host.printed.getvalue()


def test_a_broken_handler_is_reported_once_and_retried_with_delays(host, make_process):
    process = make_process("broken.handler")
    console = Console(host.printed)
    starts = []
    start = process.start
    process.start = lambda: (starts.append(time.monotonic()), start())
    host.start(
        QueueReader(
            process, FakeQueue(), RetryPolicy(3, 5), ProcessStarter("toy", console), console
        )
    )

    wait_until(lambda: len(starts) >= 3, seconds=30)

    assert host.printed.getvalue().count("cannot start") == 1
    assert starts[1] - starts[0] >= 1
    assert starts[2] - starts[1] >= 2


def test_a_program_and_its_child_processes_end_when_the_supervisor_is_killed(tmp_path):
    program = "import subprocess; subprocess.run(['sleep', '60'])"
    supervisor = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from local_cloud import processes\n"
        "from local_cloud.logs import Log\n"
        "processes.spawn(['-c', sys.argv[1]], os.environ, Log(Path(sys.argv[2])))\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", supervisor, program, str(tmp_path / "log")]
    with subprocess.Popen(command, cwd=processes.PROJECT) as running:
        family = []
        while not any(process.name() == "sleep" for process in family):
            time.sleep(0.05)
            family = psutil.Process(running.pid).children(recursive=True)
        running.kill()

    _gone, alive = psutil.wait_procs(family, timeout=scaled(30))
    assert [process for process in alive if is_running(process)] == []


@pytest.fixture
def start_scheduler(host, make_process, tmp_path):
    """Start a scheduler; return it and a function that returns the received `idle_seconds`."""
    seen = tmp_path / "seen"
    seen.touch()

    def start(*, every_seconds, longest_claim_seconds, after_seconds=0):
        console = Console(host.printed)
        process = make_process("toys.record")
        process.start()  # On a busy machine, this takes longer than the intervals of these tests.
        scheduler = Scheduler(
            process,
            Schedule("Sweep", every_seconds=every_seconds, function_id="toy"),
            longest_claim_seconds,
            ProcessStarter("toy", console),
            console,
            queues_lost_at=time.monotonic(),
        )
        host.start(scheduler, after_seconds=after_seconds)
        return scheduler, lambda: [
            json.loads(line).get("idle_seconds") for line in seen.read_text().splitlines()
        ]

    return start


def test_a_scheduled_event_tells_for_some_time_how_long_ago_the_queues_lost_events(start_scheduler):
    scheduler, received = start_scheduler(every_seconds=1, longest_claim_seconds=2)

    wait_until(lambda: received()[-1:] == [None], seconds=10)
    idle_seconds = [seconds for seconds in received() if seconds is not None]
    assert idle_seconds[0] == 0
    # Jobs that began later than the loss have their events.
    assert idle_seconds == sorted(set(idle_seconds))
    assert idle_seconds[-1] <= 3
    scheduler.record_queue_loss()
    wait_until(lambda: received()[-1:] == [0], seconds=5)


def test_the_first_run_waits_for_other_programs_that_start(start_scheduler):
    _scheduler, received = start_scheduler(
        every_seconds=600, longest_claim_seconds=600, after_seconds=2
    )

    wait_until(received, seconds=20)
    assert received()[0] >= 2


def test_a_scheduler_runs_early_when_the_claims_of_the_previous_run_expire(
    start_scheduler,
):
    _scheduler, received = start_scheduler(every_seconds=600, longest_claim_seconds=2)

    wait_until(lambda: len(received()) == 2, seconds=20)
    assert received()[0] == 0
    assert received()[1] >= 2


@pytest.mark.parametrize("error_type", ["DatabaseUnavailableError", "DatabaseBusyError"])
def test_a_retry_waits_for_the_end_of_a_claim_that_the_database_could_not_release(error_type):
    policy = RetryPolicy(3, 5)

    delays = [
        policy.delay_seconds(1, Failure(name, "x"), ran_seconds=2, timeout_seconds=30)
        for name in (error_type, "TransientError")
    ]

    assert delays == [35, 5]
