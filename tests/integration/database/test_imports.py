"""Imports of corrections, on SQLite and on a real MySQL server."""

import json
import threading

import pytest
from sqlalchemy import delete, func, select

from database.annotations import edit_annotation
from database.models import Image, Import, ImportChange, ImportState, Status
from database.reviews import write_reviews
from database.session import session_scope
from tests.support.image_rows import add, add_captioned, add_failed, edit, read, record
from web_app.errors import ConflictError, InvalidImportError
from web_app.services.imports import Imports


@pytest.fixture
def imports(session_factory):
    return Imports(session_factory, "me")


def lines(*corrections):
    return "\n".join(json.dumps(each) for each in corrections).encode()


def count(session_factory, model):
    with session_scope(session_factory) as session:
        return session.scalar(select(func.count()).select_from(model))


def test_an_import_is_applied_and_undone(session_factory, imports):
    image_id, _ = add_captioned(session_factory)
    before = read(session_factory, image_id)
    row = imports.propose(lines({"id": image_id, "caption": "Rex.", "tags": ["Hündin", "狗"]}))

    assert imports.apply(row.id).state is ImportState.APPLIED
    image = read(session_factory, image_id)
    assert (image.annotation, image.alt_text) == ("Rex.", before.alt_text)
    assert image.tags == ["Hündin", "狗"]
    assert image.sources == {"annotation": "human", "alt_text": "model", "tags": "human"}

    assert imports.undo(row.id).kept == 0
    image = read(session_factory, image_id)
    assert (image.annotation, image.tags) == (before.annotation, before.tags)
    assert image.sources == before.sources


def test_translations_are_imported_and_undone(session_factory, imports):
    image_id, _ = add_captioned(session_factory)
    record(
        session_factory,
        edit_annotation,
        image_id,
        {"translations": {"de": {"caption": "Ein Hund.", "alt_text": "Hund"}}},
    )
    before = read(session_factory, image_id).translations
    row = imports.propose(
        lines(
            {
                "id": image_id,
                "caption": "Rex.",
                "translations": {"de": {"caption": "Rex 🐕."}, "ar": {"alt_text": "كلب"}},
            }
        )
    )
    imports.apply(row.id)
    assert read(session_factory, image_id).translations == {
        "de": {"caption": "Rex 🐕.", "alt_text": "Hund"},
        "ar": {"alt_text": "كلب"},
    }

    assert imports.undo(row.id).kept == 0
    assert read(session_factory, image_id).translations == before


def test_an_undo_restores_decorative(session_factory, imports):
    image_id, _ = add_captioned(session_factory)
    record(session_factory, write_reviews, [image_id], decorative=True)
    row = imports.propose(lines({"id": image_id, "alt_text": "Rex"}))
    imports.apply(row.id)
    image = read(session_factory, image_id)
    assert (image.is_decorative, image.alt_text) == (False, "Rex")

    assert imports.undo(row.id).kept == 0
    assert read(session_factory, image_id).is_decorative


def test_an_undo_of_the_caption_that_ended_a_failure_leaves_a_failed_job(session_factory, imports):
    image_id, _ = add_failed(session_factory)
    row = imports.propose(lines({"id": image_id, "caption": "Rex."}))
    imports.apply(row.id)
    assert read(session_factory, image_id).annotation_status is Status.COMPLETED

    imports.undo(row.id)

    image = read(session_factory, image_id)
    assert (image.annotation, image.annotation_status) == (None, Status.FAILED)


def test_texts_that_differ_in_case_or_accents_only_are_differences(session_factory, imports):
    image_id, _ = add_captioned(session_factory)
    edit(session_factory, image_id, annotation="A resume.", tags=["cafe"])

    row = imports.propose(lines({"id": image_id, "caption": "A Résumé.", "tags": ["Café"]}))
    imports.apply(row.id)

    assert read(session_factory, image_id).annotation == "A Résumé."
    assert read(session_factory, image_id).tags == ["Café"]


def test_file_names_are_compared_exactly(session_factory, imports):
    lower, _ = add(session_factory, filename="cafe.jpg")
    upper, _ = add(session_factory, filename="Café.jpg")
    add(session_factory, filename="Café.jpg", owner_id="other")

    row = imports.propose(lines({"file_name": "Café.jpg", "caption": "New."}))

    page = imports.read_page(row.id, after=0, limit=10)
    assert [change.image_id for _, change in page.changes] == [upper]
    with pytest.raises(InvalidImportError):
        imports.propose(lines({"file_name": "CAFE.jpg", "caption": "New."}))
    assert lower != upper


def test_an_import_of_many_images_is_applied_as_a_whole(session_factory, imports, mocker):
    mocker.patch("web_app.services.imports._BATCH_IMAGES", 10)
    mocker.patch("database.rows._ROWS_PER_STATEMENT", 4)
    ids = [add(session_factory)[0] for _ in range(21)]
    data = lines(*({"id": each, "alt_text": f"Text {each}"} for each in ids))
    refused = imports.propose(data)
    edit(session_factory, ids[-1], alt_text="Changed meanwhile")

    with pytest.raises(ConflictError):
        imports.apply(refused.id)
    assert read(session_factory, ids[0]).alt_text is None
    assert imports.get(refused.id).state is ImportState.PROPOSED

    row = imports.propose(data)
    imports.apply(row.id)
    for image_id in ids:
        assert read(session_factory, image_id).alt_text == f"Text {image_id}"


def test_an_import_that_is_applied_twice_at_once_is_applied_once(session_factory, imports):
    image_id, _ = add_captioned(session_factory)
    row = imports.propose(lines({"id": image_id, "caption": "Rex."}))
    states = []

    threads = [
        threading.Thread(target=lambda: states.append(imports.apply(row.id).state))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert states == [ImportState.APPLIED] * 4
    assert read(session_factory, image_id).annotation == "Rex."


def test_the_tables_do_not_grow_with_the_number_of_imports(session_factory, imports):
    image_id, _ = add_captioned(session_factory)

    for number in range(5):
        row = imports.propose(lines({"id": image_id, "caption": f"Number {number}."}))
        imports.apply(row.id)
        imports.propose(lines({"id": image_id, "caption": "Never applied."}))

    assert count(session_factory, Import) == 2
    assert count(session_factory, ImportChange) == 2


def test_the_changes_of_an_image_are_deleted_with_it(session_factory, imports):
    image_id, _ = add_captioned(session_factory)
    imports.propose(lines({"id": image_id, "caption": "Rex."}))

    with session_scope(session_factory) as session:
        session.execute(delete(Image).where(Image.id == image_id))

    assert count(session_factory, ImportChange) == 0
