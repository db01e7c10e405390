"""What was given up on comes back: the local cloud, and the command that a deployed one gets."""

import os
import re
import subprocess
import sys

import pytest

from tests.support.factories import make_jpeg
from tests.support.local_system import ROOT, LocalSystem, wait_until
from tests.support.scripted_gemini import error, scripted_gemini


@pytest.fixture
def gemini():
    with scripted_gemini() as gemini:
        yield gemini


@pytest.fixture
def system(tmp_path, gemini):
    running = LocalSystem(
        tmp_path / "state", GEMINI_API_KEY="the-key", GOOGLE_GEMINI_BASE_URL=gemini.url
    )
    running.start()
    yield running
    assert running.stop() == 0


def redrive(system, *options):
    """As README has it for one machine."""
    done = subprocess.run(
        [sys.executable, "-m", "deployment", "redrive", "--queue", "failed-invocations", *options],
        cwd=ROOT,
        env={
            **os.environ,
            "AWS_ENDPOINT_URL": system.aws_url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": "us-east-1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_image_that_was_given_up_is_completed_once_its_trouble_is_mended(system, gemini):
    gemini.script += [error(500, "INTERNAL")] * 100
    (result,) = system.upload(("unlucky.jpg", make_jpeg()))
    failed = system.finished(result["id"])
    wait_until(lambda: "failed after 3 attempts" in system.output, seconds=20)

    seen = redrive(system, "--dry-run")
    untouched = system.status(result["id"])
    gemini.script.clear()
    asked = redrive(system)
    wait_until(lambda: system.status(result["id"])["status"] == "completed", seconds=20)

    assert failed["annotation_status"] == untouched["annotation_status"] == "failed"
    assert re.search(r"annotation of originals/\S+: RetriesExhausted after 3 attempts", seen)
    assert "1 were asked for again; 0 stay." in asked
    assert system.status(result["id"])["annotation"] == "A dog runs on a beach."
    assert "0 were asked for again; 0 stay." in redrive(system)
