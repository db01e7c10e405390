"""One process of a function: the runtime client of Lambda, with the limits of the template."""

import importlib.util
import queue
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psutil

from local_cloud import processes
from local_cloud.logs import Log
from local_cloud.runtime_api import Failure, Invocation, Ready, Report, RuntimeAPI, Success
from local_cloud.settings import REGION
from local_cloud.template import Function

ACCOUNT_ID = "123456789012"  # The default of Moto.

_INIT_SECONDS = 60  # Lambda allows 10 s; a slow disk may need more.
_POLL_SECONDS = 0.1  # Between two checks of a running process.


def runtime_client() -> str:
    """Return the module of Lambda's own runtime client, or of ours if that is not installed."""
    lambdas_own = "awslambdaric"
    return lambdas_own if importlib.util.find_spec(lambdas_own) else "local_cloud.runtime_client"


class InitError(Exception):
    """A process could not load its handler."""


Outcome = Success | Failure


class FunctionProcess:
    """Runs one function, one event at a time, with the environment and the variables of Lambda."""

    def __init__(
        self,
        function: Function,
        environment: Mapping[str, str],
        log: Log,
        client: str | None = None,
    ) -> None:
        """Prepare a process. `client` is the module of the runtime client; None chooses one."""
        self.function = function
        self._client = client or runtime_client()
        self.is_busy = False  # True during an invocation.
        self._arn = f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{function.name}"
        self._environment = environment
        self._log = log
        self._api: RuntimeAPI | None = None
        self._process: processes.Process | None = None

    @property
    def is_running(self) -> bool:
        """True if the process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id, or None before the first start."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start a new process and wait until it has loaded its handler.

        The process ends with the thread that calls this method.

        Raises:
            InitError: the handler cannot be loaded; the message has the reason and the traceback.
        """
        self.stop()
        log_start = self._log.size()
        self._api = RuntimeAPI()
        self._api.start()
        self._process = processes.spawn(
            ["-m", self._client, self.function.handler],
            {**self._environment, **self._lambda_environment(self._api.address)},
            self._log,
        )
        report = self._next_report(_INIT_SECONDS)
        if isinstance(report, Ready):
            return
        self.stop()
        assert isinstance(report, Failure)
        details = [self._log.tail(log_start)] if report.was_killed else report.stack_trace
        raise InitError("\n".join([str(report), *map(str.rstrip, details)]).rstrip())

    def invoke(self, request_id: str, event: Any) -> Outcome:
        """Run the handler for one event, with the time-out and memory limit of the template."""
        assert self._api is not None, "call start first"
        timeout = self.function.timeout_seconds
        root = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
        invocation = Invocation(
            request_id,
            event,
            self._arn,
            deadline_ms=int((time.time() + timeout) * 1000),
            trace_id=f"Root={root};Parent={secrets.token_hex(8)};Sampled=0",
        )
        self.is_busy = True
        try:
            self._api.invocations.put(invocation)
            report = self._next_report(timeout)
        finally:
            self.is_busy = False
        assert not isinstance(report, Ready), "a process reports only once that it is ready"
        if isinstance(report, Failure) and report.was_killed:
            self.stop()
            with self._log.open() as log:
                log.write(f"{report}\n".encode())
        return report

    def stop(self) -> None:
        """Kill the process."""
        if self._process is not None:
            processes.stop(self._process)
            self._process = None
        if self._api is not None:
            self._api.close()
            self._api = None

    def _next_report(self, timeout_seconds: int) -> Report:
        """Wait for the next report, or return why the process cannot send one."""
        assert self._api is not None
        assert self._process is not None
        ends_at = time.monotonic() + timeout_seconds
        while True:
            with suppress(queue.Empty):
                return self._api.reports.get(timeout=_POLL_SECONDS)
            if not self.is_running:
                # The process may have sent a report just before it ended.
                with suppress(queue.Empty):
                    return self._api.reports.get_nowait()
                ending = processes.describe_exit(self._process.returncode)
                return _killed("Runtime.ExitError", f"the function's process {ending}")
            used, allowed = self._memory_megabytes(), self.function.memory_megabytes
            if used > allowed:
                return _killed("Runtime.OutOfMemory", f"used {used} MB of the {allowed} MB allowed")
            if time.monotonic() >= ends_at:
                return _killed(
                    "Sandbox.Timedout", f"Task timed out after {timeout_seconds:.2f} seconds"
                )

    def _memory_megabytes(self) -> int:
        try:
            assert self._process is not None
            return int(psutil.Process(self._process.pid).memory_info().rss / 1024**2)
        except psutil.Error:
            return 0

    def _lambda_environment(self, runtime_api: str) -> dict[str, str]:
        """Return the variables that Lambda sets.

        https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
        """
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


def _killed(error_type: str, message: str) -> Failure:
    return Failure(error_type, message, was_killed=True)
