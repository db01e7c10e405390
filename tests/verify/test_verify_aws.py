"""Run `make verify-aws` against an account as unkind as AWS."""

import io
import re
from functools import cache

import pytest

from deployment.aws import AWS
from deployment.cloudformation import CloudFormation
from deployment.console import Console
from deployment.down import delete_everything
from deployment.environment import Environment
from deployment.errors import DeploymentError
from deployment.smoke import smoke_test
from deployment.stacks import read_templates
from tests.support.fake_aws import Connection, FakeAws
from tests.support.fake_services import AwsError
from tests.support.scripted_site import scripted_site
from tests.verify import aws as verify_aws
from tests.verify.aws import NOT_SEEN_HERE, Verification

TEMPLATES = read_templates()
CONNECTION = Connection()


@cache
def clients():
    CONNECTION.account = FakeAws()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("boto3.Session", CONNECTION.session)
        return AWS("eu-west-1")


class FragileAws(FakeAws):
    """An account in which one request is interrupted or refused."""

    def __init__(self, number=None, problem=KeyboardInterrupt):
        super().__init__()
        self.number, self.problem, self.count = number, problem, 0

    def answer(self, service, operation, parameters):
        self.count += 1
        if self.count == self.number:
            if self.problem is KeyboardInterrupt:
                raise KeyboardInterrupt
            self.sts_get_caller_identity = self.refuse
            return super().answer("sts", "GetCallerIdentity", {})
        return super().answer(service, operation, parameters)

    def refuse(self):
        raise AwsError("AccessDenied", "User operator is not authorized to perform this")


class FakeRegistry:
    """A registry that has every image."""

    def publish(self, image, repository):
        return f"111122223333.dkr.ecr.eu-west-1.amazonaws.com/{image.name}@sha256:{'a' * 64}"


@pytest.fixture
def site():
    with scripted_site() as site:
        yield site


def verify(account, site, name="trial"):
    printed = io.StringIO()
    connection, CONNECTION.account = clients(), account
    console = Console(printed)
    stacks = CloudFormation(connection.cloudformation, console, account.sleep)
    environment = Environment(name, connection, stacks, TEMPLATES, console)
    verification = Verification(
        environment,
        FakeRegistry(),
        None,
        smoke=lambda _address, console: smoke_test(site.url, console, sleep=account.sleep),
        sleep=account.sleep,
    )
    return verify_aws.run(verification), printed.getvalue()


def left(account):
    """Return what exists and costs money."""
    return {
        "stacks": [s.name for s in account.stacks.values() if s.status != "DELETE_COMPLETE"],
        "databases": account.databases,
        "snapshots": account.snapshots,
        "backups": account.backups,
        "load balancers": account.load_balancers,
        "buckets": account.objects,
        "images": account.images,
        "secrets": [name for name, is_scheduled in account.secrets.items() if not is_scheduled],
    }


def assert_nothing_is_left(account):
    assert {kind: found for kind, found in left(account).items() if found} == {}


def marks(printed):
    return re.findall(r"^(as assumed|DIFFERENT|FAILED|not seen)", printed, re.MULTILINE)


def test_the_fake_account_behaves_as_assumed_and_nothing_is_left(site):
    account = FakeAws()

    code, printed = verify(account, site)

    assert code == 0, printed
    assert marks(printed).count("not seen") == len(NOT_SEEN_HERE)
    assert set(marks(printed)) == {"as assumed", "not seen"}
    assert "Nothing is left." in printed
    assert_nothing_is_left(account)
    assert account.data_deleted
    assert site.images == set()


@cache
def number_of_requests():
    with scripted_site() as site:
        account = FragileAws()
        verify(account, site)
    return account.count


@pytest.mark.parametrize("problem", [KeyboardInterrupt, AwsError], ids=lambda p: p.__name__)
@pytest.mark.parametrize("share", [0.001, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99])
def test_nothing_is_left_after_an_interruption_or_a_refused_request(site, problem, share):
    number = max(1, int(number_of_requests() * share))
    account = FragileAws(number, problem)

    code, printed = verify(account, site)

    assert code != 0 or "Trying again" in printed or "not authorized" in printed
    assert "Nothing is left." in printed
    assert_nothing_is_left(account)


@pytest.mark.parametrize("resource", ["WebRepository", "Vpc", "Database", "Migration", "WebGroup"])
def test_nothing_is_left_when_a_stack_cannot_be_created(site, monkeypatch, resource):
    account = FakeAws()
    account.failing = {resource: "is not possible"}

    def delete(environment, sleep):
        account.failing = {}  # A resource that cannot be created can be deleted.
        delete_everything(environment, sleep=sleep)

    monkeypatch.setattr(verify_aws, "delete_everything", delete)

    code, printed = verify(account, site)

    assert code == 1
    assert marks(printed).count("FAILED") == 1
    assert_nothing_is_left(account)


def without_policies(account):
    account._denials = lambda *_: {}


def without_deleted_resources(account):
    listed = account.cloudformation_list_stack_resources

    def list_existing(**parameters):
        page = listed(**parameters)
        key = "StackResourceSummaries"
        gone = ("DELETE_COMPLETE", "DELETE_SKIPPED")
        return page | {key: [each for each in page[key] if each["ResourceStatus"] not in gone]}

    account.cloudformation_list_stack_resources = list_existing


def with_every_zone(account):
    problem = account._problem

    def accept_zone(wanted, logical_id):
        reason = problem(wanted, logical_id)
        return None if "availabilityZone" in (reason or "") else reason

    account._problem = accept_zone


def with_every_image(account):
    problem = account._problem
    account._problem = lambda wanted, name: None if name == "WebGroup" else problem(wanted, name)


def without_kept_triggers(account):
    described = account.cloudformation_describe_stacks

    def describe(**parameters):
        answer = described(**parameters)
        del answer["Stacks"][0]["RollbackConfiguration"]
        return answer

    account.cloudformation_describe_stacks = describe


def with_deletable_exports(account):
    delete = account.cloudformation_delete_stack

    def delete_anyway(**parameters):
        for stack in account.stacks.values():
            stack.imports = set()
        return delete(**parameters)

    account.cloudformation_delete_stack = delete_anyway


def with_repeated_deletion(account):
    def delete_secret(SecretId, RecoveryWindowInDays):
        account.secrets[SecretId] = True

    account.secretsmanager_delete_secret = delete_secret


def without_snapshots(account):
    account.rds_describe_db_snapshots = lambda **_: {"DBSnapshots": []}
    account.snapshots = NoSnapshots()


def with_deleted_databases(account):
    account.rds_describe_db_instances = lambda **_: {"DBInstances": [{"DeletionProtection": False}]}


class NoSnapshots(dict):
    def __setitem__(self, name, database):
        pass


@pytest.mark.parametrize(
    "lacks_a_rule",
    [
        without_policies,
        without_deleted_resources,
        with_every_zone,
        with_every_image,
        without_kept_triggers,
        with_deletable_exports,
        with_repeated_deletion,
        without_snapshots,
        with_deleted_databases,
    ],
    ids=lambda function: function.__name__,
)
def test_an_account_that_lacks_one_rule_is_different_and_nothing_is_left(site, lacks_a_rule):
    account = FakeAws()
    lacks_a_rule(account)

    code, printed = verify(account, site)

    assert code == 1
    assert "DIFFERENT" in marks(printed), printed
    assert_nothing_is_left(account)


def test_a_site_that_does_not_work_is_different(site):
    site.answers["POST", "/upload"] = (503, {"error": "No.", "code": "no"})
    account = FakeAws()

    code, printed = verify(account, site)

    assert code == 1
    assert marks(printed).count("DIFFERENT") == 2
    assert_nothing_is_left(account)


def test_what_cannot_be_deleted_is_named_with_the_command_that_deletes_it(site, monkeypatch):
    monkeypatch.setattr(verify_aws, "delete_everything", refuse)

    code, printed = verify(FakeAws(), site)

    assert code == 1
    assert "python -m deployment down --delete-data --environment trial" in printed


def refuse(*_arguments, **_options):
    raise DeploymentError("This is not possible.")


# The program at its beginning


@pytest.fixture
def account(monkeypatch):
    connection, CONNECTION.account = clients(), FakeAws()
    monkeypatch.setattr(verify_aws, "AWS", lambda _region: connection)
    monkeypatch.setattr(verify_aws, "run", lambda verification: started.append(verification) or 0)
    monkeypatch.setattr(verify_aws.signal, "signal", lambda *_: None)
    monkeypatch.setenv("GEMINI_API_KEY", "the-key")
    started = []
    CONNECTION.account.started = started
    return CONNECTION.account


def begin(monkeypatch, typed):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    return verify_aws.main(["--region", "eu-west-1"])


def test_it_says_what_it_creates_and_costs_before_it_asks_for_the_name(
    account, monkeypatch, capsys
):
    assert begin(monkeypatch, "trial\n") == 0

    printed = capsys.readouterr().out
    costs = float(re.search(r"costs about US\$ (\d+\.\d\d), less than US\$ 2", printed)[1])
    assert 0.1 < costs < 2
    assert printed.index("NAT gateways") < printed.index("type a name")
    assert account.started[0].environment.name == "trial"
    assert account.stacks == {}


def test_the_name_of_an_existing_environment_is_refused(account, site, monkeypatch, capsys):
    operator = Verification(
        Environment(
            "trial",
            clients(),
            CloudFormation(clients().cloudformation, Console(io.StringIO()), account.sleep),
            TEMPLATES,
            Console(io.StringIO()),
        ),
        FakeRegistry(),
        None,
        sleep=account.sleep,
    )
    operator.up()

    assert begin(monkeypatch, "trial\n") == 1

    assert "exists already. Nothing was created" in capsys.readouterr().err
    assert account.started == []


@pytest.mark.parametrize("typed", ["", "Trial_1\n"])
def test_without_a_valid_name_nothing_is_created(account, monkeypatch, capsys, typed):
    assert begin(monkeypatch, typed) == 130

    assert "Nothing was created" in capsys.readouterr().err
    assert account.started == []


def test_without_a_key_it_explains_itself(account, monkeypatch, capsys):
    monkeypatch.delenv("GEMINI_API_KEY")

    assert begin(monkeypatch, "trial\n") == 2

    assert "less than US$ 2" in capsys.readouterr().err
