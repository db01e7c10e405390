"""Print the state and the outputs of an environment."""

import json
import time

from deployment import health
from deployment.environment import Environment
from deployment.images import IMAGES, Registry
from deployment.logs import log_groups
from deployment.redrive import QUEUE_OUTPUTS
from deployment.stacks import APPLICATION, FUNCTIONS, ORDER, REPOSITORIES, WEB

# The sweep runs every minute, and CloudWatch shows its log some seconds later.
_SWEEP_LOG_SECONDS = 150


def show_status(environment: Environment, registry: Registry) -> None:
    """Print stacks, deployed images, health of the servers, dead letters and the address.

    While captions wait for Gemini, print until when and why.
    """
    console, aws = environment.console, environment.aws
    stacks = environment.find_all()
    rows = []
    for name in ORDER:
        stack = stacks.get(name)
        changed = f"{stack.changed_at:%Y-%m-%d %H:%M} UTC" if stack else ""
        rows.append((name, stack.status if stack else "does not exist", changed))
    console.print_table(("stack", "state", "changed"), rows)

    repositories = environment.outputs(REPOSITORIES)
    deployed = {key: value for stack in stacks.values() for key, value in stack.parameters.items()}
    images = []
    for image in IMAGES:
        uri = deployed.get(image.parameter)
        if uri is None:
            continue
        repository = repositories.get(image.repository_output)
        latest = registry.find(image, repository) if repository else None
        comparison = "same as this code" if latest == uri else "differs from this code"
        images.append((image.name, uri.partition("@")[2][:19], comparison))
    console.print_table(("image", "digest", "source"), images)

    if WEB in stacks and (arn := stacks[WEB].outputs.get("LoadBalancerArn")):
        console.print_table(("web server", "health"), health.target_states(aws.elbv2, arn).items())
    if APPLICATION in stacks:
        console.print_table(
            ("dead letters", "messages"),
            (
                (output.removesuffix("Url"), _message_count(environment, url))
                for output in QUEUE_OUTPUTS
                if (url := stacks[APPLICATION].outputs.get(output))
            ),
        )
    if FUNCTIONS in stacks and (sentence := _captions_wait(environment)):
        console.print(f"\n{sentence}", "error")
    if WEB in stacks and (address := stacks[WEB].outputs.get("Address")):
        console.print(f"\n{address.lower()}", "success")


def show_outputs(environment: Environment) -> None:
    """Print every output of every stack as `NAME=VALUE`.

    Raises:
        DeploymentError: the environment has no stacks.
    """
    stacks = environment.find_all()
    if not stacks:
        raise environment.not_found_error()
    for stack in stacks.values():
        for name, value in stack.outputs.items():
            environment.console.print(f"{name}={value}")


def _captions_wait(environment: Environment) -> str | None:
    """Return what the last sweep logged about captions that wait, if they do."""
    group = log_groups(environment).get("sweep")
    if group is None:
        return None
    pages = environment.aws.logs.get_paginator("filter_log_events").paginate(
        logGroupName=group,
        startTime=int((time.time() - _SWEEP_LOG_SECONDS) * 1000),
        filterPattern='"swept"',
    )
    try:
        events = sorted(pages.search("events[]"), key=lambda event: event["timestamp"])
    except environment.aws.logs.exceptions.ResourceNotFoundException:
        return None  # The log group was deleted by hand.
    try:
        sentence = json.loads(events[-1]["message"]).get("captions") if events else None
    except (ValueError, AttributeError):  # The log of an earlier release.
        return None
    return str(sentence) if sentence else None


def _message_count(environment: Environment, queue_url: str) -> str:
    answer = environment.aws.sqs.get_queue_attributes(
        QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return answer["Attributes"]["ApproximateNumberOfMessages"]
