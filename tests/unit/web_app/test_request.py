"""How requests are read: ids, and files that do not outlive them."""

import pytest
from flask import request as current_request

from tests import factories
from web_app.request import parse_image_id


@pytest.mark.parametrize(
    ("text", "image_id"),
    [
        ("1", 1),
        ("007", 7),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
        ("", None),
        ("-1", None),
        ("+1", None),
        (" 1", None),
        ("1_0", None),
        ("1.0", None),
        ("٣", None),
        ("²", None),
    ],
)
def test_an_id_is_digits_and_no_more_than_a_database_holds(text, image_id):
    assert parse_image_id(text) == image_id


@pytest.mark.parametrize("end", [b"\r\n--x--\r\n", b""], ids=["a whole form", "a form cut short"])
def test_files_are_closed_when_their_request_ends(app, end):
    begun = []

    @app.after_request
    def remember(response):
        begun.extend(current_request._begun_files)
        return response

    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    app.test_client().post(
        "/upload",
        data=head + factories.make_jpeg() + bytes(300_000) + end,
        content_type="multipart/form-data; boundary=x",
    )

    assert len(begun) == 1
    assert begun[0].closed
