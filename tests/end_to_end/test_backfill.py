"""Previews of images from before there were previews, on the local cloud."""

import io
import sqlite3

import requests
from PIL import Image

from database import object_keys
from tests.support.factories import make_jpeg
from tests.support.local_system import wait_until
from tests.support.time_limits import scaled

BUCKETS = ("image-annotation-originals", "image-annotation-thumbnails")


def backfill(system, *options):
    return system.run_deployment("backfill", "--buckets", *BUCKETS, *options)


def make_old(system, keys, statement, *derivations):
    """Delete copies of images and change their previews, as if an earlier version had made them."""
    s3 = system.client("s3")
    for derive_key in derivations:
        for key in keys:
            s3.delete_object(Bucket=BUCKETS[1], Key=derive_key(key))
    with sqlite3.connect(next(system.state_dir.glob("*.sqlite3")), timeout=scaled(30)) as database:
        for key in keys:
            database.execute(
                f"{statement} WHERE image_id = (SELECT id FROM images WHERE original_key = ?)",
                (key,),
            )


def upload(system, *widths):
    """Upload images, and return them and the keys of their originals."""
    files = [(f"{width}.jpg", make_jpeg((width, 48))) for width in widths]
    images = [system.finished(result["id"]) for result in system.upload(*files)]
    keys = [
        "originals/" + image["original_url"].split("?")[0].rpartition("/")[2] for image in images
    ]
    return images, keys


def test_old_images_get_previews_while_their_status_and_captions_stay(system, gemini):
    images, keys = upload(system, 60, 70, 80)
    captions = len(gemini.requests)
    make_old(system, keys, "DELETE FROM previews", object_keys.preview_key)
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


def test_old_images_get_a_small_preview_if_their_preview_is_large(system):
    (small, large), keys = upload(system, 90, 2016)
    assert "-small-preview.jpg" in large["preview_srcset"]
    change = "UPDATE previews SET small_width = NULL"
    make_old(system, keys, change, object_keys.small_preview_key)
    assert "-small-preview.jpg" not in system.status(large["id"])["preview_srcset"]

    assert "for: 1." in backfill(system, "--dry-run")
    assert "Previews made: 1." in backfill(system)

    wait_until(lambda: "1008w" in system.status(large["id"])["preview_srcset"], seconds=30)
    link = system.status(large["id"])["preview_srcset"].split(" ")[0]
    copy = requests.get(link, timeout=scaled(30))
    assert "-small-preview.jpg" in link
    assert Image.open(io.BytesIO(copy.content)).size == (1008, 24)
    assert "-small-preview.jpg" not in system.status(small["id"])["preview_srcset"]
    assert "for: 0." in backfill(system, "--dry-run")
