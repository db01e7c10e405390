"""`python -m deployment`: the five stacks, from a clone to a working address and back."""

import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from botocore.exceptions import BotoCoreError, ClientError

from deployment import costs as prices
from deployment import logs as log_lines
from deployment import redrive as dead_letters
from deployment import status as overview
from deployment.aws import AWS
from deployment.cloudformation import CloudFormation
from deployment.console import Console
from deployment.down import holdings, take_down, take_down_with_data
from deployment.environment import Environment
from deployment.errors import DeploymentError, explained
from deployment.images import Builder, Registry
from deployment.plan import show_plan
from deployment.settings import DeploymentSettings
from deployment.stacks import FUNCTIONS, Templates
from deployment.up import bring_up

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_INTERRUPTED = 130  # As a shell has it.

Command = TypeVar("Command", bound=Callable[..., Any])


def environment_options(command: Command) -> Command:
    """The options that say which environment is meant."""
    command = click.option(
        "--region",
        envvar="AWS_REGION",  # As the AWS CLI reads it, and boto3 does not.
        help="AWS region; else AWS_REGION, else the one your credentials name.",
    )(command)
    return click.option(
        "--environment",
        default="dev",
        show_default=True,
        callback=_check_name,
        help="Which environment; several can live in one account.",
    )(command)


def parameters_option(command: Command) -> Command:
    """The option that says what the environment is told."""
    return click.option(
        "--parameters",
        metavar="FILE",
        help="lab, default, prod, or a path. Without it: the same as the last time.",
    )(command)


def _check_name(_context: click.Context, _option: click.Parameter, name: str) -> str:
    if len(name) > 20 or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise click.BadParameter(
            "must begin with a letter and hold at most 20 lower case letters, digits and single "
            "hyphens between them."
        )
    return name


def _seconds(_context: click.Context, _option: click.Parameter, text: str) -> int:
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise click.BadParameter("must be a number and a unit, such as 30s, 10m, 2h or 1d.")
    return int(found[1]) * _UNITS[found[2]]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """The Image Annotation System on AWS. deployment/README.md has the whole story."""


@cli.command()
@environment_options
@parameters_option
def plan(environment: str, region: str | None, parameters: str | None) -> None:
    """Say what `up` would create, change, replace and delete. Changes nothing."""
    opened = _open(environment, region)
    show_plan(opened, opened.parameter_file(parameters), _registry(opened))


@cli.command()
@environment_options
@parameters_option
def up(environment: str, region: str | None, parameters: str | None) -> None:
    """Create or update everything, wait until it is healthy, print its address.

    The Gemini key is taken from GEMINI_API_KEY when that is set. Safe to run again at any time.
    """
    opened = _open(environment, region)
    key = DeploymentSettings.read().gemini_api_key
    address = bring_up(opened, opened.parameter_file(parameters), _registry(opened), key)
    opened.console.say(f"\nThe Image Annotation System runs at {address}", "good")


@cli.command()
@environment_options
def status(environment: str, region: str | None) -> None:
    """Show each stack, the images, the servers' health, the dead letters, the address."""
    opened = _open(environment, region)
    overview.show_status(opened, _registry(opened))


@cli.command()
@environment_options
def outputs(environment: str, region: str | None) -> None:
    """Print what the stacks tell, as NAME=VALUE."""
    overview.show_outputs(_open(environment, region, quiet=True))


@cli.command()
@environment_options
@click.option("--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option(
    "--since", default="10m", show_default=True, callback=_seconds, help="How far back: 30s, 2h."
)
@click.argument("parts", nargs=-1, metavar="[web|annotation|thumbnail|migrate|sweep]...")
def logs(
    environment: str, region: str | None, follow: bool, since: int, parts: tuple[str, ...]
) -> None:
    """Show what the parts logged, oldest first; all of them when none is named."""
    log_lines.show_logs(_open(environment, region, quiet=True), parts, since, follow=follow)


@cli.command()
@environment_options
@click.option("--dry-run", is_flag=True, help="Only say what is there, and why it failed.")
@click.option("--limit", type=click.IntRange(min=1), help="Look at no more messages than this.")
@click.option(
    "--queue",
    "queues",
    multiple=True,
    metavar="NAME",
    help="These queues instead of the environment's; for the local cloud.",
)
def redrive(
    environment: str,
    region: str | None,
    dry_run: bool,
    limit: int | None,
    queues: tuple[str, ...],
) -> None:
    """Ask again for the work that was given up on, once what was wrong is mended."""
    opened = _open(environment, region)
    sqs = opened.aws.sqs
    if queues:
        urls = [sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in queues]
    else:
        told = opened.outputs(FUNCTIONS)
        if not told:
            raise overview.nothing_there(opened)
        urls = [told[output] for output in dead_letters.QUEUE_OUTPUTS]
    redriven = dead_letters.redrive(
        sqs, opened.aws.events, urls, opened.console, limit=limit, dry_run=dry_run
    )
    stayed = redriven.looked_at if dry_run else redriven.refused + redriven.unreadable
    opened.console.say(
        f"{redriven.put} {'can be' if dry_run else 'were'} asked for again; {stayed} stay."
    )
    if redriven.refused or redriven.unreadable:
        raise DeploymentError("The messages that stay are named above, each with its reason.")


@cli.command()
@environment_options
@click.option("--delete-data", is_flag=True, help="Also the images, the rows and the secrets.")
def down(environment: str, region: str | None, delete_data: bool) -> None:
    """Delete the web servers and the functions; everything with --delete-data."""
    opened = _open(environment, region)
    if not opened.find_all():
        raise overview.nothing_there(opened)
    opened.console.say(
        "Functions leave network interfaces behind that AWS removes in its own time: deleting "
        "them can take 45 minutes."
    )
    if not delete_data:
        take_down(opened)
        return
    opened.console.say("This deletes, for good:", "bad")
    for holding in holdings(opened):
        opened.console.say(f"    {holding}")
    typed = click.prompt(f"Type the environment's name ({environment}) to go on", default="")
    if typed != environment:
        raise DeploymentError("That is not its name: nothing was deleted.")
    take_down_with_data(opened)
    opened.console.say(f"The environment “{environment}” is gone.", "good")


@cli.command()
def costs() -> None:
    """Print what each profile costs, with the arithmetic. Needs no account."""
    click.echo(prices.report())


def _open(name: str, region: str | None, *, quiet: bool = False) -> Environment:
    """An environment of the account whose credentials are at hand."""
    console = Console()
    aws = AWS(region)
    account = aws.account
    if not quiet:
        console.say(f"Account {account.id}, {account.region}, environment {name}\n", "dim")
    stacks = CloudFormation(aws.cloudformation, console)
    return Environment(name, aws, stacks, Templates.read(), console)


def _registry(opened: Environment) -> Registry:
    builder = Builder(opened.console)
    return Registry(opened.aws.ecr, builder.build_and_push, opened.console)


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns the exit code: 1 when it failed, 2 when it was asked wrongly."""
    try:
        cli.main(arguments, prog_name="python -m deployment", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        click.echo(
            "\nInterrupted. Stacks under way go on by themselves; run the same command again to "
            "go on from there.",
            err=True,
        )
        return _INTERRUPTED
    except DeploymentError as error:
        click.echo(str(error), err=True)
        return error.exit_code
    except (BotoCoreError, ClientError) as error:
        explanation = explained(error)
        click.echo(str(explanation), err=True)
        return explanation.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
