"""What an export reads, on SQLite and on a real MySQL server."""

from unittest.mock import patch

import pytest

from database import export
from database.deletion import mark_deleting
from database.export import read_exported, read_images
from database.image_words import write_words
from database.listing import ALL, ImageFilter, list_ids
from database.models import Image
from database.session import session_scope
from tests.support.image_rows import add

OWNER = "the owner of the exported images"


@pytest.fixture
def ids(session_factory):
    """Add seven images; each second one is of another owner and shows a cat."""
    ids = [add(session_factory)[0] for _ in range(7)]
    with session_scope(session_factory) as session:
        for number, image_id in enumerate(ids):
            image = session.get_one(Image, image_id)
            image.annotation = "A cat." if number % 2 else "A dog on a beach."
            image.owner_id = "another" if number % 2 else OWNER
    with session_scope(session_factory) as session:
        write_words(session, ids)
    return ids


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 7, 100])
def test_every_image_is_read_once_whatever_the_size_of_a_batch(session_factory, ids, batch_rows):
    with patch.object(export, "_BATCH_ROWS", batch_rows):
        found = [image.id for image in read_exported(session_factory, ALL)]

    assert found == ids[::-1]


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (ImageFilter(text="dogs"), slice(0, None, 2)),
        (ImageFilter(text="cat"), slice(1, None, 2)),
        (ImageFilter(owner_id=OWNER), slice(0, None, 2)),
        (ImageFilter(text="cat", owner_id=OWNER), slice(0, 0)),
    ],
)
def test_an_export_reads_what_a_list_shows(session_factory, ids, where, expected, batch_rows):
    with patch.object(export, "_BATCH_ROWS", batch_rows):
        found = [image.id for image in read_exported(session_factory, where)]

    assert found == ids[expected][::-1]


def test_images_that_are_deleted_during_an_export_are_left_out(session_factory, ids):
    with patch.object(export, "_BATCH_ROWS", 2):
        images = read_exported(session_factory, ALL)
        first = next(images).id
        with session_scope(session_factory) as session:
            mark_deleting(session, ids[0])
        found = [first, *(image.id for image in images)]

    assert found == ids[:0:-1]


@pytest.mark.parametrize(
    ("read", "batch_size"), [(read_exported, "_BATCH_ROWS"), (read_images, "_BATCH_IMAGES")]
)
@pytest.mark.parametrize("where", [ALL, ImageFilter(text="dogs")])
def test_an_image_that_is_deleted_before_it_is_read_does_not_end_the_export(
    session_factory, ids, read, batch_size, where
):
    found_ids = []

    def list_ids_and_delete(session, **options):
        batch = list_ids(session, **options)
        if not found_ids:
            mark_deleting(session, batch[0])
        found_ids.extend(batch)
        return batch

    with (
        patch.object(export, batch_size, 2),
        patch.object(export, "list_ids", list_ids_and_delete),
    ):
        found = [image.id for image in read(session_factory, where)]

    assert len(found_ids) > 2
    assert found == found_ids[1:]
