"""What the functions' stack promises beyond the contract that all stacks keep."""

import json

import pytest

from database.models import Job
from lambda_functions import attempt
from lambda_functions.maintenance import handler
from tests.support.cloudformation import FUNCTIONS, PROFILES, deploy, document, merged, walk

CLOUDFORMATION_WAITS_SECONDS = 3600
LAMBDA_FIRST_RETRY_SECONDS = 60


@pytest.fixture(scope="module")
def stack():
    return deploy(PROFILES["default"])[FUNCTIONS]


def named_by(resource):
    """The resources that a resource waits for."""
    waits = resource.get("DependsOn", [])
    names = {waits} if isinstance(waits, str) else set(waits)
    for value in walk(resource):
        match value:
            case {"Ref": name} | {"Fn::GetAtt": [name, _]}:
                names.add(name)
    return names


def ancestors(resources, name):
    """All that must be there before a resource is."""
    found, open_names = set(), [name]
    while open_names:
        for named in named_by(resources[open_names.pop()]) & resources.keys() - found:
            found.add(named)
            open_names.append(named)
    return found


def test_nothing_of_a_new_version_runs_before_the_database_is_migrated():
    resources = document(FUNCTIONS)["Resources"]
    work = ("AnnotationFunction", "ThumbnailFunction", "SweepFunction")
    events = ("AnnotationRule", "ThumbnailRule", "SweepSchedule")

    for name in (*work, *events):
        assert "Migration" in ancestors(resources, name), name
    assert "MigrateFunction" in ancestors(resources, "Migration")
    assert not ancestors(resources, "Migration") & {*work, *events}


def test_the_migration_runs_when_its_image_changes(stack):
    migration = stack.resources["Migration"]["Properties"]
    function = stack.resources["MigrateFunction"]["Properties"]

    assert migration["ImageUri"] == function["Code"]["ImageUri"]


def test_a_migration_that_was_cut_off_may_run_once_more_before_cloudformation_gives_up(stack):
    function = stack.resources["MigrateFunction"]["Properties"]
    retries = stack.resources["MigrateInvokeConfig"]["Properties"]["MaximumRetryAttempts"]
    patience = int(stack.resources["Migration"]["Properties"]["ServiceTimeout"])

    needed = (retries + 1) * function["Timeout"] + retries * LAMBDA_FIRST_RETRY_SECONDS
    assert retries == 1
    assert needed < patience < CLOUDFORMATION_WAITS_SECONDS


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_lambda_tries_as_often_as_the_code_counts(attempts):
    given = merged(PROFILES["default"], {FUNCTIONS: {"MaxAttempts": str(attempts)}})
    stack = deploy(given)[FUNCTIONS]

    for job in Job:
        config = stack.resources[f"{job.title()}InvokeConfig"]["Properties"]
        function = stack.resources[f"{job.title()}Function"]["Properties"]
        assert config["MaximumRetryAttempts"] == attempts - 1
        assert function["Environment"]["Variables"]["MAX_ATTEMPTS"] == str(attempts)


def test_every_function_writes_into_a_log_of_its_own_that_ends(stack):
    groups = stack.of_type("AWS::Logs::LogGroup")
    logs = {
        function["LoggingConfig"]["LogGroup"].removesuffix(">").rpartition(".")[2]
        for function in stack.of_type("AWS::Lambda::Function").values()
    }

    assert logs == groups.keys()
    assert all(int(group["RetentionInDays"]) > 0 for group in groups.values())


@pytest.mark.parametrize(("given", "reserved"), [("0", None), ("7", "7")])
def test_concurrency_is_set_aside_only_when_it_is_asked_for(given, reserved):
    chosen = {FUNCTIONS: {"AnnotationConcurrency": given}}
    stack = deploy(merged(PROFILES["default"], chosen))[FUNCTIONS]

    function = stack.resources["AnnotationFunction"]["Properties"]

    assert function.get("ReservedConcurrentExecutions") == reserved


def own_metrics(stack):
    """The metrics of ours that alarms watch: name, and names and values of their dimensions."""
    for value in walk(stack.resources):
        match value:
            case {"Namespace": "ImageAnnotation", "MetricName": name, "Dimensions": dimensions}:
                yield name, {(d["Name"], d["Value"]) for d in dimensions}


def emitted(capsys):
    """The metrics of ours that were printed, as CloudWatch reads them."""
    for line in capsys.readouterr().out.splitlines():
        entry = json.loads(line)
        [directive] = entry["_aws"]["CloudWatchMetrics"]
        for dimensions in directive["Dimensions"]:
            for metric in directive["Metrics"]:
                yield metric["Name"], {(name, entry[name]) for name in dimensions}


def test_alarms_watch_metrics_by_the_very_dimensions_that_the_code_gives_them(
    stack, capsys, monkeypatch
):
    counted = {"ConfigurationFailure": list(Job), "BudgetExhausted": [Job.ANNOTATION]}
    for name, jobs in counted.items():
        for job in jobs:
            monkeypatch.setattr(attempt.metrics, "service", job)  # POWERTOOLS_SERVICE_NAME
            attempt._count(name, job)
            attempt.metrics.flush_metrics()
    monkeypatch.setattr(handler.metrics, "service", "sweep")
    handler.metrics.add_metric(name="TimedOut", unit="Count", value=1)
    handler.metrics.flush_metrics()
    given = {(name, frozenset(dimensions)) for name, dimensions in emitted(capsys)}

    watched = {(name, frozenset(dimensions)) for name, dimensions in own_metrics(stack)}

    assert watched == given


def test_the_dashboard_is_json_whose_widgets_lie_side_by_side(stack):
    body = json.loads(stack.resources["Dashboard"]["Properties"]["DashboardBody"])

    places = [(widget["x"], widget["y"]) for widget in body["widgets"]]
    assert len(places) == len(set(places)) == 10
    assert {widget["width"] for widget in body["widgets"]} == {8}
