"""Run `python -m local_cloud` in a separate process, as a user does, and use it over HTTP."""

import configparser
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import psutil
import requests

from tests.support.programs import free_port, is_running, start_program
from tests.support.time_limits import scaled

ROOT = Path(__file__).parents[2]
START_SECONDS = 60
STOP_SECONDS = 30


class LocalSystem:
    """A local system, which can be started and stopped repeatedly.

    Attributes:
        module: the module to run.
        project: the folder of the project whose code is run.
    """

    module = "local_cloud"
    project = ROOT

    def __init__(self, state_dir: Path, **environment: str) -> None:
        self.state_dir = state_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = environment
        self._log = state_dir.with_suffix(".out")
        self._process: subprocess.Popen[bytes]  # Set by `start`.
        self._ended_processes: list[psutil.Process] = []

    @property
    def output(self) -> str:
        """The output of all runs so far."""
        return self._log.read_text()

    @property
    def aws_url(self) -> str:
        """The address of this run's S3, EventBridge and SQS."""
        return str(re.findall(r"AWS +(http://\S+)", self.output)[-1])

    def start(self) -> None:
        """Start the system and wait until it is ready."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        starts_before = self.output.count("runs at") if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = start_program(
                [sys.executable, "-m", self.module],
                cwd=self.project,
                env=environment(self.state_dir, self.port, self._environment),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(
            lambda: (
                self.output.count("runs at") > starts_before or self._process.poll() is not None
            ),
            seconds=START_SECONDS,
            every_seconds=0.05,  # Often, because benchmarks measure starts.
        )
        assert self._process.poll() is None, self.output

    def signal(self, number: int) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        self._ended_processes = self.processes()
        self._process.send_signal(number)
        return self._process.wait(scaled(STOP_SECONDS))

    def stop(self) -> int:
        """Stop the system by SIGTERM, as a service manager does."""
        return self.signal(signal.SIGTERM)

    def processes(self) -> list[psutil.Process]:
        """Return the main process and all its descendants."""
        try:
            supervisor = psutil.Process(self._process.pid)
            return [supervisor, *supervisor.children(recursive=True)]
        except (AttributeError, psutil.NoSuchProcess):  # Not started, or ended.
            return []

    def processes_of(self, *words: str) -> list[psutil.Process]:
        """Return the processes that have all these words in their command line."""
        found = []
        for process in self.processes():
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if all(word in line for word in words):
                found.append(process)
        return found

    def orphans(self) -> list[psutil.Process]:
        """Return the processes that are still alive ten seconds after `signal` ended the run."""
        _, alive = psutil.wait_procs(self._ended_processes, timeout=scaled(10))
        return [process for process in alive if is_running(process)]

    def upload(self, *files: tuple[str, bytes], session: Any = requests) -> list[dict[str, Any]]:
        """Upload files and return the result of each."""
        response = session.post(
            f"{self.url}/upload",
            files=[("image", file) for file in files],
            headers={"Accept": "application/json"},
            timeout=scaled(60),
        )
        results: list[dict[str, Any]] = response.json()["results"]
        return results

    def status(self, image_id: int) -> dict[str, Any]:
        """Return the status of an image from the API."""
        response = requests.get(f"{self.url}/api/image_status/{image_id}", timeout=scaled(30))
        assert response.ok, response.text
        status: dict[str, Any] = response.json()
        return status

    def finished(self, image_id: int, seconds: float = 30) -> dict[str, Any]:
        """Wait until an image is no longer pending, and return its status."""
        wait_until(lambda: self.status(image_id)["status"] != "pending", seconds=seconds)
        return self.status(image_id)

    def run_deployment(self, *arguments: str) -> str:
        """Run a command as deployment/README.md says for the local cloud. Return its output."""
        done = subprocess.run(
            [sys.executable, "-m", "deployment", *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "AWS_CONFIG_FILE": str(self.state_dir / "aws_config"),
                "AWS_SHARED_CREDENTIALS_FILE": str(self.state_dir / "aws_config"),
            },
            capture_output=True,
            text=True,
            timeout=scaled(240),
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def client(self, service: str) -> Any:
        """Return a boto3 client of this run's AWS emulator."""
        config = configparser.ConfigParser(interpolation=None)
        config.read(self.state_dir / "aws_config")
        key = config["default"]
        return _client(
            service, self.aws_url, key["aws_access_key_id"], key["aws_secret_access_key"]
        )


@cache  # A client takes as long to create as dozens of requests, and every start has another key.
def _client(service: str, url: str, key_id: str, secret: str) -> Any:
    return boto3.client(  # type: ignore[call-overload]
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
    )


def environment(state_dir: Path, port: int, overrides: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the tests without variables that would change the run."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "GEMINI_", "GOOGLE_", "DATABASE_", "DB_", "LOCAL_"))
    }
    return {
        **inherited,
        "PORT": str(port),
        "LOCAL_STATE_DIR": str(state_dir),
        "LOCAL_RETRY_SECONDS": "1",
        # A second process of each program doubles the work of a start.
        "LOCAL_WEB_PROCESSES": "1",
        "LOCAL_PROCESSES_PER_FUNCTION": "1",
        # Colours are measured in a hundredth of the time.
        "LOCAL_RECOGNISER": "off",
        # So that tests can read an original and its key without the token of its owner.
        "ORIGINALS_VISIBLE_TO": "everyone",
        **overrides,
    }


def wait_until(
    condition: Callable[[], bool], *, seconds: float, every_seconds: float | None = None
) -> None:
    """Wait until the condition holds, and fail after a time limit, longer on a slow machine.

    Args:
        every_seconds: the time between two checks. By default it grows while this waits, because
            most conditions send requests to the system that has work to do.
    """
    limit = scaled(seconds)
    started_at = time.monotonic()
    while not condition():
        waited = time.monotonic() - started_at
        assert waited < limit, f"the condition did not hold within {limit:g} s"
        time.sleep(every_seconds or pause_after(waited))


def pause_after(waited_seconds: float) -> float:
    """Return the seconds until the next check: the longer a wait takes, the fewer checks."""
    return min(max(0.1, waited_seconds / 10), 0.5)
