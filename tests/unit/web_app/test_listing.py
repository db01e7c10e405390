"""The list of images: in the JSON API and on the gallery page."""

import re
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from sqlalchemy import update

from database.annotations import edit_annotation
from database.errors import QueryTooSlowError
from database.models import Image, Status
from tests.support.factories import make_jpeg
from tests.unit.web_app.test_pages import Page
from web_app.routes.request import list_url
from web_app.routes.schemas import GalleryQuerySchema

DONE = {"annotation_status": Status.COMPLETED, "thumbnail_status": Status.COMPLETED}


def ids(response):
    return [image["id"] for image in response.json["images"]]


def test_a_list_has_pages_and_the_first_page_has_the_count(client, add_row):
    added = [add_row() for _ in range(5)]

    first = client.get("/api/images?limit=2").json
    second = client.get(f"/api/images?limit=2&cursor={first['next_cursor']}").json
    last = client.get(f"/api/images?limit=2&cursor={second['next_cursor']}").json

    pages = [[image["id"] for image in page["images"]] for page in (first, second, last)]
    assert pages == [added[:2:-1], added[2:0:-1], added[:1]]
    assert [page["count"] for page in (first, second, last)] == [5, None, None]
    assert last["next_cursor"] is None
    assert first["images"][0] == client.get(f"/api/images/{added[-1]}").json


def test_counting_stops_at_the_maximum_count(client, add_row, mocker):
    mocker.patch("web_app.services.listing.MAX_COUNT", 3)
    for _ in range(5):
        add_row()

    assert client.get("/api/images?limit=1").json["count"] == 3


def test_a_list_can_be_filtered_by_words_tag_and_status(client, add_row):
    dog = add_row(annotation="A dog", tags=["Beach"], **DONE)
    cat = add_row(annotation="A cat", tags=["Beach"])

    assert ids(client.get("/api/images?q=do")) == [dog]
    assert ids(client.get("/api/images?tag=beach")) == [cat, dog]
    assert ids(client.get("/api/images?tag=beach&status=pending")) == [cat]
    assert ids(client.get("/api/images?q=&tag=")) == [cat, dog]
    assert client.get("/api/images?q=dog&status=failed").json == {
        "images": [],
        "next_cursor": None,
        "count": 0,
    }


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("limit=0", 422, "invalid_request"),
        ("limit=101", 422, "invalid_request"),
        ("limit=x", 422, "invalid_request"),
        ("status=done", 422, "invalid_request"),
        ("status=", 422, "invalid_request"),
        ("cursor=x", 400, "invalid_cursor"),
        ("cursor=", 400, "invalid_cursor"),
        ("cursor=24", 400, "invalid_cursor"),
        ("sort=size", 422, "invalid_request"),
        ("sort=changed&q=dog", 422, "invalid_request"),
        ("sort=changed&tag=dog", 422, "invalid_request"),
        ("since=yesterday", 422, "invalid_request"),
        ("since=2026-02-30", 422, "invalid_request"),
        ("since=2026-W01", 422, "invalid_request"),
        ("since=2026-01-01T10:00:00", 422, "invalid_request"),
        ("since=2026-01-01T25:00:00Z", 422, "invalid_request"),
        ("until=9999-12-31", 422, "invalid_request"),
        ("since=0001-01-01T00:00:00%2B10:00", 422, "invalid_request"),
        ("since=2026-01-02&until=2026-01-01", 422, "invalid_request"),
        ("&".join(["tag=a"] * 11), 422, "invalid_request"),
    ],
)
def test_an_invalid_parameter_is_refused_with_the_reason(client, query, status, code):
    response = client.get(f"/api/images?{query}")

    assert (response.status_code, response.json["code"]) == (status, code)
    assert response.json["error"].endswith(".")


def set_times(session_factory, image_id, **times):
    with session_factory.begin() as session:
        session.execute(update(Image).where(Image.id == image_id).values(times))


def day(number, hour=12):
    return datetime(2026, 3, number, hour, tzinfo=UTC)


def test_a_list_has_an_order_and_bounds_of_time(client, add_row, session_factory):
    a, b, c = [add_row() for _ in range(3)]
    for number, image_id in enumerate((a, b, c), start=1):
        set_times(session_factory, image_id, uploaded_at=day(number), updated_at=day(20 - number))

    def listed(query):
        return ids(client.get(f"/api/images?{query}"))

    assert listed("sort=newest") == listed("") == [c, b, a]
    assert listed("sort=oldest") == listed("sort=changed") == [a, b, c]
    assert listed("since=2026-03-02") == [c, b]
    assert listed("until=2026-03-02") == [b, a]
    assert listed("since=2026-03-02&until=2026-03-02") == [b]
    assert listed("since=2026-03-02T12:00:00.000001Z") == [c]
    assert listed("until=2026-03-02T12:00:00Z") == [a]
    assert listed("since=2026-03-02T14:00:00%2B02:00") == [c, b]
    assert listed("since=2026-03-02T14:00:00+02:00") == [c, b]  # The plus sign means a space.
    assert listed("sort=changed&since=2026-03-18") == [a, b]


def test_pages_of_each_order_continue_with_the_cursor(client, add_row):
    added = [add_row() for _ in range(5)]

    for sort, expected in (("oldest", added), ("newest", added[::-1])):
        address, found = f"/api/images?limit=2&sort={sort}", []
        cursor = ""
        while cursor is not None:
            page = client.get(address + (cursor and f"&cursor={cursor}")).json
            found += [image["id"] for image in page["images"]]
            cursor = page["next_cursor"]
        assert found == expected


def test_a_cursor_of_another_search_is_refused(client, add_row):
    for _ in range(2):
        add_row(annotation="A dog")
    cursor = client.get("/api/images?limit=1").json["next_cursor"]

    response = client.get(f"/api/images?limit=1&q=dog&cursor={cursor}")

    assert (response.status_code, response.json["code"]) == (400, "invalid_cursor")
    assert "Start again from the first page" in response.json["error"]


def test_several_tags_must_all_match(client, add_row):
    both = add_row(tags=["dog", "beach"])
    add_row(tags=["dog"])

    assert ids(client.get("/api/images?tag=dog&tag=Beach")) == [both]


def test_the_gallery_shows_each_filter_as_a_link_that_removes_it(client, add_row):
    add_row(annotation="A dog", tags=["dog", "beach"])
    query = "q=dog&tag=dog&tag=beach&status=pending&since=2020-01-01&until=2099-01-01&sort=oldest"

    page = Page(client.get(f"/gallery?{query}"))

    removing = [
        parse_qs(urlsplit(link["href"]).query)
        for link in page.all("a", **{"class": "filters__item filters__item--tag"})
    ]
    whole = parse_qs(query)
    removed = [
        {name: values for name, values in whole.items() if left.get(name) != values}
        for left in removing
    ]
    assert removed == [
        {"q": ["dog"]},
        {"tag": ["dog", "beach"]},
        {"tag": ["dog", "beach"]},
        {"since": ["2020-01-01"]},
        {"until": ["2099-01-01"]},
    ]
    assert [left["tag"] for left in removing[1:3]] == [["beach"], ["dog"]]
    assert "Remove tag" in page.texts


def test_the_gallery_shows_only_mine_on_request(client, add_row):
    client.get("/")  # It gives a new visitor an owner.
    add_row()

    page = Page(client.get("/gallery?mine=true"))

    assert page.image_ids == []
    (link,) = page.all("a", **{"href": "/gallery", "aria-current": "true"})
    assert link["class"] == "filters__item"


def test_a_search_is_not_sorted_by_change(client, add_row):
    add_row(annotation="A dog")

    searched = Page(client.get("/gallery?q=dog"))
    response = client.get("/gallery?q=dog&sort=changed")

    option, _of_reviews = searched.all("option", value="changed")
    assert "disabled" in option
    assert response.status_code == 400
    assert "Use newest or oldest." in response.text
    # The form of a search leaves this order out.
    assert not Page(client.get("/gallery?sort=changed")).all("input", name="sort")


@pytest.mark.parametrize("hostile", ['"', "\0", "*", "%F0%9F%8F%96", "%ED%A0%80", "x" * 10_000])
def test_a_hostile_search_is_answered(client, add_row, hostile):
    add_row()

    for path in ("/api/images", "/gallery"):
        assert client.get(f"{path}?q={hostile}&tag={hostile}").status_code == 200


def test_the_next_page_of_a_search_keeps_the_filters(client, add_row):
    dogs = [add_row(annotation="A dog", tags=["Beach & sea"], **DONE) for _ in range(25)]
    add_row(annotation="A cat")

    page = Page(client.get("/gallery?q=dog&tag=beach %26 sea&status=completed"))

    assert page.image_ids == dogs[:0:-1]
    assert Page(client.get(page.next_link)).image_ids == dogs[:1]
    assert "25 images" in " ".join(page.texts)


def test_links_and_actions_keep_every_filter_and_nothing_else(app):
    filters = {
        "q": "dog",
        "tag": "beach",
        "language": "de",
        "status": "completed",
        "mine": "true",
        "since": "2026-01-01",
        "until": "2026-12-31",
        "sort": "oldest",
        "review": "approved",
        "alt": "missing",
    }
    assert {*filters, "cursor", "limit"} == {*GalleryQuerySchema().fields}
    address = urlencode({**filters, "cursor": "x", "select": "1", "utm_source": "a newsletter"})

    with app.test_request_context(f"/gallery?{address}"):
        kept = parse_qs(urlsplit(list_url()).query)

    assert kept == {name: [value] for name, value in filters.items()}


def test_the_gallery_ignores_empty_filters_and_refuses_an_unknown_status(client, add_row):
    image_id = add_row()

    assert Page(client.get("/gallery?q=&tag=&status=&cursor=")).image_ids == [image_id]
    assert client.get("/gallery?status=done").status_code == 400


def test_the_search_text_is_escaped_on_the_page(client):
    text = client.get('/gallery?q="><script>alert(1)</script>').get_data(as_text=True)

    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_the_card_of_one_image_can_be_fetched(client, add_row):
    image_id = add_row(annotation="A dog")

    card = client.get(f"/images/{image_id}/card").get_data(as_text=True)

    assert card.strip().startswith("<li")
    assert f'data-image-id="{image_id}"' in card
    whole = re.sub(r"\s+", " ", client.get("/gallery").get_data(as_text=True))
    assert "A dog" in card
    assert "A dog" in whole
    assert client.get("/images/999/card").status_code == 404


# Revalidation of unchanged responses

PATHS_WITH_ETAG = [
    "/api/image_status/{id}",
    "/api/image_status?ids={id}",
    "/api/images",
    "/gallery",
]


@pytest.mark.parametrize("path", [*PATHS_WITH_ETAG, "/api/images/{id}"])
def test_an_unchanged_response_is_revalidated_with_304(client, add_row, path):
    path = path.format(id=add_row())
    first = client.get(path)

    revalidated = client.get(path, headers={"If-None-Match": first.headers["ETag"]})

    assert first.status_code == 200
    assert (revalidated.status_code, revalidated.data) == (304, b"")
    assert revalidated.headers["ETag"] == first.headers["ETag"]
    assert revalidated.headers["Cache-Control"] == "private, no-cache"
    assert {"Cookie", "Authorization"} <= set(revalidated.vary)


@pytest.mark.parametrize("path", PATHS_WITH_ETAG)
def test_a_changed_response_is_sent_again(client, add_row, session_factory, path):
    image_id = add_row()
    etag = client.get(path.format(id=image_id)).headers["ETag"]

    with session_factory.begin() as session:
        edit_annotation(session, image_id, {"annotation": "Rex"})

    response = client.get(path.format(id=image_id), headers={"If-None-Match": etag})
    assert response.status_code == 200
    assert "Rex" in response.get_data(as_text=True)


def test_a_gallery_page_of_another_session_has_another_etag(app, client, add_row):
    add_row()
    etag = client.get("/gallery").headers["ETag"]

    assert app.test_client().get("/gallery", headers={"If-None-Match": etag}).status_code == 200


def test_pending_messages_are_shown_although_the_page_is_unchanged(client, send_page):
    etag = client.get("/gallery").headers["ETag"]
    send_page(("a.jpg", b"text"))

    response = client.get("/gallery", headers={"If-None-Match": etag})

    assert response.status_code == 200
    assert "messages__item" in response.get_data(as_text=True)


def test_errors_have_no_etag(client):
    assert "ETag" not in client.get("/api/images/1").headers


def test_results_that_are_too_many_to_count_are_shown_without_a_count(client, add_row, mocker):
    for _ in range(3):
        add_row(annotation="A dog")
    mocker.patch("database.full_text.count", return_value=None)

    page = client.get("/api/images?q=dog&limit=2").json
    assert (len(page["images"]), page["count"]) == (2, None)
    mocker.patch("web_app.routes.pages.PAGE_SIZE", 2)
    assert "Images for “dog”" in client.get("/gallery?q=dog").text


def steps(client, address):
    links = Page(client.get(address)).all("a")
    return [
        next((link["href"] for link in links if link.get("rel") == relation), None)
        for relation in ("prev", "next")
    ]


def test_the_page_of_an_image_links_to_those_beside_it(client, add_row):
    a, b, c = [add_row() for _ in range(3)]

    assert steps(client, f"/images/{b}") == [f"/images/{c}", f"/images/{a}"]
    assert steps(client, f"/images/{c}") == [None, f"/images/{b}"]
    assert steps(client, f"/images/{a}") == [f"/images/{b}", None]


@pytest.mark.parametrize(
    "query", ["q=dog", "tag=beach", "status=completed", "q=dog&tag=beach&status=completed"]
)
def test_the_images_beside_an_image_are_those_of_the_list(client, add_row, query):
    dogs = []
    for _ in range(3):
        dogs.append(add_row(annotation="A dog", tags=["beach"], **DONE))
        add_row(annotation="A cat")
    first, second, third = (f"/images/{dog}?{query}" for dog in dogs)

    assert steps(client, second) == [third, first]
    assert steps(client, f"{second}&sort=oldest") == [
        f"{first}&sort=oldest",
        f"{third}&sort=oldest",
    ]


def test_an_image_that_left_the_list_still_leads_to_its_neighbours(client, add_row):
    a = add_row(annotation="A dog")
    b = add_row(annotation="A cat")
    c = add_row(annotation="A dog")

    assert steps(client, f"/images/{b}?q=dog") == [f"/images/{c}?q=dog", f"/images/{a}?q=dog"]


@pytest.mark.parametrize("query", ["status=nonsense", "since=x", "sort=changed&q=dog"])
def test_an_image_is_shown_although_its_address_names_no_list(client, add_row, query):
    image_id = add_row()

    assert client.get(f"/images/{image_id}?{query}").status_code == 200


def test_an_image_is_shown_although_its_list_takes_too_long(client, add_row, mocker):
    image_id = add_row(annotation="A dog")
    mocker.patch("web_app.services.listing.list_ids", side_effect=QueryTooSlowError)

    assert steps(client, f"/images/{image_id}?q=dog") == [None, None]


def test_a_card_has_the_date_of_the_upload_and_says_whose_it_is(
    client, add_row, send, session_factory
):
    mine = send(("mine.jpg", make_jpeg())).json["results"][0]["id"]
    other = add_row()
    for image_id in (mine, other):
        set_times(session_factory, image_id, uploaded_at=day(9))

    assert "9 March 2026" in client.get(f"/images/{other}/card").text
    assert "· yours" in client.get(f"/images/{mine}/card").text
    assert "· yours" not in client.get(f"/images/{other}/card").text
