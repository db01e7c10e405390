"""The connections that each profile may open, against those that its database allows.

No part can open more than its share: the pools limit the web servers, and MySQL limits each user.
"""

import re
from pathlib import Path

import pytest

from database.migrations.users import MIGRATION_CONNECTIONS, ConnectionLimits
from deployment.connections import (
    CORES,
    allowed_web_connections,
    check_connections,
    web_connections,
)
from deployment.errors import UsageError
from deployment.stacks import ParameterFile, read_templates
from tests.support.cloudformation import (
    DATA,
    FUNCTIONS,
    PROFILES,
    WEB,
    deploy,
    document,
    merged,
    parameter_file,
)

ROOT = Path(__file__).parents[3]
TEMPLATES = read_templates()
# RDS itself and an operator use these.
FREE_CONNECTIONS = 10
# Concurrent executions that a sweep may have, each with one connection.
SWEEPS = 2


@pytest.fixture(params=["lab", "default", "prod"])
def profile(request):
    return Profile(request.param)


class Profile:
    """The numbers of a profile that decide about connections."""

    def __init__(self, name):
        self.name = name
        self.stacks = deploy(PROFILES[name])
        [group] = self.stacks[DATA].of_type("AWS::RDS::DBParameterGroup").values()
        self.max_connections = int(group["Parameters"]["max_connections"])
        self.limits = ConnectionLimits.of(self.max_connections)

    def value(self, stack, parameter):
        given = parameter_file(self.name).get(stack, {}).get(parameter)
        return given or document(stack)["Parameters"][parameter]["Default"]

    def web_connections(self):
        return web_connections(ParameterFile.read(self.name, TEMPLATES), TEMPLATES)


def test_all_connections_together_leave_some_free(profile):
    limits = profile.limits

    possible = profile.web_connections() + limits.functions + MIGRATION_CONNECTIONS
    allowed = limits.web + limits.functions + MIGRATION_CONNECTIONS

    assert possible <= allowed < profile.max_connections - FREE_CONNECTIONS


def test_mysql_allows_the_pools_of_all_web_servers(profile):
    parameter_file = ParameterFile.read(profile.name, TEMPLATES)

    assert allowed_web_connections(parameter_file, TEMPLATES) == profile.limits.web
    assert profile.web_connections() <= profile.limits.web
    check_connections(parameter_file, TEMPLATES)


@pytest.mark.parametrize(
    "change", [{"DbPoolSize": "32"}, {"MaxInstances": "16"}, {"InstanceType": "m7i.xlarge"}]
)
def test_pools_that_do_not_fit_into_the_database_are_refused(change):
    values = merged(parameter_file("default"), {WEB: {"DbPoolSize": "8", **change}})

    with pytest.raises(UsageError, match="connections to the database, which allows them 82"):
        check_connections(ParameterFile("mine", values), TEMPLATES)


def test_reserved_functions_and_the_sweep_have_a_connection_each(profile):
    reserved = [
        int(function["ReservedConcurrentExecutions"])
        for function in profile.stacks[FUNCTIONS].of_type("AWS::Lambda::Function").values()
        if "ReservedConcurrentExecutions" in function
    ]

    assert sum(reserved) + SWEEPS <= profile.limits.functions


def test_the_alarm_for_connections_rings_before_the_limit(profile):
    alarm = int(profile.value(DATA, "ConnectionAlarmCount"))

    assert alarm < profile.limits.web + profile.limits.functions


def test_every_size_of_the_database_has_less_connections_than_the_default_of_rds():
    data = document(DATA)
    sizes = data["Mappings"]["ConnectionsByClass"]
    memory_gib = {
        "db.t4g.micro": 1, "db.t4g.small": 2, "db.t4g.medium": 4, "db.t4g.large": 8,
        "db.m7g.large": 8, "db.m7g.xlarge": 16,
        "db.r7g.large": 16, "db.r7g.xlarge": 32, "db.r7g.2xlarge": 64,
    }  # fmt: skip

    assert sizes.keys() == memory_gib.keys()
    assert sizes.keys() == set(data["Parameters"]["DatabaseInstanceClass"]["AllowedValues"])
    for size, gib in memory_gib.items():
        default = gib * 2**30 / 12_582_880
        # RDS takes some memory for itself, in small servers a quarter.
        assert int(sizes[size]["Maximum"]) <= 0.9 * default, size


def test_gunicorn_runs_as_many_processes_as_this_test_counts():
    source = (ROOT / "web_app" / "gunicorn.conf.py").read_text()

    assert "workers = max(2, multiprocessing.cpu_count())" in source
    sizes = document(WEB)["Parameters"]["InstanceType"]["AllowedValues"]
    assert {size for size in sizes if re.search(r"\.[2-9]?xlarge$", size)} == CORES.keys()
