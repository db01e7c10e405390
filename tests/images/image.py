"""Access to the container images that `build.sh` builds, and to programs that run in them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
_STOP_SECONDS = 30


class ToolsMissingError(RuntimeError):
    """Building images is not possible on this machine. The message says what to do."""


@dataclass(frozen=True)
class Image:
    """One unpacked container image."""

    root: Path
    config: Mapping[str, Any]  # In Docker's format: User, Env, Entrypoint, Cmd, WorkingDir, ...

    @property
    def folder(self) -> Path:
        """The folder of the application's layers, as a path on this machine."""
        return self.root / self.config["WorkingDir"].lstrip("/")

    @contextmanager
    def running(
        self, log: Path, *, command: Sequence[str] = (), **environment: str
    ) -> Iterator["Container"]:
        """Run the image, or another command in it, until the block ends."""
        with log.open("ab") as output:
            process = self._start(command, environment, stdout=output, stderr=output)
        try:
            yield Container(process, log)
        finally:
            # Kill the first process of the container, and with it all others. It does not end with
            # its parent, because changing the user cleared its parent-death signal.
            with suppress(psutil.NoSuchProcess):
                for first in psutil.Process(process.pid).children():
                    first.kill()
            process.kill()
            process.wait()

    def run(self, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in the image instead of its own command, and wait for its end."""
        process = self._start(
            command, environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        output, _ = process.communicate(timeout=120)
        return subprocess.CompletedProcess(command, process.returncode, output)

    def _start(
        self, command: Sequence[str], environment: Mapping[str, str], **options: Any
    ) -> "subprocess.Popen[Any]":
        user, group = self.config["User"].split(":")
        entry = self.config.get("Entrypoint") or []
        return subprocess.Popen(
            [
                # If this process is killed, the processes that prepare the container end as well.
                *("setpriv", "--pdeathsig=KILL", "unshare", "--kill-child"),
                *("--mount", "--pid", "--fork", str(HERE / "enter.sh")),
                *(str(self.root), user, group, self.config["WorkingDir"]),
                *(command or [*entry, *self.config["Cmd"]]),
            ],
            env=dict(line.split("=", 1) for line in ["HOME=/", *self.config["Env"]])
            | dict(environment),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **options,
        )


@dataclass(frozen=True)
class Container:
    """A program that runs in an image."""

    process: "subprocess.Popen[Any]"
    log: Path

    @property
    def is_running(self) -> bool:
        """True while the program is running."""
        return self.process.poll() is None

    def stop(self, number: int) -> int:
        """Send a signal to the first process, as an engine does, and return the exit status."""
        (first,) = psutil.Process(self.process.pid).children()
        first.send_signal(number)
        return self.process.wait(_STOP_SECONDS)


def build(store: Path, tag: str = "latest", *parts: str) -> None:
    """Build images into a folder.

    Raises:
        ToolsMissingError: this machine cannot build images.
    """
    built = subprocess.run(
        [HERE / "build.sh", store, tag, *parts],
        env={**os.environ, "PYTHON": sys.executable},
        stderr=subprocess.PIPE,
        text=True,
    )
    if built.returncode == os.EX_UNAVAILABLE:
        raise ToolsMissingError(built.stderr.strip())
    assert built.returncode == 0, built.stderr


def mount(store: Path, name: str) -> Image:
    """Unpack a built image."""
    container = _buildah(store, "from", "--pull-never", name)
    config = json.loads(_buildah(store, "inspect", "--type", "image", name))["Docker"]["config"]
    return Image(Path(_buildah(store, "mount", container)), config)


def remove_all(store: Path) -> None:
    """Remove the files that only buildah can remove."""
    _buildah(store, "umount", "--all")
    _buildah(store, "rm", "--all")


def _buildah(store: Path, *arguments: str) -> str:
    driver = (store / "driver").read_text().strip()
    where = ("--root", store / "images", "--runroot", store / "run", "--storage-driver", driver)
    done = subprocess.run(["buildah", *where, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
