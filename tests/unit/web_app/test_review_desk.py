"""The review desk, as a browser without JavaScript uses it."""

import re

import pytest

from database.caption_options import set_caption_options
from database.models import AnnotationSource, CaptionOptions, Status
from database.session import session_scope
from tests.unit.web_app.conftest import csrf_headers
from web_app.middleware.owners import Owner, Owners

CAPTIONED = {
    "annotation": "A dog on a beach.",
    "alt_text": "Dog on beach",
    "tags": ["dog"],
    "annotation_source": AnnotationSource.MODEL,
    "generated_annotation": "A dog on a beach.",
    "annotation_status": Status.COMPLETED,
    "thumbnail_status": Status.COMPLETED,
}


@pytest.fixture
def me(app, client):
    """Return the client with the cookie of the owner "me"."""
    client.set_cookie("owner", Owners(app.secret_key).token(Owner("me", is_new=False)))
    return client


@pytest.fixture
def add_mine(add_row):
    return lambda name="a.jpg", **columns: add_row(
        owner_id="me", filename=name, **{**CAPTIONED, **columns}
    )


@pytest.fixture
def send(me):
    """Return a function that sends the form of the desk and follows the redirect."""

    def send(image_id, action, query="", **fields):
        return me.post(
            f"/review/{image_id}{query}",
            data={"action": action, **fields},
            headers=csrf_headers(me),
            follow_redirects=True,
        )

    return send


def shown(response):
    """Return the name of the image on the desk, or the title of an empty desk."""
    found = re.search(r'data-part="name">\s*([^<]*?)\s*<', response.text)
    return found[1]


def image(client, image_id):
    return client.get(f"/api/images/{image_id}").json


def test_the_desk_shows_only_own_images_that_are_not_reviewed(me, add_mine, add_row, send):
    assert shown(me.get("/review")) == "You have no images."
    first, second = add_mine("first.jpg"), add_mine("second.jpg")
    others = add_row(filename="others.jpg", **CAPTIONED)

    page = me.get("/review")
    assert shown(page) == "second.jpg"
    assert "2 in this list" in page.text
    assert shown(send(second, "approve")) == "first.jpg"
    assert shown(send(first, "approve")) == "Everything is reviewed."
    assert send(others, "approve").status_code == 403
    assert image(me, others)["review"] == "unreviewed"


def test_an_address_of_an_image_of_others_or_of_none_shows_an_own_one(me, add_mine, add_row):
    mine = [add_mine("first.jpg"), add_mine("second.jpg")]
    others = add_row(filename="others.jpg", **CAPTIONED)
    sentence = "That image was deleted, or is not one of yours."

    for image_id in (others, 99_999):
        page = me.get(f"/review?image={image_id}")
        assert shown(page) == "second.jpg"
        assert f"{sentence} This is another one." in page.text
    for image_id in mine:
        me.delete(f"/api/images/{image_id}", headers=csrf_headers(me))
    page = me.get(f"/review?image={others}")
    assert shown(page) == "You have no images."
    assert sentence in page.text
    assert "This is another one." not in page.text


def test_an_approval_saves_the_texts_and_shows_the_next_image(me, add_mine, send):
    ids = [add_mine(f"{number}.jpg", tags=["dog, small", "sea"]) for number in range(3)]
    old_tags = "dog, small, sea"

    page = send(
        ids[2], "approve", annotation="Rex.", alt_text="Rex", tags=old_tags, old_tags=old_tags
    )

    assert shown(page) == "1.jpg"
    assert "Approved." in page.text
    saved = image(me, ids[2])
    assert (saved["annotation"], saved["alt_text"], saved["review"]) == ("Rex.", "Rex", "reviewed")
    assert saved["tags"] == ["dog, small", "sea"]
    page = send(ids[1], "save", tags="cat, dog", old_tags=old_tags)
    assert shown(page) == "1.jpg"
    assert image(me, ids[1])["tags"] == ["cat", "dog"]


def test_after_the_last_image_comes_the_first_that_is_left(add_mine, send):
    oldest, _newest = add_mine("oldest.jpg"), add_mine("newest.jpg")

    assert shown(send(oldest, "approve")) == "newest.jpg"


def test_an_approval_is_withdrawn_and_an_image_is_decorative_or_not(me, add_mine, send):
    image_id = add_mine()
    send(image_id, "approve")
    page = send(image_id, "unapprove", "?review=reviewed")
    assert shown(page) == "a.jpg"
    assert image(me, image_id)["review"] == "unreviewed"

    assert "screen readers skip" in send(image_id, "decorative").text
    assert image(me, image_id)["decorative"]
    assert shown(me.get("/review?alt=decorative")) == "a.jpg"
    assert "screen readers skip" not in send(image_id, "not_decorative").text


def test_a_deleted_image_comes_back_with_undo(me, add_mine, send):
    first, second = add_mine("first.jpg"), add_mine("second.jpg")

    page = send(second, "delete")
    assert shown(page) == "first.jpg"
    assert "Moved “second.jpg” to your bin." in page.text
    assert 'name="from" value="review"' in page.text
    restored = me.post(
        "/bin/restore",
        data={"id": second, "from": "review"},
        headers=csrf_headers(me),
        follow_redirects=True,
    )

    assert shown(restored) == "second.jpg"
    assert image(me, first)["review"] == "unreviewed"
    assert "deleted meanwhile" in send(99_999, "approve").text


GERMAN = "Ein Hund läuft mit einem Ball über den Strand"


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"alt_text": None}, "The alt text is missing."),
        ({"alt_text": GERMAN}, "The alt text does not seem to be in English."),
        ({"alt_text": "a" * 126}, "The alt text has 126 characters. Up to 125 are easy"),
        ({"alt_text": "Image of a dog"}, "begins with “Image of”"),
        ({"alt_text": "A dog on a beach"}, "the same as the caption"),
        ({}, "It is also the alt text of 1 image of yours."),
    ],
)
def test_what_is_wrong_with_an_alt_text_is_said(me, add_mine, columns, problem):
    add_mine()
    image_id = add_mine(**columns)

    assert problem in me.get(f"/review?image={image_id}").text


def test_the_expected_language_is_the_first_that_the_owner_chose(me, add_mine, session_factory):
    image_id, other_id = add_mine(alt_text=GERMAN), add_mine(alt_text=GERMAN)
    for languages, problem in (
        (("de", "en"), None),
        (("pt-BR", "de"), "The alt text does not seem to be in Portuguese (pt-BR)."),
    ):
        with session_scope(session_factory) as session:
            set_caption_options(session, {image_id: CaptionOptions(languages)})

        page = me.get(f"/review?image={image_id}").text
        assert "does not seem to be in" not in page if problem is None else problem in page
        listed = {image_id, other_id} if problem else {other_id}
        images = me.get("/api/images?alt=language").json["images"]
        assert {each["id"] for each in images} == listed


def test_a_decorative_image_has_no_problem(me, add_mine, send):
    image_id = add_mine(alt_text=None)

    assert "desk__problem" in me.get("/review").text
    assert "desk__problem" not in send(image_id, "decorative").text


def test_changed_images_are_offered_when_all_others_are_reviewed(me, add_mine, send):
    image_id = add_mine()
    send(image_id, "approve")
    assert "Review the changed ones" not in me.get("/review").text
    send(image_id, "save", alt_text="Another")

    assert "Review the changed ones" in me.get("/review").text
    page = me.get("/review?review=changed")
    assert shown(page) == "a.jpg"
    assert "Changed since the review" in page.text
    assert shown(send(image_id, "approve", "?review=changed")) == "No image is in this list."


def test_texts_of_another_edit_are_shown_beside_the_own_ones(me, add_mine, send):
    image_id = add_mine()
    [version] = re.findall(r'name="version" value="(\w+)"', me.get("/review").text)
    send(image_id, "save", alt_text="Theirs")

    page = send(image_id, "approve", version=version, alt_text="Mine <b>")

    assert page.status_code == 412
    assert "Mine &lt;b&gt;</textarea>" in page.text
    assert 'Saved meanwhile: <q dir="auto">Theirs</q>' in page.text
    assert image(me, image_id)["alt_text"] == "Theirs"
    [version] = re.findall(r'name="version" value="(\w+)"', page.text)
    send(image_id, "approve", version=version, alt_text="Mine <b>")
    assert image(me, image_id)["alt_text"] == "Mine <b>"


def test_a_text_that_is_too_long_stays_in_its_field(me, add_mine, send):
    image_id = add_mine()

    page = send(image_id, "approve", alt_text="b" * 501)

    assert page.status_code == 422
    assert f"{'b' * 501}</textarea>" in page.text
    assert "The limit is 500." in page.text
    assert image(me, image_id)["review"] == "unreviewed"


def test_a_new_caption_is_requested_and_shown_as_pending(me, add_mine, send, event_bus):
    image_id = add_mine()

    page = send(image_id, "regenerate", context=" Rex is the dog ")

    assert shown(page) == "a.jpg"
    assert 'value="Rex is the dog"' not in page.text  # The form is not offered while it is written.
    assert "Writing a caption…" in page.text
    assert len(event_bus.requested) == 1
    assert image(me, image_id)["annotation_status"] == "pending"
    assert image(me, image_id)["caption_options"]["context"] == "Rex is the dog"


def test_a_context_that_is_too_long_is_refused_with_a_sentence(me, add_mine, send, event_bus):
    image_id = add_mine()

    page = send(image_id, "regenerate", context="x" * 501)

    assert shown(page) == "a.jpg"
    assert "500" in page.text
    assert event_bus.requested == []


@pytest.mark.parametrize("query", ["?review=all", "?alt=bad", "?since=never"])
def test_an_unknown_list_is_refused_with_a_page(me, query):
    response = me.get(f"/review{query}")

    assert response.status_code == 400
    assert "Image Annotation" in response.text


def test_an_unknown_action_is_refused(me, add_mine, send):
    assert send(add_mine(), "destroy").status_code == 400


@pytest.mark.parametrize("value", ["abc", "0", "9" * 30, "-1", "%00"])
def test_a_value_that_is_no_id_shows_the_first_image(me, add_mine, value):
    add_mine()

    assert shown(me.get(f"/review?image={value}")) == "a.jpg"


@pytest.mark.parametrize("query", ["", "?review=changed", "?alt=missing"])
def test_a_visitor_without_images_is_led_to_the_upload(client, add_row, query):
    add_row(filename="others.jpg", **CAPTIONED)

    page = client.get(f"/review{query}")

    assert shown(page) == "You have no images."
    assert re.search(r'href="/"\s*>Upload images</a>', page.text)


def test_the_filters_keep_a_search(me, add_mine):
    add_mine(tags=["dog"])
    page = me.get("/review?tag=dog&alt=missing").text

    assert "/review?tag=dog&amp;review=unreviewed" in page
    assert re.findall(r'aria-current="true">([^<]*)<', page) == ["Alt text missing"]
    page_of_all = me.get("/review").text
    assert re.findall(r'aria-current="true">([^<]*)<', page_of_all) == ["Unreviewed"]
    assert 'href="/review?review=changed"' in page_of_all
    assert 'href="/review?alt=decorative"' in page_of_all
    assert shown(me.get("/review?tag=dog")) == "a.jpg"
    assert shown(me.get("/review?tag=cat")) == "No image is in this list."
