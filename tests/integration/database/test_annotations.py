"""Recording, editing, restoring and reusing annotations, on SQLite and on a real MySQL server."""

from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.event import listen

from database.annotations import (
    TEXT_FIELDS,
    GeneratedAnnotation,
    Tokens,
    edit_annotations,
    record_annotation,
    record_tokens,
    restore_annotation,
    texts_of,
)
from database.images import add_image, get_image
from database.jobs import (
    fail_annotations_without_caption,
    record_failure,
    record_thumbnail,
    record_upload_failed,
    reset_for_retry,
)
from database.models import AnnotationSource, Job, Status
from database.session import session_scope
from database.stalled_jobs import fail_overdue_jobs
from tests.support.image_rows import (
    CAPTION,
    add,
    add_captioned,
    add_failed,
    add_with_fingerprint,
    claim,
    edit,
    find,
    new_image,
    read,
    record,
)

MODEL, HUMAN = AnnotationSource.MODEL, AnnotationSource.HUMAN


def test_recording_an_annotation_completes_the_annotation_job_once(session_factory):
    image_id, key = add(session_factory)
    claimed = claim(session_factory, key)

    assert record(session_factory, record_annotation, claimed, CAPTION)
    assert not record(session_factory, record_annotation, claimed, CAPTION)

    image = read(session_factory, image_id)
    assert image.annotation == image.generated_annotation == "A dog on a beach."
    assert image.alt_text == image.generated_alt_text == "Dog on beach"
    assert image.tags == image.generated_tags == ["dog", "beach"]
    assert image.annotation_source is AnnotationSource.MODEL
    assert image.annotation_model == "gemini-x"
    assert image.status is Status.PENDING
    assert image.updated_at > image.uploaded_at
    assert claim(session_factory, key) is None


def test_text_by_a_person_survives_a_late_annotation_by_the_model(session_factory):
    image_id, key = add(session_factory)
    claimed = claim(session_factory, key)
    with session_scope(session_factory) as session:
        image = get_image(session, image_id)
        image.annotation, image.tags = "Our Rex!", ["rex"]
        image.annotation_source = AnnotationSource.HUMAN

    record(session_factory, record_annotation, claimed, CAPTION)

    image = read(session_factory, image_id)
    assert (image.annotation, image.tags) == ("Our Rex!", ["rex"])
    assert image.annotation_source is AnnotationSource.HUMAN
    assert image.generated_annotation == "A dog on a beach."
    assert image.annotation_status is Status.COMPLETED


def test_the_first_annotation_by_the_model_fills_fields_that_a_person_left_empty(session_factory):
    image_id, key = add(session_factory)
    claimed = claim(session_factory, key)
    edit(session_factory, image_id, alt_text="Rex")

    record(session_factory, record_annotation, claimed, CAPTION)

    image = read(session_factory, image_id)
    assert (image.annotation, image.alt_text, image.tags) == (
        "A dog on a beach.",
        "Rex",
        ["dog", "beach"],
    )
    assert image.sources == {"annotation": MODEL, "alt_text": HUMAN, "tags": MODEL}


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_an_edit_makes_a_person_the_author_of_the_changed_text_only(session_factory, field):
    image_id, _ = add_captioned(session_factory)
    texts = texts_of(read(session_factory, image_id))

    edit(session_factory, image_id, **{**texts, field: ["Rex"] if field == "tags" else "Rex"})

    sources = read(session_factory, image_id).sources
    assert sources == {**dict.fromkeys(TEXT_FIELDS, MODEL), field: HUMAN}


def test_a_removed_text_has_a_person_as_its_author_until_it_is_the_models_again(session_factory):
    image_id, _ = add_captioned(session_factory)

    edit(session_factory, image_id, tags=None)
    assert read(session_factory, image_id).sources["tags"] is HUMAN
    edit(session_factory, image_id, tags=["dog", "beach"])

    assert read(session_factory, image_id).sources["tags"] is MODEL


def test_an_image_without_texts_has_no_authors(session_factory):
    image_id, _ = add(session_factory)
    edit(session_factory, image_id, annotation="Rex")
    edit(session_factory, image_id, annotation=None)

    image = read(session_factory, image_id)
    assert image.sources == dict.fromkeys(TEXT_FIELDS)
    assert image.annotation_source is None


def test_an_edit_of_the_tags_before_the_first_caption_leaves_the_caption_to_the_model(
    session_factory,
):
    image_id, key = add(session_factory)
    edit(session_factory, image_id, tags=["rex"])

    record(session_factory, record_annotation, claim(session_factory, key), CAPTION)

    image = read(session_factory, image_id)
    assert (image.annotation, image.tags) == ("A dog on a beach.", ["rex"])
    assert image.sources == {"annotation": MODEL, "alt_text": MODEL, "tags": HUMAN}


def test_a_new_caption_replaces_only_the_texts_of_the_model(session_factory):
    image_id, key = add_captioned(session_factory)
    edit(session_factory, image_id, alt_text="Rex")
    record(session_factory, reset_for_retry, image_id, Job.ANNOTATION, even_completed=True)

    second_caption = GeneratedAnnotation("Another.", "Alt", ["new"], "gemini-y")
    record(session_factory, record_annotation, claim(session_factory, key), second_caption)

    image = read(session_factory, image_id)
    assert texts_of(image) == {"annotation": "Another.", "alt_text": "Rex", "tags": ["new"]}


def test_one_edit_can_change_the_texts_of_several_images(session_factory):
    first, second = (add_captioned(session_factory)[0] for _ in range(2))

    with session_scope(session_factory) as session:
        edit_annotations(session, {first: {"tags": ["rex"]}, second: {"annotation": "Rex"}})

    assert read(session_factory, first).tags == ["rex"]
    assert read(session_factory, second).annotation == "Rex"


@pytest.mark.parametrize("end", ["failure", "no attempts", "deadline"])
def test_no_failure_follows_a_caption_that_a_person_wrote_before_the_models_first(
    session_factory, end
):
    image_id, key = add(session_factory)
    claimed = claim(session_factory, key, max_attempts=1)
    edit(session_factory, image_id, annotation="Our Rex!")

    if end == "failure":
        record(session_factory, record_failure, claimed, code="blocked", message="m")
    else:
        with session_scope(session_factory) as session:
            session.execute(text("UPDATE images SET annotation_claimed_until = NULL"))
        if end == "no attempts":
            claim(session_factory, key, max_attempts=1)
        else:
            record(session_factory, fail_overdue_jobs, Job.ANNOTATION, deadline_seconds=-1)

    image = read(session_factory, image_id)
    assert image.annotation_status is Status.COMPLETED
    assert image.annotation_error_code is None
    assert image.annotation_claimed_until is None


def test_a_new_caption_that_fails_is_a_failure_although_a_person_wrote_the_caption(
    session_factory,
):
    image_id, key = add_captioned(session_factory)
    edit(session_factory, image_id, annotation="Our Rex!")
    record(session_factory, reset_for_retry, image_id, Job.ANNOTATION, even_completed=True)

    claimed = claim(session_factory, key)
    record(session_factory, record_failure, claimed, code="blocked", message="m")

    assert read(session_factory, image_id).annotation_error_code == "blocked"


@pytest.mark.parametrize("state", ["removed", "of an old release"])
def test_a_caption_that_is_none_of_a_person_does_not_end_the_job(session_factory, state):
    if state == "removed":
        image_id, key = add(session_factory)
        edit(session_factory, image_id, annotation="Our Rex!")
        edit(session_factory, image_id, annotation=None)
    else:  # Without the copy of the model's caption.
        image_id, key = add_captioned(session_factory)
        with session_scope(session_factory) as session:
            session.execute(text("UPDATE images SET generated_annotation = NULL"))
        record(session_factory, reset_for_retry, image_id, Job.ANNOTATION, even_completed=True)

    claimed = claim(session_factory, key)
    record(session_factory, record_failure, claimed, code="blocked", message="m")

    assert read(session_factory, image_id).annotation_error_code == "blocked"


def test_an_edit_changes_only_the_named_fields_and_keeps_the_generated_text(session_factory):
    image_id, _ = add_captioned(session_factory)

    edit(session_factory, image_id, annotation="Our Rex!", tags=None)

    image = read(session_factory, image_id)
    assert (image.annotation, image.alt_text, image.tags) == ("Our Rex!", "Dog on beach", None)
    assert image.annotation_source is AnnotationSource.HUMAN
    assert (image.generated_annotation, image.generated_alt_text, image.generated_tags) == (
        "A dog on a beach.",
        "Dog on beach",
        ["dog", "beach"],
    )


def test_restoring_sets_caption_alt_text_and_tags_to_the_generated_ones(session_factory):
    image_id, _ = add_captioned(session_factory)
    edit(session_factory, image_id, annotation="Rex", alt_text=None, tags=["rex"])

    assert record(session_factory, restore_annotation, image_id)

    image = read(session_factory, image_id)
    assert (image.annotation, image.alt_text, image.tags) == (
        "A dog on a beach.",
        "Dog on beach",
        ["dog", "beach"],
    )
    assert image.annotation_source is AnnotationSource.MODEL


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_restoring_one_field_leaves_the_others_as_a_person_wrote_them(session_factory, field):
    image_id, _ = add_captioned(session_factory)
    mine = {"annotation": "Rex", "alt_text": "Rex at the sea", "tags": ["rex"]}
    generated = {
        "annotation": "A dog on a beach.",
        "alt_text": "Dog on beach",
        "tags": ["dog", "beach"],
    }
    edit(session_factory, image_id, **mine)

    assert record(session_factory, restore_annotation, image_id, [field])

    image = read(session_factory, image_id)
    texts = {name: getattr(image, name) for name in TEXT_FIELDS}
    assert texts == {**mine, field: generated[field]}
    assert image.sources == {**dict.fromkeys(TEXT_FIELDS, HUMAN), field: MODEL}


def test_a_caption_of_a_person_ends_the_failure_of_the_annotation(session_factory):
    image_id, key = add_failed(session_factory)
    record(session_factory, record_thumbnail, claim(session_factory, key, Job.THUMBNAIL), "#000000")
    assert read(session_factory, image_id).status is Status.FAILED

    edit(session_factory, image_id, alt_text="Rex")
    assert read(session_factory, image_id).status is Status.FAILED
    edit(session_factory, image_id, annotation="Our Rex!")

    image = read(session_factory, image_id)
    assert image.status is image.annotation_status is Status.COMPLETED
    assert (image.annotation_error_code, image.annotation_error_message) == (None, None)


def test_a_removed_caption_of_a_person_leaves_no_completed_job_without_a_caption(session_factory):
    failed, _ = add_failed(session_factory)
    captioned, _ = add_captioned(session_factory)
    for image_id in (failed, captioned):
        edit(session_factory, image_id, annotation="Our Rex!")
        edit(session_factory, image_id, annotation=None)

    image = read(session_factory, failed)
    assert (image.annotation, image.annotation_status) == (None, Status.FAILED)
    assert image.annotation_error_code == "caption_removed"
    assert image.annotation_error_message == (
        "The caption was removed, and AI has not written one. Write a caption, or retry."
    )
    assert read(session_factory, captioned).annotation_status is Status.COMPLETED

    edit(session_factory, failed, annotation="Our Rex again!")
    assert read(session_factory, failed).annotation_status is Status.COMPLETED


def test_a_caption_that_a_person_wrote_meanwhile_is_no_removed_caption(session_factory):
    image_id, _ = add_failed(session_factory)
    edit(session_factory, image_id, annotation="Our Rex!")

    record(session_factory, fail_annotations_without_caption, [image_id])

    assert read(session_factory, image_id).annotation_status is Status.COMPLETED


def test_a_caption_does_not_end_the_failure_of_an_original_that_was_not_stored(session_factory):
    image_id, _ = add(session_factory)
    record(session_factory, record_upload_failed, image_id, "Not stored.")

    edit(session_factory, image_id, annotation="Our Rex!")

    image = read(session_factory, image_id)
    assert image.annotation_status is Status.FAILED
    assert image.annotation_error_code == "upload_failed"


def test_restoring_works_for_rows_from_before_generated_alt_text_and_tags_were_stored(
    session_factory,
):
    image_id, _ = add_captioned(session_factory)
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET generated_alt_text = NULL, generated_tags = NULL"))
    edit(session_factory, image_id, annotation="Rex", alt_text="Rex", tags=["rex"])
    edit(session_factory, image_id, tags=["rex", "again"])

    record(session_factory, restore_annotation, image_id)

    image = read(session_factory, image_id)
    assert (image.alt_text, image.tags) == ("Dog on beach", ["dog", "beach"])


def test_restoring_without_a_generated_annotation_changes_nothing(session_factory):
    image_id, _ = add(session_factory)
    edit(session_factory, image_id, annotation="Rex")

    assert not record(session_factory, restore_annotation, image_id)
    assert read(session_factory, image_id).annotation == "Rex"


def test_a_new_caption_does_not_overwrite_text_that_a_person_wrote_or_cleared(session_factory):
    image_id, key = add_captioned(session_factory)
    edit(session_factory, image_id, annotation="Rex", tags=None)
    assert record(
        session_factory,
        reset_for_retry,
        image_id,
        Job.ANNOTATION,
        even_completed=True,
    )
    second_caption = GeneratedAnnotation("Another.", "Alt", ["new"], "gemini-y")

    record(session_factory, record_annotation, claim(session_factory, key), second_caption)

    image = read(session_factory, image_id)
    assert (image.annotation, image.tags) == ("Rex", None)
    assert (image.generated_annotation, image.generated_tags) == ("Another.", ["new"])
    assert image.annotation_model == "gemini-y"


def test_a_generated_annotation_is_found_by_its_fingerprint(session_factory):
    image_id, key = add_with_fingerprint(session_factory, "f" * 64)
    edit(session_factory, image_id, annotation="Rex!", alt_text=None, tags=["rex"])

    assert find(session_factory, "f" * 64) == CAPTION
    assert find(session_factory, "F" * 64) is None

    record(session_factory, reset_for_retry, image_id, Job.ANNOTATION, even_completed=True)
    second_caption = GeneratedAnnotation("Another.", "Alt", ["new"], "gemini-y")
    claimed = claim(session_factory, key)
    assert claimed.has_annotation
    record(
        session_factory, record_annotation, claimed, replace(second_caption, fingerprint="e" * 64)
    )
    assert (find(session_factory, "f" * 64), find(session_factory, "e" * 64)) == (
        None,
        second_caption,
    )


def test_tokens_of_several_requests_are_added(session_factory):
    image_id, _ = add(session_factory)
    assert read(session_factory, image_id).input_tokens is None

    for tokens in (Tokens(0, 0), Tokens(300, 40), Tokens(300, 5)):
        record(session_factory, record_tokens, image_id, tokens)

    image = read(session_factory, image_id)
    assert (image.input_tokens, image.output_tokens) == (600, 45)


def test_many_images_are_edited_in_few_statements_each_with_its_own_texts(session_factory):
    with session_scope(session_factory) as session:
        ids = [add_image(session, new_image()) for _ in range(130)]
    edits = {
        image_id: {
            "annotation": f"Caption “{image_id}”, 100 % of \\ {{:name}} 🏖",
            "alt_text": None if image_id % 2 else f"Alt {image_id}",
            "tags": [f"tag {image_id}", "狗"],
        }
        for image_id in ids
    }
    counts = []
    listen(
        session_factory.kw["bind"],
        "before_cursor_execute",
        lambda _connection, _cursor, statement, parameters, _context, is_many: (
            counts.append(len(parameters) if is_many else 1)
            if statement.startswith("UPDATE")
            else None
        ),
    )

    record(session_factory, edit_annotations, edits)

    assert sum(counts) < 20
    for image_id, texts in edits.items():
        assert texts_of(read(session_factory, image_id)) == texts
