"""Command line of the deployment: `python -m deployment`."""

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from botocore.exceptions import BotoCoreError, ClientError

from deployment import costs as cost_tables
from deployment.aws import AWS
from deployment.backfill import BUCKET_OUTPUTS, Backfill, Inventory, delete_left_over
from deployment.cloudformation import CloudFormation
from deployment.console import Console
from deployment.down import delete_compute, delete_everything, list_data
from deployment.environment import Environment
from deployment.errors import DeploymentError, explain
from deployment.images import X86, Builder, Registry
from deployment.logs import show_logs
from deployment.plan import show_plan
from deployment.redrive import QUEUE_OUTPUTS, redrive_failed_jobs, redrive_queues
from deployment.settings import DeploymentSettings
from deployment.smoke import run_after_deployment, smoke_test
from deployment.spending import show_spending
from deployment.stacks import APPLICATION, FUNCTIONS, WEB, read_templates
from deployment.status import show_outputs, show_status
from deployment.up import deploy_environment

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_INTERRUPTED = 130  # The exit code that a shell uses for Ctrl-C.

Command = TypeVar("Command", bound=Callable[..., Any])


def environment_options(command: Command) -> Command:
    """Add the `--environment` and `--region` options."""
    command = click.option(
        "--region",
        envvar="AWS_REGION",  # The AWS CLI reads this variable; boto3 does not.
        help="AWS region. Default: AWS_REGION, then the region of your credentials.",
    )(command)
    return click.option(
        "--environment",
        "name",
        default="dev",
        show_default=True,
        callback=check_environment_name,
        help="Name of the environment. One account can have several.",
    )(command)


def parameters_option(command: Command) -> Command:
    """Add the `--parameters` option."""
    return click.option(
        "--parameters",
        metavar="FILE",
        help="lab, default, prod, or a path. Default: the file of the last `up`.",
    )(command)


def role_option(command: Command) -> Command:
    """Add the `--role-arn` option."""
    return click.option(
        "--role-arn",
        metavar="ARN",
        callback=_check_role,
        help="The role with which CloudFormation acts. Default: the one of before, or yours.",
    )(command)


def check_environment_name(_context: click.Context, _option: click.Parameter, name: str) -> str:
    """Return the name if the templates accept it.

    Raises:
        click.BadParameter: the templates would reject the name.
    """
    if len(name) > 20 or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise click.BadParameter(
            "must begin with a letter and have at most 20 characters: lower-case letters, digits, "
            "and single hyphens between them."
        )
    return name


def _check_role(_context: click.Context, _option: click.Parameter, arn: str | None) -> str | None:
    if arn and not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+", arn):
        raise click.BadParameter(
            "must be the ARN of a role, such as arn:aws:iam::111122223333:role/deployment."
        )
    return arn


def _seconds(_context: click.Context, _option: click.Parameter, text: str) -> int:
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise click.BadParameter("must be a number and a unit, such as 30s, 10m, 2h or 1d.")
    return int(found[1]) * _UNITS[found[2]]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Deploy the Image Annotation System to AWS. See deployment/README.md."""


@cli.command()
@environment_options
@parameters_option
def plan(name: str, region: str | None, parameters: str | None) -> None:
    """Show what `up` would create, change, replace and delete. Changes nothing."""
    environment = _open(name, region)
    parameter_file = environment.parameter_file(parameters)
    architecture = parameter_file.value(environment.templates[FUNCTIONS], "Architecture")
    show_plan(environment, parameter_file, _registry(environment, architecture))


@cli.command()
@environment_options
@parameters_option
@role_option
@click.option(
    "--keep-on-failure",
    is_flag=True,
    help="Keep the resources of a stack that cannot be created, to search the cause.",
)
@click.option(
    "--accept-plain-http",
    is_flag=True,
    help="Create a test site without HTTPS. Needed once, and only without a certificate.",
)
@click.option(
    "--allow-replacement",
    is_flag=True,
    help="Allow this update to replace or delete the database, the buckets and the secrets.",
)
def up(
    name: str,
    region: str | None,
    parameters: str | None,
    role_arn: str | None,
    keep_on_failure: bool,
    accept_plain_http: bool,
    allow_replacement: bool,
) -> None:
    """Create or update everything, wait until it is healthy, use it once, print its address.

    Stores the Gemini key from GEMINI_API_KEY, if that is set. You can run this again at any time.
    """
    environment = _open(name, region, role_arn=role_arn)
    settings = DeploymentSettings.read()
    parameter_file = environment.parameter_file(parameters)
    architecture = parameter_file.value(environment.templates[FUNCTIONS], "Architecture")
    address = deploy_environment(
        environment,
        parameter_file,
        _registry(environment, architecture),
        settings.gemini_api_key,
        accepts_plain_http=accept_plain_http,
        keep_on_failure=keep_on_failure,
        allows_replacement=allow_replacement,
    )
    environment.console.print(f"\nThe Image Annotation System runs at {address}", "success")
    show_spending(parameter_file, environment.templates, environment.console)
    run_after_deployment(address, environment.console, cookie=settings.smoke_cookie)


@cli.command()
@environment_options
@click.option(
    "--address",
    metavar="URL",
    help="Use this site instead of that of the environment, for example http://localhost:8000.",
)
def smoke(name: str, region: str | None, address: str | None) -> None:
    """Upload an image, wait for its caption and thumbnail, delete it.

    With SMOKE_COOKIE, the cookies of a signed-in browser, it also works on a site with sign-in.
    """
    console = Console()
    if address is None:
        environment = _open(name, region)
        console = environment.console
        [address] = _outputs(environment, WEB, ["Address"])
    smoke_test(address, console, cookie=DeploymentSettings.read().smoke_cookie)
    console.print(f"The site at {address} works.", "success")


@cli.command()
@environment_options
def status(name: str, region: str | None) -> None:
    """Show stacks, images, health of the servers, dead letters and the address."""
    environment = _open(name, region)
    functions = environment.find(FUNCTIONS)
    architecture = functions.parameters.get("Architecture", X86) if functions else X86
    show_status(environment, _registry(environment, architecture))


@cli.command()
@environment_options
def outputs(name: str, region: str | None) -> None:
    """Print the outputs of the stacks as NAME=VALUE."""
    show_outputs(_open(name, region, quiet=True))


@cli.command()
@environment_options
@click.option("--follow", is_flag=True, help="Print new lines until Ctrl-C.")
@click.option(
    "--since",
    default="10m",
    show_default=True,
    callback=_seconds,
    help="Age of the first line, such as 30s or 2h.",
)
@click.argument("parts", nargs=-1, metavar="[web|annotation|thumbnail|migrate|sweep]...")
def logs(name: str, region: str | None, follow: bool, since: int, parts: tuple[str, ...]) -> None:
    """Print the logs of some parts, or of all parts, oldest first."""
    show_logs(_open(name, region, quiet=True), parts, since, follow=follow)


@cli.command()
@environment_options
@click.option("--failed", is_flag=True, help="Also request failed jobs without a dead letter.")
@click.option("--dry-run", is_flag=True, help="Only show the messages and why they failed.")
@click.option("--limit", type=click.IntRange(min=1), help="Read at most this many messages.")
@click.option(
    "--queue",
    "queues",
    multiple=True,
    metavar="NAME",
    help="Read this queue instead of those of the environment. For the local cloud.",
)
def redrive(
    name: str,
    region: str | None,
    failed: bool,
    dry_run: bool,
    limit: int | None,
    queues: tuple[str, ...],
) -> None:
    """Send dead letters to the event bus again. Fix their cause first."""
    environment = _open(name, region)
    sqs = environment.aws.sqs
    if queues:
        urls = [sqs.get_queue_url(QueueName=queue)["QueueUrl"] for queue in queues]
    else:
        urls = _outputs(environment, APPLICATION, QUEUE_OUTPUTS)
    result = redrive_queues(
        sqs, environment.aws.events, urls, environment.console, limit=limit, dry_run=dry_run
    )
    remaining = result.received if dry_run else result.rejected + result.unreadable
    environment.console.print(
        f"{'Can be sent' if dry_run else 'Sent'} again: {result.sent}. "
        f"Remaining in the queues: {remaining}."
    )
    if failed and not dry_run:
        if not redrive_failed_jobs(environment.aws.events, name):
            raise DeploymentError(
                "The event bus rejected the request for failed jobs. Run the same command again."
            )
        environment.console.print(
            "The sweep now requests up to 500 failed jobs of each kind again. Its log has the "
            "number. Repeat this command until it is 0."
        )
    if result.rejected or result.unreadable:
        raise DeploymentError(
            "Some messages could not be sent again. The reason for each is above. Fix it and run "
            "the same command again."
        )


@cli.command()
@environment_options
@click.option("--all", "remakes", is_flag=True, help="Also make existing copies again.")
@click.option("--dry-run", is_flag=True, help="Only print the number of images.")
@click.option(
    "--at-once",
    type=click.IntRange(1, 100),
    default=5,
    show_default=True,
    help="Images that are requested at a time.",
)
@click.option(
    "--buckets",
    nargs=2,
    metavar="ORIGINALS THUMBNAILS",
    help="Use these buckets instead of those of the environment. For the local cloud.",
)
def backfill(
    name: str,
    region: str | None,
    remakes: bool,
    dry_run: bool,
    at_once: int,
    buckets: tuple[str, str] | None,
) -> None:
    """Make the previews and small previews of images from before there were any.

    You can interrupt it and run it again at any time.
    """
    environment = _open(name, region)
    aws, console = environment.aws, environment.console
    if not buckets:
        originals, copies = _outputs(environment, APPLICATION, BUCKET_OUTPUTS)
        buckets = originals, copies
    images, thumbnails = (aws.s3.Bucket(bucket) for bucket in buckets)
    inventory = Inventory.read(images, thumbnails)
    names = inventory.with_thumbnail() if remakes else inventory.without_previews(thumbnails)
    console.print(f"Images to make previews for: {len(names):,}.")
    if dry_run:
        return
    if left_over := delete_left_over(inventory, thumbnails):
        console.print(f"Deleted previews of deleted images: {left_over:,}.")
    run = Backfill(aws.events, inventory, images, thumbnails, console, at_once)
    run.run(names)
    console.print(f"Previews made: {run.done:,}.", "success")
    if run.unfinished:
        raise DeploymentError(
            f"Without new previews: {len(run.unfinished):,} images, for example "
            f"{inventory.originals[run.unfinished[0]]}. Their pages show the copies that they "
            "have. The log of the thumbnail function (`logs thumbnail`) has the reasons. Fix them "
            "and run the same command again."
        )


@cli.command()
@environment_options
@role_option
@click.option("--delete-data", is_flag=True, help="Also delete images, rows and secrets.")
def down(name: str, region: str | None, role_arn: str | None, delete_data: bool) -> None:
    """Delete the web servers and functions; with --delete-data everything."""
    environment = _open(name, region, role_arn=role_arn)
    console = environment.console
    if not environment.find_all():
        raise environment.not_found_error()
    console.print(
        "Deleting the functions can take 45 minutes, because AWS removes their network interfaces "
        "slowly."
    )
    if not delete_data:
        delete_compute(environment)
        return
    console.print("This permanently deletes:", "error")
    for resource in list_data(environment):
        console.print(f"    {resource}")
    typed = click.prompt(f"To continue, type the name of the environment ({name})", default="")
    if typed != name:
        raise DeploymentError("The name does not match. Nothing was deleted.")
    delete_everything(environment)
    console.print(f"The environment “{name}” was deleted.", "success")


@cli.command()
def costs() -> None:
    """Print the estimated cost of each profile. Needs no account."""
    click.echo(cost_tables.report())


def _open(
    name: str, region: str | None, *, quiet: bool = False, role_arn: str | None = None
) -> Environment:
    """Open an environment in the account of the current credentials."""
    console = Console()
    aws = AWS(region)
    if not quiet:
        account = aws.account
        console.print(f"Account {account.id}, {account.region}, environment {name}\n", "dim")
    stacks = CloudFormation(aws.cloudformation, console, role_arn=role_arn)
    return Environment(name, aws, stacks, read_templates(), console)


def _outputs(environment: Environment, template_name: str, names: Sequence[str]) -> list[str]:
    """Return outputs of a stack.

    Raises:
        DeploymentError: the stack does not exist.
    """
    outputs = environment.outputs(template_name)
    if not outputs:
        raise environment.not_found_error()
    return [outputs[name] for name in names]


def _registry(environment: Environment, architecture: str) -> Registry:
    console = environment.console
    builder = Builder(console, architecture=architecture)
    return Registry(environment.aws.ecr, builder.build_and_push, console, architecture=architecture)


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Return the exit code: 1 for a failure, 2 for invalid arguments."""
    try:
        cli.main(arguments, prog_name="python -m deployment", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        click.echo(
            "\nInterrupted. Stack operations in progress continue. Run the same command again to "
            "resume.",
            err=True,
        )
        return _INTERRUPTED
    except (DeploymentError, BotoCoreError, ClientError) as error:
        failure = error if isinstance(error, DeploymentError) else explain(error)
        click.echo(str(failure), err=True)
        return failure.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
