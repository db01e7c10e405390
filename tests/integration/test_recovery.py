"""Deploy, fail, interrupt and delete environments in any order, in an account as unkind as AWS."""

import io
import json
import re
import tempfile
from functools import cache
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from deployment.aws import AWS
from deployment.cloudformation import CloudFormation
from deployment.console import Console
from deployment.down import delete_compute, delete_everything
from deployment.environment import Environment
from deployment.errors import DeploymentError, explain
from deployment.logs import show_logs
from deployment.rollback import ALARMS
from deployment.stacks import ORDER, WEB, read_templates, stack_name
from deployment.status import show_status
from deployment.up import deploy_environment
from tests.support.cloudformation import DATA, PRODUCTION, document, merged, parameter_file
from tests.support.fake_aws import NO_SIGNAL, Connection, FakeAws, FakeStack

TEMPLATES = read_templates()
RESOURCES = [
    (name, logical_id) for name in ORDER for logical_id in sorted(document(name)["Resources"])
]


CONNECTION = Connection()


@cache
def clients():
    CONNECTION.account = FakeAws()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("boto3.Session", CONNECTION.session)
        return AWS("eu-west-1")


@cache
def production_file():
    """Return the path of the profile for production with the values that it lacks."""
    path = Path(tempfile.mkdtemp()) / "production.json"
    path.write_text(json.dumps(merged(parameter_file("prod"), PRODUCTION)))
    return str(path)


class FakeRegistry:
    """A registry that has every image."""

    def publish(self, image, repository):
        return f"111122223333.dkr.ecr.eu-west-1.amazonaws.com/{image.name}@sha256:{'a' * 64}"

    def find(self, image, repository):
        return None


class Operator:
    """The commands, run in one account."""

    def __init__(self, account, name="dev", role=None):
        self.account = account
        self.printed = io.StringIO()
        aws = clients()
        CONNECTION.account = account
        console = Console(self.printed)
        stacks = CloudFormation(aws.cloudformation, console, account.sleep, role)
        self.environment = Environment(name, aws, stacks, TEMPLATES, console)

    def up(self, profile=None, **options):
        def deploy():
            chosen = production_file() if profile == "prod" else profile
            deploy_environment(
                self.environment,
                self.environment.parameter_file(chosen),
                FakeRegistry(),
                None,
                accepts_plain_http=True,
                sleep=self.account.sleep,
                **options,
            )

        return self._run(deploy)

    def down(self):
        return self._run(delete_compute, self.environment)

    def down_with_data(self):
        return self._run(delete_everything, self.environment, sleep=self.account.sleep)

    def logs(self):
        return self._run(show_logs, self.environment, [], 600, follow=False)

    def status(self):
        return self._run(show_status, self.environment, FakeRegistry())

    def _run(self, command, *arguments, **options):
        """Run a command and return its error message; None if it succeeded."""
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            return "interrupted"
        except DeploymentError as error:
            return str(error)
        except ClientError as error:
            return str(explain(error))
        return None


@pytest.fixture
def account():
    return FakeAws()


@pytest.fixture
def operator(account):
    return Operator(account)


def states(account):
    return {s.template: s.status for s in account.stacks.values() if s.status != "DELETE_COMPLETE"}


def test_a_failed_first_deployment_can_be_repeated(account, operator):
    account.failing = {"WebGroup": NO_SIGNAL}

    failure = operator.up("prod")

    assert failure.startswith(f"{WEB} failed at WebGroup (AWS::AutoScaling::AutoScalingGroup)")
    assert "Session Manager" in failure
    assert "The last lines of i-1:" in operator.printed.getvalue()
    assert "the database refused the connection" in operator.printed.getvalue()
    assert states(account)[WEB] == "ROLLBACK_COMPLETE"

    account.failing = {}
    assert operator.up() is None
    assert set(states(account).values()) == {"UPDATE_COMPLETE", "CREATE_COMPLETE"}


def test_each_up_updates_the_users_of_the_database(account, operator):
    account.migration_fails = True
    assert "Read the reason with `python -m deployment logs migrate`" in operator.up()
    account.migration_fails = False

    assert [operator.up(), operator.up()] == [None, None]

    assert len(account.invoked) == 3
    assert "migratefunction" in account.invoked[0]


def test_resources_are_protected_after_the_creation_and_then_cannot_be_deleted(account, operator):
    assert operator.up("prod") is None

    assert sorted(name.rpartition(".")[2].partition("-")[0] for name in account.protected) == [
        "database",
        "loadbalancer",
    ]
    assert "LoadBalancerDeletionProtection to false" in operator.down()
    assert "LoadBalancerDeletionProtection to false" in operator.down_with_data()
    assert account.data_deleted == []
    assert [s.template for s in account.stacks.values() if s.is_protected] == [DATA]

    assert operator.up("default") is None
    assert operator.down_with_data() is None
    assert states(account) == {}


@pytest.mark.parametrize("state", ["ROLLBACK_FAILED", "DELETE_FAILED"])
def test_a_stack_that_cannot_be_rolled_back_because_it_is_protected_is_deleted(
    account, operator, state
):
    assert operator.up("prod") is None
    web = account.stack_named(stack_name("dev", WEB))
    web.status = state

    commands = [operator.down, operator.up] if state == "DELETE_FAILED" else [operator.up]
    assert [command() for command in commands] == [None] * len(commands)

    assert states(account)[WEB] == "UPDATE_COMPLETE"


def test_down_and_logs_work_after_the_first_deployment_was_rolled_back(account, operator):
    account.failing = {"WebGroup": NO_SIGNAL}
    operator.up()

    assert operator.logs() is None
    assert operator.status() is None
    assert operator.down() is None
    assert WEB not in states(account)


def test_down_with_data_can_be_interrupted_at_each_request(account, operator):
    assert operator.up() is None
    interruptions = 0
    account.requests_left = 0
    while operator.down_with_data() is not None:
        interruptions += 1
        account.requests_left = interruptions
        account.advance(1)
        assert interruptions < 400

    assert states(account) == {}
    assert account.objects == {}
    assert all(account.secrets.values())
    assert interruptions > 40


def test_a_log_group_that_was_deleted_by_hand_does_not_stop_a_command(account, operator):
    assert operator.up() is None
    account.log_groups.clear()

    assert operator.logs() is None
    assert operator.status() is None


def test_a_stack_of_another_application_is_not_touched(account, operator):
    stack = FakeStack(
        "arn:aws:other", stack_name("dev", ORDER[1]), ORDER[1], [], {"Parameters": []}
    )
    stack.status = "UPDATE_COMPLETE"
    account.stacks[stack.id] = stack

    for command in (operator.up, operator.status, operator.logs, operator.down):
        assert "belongs to another application" in command()

    assert operator.down_with_data() is not None
    assert (stack.status, account.data_deleted) == ("UPDATE_COMPLETE", [])


def test_an_environment_of_an_earlier_release_is_not_made_a_second_time(account, operator):
    tags = [{"Key": "Application", "Value": "image-annotation"}]
    stack = FakeStack("arn:aws:old", f"dev-{DATA}", DATA, tags, {"Parameters": []})
    stack.status = "UPDATE_COMPLETE"
    account.stacks[stack.id] = stack

    assert "An earlier release made this environment" in operator.up()
    assert list(account.stacks) == [stack.id]


def test_an_export_name_of_another_stack_is_reported_with_advice(account, operator):
    other = FakeStack("arn:aws:other", "eks-network", ORDER[1], [], {"Parameters": []})
    other.status = "CREATE_COMPLETE"
    taken = next(iter(document(ORDER[1])["Outputs"].values()))["Export"]["Name"]["Fn::Sub"]
    other.exports = {taken.replace("${Environment}", "dev"): "vpc-1"}
    account.stacks[other.id] = other

    failure = operator.up()

    assert "is already exported by stack eks-network" in failure
    assert "Choose another --environment" in failure


def test_a_stack_with_exports_in_use_is_not_deleted_and_says_so(account, operator):
    assert operator.up() is None
    network = account.stack_named(stack_name("dev", ORDER[1]))
    other = FakeStack("arn:aws:other", "vpn", "vpn", [], {"Parameters": []})
    other.status, other.imports = "CREATE_COMPLETE", {next(iter(network.exports))}
    account.stacks[other.id] = other

    failure = operator.down_with_data()

    assert "cannot be deleted as it is in use by vpn" in failure
    assert f"{ORDER[1]} was not changed (CREATE_COMPLETE)" in failure
    account.stacks.pop(other.id)
    assert operator.down_with_data() is None


def test_a_failed_roll_back_of_an_update_is_continued_by_the_next_up(account, operator):
    assert operator.up() is None
    account.failing, account.fails_rollback = {"Database": "no capacity"}, True
    assert "could not be rolled back either (UPDATE_ROLLBACK_FAILED)" in operator.up("prod")
    account.fails_rollback = True
    assert "aws cloudformation continue-update-rollback --stack-name" in operator.up("prod")

    account.failing = {}
    assert operator.up() is None


def test_a_creation_that_failed_is_kept_on_request_and_deleted_by_the_next_command(
    account, operator
):
    account.failing = {"WebGroup": NO_SIGNAL}

    failure = operator.up(keep_on_failure=True)

    assert "The resources of 04-ec2-alb-asg-stack were kept (CREATE_FAILED)" in failure
    assert len(account.load_balancers) == 1
    account.failing = {}
    assert operator.up() is None


# What replaces or removes data: a database from a snapshot, and a Gemini secret from elsewhere.
OTHER_SECRET = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:mine-AbCdEf"
LOSSES = {
    "Database": {"DatabaseSnapshotIdentifier": "before-the-move"},
    "GeminiSecret": {"ExistingGeminiSecretArn": OTHER_SECRET},
}


@pytest.mark.parametrize("resource", LOSSES)
def test_an_update_that_would_lose_data_is_refused_until_it_is_allowed(
    account, operator, tmp_path, resource
):
    assert operator.up() is None
    stack = account.stack_named(stack_name("dev", DATA))
    stack.policy = None  # As a release without a stack policy made it.
    path = tmp_path / "losing.json"
    path.write_text(json.dumps({DATA: LOSSES[resource]}))

    refused = operator.up(str(path))

    assert f"{DATA} failed at {resource} (AWS::Example): Action denied by stack policy" in refused
    assert "`up --allow-replacement`" in refused
    assert "is back in its previous state" in refused
    assert operator.up(str(path), allows_replacement=True) is None
    assert stack.policy is not None
    assert operator.up() is None


def test_only_the_stack_with_data_has_a_policy(account, operator):
    assert operator.up() is None

    assert [stack.template for stack in account.stacks.values() if stack.policy] == [DATA]


def web_stack(account):
    return account.stack_named(stack_name("dev", WEB))


def change_web(operator, tmp_path, size):
    path = tmp_path / "changed.json"
    path.write_text(json.dumps({WEB: {"InstanceType": size}}))
    return operator.up(str(path))


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_that_rings_during_an_update_of_the_servers_rolls_it_back(
    account, operator, tmp_path, alarm
):
    assert operator.up() is None
    assert web_stack(account).triggers == []  # The alarms did not exist before.
    account.rings_during_update = alarm

    failure = change_web(operator, tmp_path, "t3.medium")

    assert "is back in its previous state (UPDATE_ROLLBACK_COMPLETE)" in failure
    assert "`logs web`" in failure
    assert len(web_stack(account).triggers) == len(ALARMS)
    assert change_web(operator, tmp_path, "t3.medium") is None


def test_an_alarm_that_rings_before_an_update_does_not_stop_the_repair(account, operator, tmp_path):
    assert operator.up() is None
    for name in account.alarms:
        account.alarms[name] = "servererrorsalarm" in name

    assert change_web(operator, tmp_path, "t3.medium") is None

    assert "rings already, so it cannot roll this update back" in operator.printed.getvalue()
    assert len(web_stack(account).triggers) == len(ALARMS) - 1


def test_alarms_that_were_deleted_by_hand_do_not_stop_an_update(account, operator, tmp_path):
    assert operator.up() is None
    assert change_web(operator, tmp_path, "t3.medium") is None
    account.alarms.clear()

    assert change_web(operator, tmp_path, "t3.micro") is None

    assert web_stack(account).triggers == []


def test_a_role_is_used_for_each_operation_and_kept_by_the_stacks(account):
    role = "arn:aws:iam::111122223333:role/deployment"

    assert Operator(account, role=role).up("prod") is None

    assert {stack.role for stack in account.stacks.values()} == {role}
    operator = Operator(account)
    for command in (operator.up, operator.down, operator.up, operator.down_with_data):
        options = ("default",) if command == operator.up else ()
        assert command(*options) is None
    assert {stack.role for stack in account.stacks.values()} == {role}


class Account(RuleBasedStateMachine):
    """Random sequences of commands, failures and interruptions."""

    @initialize()
    def begin(self):
        self.account = FakeAws()
        self.operator = Operator(self.account)
        self.profile = "default"
        self.was_confirmed = False

    @rule(profile=st.sampled_from(["default", "prod", None]))
    def up(self, profile):
        self._note_profile(profile)
        self.operator.up(profile)

    @rule(resource=st.sampled_from(RESOURCES), keep=st.booleans(), fails_rollback=st.booleans())
    def up_fails(self, resource, keep, fails_rollback):
        self.account.failing = {resource[1]: f"{resource[1]} is not possible"}
        self.account.fails_rollback = fails_rollback
        self.operator.up(self.profile, keep_on_failure=keep)
        self.account.failing, self.account.fails_rollback = {}, False

    @rule(
        requests=st.integers(0, 60),
        command=st.sampled_from(["up", "down", "logs", "status"]),
        throttled=st.booleans(),
    )
    def interrupted(self, requests, command, throttled):
        if throttled:
            self.account.throttled = 1
        else:
            self.account.requests_left = requests
        getattr(self.operator, command)()
        self.account.requests_left, self.account.throttled = None, 0

    @rule(steps=st.integers(1, 200))
    def time_passes(self, steps):
        self.account.advance(steps)

    @rule(command=st.sampled_from(["down", "logs", "status"]))
    def other_command(self, command):
        getattr(self.operator, command)()

    @rule()
    def deletion_fails(self):
        self.account.failing = {
            "WebTargets": "busy",
            "WebGroup": "busy",
            "AnnotationFunction": "busy",
        }
        self.operator.down()
        self.account.failing = {}

    @precondition(lambda self: not self.was_confirmed)
    @rule(requests=st.integers(0, 200))
    def down_with_data_is_interrupted(self, requests):
        self.was_confirmed = True
        self.account.requests_left = requests
        self.operator.down_with_data()
        self.account.requests_left = None

    def _note_profile(self, profile):
        self.profile = profile or self.profile

    def teardown(self):
        if not self.was_confirmed:
            assert self.account.data_deleted == []
        problems = [self.operator.up("default")]
        if re.search("Run the same `down` again", problems[0] or ""):
            command = self.operator.down_with_data if self.was_confirmed else self.operator.down
            problems += [command(), self.operator.up("default")]
        assert problems[-1] is None, problems
        assert self.operator.down_with_data() is None
        assert states(self.account) == {}


TestAnySequence = Account.TestCase
TestAnySequence.settings = settings(
    max_examples=100,
    stateful_step_count=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.generate),  # Shrinking a sequence takes minutes.
)
