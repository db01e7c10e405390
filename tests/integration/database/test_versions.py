"""The last versions of texts, on SQLite and on a real MySQL server."""

import json
import threading

import pytest
from sqlalchemy import delete, select

from database.annotations import (
    TEXT_FIELDS,
    GeneratedAnnotation,
    edit_annotation,
    record_annotation,
    restore_annotation,
)
from database.jobs import reset_for_retry
from database.models import Image, Job, TextVersion
from database.session import session_scope
from database.versions import MAX_VERSIONS, list_versions
from tests.support.image_rows import CAPTION, add, add_captioned, claim, edit, record
from web_app.services.imports import Imports


def versions(session_factory, image_id, field):
    """Return the texts of a field and their sources, the newest first."""
    return [
        (each.text, str(each.source))
        for each in record(session_factory, list_versions, image_id)
        if each.field == field
    ]


def test_every_text_of_the_model_and_of_a_person_is_a_version(session_factory):
    image_id, key = add_captioned(session_factory)
    edit(session_factory, image_id, tags=["Hündin", "狗"], annotation="Rex.")
    record(session_factory, reset_for_retry, image_id, Job.ANNOTATION, even_completed=True)
    other = GeneratedAnnotation("Two cats.", "Two cats on a sofa", ["cat"], "gemini-x")
    assert record(session_factory, record_annotation, claim(session_factory, key), other)
    edit(session_factory, image_id, alt_text=None)
    record(session_factory, restore_annotation, image_id, ["annotation"])

    assert versions(session_factory, image_id, "annotation") == [
        ("Two cats.", "model"),
        ("Rex.", "human"),
        ("A dog on a beach.", "model"),
    ]
    assert versions(session_factory, image_id, "alt_text") == [
        (None, "human"),
        ("Two cats on a sofa", "model"),
        ("Dog on beach", "model"),
    ]
    assert versions(session_factory, image_id, "tags") == [
        (["Hündin", "狗"], "human"),
        (["dog", "beach"], "model"),
    ]
    newest = record(session_factory, list_versions, image_id)[0]
    assert newest.written_at is not None


def test_a_text_that_stays_has_no_new_version(session_factory):
    image_id, _ = add_captioned(session_factory)
    edit(session_factory, image_id, annotation=CAPTION.annotation, tags=["dog", "beach"])

    assert all(len(versions(session_factory, image_id, field)) == 1 for field in TEXT_FIELDS)


def test_the_import_of_a_correction_and_its_undo_are_versions(session_factory):
    image_id, _ = add_captioned(session_factory)
    imports = Imports(session_factory, "me")
    row = imports.propose(json.dumps({"id": image_id, "caption": "Rex."}).encode())
    imports.apply(row.id)
    imports.undo(row.id)

    assert versions(session_factory, image_id, "annotation") == [
        ("A dog on a beach.", "model"),
        ("Rex.", "import"),
        ("A dog on a beach.", "model"),
    ]


def test_a_text_that_is_older_than_the_table_becomes_the_first_version(session_factory):
    image_id, _ = add_captioned(session_factory)
    edit(session_factory, image_id, annotation="Rex.")
    with session_scope(session_factory) as session:
        session.execute(delete(TextVersion))

    edit(session_factory, image_id, annotation="Max.", alt_text="Max")

    assert versions(session_factory, image_id, "annotation") == [
        ("Max.", "human"),
        ("Rex.", "human"),
    ]
    assert versions(session_factory, image_id, "alt_text")[1] == ("Dog on beach", "model")
    oldest = [each for each in record(session_factory, list_versions, image_id) if each.number == 1]
    assert [each.written_at for each in oldest] == [None, None]


def test_only_the_last_versions_are_kept(session_factory):
    image_id, _ = add(session_factory)
    for number in range(MAX_VERSIONS + 5):
        edit(session_factory, image_id, annotation=f"Text {number}", tags=[f"tag {number}"])
    edit(session_factory, image_id, alt_text="Once")

    for field in ("annotation", "tags"):
        kept = versions(session_factory, image_id, field)
        assert len(kept) == MAX_VERSIONS
    assert versions(session_factory, image_id, "annotation")[-1] == ("Text 5", "human")
    assert len(versions(session_factory, image_id, "alt_text")) == 1


def test_concurrent_edits_have_a_version_each(session_factory):
    image_id, _ = add_captioned(session_factory)
    errors = []

    def change(number):
        try:
            record(session_factory, edit_annotation, image_id, {"annotation": f"Text {number}"})
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=change, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    kept = [text for text, _ in versions(session_factory, image_id, "annotation")]
    assert sorted(kept) == sorted([CAPTION.annotation, *(f"Text {n}" for n in range(8))])


def test_a_change_that_fails_leaves_no_version(session_factory):
    image_id, _ = add_captioned(session_factory)
    with pytest.raises(RuntimeError), session_scope(session_factory) as session:
        edit_annotation(session, image_id, {"annotation": "Rex."})
        raise RuntimeError

    assert len(versions(session_factory, image_id, "annotation")) == 1


def test_a_deleted_image_takes_its_versions_along(session_factory):
    image_id, _ = add_captioned(session_factory)
    with session_scope(session_factory) as session:
        session.execute(delete(Image).where(Image.id == image_id))
        assert session.scalars(select(TextVersion.text)).all() == []
