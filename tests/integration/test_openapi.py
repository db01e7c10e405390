"""Valid and invalid requests from the OpenAPI document, against the application over HTTP."""

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from database.models import Image, Status
from database.session import session_scope
from tests.support.time_limits import scaled
from web_app.middleware.owners import Owner, Owners

# A JSON schema cannot describe an image, so a generated file may be refused. Nor can it describe
# which parameters fit together: a cursor belongs to one filter, and a period begins before it ends;
# or that a name can be shown.
# Changes need the ids of images that exist.
CONFIG = """
[[operations]]
include-name = "POST /upload"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "413", "415", "422"]

[[operations]]
include-name = "POST /api/import"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "422"]

[[operations]]
include-name = "GET /api/images"
checks.positive_data_acceptance.expected-statuses = ["2xx", "304", "400", "422"]

[[operations]]
include-name = "GET /api/export"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "422", "503"]
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "503"]  # Too many at once.

[[operations]]
include-name = "POST /api/images/batch"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "422", "503"]

[[operations]]
include-name = "GET /api/usage"
checks.positive_data_acceptance.expected-statuses = ["2xx", "422"]

[[operations]]
include-name = "POST /api/keys"
checks.positive_data_acceptance.expected-statuses = ["2xx", "409", "422"]

[[operations]]
include-name = "PATCH /api/images/{image_id}"
parameters = { image_id = 1, "header.If-Match" = "*" }
# A schema does not name the known languages.
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422"]

[[operations]]
include-name = "POST /api/images/{image_id}/versions/restore"
parameters = { image_id = 1, "header.If-Match" = "*" }
# A whole number with a fraction of zero, which this API refuses.
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "422"]

[[operations]]
include-name = "POST /api/images/{image_id}/retry"
parameters = { image_id = 2 }
# Options without a new caption, and texts that name no language.
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422"]
"""
TIMEOUT_SECONDS = 300


@pytest.fixture
def settings(settings):
    """Return settings with which the many requests of this test reach no limit of a client."""
    return settings.model_copy(update={"changes_per_minute": 0, "uploads_per_minute": 0})


@pytest.fixture
def session_factory(session_factory):
    """Add images of every status, some of them owned by the client."""
    with session_scope(session_factory) as session:
        for number in range(40):
            status = list(Status)[number % 3]
            session.add(
                Image(
                    filename=f"{number} dog.jpg",
                    original_key=f"originals/{uuid.uuid4()}.jpg",
                    thumbnail_key="thumbnails/t.webp" if status is Status.COMPLETED else None,
                    content_type="image/jpeg",
                    size_bytes=1,
                    width=1,
                    height=1,
                    sha256=f"{number:064}",
                    owner_id="another owner" if number % 5 == 4 else "me",
                    annotation_status=status,
                    annotation_error_code="model_busy" if status is Status.FAILED else None,
                    annotation_error_message="Busy." if status is Status.FAILED else None,
                    annotation="A dog." if status is Status.COMPLETED else None,
                    tags=["dog"] if status is Status.COMPLETED else None,
                    generated_annotation="A dog." if number % 2 else None,
                    thumbnail_status=Status.COMPLETED,
                )
            )
    return session_factory


def test_every_response_agrees_with_the_openapi_document(live_url, settings, tmp_path):
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    token = Owners(settings.flask_secret_key.get_secret_value()).token(Owner("me", is_new=False))

    finished = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            "run",
            f"{live_url}/api/openapi.json",
            "--checks=all",
            "--max-examples=20",
            "--seed=1",
            "--warnings=off",
            f"--header=Authorization: Bearer {token}",
            "--header=Accept: application/json",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=scaled(TIMEOUT_SECONDS),
        check=False,
    )

    assert finished.returncode == 0, finished.stdout[-6000:] + finished.stderr[-2000:]
    assert "Tested: 29" in finished.stdout
