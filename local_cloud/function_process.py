"""One process of a function: AWS's own runtime client, under the limits of the template."""

import queue
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil

from local_cloud import processes
from local_cloud.logs import Log
from local_cloud.runtime_api import Answered, Failed, Invocation, Report, RuntimeAPI, Started
from local_cloud.template import Function

ACCOUNT_ID = "123456789012"  # Moto's.

_INIT_SECONDS = 60  # Lambda allows 10; a cold disk may need more.
_LOOK_SECONDS = 0.1  # Between two looks at a running process.


class InitError(Exception):
    """A process could not load its handler."""


@dataclass(frozen=True)
class Success:
    """The function returned."""

    response: Any


@dataclass(frozen=True)
class Failure:
    """The function raised, or its process ended.

    `was_cut_off`: it had no chance to put its affairs in order, so what it claimed stays claimed
    until it expires.
    """

    error_type: str
    error_message: str
    was_cut_off: bool


Outcome = Success | Failure


class FunctionProcess:
    """Runs one function, one event at a time.

    Args:
        function: what the template says of it.
        environment: all of its environment, but for what Lambda itself adds.
        region: the AWS region, which is part of the function's name.
        log: takes what the function prints.
    """

    def __init__(
        self, function: Function, environment: Mapping[str, str], region: str, log: Log
    ) -> None:
        self.function = function
        self.is_busy = False  # Whether an event is being worked on.
        self._arn = f"arn:aws:lambda:{region}:{ACCOUNT_ID}:function:{function.name}"
        self._environment = environment
        self._log = log
        self._api: RuntimeAPI | None = None
        self._process: processes.Process | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has loaded its handler and lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Its process id, once started."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start a fresh process, and wait until it has loaded its handler.

        Call it from a thread that lives as long as the process should.

        Raises:
            InitError: the handler cannot be loaded; the message holds the reason and the traceback.
        """
        self.stop()
        log_start = self._log.size()
        self._api = RuntimeAPI()
        self._api.start()
        self._process = processes.spawn(
            ["-m", "awslambdaric", self.function.handler],
            {**self._environment, **self._lambda_environment(self._api.address)},
            self._log,
        )
        report = self._next_report(_INIT_SECONDS)
        if isinstance(report, Started):
            return
        self.stop()
        if isinstance(report, Failed):
            details = [line.rstrip() for line in report.stack_trace]
        else:
            details = [self._log.tail(log_start)]
        assert not isinstance(report, Answered)
        reason = f"{report.error_type}: {report.error_message}"
        raise InitError("\n".join([reason, *details]).rstrip())

    def invoke(self, request_id: str, event: Any) -> Outcome:
        """Run the handler for one event, within the template's time and memory."""
        self.is_busy = True
        try:
            return self._invoke(request_id, event)
        finally:
            self.is_busy = False

    def _invoke(self, request_id: str, event: Any) -> Outcome:
        assert self._api is not None, "start it first"
        timeout = self.function.timeout_seconds
        root = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
        self._api.invocations.put(
            Invocation(
                request_id,
                event,
                self._arn,
                deadline_ms=int((time.time() + timeout) * 1000),
                trace_id=f"Root={root};Parent={secrets.token_hex(8)};Sampled=0",
            )
        )
        match self._next_report(timeout):
            case Answered() as answered:
                return Success(answered.response)
            case Failed() as failed:
                return Failure(failed.error_type, failed.error_message, was_cut_off=False)
            case Failure() as cut_off:
                self.stop()
                with self._log.open() as log:
                    log.write(f"{cut_off.error_type}: {cut_off.error_message}\n".encode())
                return cut_off
            case Started():
                raise AssertionError("a process starts once")

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            processes.stop(self._process)
            self._process = None
        if self._api is not None:
            self._api.close()
            self._api = None

    def _next_report(self, timeout_seconds: int) -> Report | Failure:
        """What the process says next, or why it will say no more."""
        assert self._api is not None
        assert self._process is not None
        ends_at = time.monotonic() + timeout_seconds
        while True:
            with suppress(queue.Empty):
                return self._api.reports.get(timeout=_LOOK_SECONDS)
            if not self.is_running:
                # It may have spoken between the two looks.
                with suppress(queue.Empty):
                    return self._api.reports.get_nowait()
                how = processes.describe_exit(self._process.returncode)
                return _cut_off("Runtime.ExitError", f"the function's process {how}")
            used, allowed = self._memory_megabytes(), self.function.memory_megabytes
            if used > allowed:
                return _cut_off(
                    "Runtime.OutOfMemory", f"used {used} MB of the {allowed} MB allowed"
                )
            if time.monotonic() >= ends_at:
                return _cut_off(
                    "Sandbox.Timedout", f"Task timed out after {timeout_seconds:.2f} seconds"
                )

    def _memory_megabytes(self) -> int:
        try:
            assert self._process is not None
            return int(psutil.Process(self._process.pid).memory_info().rss / 1024**2)
        except psutil.Error:
            return 0

    def _lambda_environment(self, runtime_api: str) -> dict[str, str]:
        """https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html"""
        return {
            "AWS_LAMBDA_RUNTIME_API": runtime_api,
            "AWS_LAMBDA_FUNCTION_NAME": self.function.name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.function.memory_megabytes),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.function.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "local",
            "LAMBDA_TASK_ROOT": str(processes.PROJECT),
            "_HANDLER": self.function.handler,
            "TZ": ":UTC",
        }


def _cut_off(error_type: str, message: str) -> Failure:
    return Failure(error_type, message, was_cut_off=True)
