"""One action on many images through the API."""

import pytest
from sqlalchemy.event import listen

from database.models import AnnotationSource, Job, Status
from tests.unit.web_app.test_owner_rules import token

TAGS = {"tags": ["rex"]}
FAILED = {
    "annotation_status": Status.FAILED,
    "annotation_error_code": "model_busy",
    "thumbnail_status": Status.COMPLETED,
}
COMPLETED = {
    "annotation": "A dog.",
    "annotation_source": AnnotationSource.MODEL,
    "annotation_status": Status.COMPLETED,
    "thumbnail_status": Status.COMPLETED,
}


@pytest.fixture
def send_batch(app, make_client):
    """Return a function that sends a batch of the owner "me"."""

    def send_batch(action, ids=None, by=None, owner="me", **fields):
        body = {"action": action, **({} if ids is None else {"ids": ids}), **fields}
        return (by or app.test_client()).post(
            "/api/images/batch",
            json=body,
            headers={"Authorization": f"Bearer {token(app, owner)}"},
        )

    return send_batch


@pytest.fixture
def add_mine(add_row):
    return lambda **columns: add_row(owner_id="me", **columns)


def outcomes(response):
    assert response.status_code == 200, response.json
    return [
        (result["id"], result["outcome"], result["error"] and result["error"]["code"])
        for result in response.json["results"]
    ]


@pytest.mark.parametrize(
    ("action", "fields"), [("delete", {}), ("add_tags", TAGS), ("remove_tags", TAGS), ("retry", {})]
)
def test_each_image_has_its_own_result(send_batch, add_mine, add_row, action, fields):
    mine = add_mine(**FAILED, tags=["rex"] if action == "remove_tags" else None)
    others = add_row()
    binned = add_mine()
    send_batch("delete", [binned])

    ids = [others, mine, 99_999, -1, 0, 10**20, mine]
    response = send_batch(action, ids, **fields)

    assert outcomes(response) == [
        (others, "refused", "not_owner"),
        (mine, "done", None),
        (99_999, "refused", "image_not_found"),
        (-1, "refused", "image_not_found"),
        (0, "refused", "image_not_found"),
        (10**20, "refused", "image_not_found"),
    ]
    assert response.json["done"] == 1
    expected = (
        (binned, "unchanged", None) if action == "delete" else (binned, "refused", "image_in_bin")
    )
    assert outcomes(send_batch(action, [binned], **fields)) == [expected]


@pytest.mark.parametrize(
    ("action", "fields"), [("delete", {}), ("add_tags", TAGS), ("remove_tags", TAGS), ("retry", {})]
)
def test_a_repeated_batch_changes_nothing_more(
    send_batch, add_mine, read_rows, event_bus, action, fields
):
    image_id = add_mine(**FAILED, tags=["rex"] if action == "remove_tags" else None)
    assert outcomes(send_batch(action, [image_id], **fields)) == [(image_id, "done", None)]
    requested = list(event_bus.requested)
    [before] = read_rows()

    assert outcomes(send_batch(action, [image_id], **fields)) == [(image_id, "unchanged", None)]

    [after] = read_rows()
    assert (after.deleting_at, after.tags) == (before.deleting_at, before.tags)
    assert event_bus.requested == requested


def test_deleted_images_can_be_restored_together(send_batch, add_mine, client):
    ids = [add_mine(**COMPLETED) for _ in range(3)]

    assert send_batch("delete", ids).json["done"] == 3
    assert client.get("/api/images").json["images"] == []
    assert send_batch("undelete", ids).json["done"] == 3

    assert [image["id"] for image in client.get("/api/images").json["images"]] == ids[::-1]
    assert outcomes(send_batch("undelete", ids[:1])) == [(ids[0], "unchanged", None)]


def test_the_pending_jobs_of_restored_images_are_requested(send_batch, add_mine, event_bus):
    image_id = add_mine(original_key="originals/a.jpg")
    send_batch("delete", [image_id])

    send_batch("undelete", [image_id])

    assert event_bus.requested == [(job, "originals/a.jpg") for job in Job]


def test_tags_are_added_and_removed_whatever_their_case(send_batch, add_mine, read_rows):
    image_id = add_mine(tags=["Dog", "beach"])

    send_batch("add_tags", [image_id], tags=["DOG", "rex"])
    assert read_rows()[0].tags == ["Dog", "beach", "rex"]
    send_batch("remove_tags", [image_id], tags=["dog", "REX", "absent"])
    assert read_rows()[0].tags == ["beach"]

    send_batch("remove_tags", [image_id], tags=["beach"])
    assert read_rows()[0].tags is None


def test_an_image_with_too_many_tags_is_refused_and_the_others_are_changed(
    send_batch, add_mine, read_rows
):
    full, empty = add_mine(tags=[f"tag {n}" for n in range(20)]), add_mine()

    response = send_batch("add_tags", [full, empty], **TAGS)

    assert outcomes(response) == [(full, "refused", "invalid_edit"), (empty, "done", None)]
    assert response.json["results"][0]["error"]["message"] == "Use up to 20 tags. You have 21."
    assert {row.id: row.tags and len(row.tags) for row in read_rows()} == {full: 20, empty: 1}


def test_added_tags_are_found_and_are_those_of_a_person(send_batch, add_mine, client):
    image_id = add_mine(**COMPLETED, tags=["dog"])

    send_batch("add_tags", [image_id], **TAGS)

    [image] = client.get("/api/images?tag=rex").json["images"]
    assert image["sources"] == {"caption": "model", "alt_text": None, "tags": "human"}


def test_a_new_caption_is_requested_for_completed_and_failed_images(
    send_batch, add_mine, event_bus
):
    completed = add_mine(**COMPLETED, original_key="originals/a.jpg")
    failed = add_mine(**FAILED, original_key="originals/b.jpg")
    pending = add_mine()

    assert outcomes(send_batch("regenerate", [completed, failed, pending])) == [
        (completed, "done", None),
        (failed, "done", None),
        (pending, "unchanged", None),
    ]
    assert sorted(event_bus.requested) == [
        (Job.ANNOTATION, "originals/a.jpg"),
        (Job.ANNOTATION, "originals/b.jpg"),
    ]


def test_a_filter_names_the_matching_images_of_the_owner(send_batch, add_mine, add_row, read_rows):
    dog, cat = add_mine(filename="dog.jpg"), add_mine(filename="cat.jpg")
    add_row(filename="dog.jpg")

    assert outcomes(send_batch("delete", filter={"q": "dog"})) == [(dog, "done", None)]
    assert outcomes(send_batch("delete", filter={})) == [(cat, "done", None)]


def test_a_filter_with_more_images_than_a_batch_is_continued_by_the_cursor(
    send_batch, add_mine, monkeypatch
):
    monkeypatch.setattr("web_app.routes.api.MAX_BATCH", 2)
    ids = [add_mine() for _ in range(5)]

    found, cursor = [], {}
    while True:
        response = send_batch("add_tags", filter={}, **TAGS, **cursor)
        found += [image_id for image_id, _, _ in outcomes(response)]
        if response.json["next_cursor"] is None:
            break
        cursor = {"cursor": response.json["next_cursor"]}

    assert found == ids[::-1]


@pytest.mark.parametrize(
    "body",
    [
        {"action": "delete"},
        {"action": "delete", "ids": [1], "filter": {}},
        {"action": "delete", "ids": ["1"]},
        {"action": "delete", "ids": [True]},
        {"action": "delete", "ids": [1.5]},
        {"action": "delete", "ids": [None]},
        {"action": "delete", "ids": list(range(1, 1002))},
        {"action": "delete", "ids": [1], "cursor": "5"},
        {"action": "delete", "ids": [1], "tags": ["a"]},
        {"action": "add_tags", "ids": [1]},
        {"action": "add_tags", "ids": [1], "tags": []},
        {"action": "add_tags", "ids": [1], "tags": ["x" * 51]},
        {"action": "add_tags", "ids": [1], "tags": [str(n) for n in range(21)]},
        {"action": "undelete", "filter": {}},
        {"action": "delete", "filter": {"statsu": "failed"}},
        {"action": "delete", "filter": {"status": "lost"}},
        {"action": "drop", "ids": [1]},
        {"ids": [1]},
        {"action": "delete", "ids": [1], "force": True},
        [],
    ],
)
def test_an_invalid_batch_is_refused_as_a_whole(app, client, add_mine, read_rows, body):
    add_mine()

    response = client.post(
        "/api/images/batch", json=body, headers={"Authorization": f"Bearer {token(app, 'me')}"}
    )

    assert (response.status_code, response.json["code"]) == (422, "invalid_batch")
    assert [row.deleting_at for row in read_rows()] == [None]


def test_too_many_ids_are_refused_with_the_limit(send_batch):
    response = send_batch("delete", list(range(1001)))

    assert "Use up to 1,000 ids. You have 1,001." in response.json["error"]


def test_an_empty_list_changes_nothing(send_batch):
    assert send_batch("delete", []).json == {"results": [], "done": 0, "next_cursor": None}


def test_a_client_without_an_owner_has_no_images_to_change(client):
    response = client.post("/api/images/batch", json={"action": "delete", "ids": [1]})

    assert (response.status_code, response.json["code"]) == (403, "not_owner")


def test_each_new_caption_counts_as_one(send_batch, add_mine, make_client, event_bus):
    client = make_client(uploads_per_minute=2)
    ids = [add_mine(**COMPLETED) for _ in range(3)]

    response = send_batch("regenerate", ids, by=client)

    assert [outcome for _, outcome, _ in outcomes(response)] == ["done", "done", "refused"]
    assert response.json["results"][2]["error"]["code"] == "rate_limited"
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert len(event_bus.requested) == 2


def test_each_hundred_images_count_as_one_change(send_batch, make_client):
    client = make_client(changes_per_minute=5)

    assert send_batch("delete", list(range(1, 301)), by=client).status_code == 200
    assert send_batch("delete", list(range(1, 301)), by=client).status_code == 429


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("delete", {}),
        ("undelete", {}),
        ("add_tags", TAGS),
        ("remove_tags", {"tags": ["dog"]}),
        ("regenerate", {}),
    ],
)
def test_the_number_of_statements_does_not_depend_on_the_number_of_images(
    send_batch, add_mine, session_factory, action, fields
):
    statements = []
    listen(
        session_factory.kw["bind"],
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_rest: statements.append(statement),
    )

    def count_for(images):
        ids = [add_mine(**COMPLETED, tags=["dog"]) for _ in range(images)]
        if action == "undelete":
            send_batch("delete", ids)
        statements.clear()
        assert send_batch(action, ids, **fields).json["done"] == images
        return len(statements)

    assert count_for(30) == count_for(3)
