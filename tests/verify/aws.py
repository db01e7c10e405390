"""Check the assumptions of docs/assumptions/aws.md in a real account: `make verify-aws`.

The program creates an environment with the commands of `python -m deployment`, updates it, makes
updates fail, and deletes it with all its data. It compares what AWS does with the assumptions. The
table shows both. Whatever happens, it deletes at the end what it has created.
"""

import re
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from deployment import costs
from deployment.__main__ import check_environment_name
from deployment.aws import AWS
from deployment.cloudformation import CloudFormation
from deployment.console import Console
from deployment.down import delete_everything
from deployment.environment import Environment
from deployment.errors import DeploymentError, StackFailedError, explain
from deployment.images import Builder, Image, Registry
from deployment.redrive import QUEUE_OUTPUTS, redrive_failed_jobs, redrive_queues
from deployment.rollback import ALARMS
from deployment.settings import DeploymentSettings
from deployment.smoke import SmokeTestError, smoke_test
from deployment.stacks import (
    APPLICATION,
    FUNCTIONS,
    NETWORK,
    ORDER,
    WEB,
    ParameterFile,
    read_templates,
    stack_name,
)
from deployment.up import deploy_environment
from tests.verify.checks import AS_ASSUMED, DIFFERENT, Check, DifferentError, Row, print_results

HOURS = 2
CAPTIONS = 2
ATTEMPTS_TO_CLEAN_UP = 3
DOCUMENT = Path(__file__).parents[2] / "docs" / "assumptions" / "aws.md"
FAILED, NOT_SEEN = "FAILED", "not seen"
INTERRUPTED = 130  # The exit code that a shell uses for Ctrl-C.
NO_IMAGE = "sha256:" + "0" * 64
# The smallest sizes. The run creates its own roles.
PROFILE = "lab"
ROLES = ("ExistingLambdaRoleArn", "ExistingInstanceProfileName")

NO_KEY = """\
make verify-aws runs the whole system in your AWS account, so it needs credentials and a Gemini key:

    AWS_REGION=… GEMINI_API_KEY=… make verify-aws

It costs less than US$ 2, of which less than one US cent is for Gemini."""
# The beginnings of assumptions that this program does not see, and why.
NOT_SEEN_HERE = {
    "A roll-back cannot delete a protected": "the protection would outlive an interruption",
    "An export name exists once": "it needs a second environment",
    "After UPDATE_ROLLBACK_FAILED a stack": "nothing from outside makes a roll-back fail",
    "A stack policy in an update does not": "the commands always set the policy before an update",
    "An alarm of the roll-back triggers": "it needs a site that returns errors for minutes",
    "CloudFormation uses the role of an": "it needs a role",
}


def assumption(beginning: str) -> str:
    """Return the assumption of docs/assumptions/aws.md that begins like that."""
    rows = [row for row in DOCUMENT.read_text().splitlines() if row.startswith(f"| {beginning}")]
    if len(rows) != 1:
        raise ValueError(f"{len(rows)} rows of {DOCUMENT.name} begin with “{beginning}”")
    return rows[0].split(" | ")[0].removeprefix("| ")


class BrokenWebImage:
    """A registry that has every image, except the one for the web servers."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def publish(self, image: Image, repository_uri: str) -> str:
        """Return an image of the web servers that does not exist, and the other images."""
        uri = self._registry.publish(image, repository_uri)
        return f"{uri.partition('@')[0]}@{NO_IMAGE}" if image.name == "web" else uri


@dataclass
class Verification:
    """One run in one environment, which exists only meanwhile."""

    environment: Environment
    registry: Registry
    gemini_api_key: str | None
    smoke: Callable[[str, Console], None] = smoke_test
    sleep: Callable[[float], None] = time.sleep
    address: str = ""
    refusal: str = ""  # The message of the last `up` that failed.
    databases: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)

    def checks(self) -> list[Check]:
        """Return every check, in the order in which they can be made."""
        return [
            _assumed("`OnFailure=DO_NOTHING` keeps", self.creation_is_kept),
            _assumed("A stack of which the creation failed", self.creation_is_rolled_back),
            _assumed("ListStackResources also lists", self.deleted_resources_are_listed),
            _assumed("A zone that does not exist", self.zone_is_refused_late),
            Check("`up` creates everything.", self.up),
            Check("`smoke` uses the site.", self.use),
            _assumed("A stack policy refuses", self.loss_is_refused),
            _assumed("A change of these properties", self.loss_is_a_replacement),
            Check("`up` updates the functions and the servers.", self.update),
            _assumed("CloudFormation keeps the triggers", self.triggers_are_kept),
            _assumed("SignalResource has no reason", self.failed_update_rolls_back),
            Check("`smoke` uses the site after the roll-back.", self.use),
            Check("`redrive --failed` is accepted.", self.redrive),
            _assumed("A stack with an export in use", self.export_in_use_is_kept),
            Check("`down --delete-data` deletes everything.", self.down),
            _assumed("A bucket with `RetainExceptOnCreate`", self.kept_buckets_are_listed),
            _assumed("Requests for a deleted resource", self.deleted_resources_are_not_found),
            _assumed("DeleteSecret is refused", self.second_deletion_is_refused),
            _assumed("The deletion of a database leaves", self.snapshot_is_left),
        ]

    # Stacks that cannot be created

    def creation_is_kept(self) -> str:
        return self._failed_creation("CREATE_FAILED", keep_on_failure=True)

    def creation_is_rolled_back(self) -> str:
        return self._failed_creation("ROLLBACK_COMPLETE")

    def _failed_creation(self, expected: str, **options: Any) -> str:
        region = self.environment.aws.account.region
        zones = {"FirstZone": f"{region}y", "SecondZone": f"{region}z"}  # They do not exist.
        self.refusal = self._failure({NETWORK: zones}, **options)
        stack = self.environment.find(NETWORK)
        status = stack.status if stack else "gone"
        return _require(status == expected, f"{status}: {self.refusal}")

    def deleted_resources_are_listed(self) -> str:
        found = self._resources(NETWORK)
        deleted = [each for each in found if each["ResourceStatus"] == "DELETE_COMPLETE"]
        with_id = [each for each in deleted if each.get("PhysicalResourceId")]
        seen = f"{len(deleted)} deleted of {len(found)}, {len(with_id)} with a physical id"
        return _require(bool(with_id), seen)

    def zone_is_refused_late(self) -> str:
        is_late = re.search(r"failed at \w*Subnet\w* .*zone", self.refusal, re.IGNORECASE)
        return _require(bool(is_late), self.refusal)

    # The environment

    def up(self) -> str:
        self.address = self._deploy({})
        states = {name: stack.status for name, stack in self.environment.find_all().items()}
        is_complete = all(state.endswith("E_COMPLETE") for state in states.values())
        return _require(is_complete and tuple(states) == ORDER, str(states))

    def use(self) -> str:
        try:
            self.smoke(self.address, self.environment.console)
        except SmokeTestError as error:
            raise DifferentError(str(error)) from error
        return f"{self.address} works"

    def export_in_use_is_kept(self) -> str:
        name = stack_name(self.environment.name, NETWORK)
        before = self.environment.find(NETWORK)
        try:
            self.environment.stacks.delete(name, NETWORK)
        except StackFailedError as error:
            after = self.environment.find(NETWORK)
            is_kept = before and after and before.status == after.status
            return _require(bool(is_kept and "in use by" in str(error)), str(error))
        raise DifferentError("the stack was deleted")

    def loss_is_refused(self) -> str:
        self.refusal = self._failure({APPLICATION: {"DatabaseSnapshotIdentifier": "none"}})
        return _require("denied by stack policy" in self.refusal, self.refusal)

    def loss_is_a_replacement(self) -> str:
        return _require("Update:Replace" in self.refusal, self.refusal)

    def update(self) -> str:
        self._deploy({FUNCTIONS: {"ThumbnailTimeoutInSeconds": 29}, WEB: {"SiteNotice": "Test"}})
        found = {name: self.environment.find(name) for name in (FUNCTIONS, WEB)}
        states = {name: stack.status for name, stack in found.items() if stack}
        return _require(set(states.values()) == {"UPDATE_COMPLETE"}, str(states))

    def triggers_are_kept(self) -> str:
        name = stack_name(self.environment.name, WEB)
        [stack] = self.environment.aws.cloudformation.describe_stacks(StackName=name)["Stacks"]
        triggers = stack.get("RollbackConfiguration", {}).get("RollbackTriggers", [])
        return _require(len(triggers) == len(ALARMS), f"{len(triggers)} triggers")

    def failed_update_rolls_back(self) -> str:
        message = self._failure({}, registry=BrokenWebImage(self.registry))
        is_back = "UPDATE_ROLLBACK_COMPLETE" in message
        counts = re.search(r"\d+ FAILURE signal|\d+ resource signal", message)
        return _require(bool(is_back and counts), message)

    def redrive(self) -> str:
        aws, outputs = self.environment.aws, self.environment.outputs(APPLICATION)
        urls = [outputs[name] for name in QUEUE_OUTPUTS]
        result = redrive_queues(aws.sqs, aws.events, urls, self.environment.console)
        is_accepted = redrive_failed_jobs(aws.events, self.environment.name)
        seen = f"{result.sent} dead letters sent again"
        return _require(is_accepted and not result.rejected and not result.unreadable, seen)

    # After it

    def down(self) -> str:
        self.remember()
        delete_everything(self.environment, sleep=self.sleep)
        left = list(self.environment.find_all())
        return _require(not left, f"stacks that are left: {left or 'none'}")

    def remember(self) -> None:
        """Remember the names of what does not disappear with its stack."""
        if self.environment.find(APPLICATION) is None:
            return
        for resource in self._resources(APPLICATION):
            name = resource.get("PhysicalResourceId")
            match resource["ResourceType"]:
                case "AWS::RDS::DBInstance" if name and name not in self.databases:
                    self.databases.append(name)
                case "AWS::SecretsManager::Secret" if name and name not in self.secrets:
                    self.secrets.append(name)

    def kept_buckets_are_listed(self) -> str:
        name = stack_name(self.environment.name, APPLICATION)
        kept = [each for each in self.environment.stacks.kept_resources(name) if "S3" in each[1]]
        return _require(bool(kept), f"{len(kept)} resources of buckets in the list of the stack")

    def deleted_resources_are_not_found(self) -> str:
        aws = self.environment.aws
        return self._refusal(
            lambda: aws.rds.describe_db_instances(DBInstanceIdentifier=self.databases[0]),
            "NotFound",
        )

    def second_deletion_is_refused(self) -> str:
        aws = self.environment.aws
        return self._refusal(
            lambda: aws.secretsmanager.delete_secret(
                SecretId=self.secrets[0], RecoveryWindowInDays=7
            ),
            "InvalidRequestException",
        )

    def snapshot_is_left(self) -> str:
        snapshots = self._snapshots()
        return _require(bool(snapshots), f"snapshots: {snapshots or 'none'}")

    def clean_up(self) -> None:
        """Delete everything that the run has created, with the final snapshots and backups."""
        self.remember()
        delete_everything(self.environment, sleep=self.sleep)
        rds = self.environment.aws.rds
        for snapshot in self._snapshots():
            rds.delete_db_snapshot(DBSnapshotIdentifier=snapshot)
        for database in self.databases:
            with suppress(rds.exceptions.DBInstanceAutomatedBackupNotFoundFault):
                answer = rds.describe_db_instance_automated_backups(DBInstanceIdentifier=database)
                for backup in answer["DBInstanceAutomatedBackups"]:
                    rds.delete_db_instance_automated_backup(DbiResourceId=backup["DbiResourceId"])

    # Tools

    def _snapshots(self) -> list[str]:
        rds = self.environment.aws.rds
        return [
            snapshot["DBSnapshotIdentifier"]
            for database in self.databases
            for snapshot in rds.describe_db_snapshots(
                DBInstanceIdentifier=database, SnapshotType="manual"
            )["DBSnapshots"]
        ]

    def _deploy(
        self, changes: dict[str, dict[str, Any]], registry: Any = None, **options: Any
    ) -> str:
        return deploy_environment(
            self.environment,
            parameters(self.environment, changes),
            registry or self.registry,
            self.gemini_api_key,
            accepts_plain_http=True,
            sleep=self.sleep,
            **options,
        )

    def _failure(self, changes: dict[str, dict[str, Any]], **options: Any) -> str:
        """Return the message of an `up` that must fail."""
        try:
            self._deploy(changes, **options)
        except StackFailedError as error:
            return str(error)
        raise DifferentError("the update succeeded")

    def _refusal(self, request: Callable[[], object], code: str) -> str:
        try:
            request()
        except ClientError as error:
            seen = error.response["Error"]["Code"]
            return _require(code in seen, seen)
        raise DifferentError("answered")

    def _resources(self, name: str) -> list[Any]:
        pages = self.environment.aws.cloudformation.get_paginator("list_stack_resources")
        answer = pages.paginate(StackName=stack_name(self.environment.name, name))
        return list(answer.search("StackResourceSummaries[]"))


def _assumed(beginning: str, see: Callable[[], str]) -> Check:
    return Check(assumption(beginning), see)


def parameters(environment: Environment, changes: dict[str, dict[str, Any]]) -> ParameterFile:
    """Return the parameters of the run: those of the smallest profile, with changes."""
    smallest = ParameterFile.read(PROFILE, environment.templates).values
    return ParameterFile(
        PROFILE,
        {
            name: {
                **{key: value for key, value in smallest[name].items() if key not in ROLES},
                **changes.get(name, {}),
            }
            for name in ORDER
        },
    )


def _require(condition: bool, seen: str) -> str:
    if not condition:
        raise DifferentError(seen)
    return seen


def run(verification: Verification) -> int:
    """Run the checks and print the table. Return the exit code.

    A command that fails ends the run. Everything is deleted at the end.
    """
    console = verification.environment.console
    rows: list[Row] = []
    code = 0
    checks = verification.checks()
    try:
        for check in checks:
            console.print(f"\n{check.assumed}", "success")
            rows.append(_row(check))
            if rows[-1][0] == FAILED:
                break
    except (KeyboardInterrupt, click.Abort):
        console.print("\nInterrupted.", "error")
        code = INTERRUPTED
    finally:
        is_clean = _clean_up(verification)
    rows += [(NOT_SEEN, check.assumed, "") for check in checks[len(rows) :]]
    rows += [(NOT_SEEN, assumption(start), reason) for start, reason in NOT_SEEN_HERE.items()]
    print_results(rows, console)
    is_right = all(mark != DIFFERENT and mark != FAILED for mark, _, _ in rows)
    return code or int(not (is_right and is_clean))


def _row(check: Check) -> Row:
    try:
        mark, seen = AS_ASSUMED, check.see()
    except DifferentError as error:
        mark, seen = DIFFERENT, str(error)
    except DeploymentError as error:
        mark, seen = FAILED, str(error)
    except (BotoCoreError, ClientError) as error:
        mark, seen = FAILED, str(explain(error))
    return mark, check.assumed, " ".join(seen.split())[:300]


def _clean_up(verification: Verification) -> bool:
    """Delete everything, and return whether nothing is left."""
    console = verification.environment.console
    console.print("\nDeleting everything that was created. This can take 45 minutes.")
    for _ in range(ATTEMPTS_TO_CLEAN_UP):
        try:
            verification.clean_up()
        except (KeyboardInterrupt, click.Abort):
            console.print("Interrupted. Trying again, because what is left costs money.", "error")
        except DeploymentError as error:
            console.print(str(error), "error")
        except (BotoCoreError, ClientError) as error:
            console.print(str(explain(error)), "error")
        else:
            console.print("Nothing is left.", "success")
            return True
    console.print(
        "Something is left and costs money. Delete it: python -m deployment down --delete-data "
        f"--environment {verification.environment.name} --region "
        f"{verification.environment.aws.account.region}. Then delete the snapshots and backups of "
        f"{', '.join(verification.databases) or 'its database'} in the console of RDS.",
        "error",
    )
    return False


def hourly_cost() -> list[tuple[str, float]]:
    """Return what costs money, in US dollars an hour."""
    lines = costs.idle_month(PROFILE)
    return [(line.name, line.dollars / costs.HOURS) for line in lines if line.dollars]


def total_cost() -> float:
    """Return the expected cost of a run in US dollars."""
    images = sum(line.dollars for line in costs.thousand_images()) / 1000 * CAPTIONS
    return sum(dollars for _name, dollars in hourly_cost()) * HOURS + images


def announce(environment: Environment) -> None:
    """Print what will be created, and what it costs."""
    console, account = environment.console, environment.aws.account
    number = sum(len(template.resources) for template in environment.templates.values())
    console.print(
        f"This creates one environment with up to {number} resources in the account {account.id}, "
        f"{account.region}, uses it, and deletes it with all its data. It takes about {HOURS} "
        f"hours and costs about US$ {total_cost():.2f}, less than US$ 2:"
    )
    console.print_table(
        ("", "US$ an hour"), [(name, f"{dollars:.4f}") for name, dollars in hourly_cost()]
    )


def require_new(environment: Environment) -> None:
    """Refuse a name that an environment has already.

    Raises:
        DeploymentError: a stack exists.
    """
    if environment.find_all():
        raise DeploymentError(
            f"The environment “{environment.name}” exists already. Nothing was created. Choose the "
            "name of an environment that does not exist."
        )


@click.command()
@click.option("--region", envvar="AWS_REGION", help="AWS region.")
def verify(region: str | None) -> int:
    """Check the assumptions about AWS in a real account."""
    console = Console()
    key = DeploymentSettings.read().gemini_api_key
    if key is None:
        click.echo(NO_KEY, err=True)
        return 2
    aws = AWS(region)
    stacks = CloudFormation(aws.cloudformation, console)
    templates = read_templates()
    announce(Environment("verify", aws, stacks, templates, console))
    name = click.prompt(
        "To begin, type a name for the new environment",
        value_proc=lambda text: check_environment_name(None, None, text),  # type: ignore[arg-type]
    )
    environment = Environment(name, aws, stacks, templates, console)
    require_new(environment)
    registry = Registry(aws.ecr, Builder(console).build_and_push, console)
    for number in (signal.SIGTERM, signal.SIGHUP):  # Like Ctrl-C, so that everything is deleted.
        signal.signal(number, signal.default_int_handler)
    return run(Verification(environment, registry, key))


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if all is as assumed, 1 if something is different, 2 without a key."""
    try:
        code: int = verify.main(arguments, prog_name="make verify-aws", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("\nNothing was created.", err=True)
        return INTERRUPTED
    except (DeploymentError, BotoCoreError, ClientError) as error:
        failure = error if isinstance(error, DeploymentError) else explain(error)
        click.echo(str(failure), err=True)
        return failure.exit_code
    return code


if __name__ == "__main__":
    sys.exit(main())
