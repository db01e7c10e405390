"""Compare the code with requirement files, templates and migrations that repeat its facts."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from database import object_keys
from database.events import DETAIL_TYPES, SOURCE
from database.models import Job
from deployment.template_files import load_template
from lambda_functions.annotation.annotate import MIN_REQUEST_SECONDS
from lambda_functions.annotation.captioner import MIN_SERVER_TIMEOUT_SECONDS
from lambda_functions.annotation.handler import RECORDING_SECONDS
from lambda_functions.attempt import LEASE_MARGIN_SECONDS
from local_cloud.gemini_rules import MIN_DEADLINE_SECONDS
from local_cloud.settings import MIN_TIMEOUT_SECONDS, MIN_TIMEOUT_WITH_GEMINI_SECONDS
from local_cloud.template import LAMBDA_TEMPLATE, Template

ROOT = Path(__file__).parents[2]
LAMBDA_FIRST_RETRY_SECONDS = 60


IMAGES = ["web_app", "lambda_functions/annotation", "lambda_functions/thumbnail"]
SETS = sorted(path.stem for path in (ROOT / "requirements").glob("*.in"))
REQUIREMENTS = [f"requirements/{name}" for name in SETS] + [
    f"{name}/requirements" for name in IMAGES
]


def requirements(path):
    """Return the requirements of a file by name, without comments, constraints and hashes."""
    lines = [line.split(" #")[0].strip(" \\") for line in path.read_text().splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    return {(canonicalize_name(each.name), str(each.marker)): each for each in found}


def versions(path):
    """Return the versions of each package. There are two if it depends on the Python."""
    found = {}
    for (name, _), requirement in requirements(path).items():
        found.setdefault(name, set()).add(str(requirement.specifier))
    return found


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_every_dependency_is_pinned_exactly_and_has_hashes(name):
    text = (ROOT / f"{name}.txt").read_text()
    blocks = re.findall(
        r"^[\w.\[\],-]+==\S+.*(?:\n    --hash=sha256:[0-9a-f]{64}.*)*", text, re.MULTILINE
    )

    assert len(blocks) == len(requirements(ROOT / f"{name}.txt")) > 0
    assert [block for block in blocks if "--hash=" not in block] == []
    assert "://" not in text


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_the_requirement_files_are_made_from_their_in_files(name):
    made, wanted = (versions(ROOT / f"{name}.{kind}") for kind in ("txt", "in"))

    assert {name: made.get(name) for name in wanted} == wanted, "run make requirements"


@pytest.mark.parametrize("folder", IMAGES)
def test_the_requirements_of_an_image_have_the_versions_of_the_project(folder):
    every = versions(ROOT / "requirements" / "run.txt")

    for name, version in versions(ROOT / folder / "requirements.txt").items():
        assert version == every[name], f"change {folder}/requirements.in, run make requirements"


@pytest.fixture
def template():
    return Template.read({"ImageBucketName": "originals", "ThumbnailBucketName": "thumbnails"})


@pytest.mark.parametrize("function_id", ["AnnotationFunction", "ThumbnailFunction"])
def test_a_lease_ends_before_lambda_delivers_a_failed_event_again(template, function_id):
    timeout_seconds = template.functions[function_id].timeout_seconds

    assert timeout_seconds + LEASE_MARGIN_SECONDS < LAMBDA_FIRST_RETRY_SECONDS


@pytest.mark.parametrize("job", list(Job))
def test_the_event_rules_match_the_keys_and_events_of_the_code(template, job):
    patterns = {rule.function_id: rule.event_pattern for rule in template.event_rules()}

    assert patterns[f"{job.title()}Function"] == {
        "source": ["aws.s3", SOURCE],
        "detail-type": ["Object Created", DETAIL_TYPES[job]],
        "detail": {
            "bucket": {"name": ["originals"]},
            "object": {"key": [{"prefix": object_keys.ORIGINALS_PREFIX}]},
        },
    }


def test_every_time_out_that_is_accepted_leaves_time_for_a_caption():
    parameter = load_template(LAMBDA_TEMPLATE)["Parameters"]["AnnotationTimeoutInSeconds"]

    assert MIN_SERVER_TIMEOUT_SECONDS == MIN_DEADLINE_SECONDS
    assert MIN_TIMEOUT_SECONDS == RECORDING_SECONDS + MIN_REQUEST_SECONDS + 1
    assert MIN_TIMEOUT_WITH_GEMINI_SECONDS == RECORDING_SECONDS + MIN_SERVER_TIMEOUT_SECONDS
    # Reading the image takes time too.
    assert parameter["MinValue"] >= MIN_TIMEOUT_WITH_GEMINI_SECONDS + 5
