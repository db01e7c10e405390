"""Reviews, decorative images and the lists of both, on SQLite and on a real MySQL server."""

import pytest
from sqlalchemy import delete, select, text, update

from database.annotations import (
    GeneratedAnnotation,
    edit_annotations,
    record_annotation,
    restore_annotation,
)
from database.bin import move_to_bin
from database.caption_options import set_caption_options
from database.image_words import set_caption_language
from database.jobs import reset_for_retry
from database.listing import ImageFilter, Position, Sort, count_images, list_ids
from database.migrations import migrate
from database.models import AltTextState, CaptionOptions, Image, ImageReview, Job, ReviewState
from database.reviews import (
    Approval,
    add_missing_reviews,
    check_reviews,
    count_same_alt_texts,
    write_reviews,
)
from database.session import session_scope
from tests.support.image_rows import CAPTION, add_captioned, add_many, claim, edit, read, record

UNREVIEWED, REVIEWED, CHANGED = ReviewState


def approve(session_factory, *ids, reviewer="a hash"):
    return record(session_factory, write_reviews, ids, approval=Approval(reviewer))


def state(session_factory, image_id):
    return read(session_factory, image_id).review_state


def regenerate(session_factory, image_id, key, annotation):
    record(session_factory, reset_for_retry, image_id, Job.ANNOTATION, even_completed=True)
    claimed = claim(session_factory, key)
    assert record(session_factory, record_annotation, claimed, annotation)


OTHER = GeneratedAnnotation("Two cats.", "Two cats on a sofa", ["cat"], "gemini-x")


def test_an_approval_belongs_to_the_texts_that_were_approved(session_factory):
    image_id, _ = add_captioned(session_factory)
    assert state(session_factory, image_id) is UNREVIEWED

    approve(session_factory, image_id)
    image = read(session_factory, image_id)
    assert image.review_state is REVIEWED
    assert image.uploaded_at <= image.reviewed_at <= image.updated_at

    edit(session_factory, image_id, alt_text="A dog.")
    image = read(session_factory, image_id)
    assert (image.review_state, image.reviewed_at) == (CHANGED, None)

    edit(session_factory, image_id, alt_text=CAPTION.alt_text)
    assert state(session_factory, image_id) is REVIEWED


def test_a_new_caption_of_the_model_ends_the_review(session_factory):
    image_id, key = add_captioned(session_factory)
    approve(session_factory, image_id)

    regenerate(session_factory, image_id, key, CAPTION)
    assert state(session_factory, image_id) is REVIEWED
    regenerate(session_factory, image_id, key, OTHER)
    assert state(session_factory, image_id) is CHANGED


def test_a_repeated_approval_keeps_its_time_and_one_of_other_texts_is_new(session_factory):
    image_id, _ = add_captioned(session_factory)
    assert approve(session_factory, image_id) == [image_id]
    before = read(session_factory, image_id)

    assert approve(session_factory, image_id) == []
    after = read(session_factory, image_id)
    assert (after.reviewed_at, after.updated_at) == (before.reviewed_at, before.updated_at)

    edit(session_factory, image_id, tags=["dog"])
    assert approve(session_factory, image_id) == [image_id]
    assert state(session_factory, image_id) is REVIEWED
    assert read(session_factory, image_id).reviewed_at >= before.reviewed_at


def test_an_approval_can_be_withdrawn(session_factory):
    image_id, _ = add_captioned(session_factory)
    approve(session_factory, image_id)

    assert approve(session_factory, image_id, reviewer=None) == [image_id]

    assert state(session_factory, image_id) is UNREVIEWED
    with session_scope(session_factory) as session:
        review = session.get_one(ImageReview, image_id)
    assert (review.reviewed_at, review.reviewed_by, review.reviewed_version) == (None,) * 3


def test_a_decorative_image_keeps_its_alt_text_for_later(session_factory):
    image_id, key = add_captioned(session_factory)
    record(session_factory, write_reviews, [image_id], decorative=True)
    image = read(session_factory, image_id)
    assert (image.shown_alt_text, image.alt_text) == ("", "Dog on beach")

    regenerate(session_factory, image_id, key, OTHER)
    assert read(session_factory, image_id).shown_alt_text == ""

    record(session_factory, write_reviews, [image_id], decorative=False)
    assert read(session_factory, image_id).shown_alt_text == "Two cats on a sofa"


def test_an_alt_text_that_a_person_writes_ends_decorative(session_factory):
    image_id, _ = add_captioned(session_factory)
    record(session_factory, write_reviews, [image_id], decorative=True)

    edit(session_factory, image_id, annotation="Rex.")
    assert read(session_factory, image_id).is_decorative
    edit(session_factory, image_id, alt_text="Dog on beach")
    assert not read(session_factory, image_id).is_decorative
    record(session_factory, write_reviews, [image_id], decorative=True)
    edit(session_factory, image_id, alt_text="")
    assert read(session_factory, image_id).is_decorative
    edit(session_factory, image_id, alt_text="Rex on a beach")
    assert not read(session_factory, image_id).is_decorative


def test_the_restored_alt_text_of_the_model_ends_decorative(session_factory):
    image_id, _ = add_captioned(session_factory)
    record(session_factory, write_reviews, [image_id], decorative=True)

    record(session_factory, restore_annotation, image_id, ["annotation", "tags"])
    assert read(session_factory, image_id).is_decorative
    record(session_factory, restore_annotation, image_id, ["alt_text"])
    assert not read(session_factory, image_id).is_decorative


def test_decorative_is_part_of_what_is_approved(session_factory):
    image_id, _ = add_captioned(session_factory)
    approve(session_factory, image_id)

    record(session_factory, write_reviews, [image_id], decorative=True)
    assert state(session_factory, image_id) is CHANGED
    record(session_factory, write_reviews, [image_id], decorative=False)
    assert state(session_factory, image_id) is REVIEWED
    record(session_factory, write_reviews, [image_id], decorative=True, approval=Approval("me"))
    assert state(session_factory, image_id) is REVIEWED


GERMAN = "Ein Hund läuft mit einem Ball über den Strand"

ALT_TEXTS = {
    AltTextState.MISSING: None,
    AltTextState.LANGUAGE: GERMAN,
    AltTextState.LONG: "a" * 126,
    AltTextState.IMAGE_OF: "Photo of a dog",
    AltTextState.CAPTION: "a dog on a beach",
    AltTextState.GOOD: "a" * 125,
}


@pytest.fixture
def images(session_factory):
    """Add an image for each state of an alt text, three times; return their ids."""
    added = {}
    for _ in range(3):
        for alt_text_state, alt_text in ALT_TEXTS.items():
            image_id, _ = add_captioned(session_factory)
            edit(session_factory, image_id, alt_text=alt_text)
            added.setdefault(alt_text_state, []).append(image_id)
        image_id, _ = add_captioned(session_factory)
        record(session_factory, write_reviews, [image_id], decorative=True)
        added.setdefault(AltTextState.DECORATIVE, []).append(image_id)
    return added


def find(session_factory, limit=100, after=None, **filters):
    where = ImageFilter(**filters)
    with session_scope(session_factory) as session:
        found = list(list_ids(session, limit=limit, after=after, where=where))
        assert count_images(session, at_most=1000, where=where) >= len(found)
        return found


def state_of_alt_text(session_factory, image_id):
    with session_scope(session_factory) as session:
        return session.get_one(ImageReview, image_id).alt_text_state


def test_an_alt_text_in_another_language_must_be_written_again_before_it_is_shortened(
    session_factory,
):
    image_id, _ = add_captioned(session_factory)

    edit(session_factory, image_id, alt_text=f"{GERMAN} und {GERMAN} und {GERMAN}")

    assert state_of_alt_text(session_factory, image_id) is AltTextState.LANGUAGE


def test_the_language_that_the_owner_chose_is_the_expected_one(session_factory):
    image_id, _ = add_captioned(session_factory)
    edit(session_factory, image_id, alt_text=GERMAN)

    for languages, expected in (
        (("de", "en"), AltTextState.GOOD),
        (("en", "de"), AltTextState.LANGUAGE),
        (("vi",), AltTextState.GOOD),  # Texts in this language cannot be recognised.
        ((), AltTextState.LANGUAGE),
    ):
        options = {image_id: CaptionOptions(languages)}
        record(session_factory, set_caption_options, options)

        assert state_of_alt_text(session_factory, image_id) is expected


def test_the_states_follow_the_language_of_the_site(session_factory):
    image_id, _ = add_captioned(session_factory)
    edit(session_factory, image_id, alt_text=GERMAN)
    record(session_factory, set_caption_language, "german")

    assert record(session_factory, check_reviews, limit=10) == 1

    assert state_of_alt_text(session_factory, image_id) is AltTextState.GOOD


def test_images_are_listed_by_what_is_wrong_with_their_alt_text(session_factory, images):
    assert set(images) == set(AltTextState)
    for alt_text_state, expected in images.items():
        alt_text = {"alt_text": alt_text_state}

        assert find(session_factory, **alt_text) == expected[::-1]
        assert find(session_factory, **alt_text, owner_id="me") == expected[::-1]
        assert find(session_factory, **alt_text, sort=Sort.OLDEST) == expected
        assert find(session_factory, **alt_text, owner_id="other") == []
        assert find(session_factory, **alt_text, text="dog") == expected[::-1]
        assert find(session_factory, **alt_text, text="cat") == []
        after = Position(expected[1])
        assert find(session_factory, **alt_text, after=after) == [expected[0]]
        record(session_factory, move_to_bin, expected[:2], days=1)
        assert find(session_factory, **alt_text) == expected[2:]


def test_images_are_listed_by_their_review(session_factory, images):
    ids = sorted(image_id for some in images.values() for image_id in some)
    approve(session_factory, *ids[:4])
    edit(session_factory, ids[0], annotation="Rex.")

    assert find(session_factory, review=CHANGED) == [ids[0]]
    assert find(session_factory, review=REVIEWED) == ids[3:0:-1]
    assert find(session_factory, review=UNREVIEWED) == ids[:3:-1]
    missing = {"review": REVIEWED, "alt_text": AltTextState.LONG, "owner_id": "me"}
    assert find(session_factory, **missing) == [ids[2]]
    assert find(session_factory, **missing, tags=["dog"], text="dog -cat") == [ids[2]]


def test_the_other_images_with_the_same_alt_text_are_counted(session_factory):
    ids = [add_captioned(session_factory)[0] for _ in range(5)]
    edit(session_factory, ids[0], alt_text="dog ON beach")
    edit(session_factory, ids[1], alt_text="Another")
    record(session_factory, move_to_bin, [ids[2]], days=1)
    with session_scope(session_factory) as session:
        session.execute(
            update(ImageReview).where(ImageReview.image_id == ids[3]).values(owner_id="other")
        )

    def count(image_id, at_most=10):
        image = read(session_factory, image_id)
        return record(session_factory, count_same_alt_texts, image, at_most=at_most)

    assert count(ids[0]) == count(ids[4]) == 1
    assert count(ids[1]) == 0
    assert count(ids[0], at_most=0) == 0


def test_the_sweep_writes_the_states_of_texts_that_the_previous_version_changed(session_factory):
    ids = [add_captioned(session_factory)[0] for _ in range(3)]
    approve(session_factory, *ids)
    assert record(session_factory, check_reviews, limit=10) == 0
    with session_scope(session_factory) as session:
        session.execute(update(Image).where(Image.id == ids[0]).values(alt_text=None))
        session.execute(delete(ImageReview).where(ImageReview.image_id == ids[1]))

    assert read(session_factory, ids[1]).review_state is UNREVIEWED
    assert record(session_factory, check_reviews, limit=10) == 2

    assert find(session_factory, review=CHANGED, alt_text=AltTextState.MISSING) == [ids[0]]
    assert find(session_factory, review=UNREVIEWED) == [ids[1]]


def test_the_migration_adds_missing_reviews(session_factory, mocker):
    ids = add_many(session_factory, 5)
    with session_scope(session_factory) as session:
        assert session.scalar(text("SELECT count(*) FROM image_reviews")) == 0
    mocker.patch("database.migrations.WORDS_BATCH", 2)

    migrate(session_factory.kw["bind"])

    assert find(session_factory, review=UNREVIEWED) == ids[::-1]
    assert record(session_factory, add_missing_reviews, before_id=None, limit=3) == ids[2]


def test_a_deleted_image_takes_its_review_along(session_factory):
    image_id, _ = add_captioned(session_factory)
    with session_scope(session_factory) as session:
        session.execute(delete(Image).where(Image.id == image_id))
        assert session.scalars(select(ImageReview.image_id)).all() == []


def test_many_images_are_edited_with_as_many_statements_as_one(session_factory):
    ids = [add_captioned(session_factory)[0] for _ in range(30)]
    approve(session_factory, *ids[:10])

    record(session_factory, edit_annotations, {each: {"alt_text": "Rex"} for each in ids})

    assert len(find(session_factory, review=CHANGED)) == 10
    assert len(find(session_factory, alt_text=AltTextState.GOOD)) == 30
