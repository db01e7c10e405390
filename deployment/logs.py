"""Print the CloudWatch logs of an environment."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployment.environment import Environment
from deployment.errors import UsageError

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

_POLL_SECONDS = 3
# CloudWatch shows a line some seconds after it was written, and not in order. Each poll therefore
# reads this much of the past again.
_OVERLAP_MS = 15_000


def log_groups(environment: Environment) -> dict[str, str]:
    """Return the log groups by the name of the part; `WebLogs` is the group of `web`."""
    return {
        logical_id.removesuffix("Logs").lower(): physical_id
        for stack in environment.find_all().values()
        for logical_id, resource_type, physical_id in environment.stacks.resources(stack.id)
        if resource_type == "AWS::Logs::LogGroup" and logical_id.endswith("Logs")
    }


def show_start_lines(environment: Environment, since: datetime) -> None:
    """Print the last lines of the servers that could not start since a time.

    CloudFormation only reports that a server failed. The server itself writes its last lines to
    the log group before that.
    """
    group = log_groups(environment).get("web")
    if group is None:
        return
    client = environment.aws.logs
    pages = client.get_paginator("filter_log_events").paginate(
        logGroupName=group,
        logStreamNamePrefix="start-",
        startTime=int(since.timestamp() * 1000),
    )
    with suppress(client.exceptions.ResourceNotFoundException):
        for event in pages.search("events[]"):
            server = event["logStreamName"].removeprefix("start-")
            environment.console.print(f"\nThe last lines of {server}:", "error")
            environment.console.print(event["message"].rstrip())


def show_logs(
    environment: Environment,
    parts: Sequence[str],
    since_seconds: int,
    *,
    follow: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Print the logs of some parts, or of all if none is named, oldest first.

    `since_seconds` is the age of the first line. `follow` prints new lines until interrupted.

    Raises:
        DeploymentError: the environment has no log groups.
        UsageError: a part does not exist.
    """
    groups = log_groups(environment)
    if not groups:
        raise environment.not_found_error()
    unknown = [part for part in parts if part not in groups]
    if unknown:
        known = ", ".join(sorted(groups))
        raise UsageError(f"There is no log of “{unknown[0]}”. Choose from: {known}.")
    selected = {part: groups[part] for part in parts or groups}
    start_ms = int((time.time() - since_seconds) * 1000)
    seen: set[str] = set()
    while True:
        lines = _new_lines(environment.aws.logs, selected, start_ms, seen)
        for logged_at_ms, part, message in sorted(lines):
            logged_at = datetime.fromtimestamp(logged_at_ms / 1000, UTC)
            environment.console.print(f"{logged_at:%Y-%m-%d %H:%M:%S}  {part:<11} {message}")
            start_ms = max(start_ms, logged_at_ms - _OVERLAP_MS)
        if not follow:
            return
        sleep(_POLL_SECONDS)


def _new_lines(
    client: "CloudWatchLogsClient", groups: Mapping[str, str], start_ms: int, seen: set[str]
) -> list[tuple[int, str, str]]:
    """Return the time, part and message of every unseen line, and add it to the seen ones."""
    lines = []
    for part, group in groups.items():
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=start_ms
        )
        # A log group that was deleted by hand does not hide the logs of the other parts.
        with suppress(client.exceptions.ResourceNotFoundException):
            for event in pages.search("events[]"):
                if event["eventId"] not in seen:
                    seen.add(event["eventId"])
                    lines.append((event["timestamp"], part, event["message"].rstrip()))
    return lines
