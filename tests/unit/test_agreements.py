"""Compare the code with requirement files, templates and migrations that repeat its facts."""

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


def requirements(path):
    lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines if line}


def test_every_dependency_is_pinned_exactly():
    for path in [ROOT / "requirements.txt", *ROOT.glob("*/**/*requirements.txt")]:
        if any(part.startswith(".") for part in path.relative_to(ROOT).parts):
            continue  # A virtual environment, for example `.venv`.
        for requirement in requirements(path).values():
            assert [spec.operator for spec in requirement.specifier] == ["=="], (path, requirement)


@pytest.mark.parametrize(
    "folder", ["web_app", "lambda_functions/annotation", "lambda_functions/thumbnail"]
)
def test_the_requirements_of_an_image_have_the_versions_of_the_project(folder):
    every = requirements(ROOT / "requirements.txt")

    for name, requirement in requirements(ROOT / folder / "requirements.txt").items():
        assert requirement.specifier == every[name].specifier, f"edit {folder}/requirements.txt"


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
