"""The OpenAPI document is complete.

tests/integration/test_openapi.py tests that responses agree with it.
"""

import re
from http import HTTPStatus
from pathlib import Path

import pytest

API_PREFIXES = ("/api/", "/upload", "/health")
UNDOCUMENTED = {("GET", "/api/openapi.json"), ("GET", "/api/docs")}


@pytest.fixture
def document(client):
    return client.get("/api/openapi.json").json


def operations(document):
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    }


def test_every_route_for_programs_is_in_the_document(app, document):
    routes = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", "{\\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(API_PREFIXES)
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }

    assert document["openapi"] == "3.1.0"
    assert set(operations(document)) == routes - UNDOCUMENTED


def test_every_operation_has_an_id_a_summary_and_its_error_responses(document):
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(set(names)) == len(names)
    for (method, path), operation in operations(document).items():
        assert operation["summary"], path
        responses = set(operation["responses"])
        if not path.startswith("/health"):
            assert {"500", "503"} <= responses, path
        if method in ("PATCH", "DELETE") or path.endswith("/retry"):
            assert {"400", "401", "403"} <= responses
            assert operation["security"] == [
                {"ownerToken": []},
                {"ownerCookie": [], "csrfToken": []},
            ]
        # An export is written while it is sent, so its ETag would be known too late. The list of
        # keys is short and read by people only.
        if method == "GET" and path.startswith("/api/image"):
            assert "304" in responses


def test_all_errors_have_one_shape(document):
    def schemas(operation):
        for status, response in operation["responses"].items():
            if status[0] in "45" and "content" in response:
                yield response["content"]["application/json"]["schema"]["$ref"].split("/")[-1]

    found = {name for operation in operations(document).values() for name in schemas(operation)}

    assert found == {"ChangedMeanwhile", "Error", "InvalidImport", "RejectedUpload", "Readiness"}
    for name in found - {"Readiness"}:
        assert {"error", "code"} <= set(document["components"]["schemas"][name]["required"])


def test_the_api_page_names_every_operation(client, document):
    page = client.get("/api/docs").get_data(as_text=True)

    for _method, path in operations(document):
        assert path in page


def codes_of(document):
    """Return the codes that the descriptions of errors name."""
    return {
        code
        for operation in operations(document).values()
        for status, response in operation["responses"].items()
        if status[0] in "45"
        for code in re.findall("`([a-z_]+)`", response["description"].partition("Code: ")[2])
    }


def test_each_error_of_an_operation_of_the_api_names_its_codes(document):
    for (_method, path), operation in operations(document).items():
        for status, response in operation["responses"].items():
            if status[0] in "45" and path.startswith("/api/") and status != "412":
                assert "Code: `" in response["description"], (path, status)


def test_the_codes_of_errors_are_those_of_the_documentation(document):
    text = (Path(__file__).parents[3] / "API_DOCUMENTATION.md").read_text()
    documented = set(re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \| \d{3} \|", text, re.MULTILINE))
    documented = {code for cell in documented for code in re.findall("[a-z_]+", cell)}

    assert codes_of(document) - documented == set()


def test_each_response_says_what_it_holds(document):
    phrases = {status.phrase for status in HTTPStatus}
    for (_method, path), operation in operations(document).items():
        for status, response in operation["responses"].items():
            is_redirect_or_unchanged = status[0] == "3"
            assert is_redirect_or_unchanged or response["description"] not in phrases, path
            says_none = response["description"] == "Done. The response has no body"
            assert says_none == (status == "204"), (path, status)


def test_the_api_page_explains_each_code_and_can_be_tried(client, document):
    page = client.get("/api/docs").get_data(as_text=True)

    errors = page.partition('id="errors"')[2].partition("</section>")[0]
    assert set(re.findall("<code>([a-z_]+)</code>", errors)) >= codes_of(document)
    assert "Authorization: Bearer" in page
    assert "-F image=@photo.jpg" in page
    tried = re.findall(r'<a href="([^"]+)">Open ', page)
    assert "/api/image_status?ids=1,2,3" in tried
    for path in tried:
        response = client.get(path)
        assert response.status_code == 200, path
        response.close()
