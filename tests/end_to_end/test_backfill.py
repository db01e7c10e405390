"""Previews of images from before there were previews, on the local cloud."""

import sqlite3

import requests

from database import object_keys
from tests.support.factories import make_jpeg
from tests.support.local_system import wait_until
from tests.support.time_limits import scaled

BUCKETS = ("image-annotation-originals", "image-annotation-thumbnails")


def backfill(system, *options):
    return system.run_deployment("backfill", "--buckets", *BUCKETS, *options)


def make_old(system, keys):
    """Remove the previews of images, as if an earlier version had made their thumbnails."""
    s3 = system.client("s3")
    for key in keys:
        s3.delete_object(Bucket=BUCKETS[1], Key=object_keys.preview_key(key))
    with sqlite3.connect(next(system.state_dir.glob("*.sqlite3")), timeout=scaled(30)) as database:
        for key in keys:
            database.execute(
                "DELETE FROM previews WHERE image_id ="
                " (SELECT id FROM images WHERE original_key = ?)",
                (key,),
            )


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
        preview = requests.get(after["preview_url"], timeout=scaled(30))
        assert preview.headers["Content-Type"] == "image/jpeg"
        assert preview.content.startswith(b"\xff\xd8\xff")
    assert len(gemini.requests) == captions
    assert "for: 0." in backfill(system, "--dry-run")
    everything = requests.get(f"{system.url}/api/images", timeout=scaled(30)).json()["images"]
    assert f"Previews made: {len(everything)}." in backfill(system, "--all")
