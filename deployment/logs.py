"""What the parts of an environment logged."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployment.environment import Environment
from deployment.errors import UsageError
from deployment.status import nothing_there

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

_LOOK_SECONDS = 3
# CloudWatch shows a line some seconds after it was written; lines of one moment come in any order.
_OVERLAP_MS = 15_000


def log_groups(environment: Environment) -> dict[str, str]:
    """The log group of each part, by the part's name: the group `WebLogs` is called `web`."""
    return {
        logical_id.removesuffix("Logs").lower(): physical_id
        for stack in environment.find_all().values()
        for logical_id, kind, physical_id in environment.stacks.resources(stack.id)
        if kind == "AWS::Logs::LogGroup"
    }


def show_logs(
    environment: Environment,
    parts: Sequence[str],
    since_seconds: int,
    *,
    follow: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Print what parts logged, oldest first; with `follow`, go on until interrupted.

    Args:
        environment: whose.
        parts: such as `web`, `annotation`; none means all.
        since_seconds: how far back to begin.
        follow: whether to wait for more.
        sleep: waits some seconds.
    Raises:
        DeploymentError: there is nothing yet that logs.
        UsageError: there is no such part.
    """
    groups = log_groups(environment)
    if not groups:
        raise nothing_there(environment)
    unknown = [part for part in parts if part not in groups]
    if unknown:
        raise UsageError(f"There is no part “{unknown[0]}” that logs; there are {_list(groups)}.")
    wanted = {part: groups[part] for part in parts or groups}
    start_ms = int((time.time() - since_seconds) * 1000)
    seen: set[str] = set()
    while True:
        lines = _fresh_lines(environment.aws.logs, wanted, start_ms, seen)
        for when_ms, part, message in sorted(lines):
            when = datetime.fromtimestamp(when_ms / 1000, UTC)
            environment.console.say(f"{when:%Y-%m-%d %H:%M:%S}  {part:<11} {message}")
            start_ms = max(start_ms, when_ms - _OVERLAP_MS)
        if not follow:
            return
        sleep(_LOOK_SECONDS)


def _fresh_lines(
    client: "CloudWatchLogsClient", groups: Mapping[str, str], start_ms: int, seen: set[str]
) -> list[tuple[int, str, str]]:
    """When, which part, what: of every line that was not seen yet."""
    lines = []
    for part, group in groups.items():
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=start_ms
        )
        for page in pages:
            for event in page["events"]:
                if event["eventId"] not in seen:
                    seen.add(event["eventId"])
                    lines.append((event["timestamp"], part, event["message"].rstrip()))
    return lines


def _list(names: Mapping[str, str]) -> str:
    return ", ".join(sorted(names))
