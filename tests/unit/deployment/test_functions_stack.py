"""Check properties of the functions' stack. test_templates.py checks all stacks."""

import json
import os
import subprocess
import sys

import pytest

from database.models import Job
from lambda_functions import attempt
from lambda_functions.maintenance import handler
from tests.support.cloudformation import DATA, FUNCTIONS, PROFILES, deploy, document, merged, walk

CLOUDFORMATION_DEFAULT_SECONDS = 3600
LAMBDA_FIRST_RETRY_SECONDS = 60


@pytest.fixture(scope="module")
def stack():
    return deploy(PROFILES["default"])[FUNCTIONS]


def dependencies(resource):
    """Return the resources that a resource directly depends on."""
    waits = resource.get("DependsOn", [])
    names = {waits} if isinstance(waits, str) else set(waits)
    for value in walk(resource):
        match value:
            case {"Ref": name} | {"Fn::GetAtt": [name, _]}:
                names.add(name)
    return names


def ancestors(resources, name):
    """Return all resources that must exist before a resource."""
    found, open_names = set(), [name]
    while open_names:
        for named in dependencies(resources[open_names.pop()]) & resources.keys() - found:
            found.add(named)
            open_names.append(named)
    return found


def test_functions_and_rules_depend_on_the_migration():
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


def test_a_terminated_migration_can_run_again_within_the_service_timeout(stack):
    function = stack.resources["MigrateFunction"]["Properties"]
    retries = stack.resources["MigrateInvokeConfig"]["Properties"]["MaximumRetryAttempts"]
    timeout = int(stack.resources["Migration"]["Properties"]["ServiceTimeout"])

    needed = (retries + 1) * function["Timeout"] + retries * LAMBDA_FIRST_RETRY_SECONDS
    assert retries == 1
    assert needed < timeout < CLOUDFORMATION_DEFAULT_SECONDS


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_lambda_and_the_code_allow_the_same_number_of_attempts(attempts):
    given = merged(PROFILES["default"], {FUNCTIONS: {"MaxAttempts": str(attempts)}})
    stack = deploy(given)[FUNCTIONS]

    for job in Job:
        config = stack.resources[f"{job.title()}InvokeConfig"]["Properties"]
        function = stack.resources[f"{job.title()}Function"]["Properties"]
        assert config["MaximumRetryAttempts"] == attempts - 1
        assert function["Environment"]["Variables"]["MAX_ATTEMPTS"] == str(attempts)


def test_every_function_has_its_own_log_group_with_a_retention_time(stack):
    groups = deploy(PROFILES["default"])[DATA].of_type("AWS::Logs::LogGroup")
    logs = {
        function["LoggingConfig"]["LogGroup"].removesuffix(">").rpartition(".")[2]
        for function in stack.of_type("AWS::Lambda::Function").values()
    }

    others = {"WebLogs", "DatabaseErrorLog", "DatabaseSlowQueryLog"}
    assert logs | others == groups.keys()
    assert all(int(group["RetentionInDays"]) > 0 for group in groups.values())


@pytest.mark.parametrize(("given", "reserved"), [("0", None), ("7", "7")])
def test_concurrency_is_reserved_only_if_the_parameter_is_not_0(given, reserved):
    chosen = {FUNCTIONS: {"AnnotationConcurrency": given}}
    stack = deploy(merged(PROFILES["default"], chosen))[FUNCTIONS]

    function = stack.resources["AnnotationFunction"]["Properties"]

    assert function.get("ReservedConcurrentExecutions") == reserved


def own_metrics(stack):
    """Yield name and dimensions of the application's metrics that alarms use."""
    for value in walk(stack.resources):
        match value:
            case {"Namespace": "ImageAnnotation/dev", "MetricName": name, "Dimensions": dimensions}:
                yield name, {(d["Name"], d["Value"]) for d in dimensions}


def emitted(capsys):
    """Yield name and dimensions of the application's metrics in the printed lines."""
    for line in capsys.readouterr().out.splitlines():
        entry = json.loads(line)
        [directive] = entry["_aws"]["CloudWatchMetrics"]
        for dimensions in directive["Dimensions"]:
            for metric in directive["Metrics"]:
                yield metric["Name"], {(name, entry[name]) for name in dimensions}


def test_alarms_use_the_dimensions_of_the_metrics_that_the_code_emits(stack, capsys, monkeypatch):
    counted = {
        "ConfigurationFailure": list(Job),
        "BudgetExhausted": [Job.ANNOTATION],
        "QuotaExhausted": [Job.ANNOTATION],
    }
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


@pytest.mark.slow
def test_environments_have_their_own_metrics(stack, capsys):
    namespaces = {
        function["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"]
        for function in stack.of_type("AWS::Lambda::Function").values()
    }
    assert namespaces == {"ImageAnnotation/dev"}
    assert '"ImageAnnotation"' not in json.dumps(stack.resources)

    program = "from lambda_functions.attempt import metrics; print(metrics.namespace)"
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "POWERTOOLS_METRICS_NAMESPACE": "ImageAnnotation/dev"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == "ImageAnnotation/dev"


def test_the_dashboard_is_json_without_overlapping_widgets(stack):
    body = json.loads(stack.resources["Dashboard"]["Properties"]["DashboardBody"])

    places = [(widget["x"], widget["y"]) for widget in body["widgets"]]
    assert len(places) == len(set(places)) == 10
    assert {widget["width"] for widget in body["widgets"]} == {8}
