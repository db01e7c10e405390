"""Functions in AWS's own runtime client, fed from queues: what Lambda promises about failures."""

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
    Clock,
    FunctionHost,
    QueueReader,
    RetryPolicy,
    Starter,
    invoke_once,
)
from local_cloud.function_process import Failure, FunctionProcess, InitError
from local_cloud.logs import Log
from local_cloud.template import Function, Schedule
from tests.support.local_system import wait_until

HANDLERS = """
import json, os, signal, time

def answer(event, context):
    print(json.dumps({"message": "a log line"}))
    return {"outcome": "completed", "image_id": 1, "error": None, "said": event["say"]}

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

def refuse(event, context):
    raise ValueError("not today")

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

def fail_for_good(event, context):
    error = {"code": "not_an_image", "message": "This is not an image."}
    return {"outcome": "failed", "error": error}

def skip(event, context):
    return {"outcome": "skipped"}

def note(event, context):
    with open(os.path.join(os.path.dirname(__file__), "seen"), "a") as seen:
        print(json.dumps(event), file=seen)
"""


@pytest.fixture
def make_process(tmp_path):
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
        made.append(FunctionProcess(function, environment, "us-east-1", log))
        return made[-1]

    yield make
    for process in made:
        process.stop()


def test_a_function_answers_and_its_log_lines_stay_in_its_file(make_process, tmp_path):
    process = make_process("toys.answer")
    process.start()

    outcomes = [process.invoke("1", {"say": "ä"}), process.invoke("2", {"say": "b"})]

    assert [outcome.response["said"] for outcome in outcomes] == ["ä", "b"]
    assert (tmp_path / "toy.log").read_text() == '{"message": "a log line"}\n' * 2


def test_a_function_learns_what_lambda_would_tell_it_and_nothing_of_the_shell(
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


def test_an_error_of_the_handler_leaves_its_process_alive(make_process):
    process = make_process("toys.refuse")
    process.start()
    pid = process.pid

    outcome = process.invoke("1", {})

    assert outcome == Failure("ValueError", "not today", was_cut_off=False)
    assert process.is_running
    assert process.pid == pid


def test_a_function_that_hangs_is_killed_at_its_time_out(make_process):
    process = make_process("toys.hang", timeout_seconds=1)
    process.start()

    outcome = process.invoke("1", {})

    assert outcome == Failure("Sandbox.Timedout", "Task timed out after 1.00 seconds", True)
    assert not process.is_running


def test_a_function_that_takes_too_much_memory_is_killed(make_process):
    process = make_process("toys.hoard")
    process.start()

    outcome = process.invoke("1", {})

    assert outcome.error_type == "Runtime.OutOfMemory"
    assert re.fullmatch(r"used \d+ MB of the 128 MB allowed", outcome.error_message)
    assert not process.is_running


def test_a_function_whose_process_dies_is_reported_and_can_start_afresh(make_process):
    process = make_process("toys.die")
    process.start()

    outcome = process.invoke("1", {})
    process.start()

    assert outcome.error_type == "Runtime.ExitError"
    assert outcome.error_message == "the function's process was killed by SIGKILL"
    assert outcome.was_cut_off
    assert process.is_running


def test_a_handler_that_cannot_be_imported_says_why(make_process):
    with pytest.raises(InitError, match="No module named 'a_module_that_is_not_there'"):
        make_process("broken.handler").start()


def test_a_handler_that_fails_at_import_shows_the_traceback(make_process):
    with pytest.raises(InitError, match=r"(?s)RuntimeError: no.*faulty\.py.*line 2, in inner"):
        make_process("faulty.handler").start()


@dataclass
class FakeQueue:
    """Delivers at once what should be delivered again after a pause."""

    waiting: queue.Queue = field(default_factory=queue.Queue)
    pauses: list[int] = field(default_factory=list)
    deleted: threading.Event = field(default_factory=threading.Event)
    records: list[dict] = field(default_factory=list)

    def send(self, event: dict, attempt: int = 1) -> None:
        detail = {"object": {"key": "originals/0123456789abcdef.jpg"}}
        self.waiting.put(Delivery("id", {"detail": detail, **event}, attempt, "receipt"))

    def receive(self) -> Delivery | None:
        try:
            return self.waiting.get(timeout=0.05)
        except queue.Empty:
            return None

    def delete(self, delivery: Delivery) -> None:
        self.deleted.set()

    def deliver_again(self, delivery: Delivery, pause_seconds: int) -> None:
        self.pauses.append(pause_seconds)
        again = Delivery(delivery.request_id, delivery.event, delivery.attempt + 1, "receipt")
        self.waiting.put(again)

    def give_up(self, delivery: Delivery, record: dict) -> None:
        self.records.append(record)
        self.deleted.set()


@pytest.fixture
def host():
    printed = io.StringIO()
    host = FunctionHost(Console(printed))
    host.printed = printed
    yield host
    host.stop(grace_seconds=1)


def run_reader(host, process, event, seconds=8):
    """Feed one event to a function until it is gone for good; what the queue saw."""
    console = Console(host.printed)
    fake_queue = FakeQueue()
    reader = QueueReader(process, fake_queue, RetryPolicy(3, 5), Starter("toy", console), console)
    fake_queue.send(event)
    host.start(reader)
    assert fake_queue.deleted.wait(seconds), host.printed.getvalue()
    return fake_queue


def test_each_image_is_one_line_on_the_console(host, make_process):
    run_reader(host, make_process("toys.answer"), {"say": "hello"})

    line = r"\d\d:\d\d:\d\d  toy         originals/01234567….jpg  completed  0\.\d\d s\n"
    assert re.fullmatch(line, host.printed.getvalue())


def test_a_failure_the_function_recorded_is_told_with_its_reason(host, make_process):
    run_reader(host, make_process("toys.fail_for_good"), {})

    assert host.printed.getvalue().endswith("failed: This is not an image.\n")


def test_an_event_with_nothing_to_do_is_not_told(host, make_process):
    run_reader(host, make_process("toys.skip"), {})

    assert host.printed.getvalue() == ""


def test_a_failing_event_is_tried_three_times_after_growing_pauses(host, make_process):
    fake_queue = run_reader(host, make_process("toys.refuse"), {})

    assert fake_queue.pauses == [5, 10]
    told = host.printed.getvalue()
    assert "will be retried in 5 s: ValueError: not today" in told
    assert "given up after 3 attempts: ValueError: not today" in told
    [record] = fake_queue.records
    assert record["requestPayload"]["detail"]["object"]["key"] == "originals/0123456789abcdef.jpg"
    assert record["requestContext"]["functionArn"].endswith(":function:ToyFunction:$LATEST")
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responsePayload"] == {"errorType": "ValueError", "errorMessage": "not today"}


def test_an_event_that_outlived_its_hosts_too_often_is_given_up_unseen(host, make_process):
    console = Console(host.printed)
    fake_queue = FakeQueue()
    fake_queue.send({}, attempt=4)
    process = make_process("toys.answer")

    host.start(
        QueueReader(process, fake_queue, RetryPolicy(3, 5), Starter("toy", console), console)
    )

    assert fake_queue.deleted.wait(20), host.printed.getvalue()
    [record] = fake_queue.records
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert "completed" not in host.printed.getvalue()


@pytest.mark.parametrize("detail", [None, {}, {"object": None}, {"object": {"key": ["k"]}}])
def test_an_event_of_any_shape_is_tried_and_given_up(host, make_process, detail):
    fake_queue = run_reader(host, make_process("toys.refuse"), {"detail": detail})

    assert fake_queue.pauses == [5, 10]
    assert "given up after 3 attempts: ValueError: not today" in host.printed.getvalue()


def test_after_a_crash_the_event_waits_for_its_claim_to_end_and_then_succeeds(
    host, make_process, tmp_path
):
    process = make_process("toys.die_once", timeout_seconds=20)

    fake_queue = run_reader(host, process, {"died": str(tmp_path / "died")})

    [pause] = fake_queue.pauses
    assert 20 + 5 < pause <= 20 + 7
    assert "completed" in host.printed.getvalue()


def test_a_process_that_dies_idle_is_replaced(host, make_process):
    process = make_process("toys.answer")
    fake_queue = run_reader(host, process, {"say": "first"})

    first_pid = process.pid
    os.kill(first_pid, signal.SIGKILL)
    ends_at = time.monotonic() + 5
    while process.pid == first_pid and time.monotonic() < ends_at:
        time.sleep(0.01)
    fake_queue.deleted.clear()
    fake_queue.send({"say": "second"})

    assert fake_queue.deleted.wait(5)
    assert "ended while idle" in host.printed.getvalue()


def test_a_handler_that_cannot_load_is_told_once_and_not_tried_in_a_hot_loop(host, make_process):
    process = make_process("broken.handler")
    console = Console(host.printed)
    starts = []
    start = process.start
    process.start = lambda: (starts.append(time.monotonic()), start())
    host.start(
        QueueReader(process, FakeQueue(), RetryPolicy(3, 5), Starter("toy", console), console)
    )

    time.sleep(2.5)

    assert host.printed.getvalue().count("cannot start") == 1
    assert len(starts) <= 3


def test_a_program_and_what_it_started_do_not_outlive_a_supervisor_killed_with_kill_9(tmp_path):
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

    _gone, alive = psutil.wait_procs(family, timeout=3)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


@pytest.fixture
def start_clock(host, make_process, tmp_path):
    """Starts a clock, and returns it with a way to ask what its function was told so far."""
    seen = tmp_path / "seen"
    seen.touch()

    def start(*, every_seconds, longest_claim_seconds):
        console = Console(host.printed)
        process = make_process("toys.note")
        process.start()  # On a busy machine that takes longer than the times of these clocks.
        clock = Clock(
            process,
            Schedule("Sweep", every_seconds=every_seconds, function_id="toy"),
            "us-east-1",
            longest_claim_seconds,
            Starter("toy", console),
            console,
        )
        host.start(clock)
        return clock, lambda: [
            json.loads(line).get("idle_seconds") for line in seen.read_text().splitlines()
        ]

    return start


def test_a_schedule_says_for_a_while_that_the_queues_were_emptied(start_clock):
    clock, noted = start_clock(every_seconds=1, longest_claim_seconds=2)

    wait_until(lambda: noted()[-1:] == [None], seconds=10)
    assert set(noted()) == {0, None}
    assert noted()[0] == 0
    clock.note_empty_queues()
    wait_until(lambda: noted()[-1:] == [0], seconds=5)


def test_a_schedule_does_not_wait_for_its_turn_when_the_claims_of_a_run_before_are_over(
    start_clock,
):
    _clock, noted = start_clock(every_seconds=600, longest_claim_seconds=2)

    wait_until(lambda: noted() == [0, 0], seconds=20)
