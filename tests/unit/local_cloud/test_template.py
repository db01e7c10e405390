import pytest

from local_cloud.template import Template, UnresolvedError

IMPORTS = {"ImageBucketName": "originals-here", "ThumbnailBucketName": "thumbnails-here"}


@pytest.fixture(scope="module")
def template():
    return Template.read(IMPORTS)


def test_functions_have_the_handler_timeout_and_memory_of_the_template(template):
    found = {
        name: (function.handler, function.timeout_seconds, function.memory_megabytes)
        for name, function in template.functions.items()
    }

    assert found == {
        "AnnotationFunction": ("lambda_functions.annotation.handler.handler", 50, 1024),
        "ThumbnailFunction": ("lambda_functions.thumbnail.handler.handler", 30, 1024),
        "MigrateFunction": ("lambda_functions.maintenance.handler.migrate", 300, 512),
        "SweepFunction": ("lambda_functions.maintenance.handler.sweep", 50, 512),
    }


def test_a_claim_expires_before_the_first_retry_of_lambda(template):
    claim_margin_seconds = 5

    for rule in template.event_rules():
        function = template.functions[rule.function_id]
        assert function.timeout_seconds + claim_margin_seconds < 60


def test_a_variable_with_an_unresolved_value_is_listed_without_a_value(template):
    annotation = template.functions["AnnotationFunction"]

    assert "DB_HOST" in annotation.variables
    assert "DB_HOST" not in annotation.environment
    assert annotation.environment["GEMINI_MODEL_NAME"] == "gemini-3.5-flash-lite"
    assert annotation.environment["GEMINI_PROMPT"] == ""
    assert annotation.environment["S3_IMAGE_BUCKET"] == "originals-here"


def test_the_rules_match_originals_in_the_imported_bucket(template):
    details = {rule.name: rule.event_pattern["detail"] for rule in template.event_rules()}

    expected = {
        "bucket": {"name": ["originals-here"]},
        "object": {"key": [{"prefix": "originals/"}]},
    }
    assert details == {
        "AnnotationRule": expected,
        "ThumbnailRule": expected,
        "RedriveRule": {"environment": ["dev"]},
    }


def test_the_sweep_runs_once_a_minute(template):
    [schedule] = template.schedules()

    assert (schedule.function_id, schedule.every_seconds) == ("SweepFunction", 60)


def test_short_tags_of_cloudformation_are_resolved(tmp_path):
    path = tmp_path / "template.yaml"
    path.write_text(
        "Parameters: {Stage: {Default: prod}}\n"
        "Resources:\n"
        "  QuietFunction:\n"
        "    Type: AWS::Lambda::Function\n"
        "    Properties:\n"
        "      ImageConfig: {Command: [quiet.handler]}\n"
        "      Environment:\n"
        "        Variables:\n"
        "          STAGE: !Sub 'stage-${Stage}'\n"
        "          QUIET: true\n"
        "          QUEUE: !GetAtt Queue.Arn\n"
        "          CHOICE: !If [IsProd, a, b]\n"
    )

    function = Template.read({}, path).functions["QuietFunction"]

    assert function.environment == {"STAGE": "stage-prod", "QUIET": "true"}
    assert function.variables == {"STAGE", "QUIET", "QUEUE", "CHOICE"}
    assert (function.timeout_seconds, function.memory_megabytes) == (3, 128)


def test_an_unknown_parameter_is_reported_by_name(template):
    with pytest.raises(UnresolvedError, match="AnnotationImageUri"):
        template.resolve({"Ref": "AnnotationImageUri"})


def test_an_import_resolves_to_the_given_value_or_is_reported_by_name(template):
    assert template.resolve(imported("ImageBucketName")) == "originals-here"
    with pytest.raises(UnresolvedError, match="DatabaseHost"):
        template.resolve(imported("DatabaseHost"))


def imported(name):
    return {"Fn::ImportValue": {"Fn::Sub": f"image-annotation-${{Environment}}-{name}"}}
