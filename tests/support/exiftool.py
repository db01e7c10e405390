"""ExifTool, an independent reader and writer of metadata."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.time_limits import scaled


def exiftool(*arguments: str | Path) -> list[dict[str, Any]]:
    """Return what ExifTool prints about each file, with the group of each tag in its name.

    The test is skipped if ExifTool is missing.
    """
    program = shutil.which("exiftool")
    if program is None:
        message = "ExifTool is missing: run `make exiftool`"
        if os.environ.get("REQUIRE_REAL_PARTS"):
            pytest.fail(message)
        pytest.skip(message)
    command = [program, "-json", "-G1", "-a", "-charset", "filename=utf8", *arguments]
    done = subprocess.run(command, capture_output=True, timeout=scaled(60), check=False)
    assert done.returncode == 0, done.stderr.decode()
    found: list[dict[str, Any]] = json.loads(done.stdout) if done.stdout.startswith(b"[") else []
    return found
