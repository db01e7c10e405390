"""Previews of images from before there were previews, on the local cloud."""

import os
import sqlite3
import subprocess
import sys

import pytest
import requests

from database import object_keys
from tests.support.factories import make_jpeg
from tests.support.local_system import ROOT, LocalSystem, wait_until
from tests.support.scripted_gemini import scripted_gemini

BUCKETS = ("image-annotation-originals", "image-annotation-thumbnails")


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


def backfill(system, *options):
    """Run the command that deployment/README.md gives for the local cloud."""
    done = subprocess.run(
        [sys.executable, "-m", "deployment", "backfill", "--buckets", *BUCKETS, *options],
        cwd=ROOT,
        env={
            **os.environ,
            "AWS_CONFIG_FILE": str(system.state_dir / "aws_config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(system.state_dir / "aws_config"),
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make_old(system, keys):
    """Remove the previews of images, as if an earlier version had made their thumbnails."""
    s3 = system.client("s3")
    for key in keys:
        s3.delete_object(Bucket=BUCKETS[1], Key=object_keys.preview_key(key))
    with sqlite3.connect(next(system.state_dir.glob("*.sqlite3")), timeout=30) as database:
        database.execute("DELETE FROM previews")


def test_old_images_get_previews_while_their_status_and_captions_stay(system, gemini):
    files = [(f"{side}.jpg", make_jpeg((side, 48))) for side in (60, 70, 80)]
    images = [system.finished(result["id"]) for result in system.upload(*files)]
    captions = len(gemini.requests)
    keys = [
        "originals/" + image["original_url"].split("?")[0].rpartition("/")[2] for image in images
    ]
    make_old(system, keys)
    old = [system.status(image["id"]) for image in images]
    assert [image["preview_url"] for image in old] == [None] * 3
    assert [image["status"] for image in old] == ["completed"] * 3

    assert "for: 3." in backfill(system, "--dry-run")
    assert "Previews made: 3." in backfill(system)

    wait_until(
        lambda: all(system.status(image["id"])["preview_url"] for image in images), seconds=30
    )
    for before, after in zip(images, map(system.status, (i["id"] for i in images)), strict=True):
        assert (after["status"], after["annotation"]) == ("completed", before["annotation"])
        preview = requests.get(after["preview_url"], timeout=10)
        assert preview.headers["Content-Type"] == "image/jpeg"
        assert preview.content.startswith(b"\xff\xd8\xff")
    assert len(gemini.requests) == captions
    assert "for: 0." in backfill(system, "--dry-run")
    assert "Previews made: 3." in backfill(system, "--all")
