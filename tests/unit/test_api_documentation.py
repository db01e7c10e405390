"""Compare API_DOCUMENTATION.md with the routes, the JSON fields and the error codes."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from marshmallow import Schema, fields

from database.jobs import REDRIVABLE_CODES
from database.models import Image, Status
from tests.support.fakes import FakeObjectStore
from web_app.app import create_app
from web_app.errors import UploadRejectedError
from web_app.routes import schemas, serializers
from web_app.services.image_links import ImageLinks
from web_app.services.uploads import UploadResult

ROOT = Path(__file__).parents[2]
API = "API_DOCUMENTATION.md"
SCHEMAS = "web_app/routes/schemas.py"
SERIALIZERS = "web_app/routes/serializers.py"
TEXT = (ROOT / API).read_text()


def section(heading: str) -> str:
    """Return the text below a heading, up to the next heading."""
    text = TEXT.partition(f" {heading}\n")[2]
    assert text, f"{API} has no heading “{heading}”"
    return re.split(r"\n#{1,4} ", text)[0]


def example(heading: str) -> dict:
    """Return the first JSON example below a heading."""
    return json.loads(section(heading).partition("```json\n")[2].partition("```")[0])


@pytest.fixture
def app(settings, object_store, event_bus, session_factory) -> Flask:
    return create_app(
        settings,
        object_store=object_store,
        event_bus=event_bus,
        session_factory=session_factory,
    )


def test_every_route_is_documented_and_every_documented_route_exists(app):
    documented = set(re.findall(r"^#+ `([A-Z]+) (/[^`?]*)", TEXT, re.MULTILINE))
    routes = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", "{\\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "static"
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }

    assert sorted(routes - documented) == [], f"describe them in {API}"
    assert sorted(documented - routes) == [], f"{API} describes routes that do not exist"


# ---- Fields -------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 22, tzinfo=UTC)
FAILED_IMAGE = Image(
    id=1,
    filename="beach.jpg",
    original_key="originals/1.jpg",
    content_type="image/jpeg",
    size_bytes=1,
    width=1,
    height=1,
    annotation_status=Status.FAILED,
    annotation_error_code="invalid_image",
    annotation_error_message="It is damaged.",
    annotation_attempts=1,
    annotation_requested_at=NOW,
    thumbnail_status=Status.PENDING,
    input_tokens=0,
    output_tokens=0,
    uploaded_at=NOW,
    updated_at=NOW,
)


def written_by_serializers(app: Flask) -> dict[str, tuple[type[Schema], dict]]:
    """Return for each serialiser its schema and what it writes."""
    rejected = UploadRejectedError("Too large.", code="too_large", http_status=413)
    with app.test_request_context():
        links = ImageLinks(FakeObjectStore(), None, are_originals_public=False)
        image = serializers.image(FAILED_IMAGE, links)
        upload = serializers.upload_result(UploadResult("a", "rejected", error=rejected))
    return {
        "image": (schemas.ImageSchema, image),
        "the error of a job": (schemas.JobErrorSchema, image["annotation_error"]),
        "the result of a file": (schemas.UploadResultSchema, upload),
        "the error of a file": (schemas.FileErrorSchema, upload["error"]),
    }


def test_serialisers_and_schemas_have_the_same_fields(app):
    for what, (schema, written) in written_by_serializers(app).items():
        described = set(schema().fields)

        assert sorted(set(written) - described) == [], f"{what}: add them to {SCHEMAS}"
        assert sorted(described - set(written)) == [], f"{what}: add them to {SERIALIZERS}"


@pytest.mark.parametrize(
    ("heading", "schema"),
    [
        ("`GET /api/image_status/{image_id}`", schemas.ImageSchema),
        ("`POST /upload`", schemas.UploadSchema),
    ],
)
def test_the_example_and_the_table_of_a_route_have_the_fields_of_its_schema(heading, schema):
    described = set(schema().fields)
    shown = set(example(heading))
    rows = re.findall(r"^\| (`.+?) \|", section(heading), re.MULTILINE)
    explained = {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}

    assert sorted(described - shown) == [], f"add them to the example of {heading} in {API}"
    assert sorted(shown - described) == [], f"add them to {SCHEMAS}, or delete them from {API}"
    assert sorted(described - explained) == [], f"add them to the table of {heading} in {API}"


def all_schemas() -> list[type[Schema]]:
    return [
        each
        for each in vars(schemas).values()
        if isinstance(each, type) and issubclass(each, Schema) and each is not Schema
    ]


@pytest.mark.parametrize("schema", all_schemas(), ids=lambda schema: schema.__name__)
def test_every_field_of_every_schema_is_documented(schema):
    missing = [name for name in schema().fields if not re.search(rf'[`"]{name}["`=]', TEXT)]

    assert missing == [], f"name these fields of {schema.__name__} in {API}"


def test_every_list_of_images_holds_whole_images():
    nested = {
        schema.__name__: field.inner.nested
        for schema in all_schemas()
        if isinstance(field := schema().fields.get("images"), fields.List)
    }

    assert nested
    assert all(issubclass(each, schemas.ImageSchema) for each in nested.values())


# ---- Errors -------------------------------------------------------------------------------------


def test_every_error_code_is_documented():
    codes = set()
    for folder in ("web_app", "lambda_functions", "imaging", "database"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text()
            codes |= set(re.findall(r'\bcode=\s*"([a-z_]+)"', source))
            codes |= set(re.findall(r'\bcode(?:: \w+|, http_status)? = "([a-z_]+)"', source))
            codes |= set(re.findall(r'_failure\(\s*\w+,\s*"([a-z_]+)"', source))
    tables = section("Errors") + section("Job errors")
    documented = set(re.findall(r"`([a-z_]+)`", tables))

    assert len(codes) > 20
    assert sorted(codes - documented) == [], f"add them to the tables of errors in {API}"


def job_errors() -> dict[str, str]:
    """Return the class of each code that a job can fail with."""
    rows = re.findall(r"^\| (`[^|]+) \| ([a-z ]+) \|", section("Job errors"), re.MULTILINE)
    return {code: kind for cell, kind in rows for code in re.findall(r"`([a-z_]+)`", cell)}


def test_a_redrive_takes_the_failures_documented_as_neither_permanent_nor_not_stored():
    retriable = {
        code for code, kind in job_errors().items() if kind not in ("permanent", "not stored")
    }

    assert sorted(REDRIVABLE_CODES - retriable) == [], f"their class in {API} says otherwise"
    assert sorted(retriable - REDRIVABLE_CODES) == [], "add them to REDRIVABLE_CODES"
