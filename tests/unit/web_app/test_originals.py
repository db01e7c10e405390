"""Which viewers get a link to an original, on every route that shows an image."""

import re
import uuid

import pytest

from database.models import Preview, Status
from database.session import session_scope
from tests.unit.web_app.conftest import csrf_headers
from web_app.middleware.owners import Owner, Owners

ORIGINAL = re.compile(r"images\.test/originals/")
# Every route that shows or returns an image.
VIEWS = [
    "/gallery",
    "/images/{image_id}",
    "/images/{image_id}/card",
    "/images/{image_id}/download",
    "/images/{image_id}/preview",
    "/api/image_status/{image_id}",
    "/api/image_status?ids={image_id}",
    "/api/images",
    "/api/images/{image_id}",
]
# Only the owner gets these texts, and they have no link.
TEXTS = {"/api/images/{image_id}/versions"}


@pytest.fixture
def add_image(add_row, session_factory):
    """Return a function that adds a completed image of the owner "me"."""

    def add(*, has_preview=True, small_width=None, **columns):
        name = uuid.uuid4()
        row = {
            "owner_id": "me",
            "filename": "beach.heic",
            "content_type": "image/heic",
            "width": 4032,
            "height": 3024,
            "original_key": f"originals/{name}.heic",
            "thumbnail_key": f"thumbnails/{name}.webp",
            "thumbnail_status": Status.COMPLETED,
            "annotation_status": Status.COMPLETED,
        }
        image_id = add_row(**{**row, **columns})
        if has_preview:
            with session_scope(session_factory) as session:
                preview = Preview(
                    image_id=image_id, width=2016, height=1512, small_width=small_width
                )
                session.add(preview)
        return image_id

    return add


def headers_of(client, viewer):
    if viewer is None:
        return {}
    token = Owners(client.application.secret_key).token(Owner(viewer, is_new=False))
    return {"Authorization": f"Bearer {token}"}


def shown(client, path, viewer=None):
    """Return the body of a response and the address that it redirects to."""
    response = client.get(path, headers=headers_of(client, viewer))
    return response.get_data(as_text=True) + response.headers.get("Location", "")


def test_every_route_that_may_show_an_image_is_listed_here(app):
    paths = {
        re.sub(r"<image_id:(\w+)>", r"{\1}", rule.rule)
        for rule in app.url_map.iter_rules()
        if "GET" in rule.methods
    }

    known = {path.partition("?")[0] for path in VIEWS} | TEXTS
    assert {path for path in paths if "image" in path or "gallery" in path} == known


@pytest.mark.parametrize("has_preview", [True, False])
@pytest.mark.parametrize("viewer", [None, "another owner"])
@pytest.mark.parametrize("path", VIEWS)
def test_no_view_links_others_to_the_original(client, add_image, path, viewer, has_preview):
    image_id = add_image(has_preview=has_preview)

    assert not ORIGINAL.search(shown(client, path.format(image_id=image_id), viewer))


@pytest.mark.parametrize("path", VIEWS[4:])
def test_the_links_of_the_api_lead_others_to_the_preview(client, add_image, path):
    image_id = add_image()
    body = shown(client, path.format(image_id=image_id))

    assert "thumbnails.test/thumbnails/" in body
    assert "-preview.jpg" in body


@pytest.mark.parametrize(
    ("viewer", "visible_to", "may_open"),
    [
        ("me", "owner", True),
        ("another owner", "owner", False),
        (None, "owner", False),
        ("me", "everyone", True),
        ("another owner", "everyone", True),
        (None, "everyone", True),
    ],
)
def test_a_viewer_opens_and_downloads_the_original_only_if_the_setting_allows_it(
    make_client, add_image, viewer, visible_to, may_open
):
    client = make_client(originals_visible_to=visible_to)
    image_id = add_image()

    status = client.get(f"/api/images/{image_id}", headers=headers_of(client, viewer)).json
    page = shown(client, f"/images/{image_id}", viewer)
    download = shown(client, f"/images/{image_id}/download", viewer)

    assert bool(ORIGINAL.match(status["original_url"].removeprefix("https://"))) is may_open
    assert ("Open the original" in page) is may_open
    assert bool(ORIGINAL.search(download)) is may_open
    assert ("keep-as=beach.heic" if may_open else "keep-as=beach.jpg") in download


@pytest.mark.parametrize(
    ("viewer", "visible_to", "text"),
    [
        ("me", "owner", "Others see a copy without location or camera data."),
        (None, "owner", "This is a copy without location or camera data."),
        (None, "everyone", "with the location and the camera data in it."),
    ],
)
def test_the_page_of_an_image_says_what_is_shared(make_client, add_image, viewer, visible_to, text):
    client = make_client(originals_visible_to=visible_to)

    assert text in shown(client, f"/images/{add_image()}", viewer)
    shares = "as they are" if visible_to == "everyone" else "copies without location or camera data"
    assert shares in shown(client, "/")


def test_the_api_field_for_the_original_is_empty_for_others_until_there_is_a_preview(
    client, add_image
):
    image_id = add_image(has_preview=False)

    status = client.get(f"/api/images/{image_id}").json

    fields = ("preview_url", "preview_srcset", "original_url")
    assert [status[name] for name in fields] == [None, None, None]
    assert status["thumbnail_url"]


def test_an_answer_to_the_owner_is_not_used_again_for_others(client, add_image):
    path = f"/api/images/{add_image()}"
    own = client.get(path, headers=headers_of(client, "me"))

    response = client.get(path, headers={"If-None-Match": own.headers["ETag"]})

    assert response.status_code == 200
    assert {"Cookie", "Authorization"} <= {name.strip() for name in own.headers["Vary"].split(",")}


def test_others_download_the_thumbnail_until_there_is_a_preview(client, add_image):
    image_id = add_image(has_preview=False)

    assert ".webp?keep-as=beach.webp" in shown(client, f"/images/{image_id}/download")
    assert ".webp" in shown(client, f"/images/{image_id}/preview")


@pytest.mark.parametrize(
    ("status", "text"),
    [(Status.PENDING, "Try again in a minute."), (Status.FAILED, "could not be opened")],
)
def test_others_get_a_clear_answer_when_there_is_no_copy(client, add_image, status, text):
    image_id = add_image(has_preview=False, thumbnail_key=None, thumbnail_status=status)

    for path in ("preview", "download"):
        response = client.get(f"/images/{image_id}/{path}")
        assert response.status_code == 404
        assert text in response.get_data(as_text=True)


def test_the_page_shows_the_preview_and_until_then_the_thumbnail(client, add_image):
    with_preview, without = add_image(), add_image(has_preview=False)

    assert "-preview.jpg 2016w" in shown(client, f"/images/{with_preview}")
    page = shown(client, f"/images/{without}")
    assert "<source" not in page
    assert 'class="frame__image"' in page


@pytest.mark.parametrize(
    ("viewer", "content_type", "width", "has_original"),
    [
        ("me", "image/jpeg", 4032, True),
        ("me", "image/heic", 4032, False),
        ("me", "image/jpeg", 2016, False),
        (None, "image/jpeg", 4032, False),
    ],
)
def test_huge_screens_get_the_original_if_the_viewer_may_open_it_and_browsers_show_it(
    client, add_image, viewer, content_type, width, has_original
):
    image_id = add_image(content_type=content_type, width=width)

    status = client.get(f"/api/images/{image_id}", headers=headers_of(client, viewer)).json

    widths = [candidate.split(" ")[1] for candidate in status["preview_srcset"].split(", ")]
    assert widths == (["2016w", f"{width}w"] if has_original else ["2016w"])


def test_small_screens_get_the_small_preview_if_there_is_one(client, add_image):
    with_small, without = add_image(small_width=1008), add_image()

    for path in ("/images/{}", "/api/images/{}", "/api/image_status?ids={}", "/api/images"):
        body = shown(client, path.format(with_small))
        assert re.search(r"-small-preview\.jpg 1008w, \S+[0-9a-f]-preview\.jpg 2016w", body), path
    for path in ("/images/{}", "/api/images/{}"):
        assert "-small-preview" not in shown(client, path.format(without))


def test_the_review_desk_shows_the_small_preview_on_small_screens(client, add_image):
    image_id = add_image(small_width=1008)

    assert "-small-preview.jpg 1008w" in shown(client, f"/review?image={image_id}", "me")


def test_a_shared_page_shows_the_preview_at_an_address_that_does_not_expire(client, add_image):
    image_id = add_image(annotation="A dog on a beach.")

    page = shown(client, f"/images/{image_id}")

    assert f'property="og:image" content="http://localhost/images/{image_id}/preview"' in page
    assert 'property="og:image:width" content="2016"' in page
    assert 'property="og:description" content="A dog on a beach."' in page


def test_the_answers_to_the_owners_changes_link_to_the_original(client, add_image):
    image_id = add_image()
    headers = {**headers_of(client, "me"), **csrf_headers(client)}

    response = client.patch(
        f"/api/images/{image_id}", json={"annotation": "Mine."}, headers=headers
    )

    assert ORIGINAL.search(response.json["original_url"])
