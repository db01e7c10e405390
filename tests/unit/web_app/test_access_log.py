"""Each request has an id and one line in the log; each change has another line."""

import logging
import re

import pytest

from tests.unit.web_app.test_owner_rules import token
from web_app.logs import RequestIDFilter, owner_hash


@pytest.fixture
def lines(caplog):
    """Return a function that returns the records with this message."""
    caplog.set_level(logging.INFO)
    caplog.handler.addFilter(RequestIDFilter())
    return lambda message: [record for record in caplog.records if record.message == message]


def test_a_request_is_one_line_without_its_address(client, lines):
    client.get("/gallery?q=a+secret+word")

    [line] = lines("request")
    assert (line.method, line.route, line.status) == ("GET", "/gallery", 200)
    assert line.duration_ms > 0
    assert line.client == "127.0.0.1"
    assert "secret" not in str(vars(line))


def test_the_id_of_a_request_is_in_its_response_and_its_lines(client, lines):
    response = client.get("/nowhere", headers={"X-Request-ID": "Root=1-67891233-abc"})

    assert response.headers["X-Request-ID"] == "Root=1-67891233-abc"
    assert [line.request_id for line in lines("request")] == ["Root=1-67891233-abc"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 101, "<script>", "é"])
def test_a_request_without_a_usable_id_gets_one(client, given):
    response = client.get(
        "/health", headers={"X-Request-ID": given.encode("utf-8").decode("latin-1")}
    )

    assert re.fullmatch("[0-9a-f]{16}", response.headers["X-Request-ID"])


def test_successful_health_checks_are_not_logged(client, lines):
    client.get("/health")

    assert lines("request") == []


def test_a_change_is_logged_with_lengths_and_without_text(app, client, add_row, lines):
    image_id = add_row(owner_id="me", annotation="A dog.", alt_text="Dog", tags=["dog"])
    headers = {"Authorization": f"Bearer {token(app, 'me')}"}

    client.patch(f"/api/images/{image_id}", headers=headers, json={"annotation": "My secret dog."})
    client.delete(f"/api/images/{image_id}", headers=headers)

    edited, deleted = lines("change")
    assert (edited.action, edited.image_id, edited.owner) == ("edit", image_id, owner_hash("me"))
    assert edited.before == {"annotation": 6, "alt_text": 3, "tags": 1}
    assert edited.after == {"annotation": 14, "alt_text": 3, "tags": 1}
    assert (deleted.action, deleted.image_id) == ("delete", image_id)
    assert "secret" not in str([vars(line) for line in (edited, deleted)])
    # The line of the request leads to the line of the change.
    assert edited.request_id == lines("request")[0].request_id
