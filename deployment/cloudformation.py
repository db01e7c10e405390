"""Stacks: looked at, made, changed, deleted, and followed while that happens."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deployment.console import Console
from deployment.errors import DeploymentError, StackFailedError, advice_for

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import ChangeTypeDef, StackEventTypeDef

_LOOK_SECONDS = 4
_STACK_TYPE = "AWS::CloudFormation::Stack"

# Nothing ever ran on it, or all of it was rolled back: there is nothing to keep.
_NEVER_CAME_TO_BE = ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED")
# What CloudFormation says of a resource whose neighbour failed.
_CONSEQUENCES = ("creation cancelled", "update cancelled", "resource(s) failed to")


@dataclass(frozen=True)
class WantedStack:
    """What a stack shall be."""

    name: str
    label: str  # How a person reads it: `02-application-stack`.
    template_body: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def request(self) -> dict[str, Any]:
        """As CloudFormation is asked for it."""
        return {
            "StackName": self.name,
            "TemplateBody": self.template_body,
            "Parameters": [
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in self.parameters.items()
            ],
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
            "Capabilities": ["CAPABILITY_IAM"],
        }


@dataclass(frozen=True)
class Stack:
    """A stack as it is."""

    id: str
    name: str
    status: str
    reason: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    tags: Mapping[str, str]
    changed_at: datetime

    @property
    def is_busy(self) -> bool:
        """Whether CloudFormation works on it."""
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"


@dataclass(frozen=True)
class Change:
    """What a change set would do to one resource."""

    action: str  # Add | Modify | Remove | Import | Dynamic
    logical_id: str
    resource_type: str
    replacement: str  # True | False | Conditional
    causes: tuple[str, ...]  # The properties that change.


class CloudFormation:
    """The stacks of one account and region.

    Args:
        client: the service.
        console: hears of every resource as it happens.
        sleep: waits some seconds.
    """

    def __init__(
        self,
        client: "CloudFormationClient",
        console: Console,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._console = console
        self._sleep = sleep

    def find(self, name_or_id: str) -> Stack | None:
        """The stack, or None when there is none (any more)."""
        try:
            answer = self._client.describe_stacks(StackName=name_or_id)
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        found = answer["Stacks"][0]
        if found["StackStatus"] == "DELETE_COMPLETE":
            return None
        return Stack(
            found["StackId"],
            found["StackName"],
            found["StackStatus"],
            found.get("StackStatusReason", ""),
            {p["ParameterKey"]: p.get("ParameterValue", "") for p in found.get("Parameters", [])},
            {o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", [])},
            {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
            found.get("LastUpdatedTime") or found["CreationTime"],
        )

    def resources(self, name: str) -> Iterator[tuple[str, str, str]]:
        """Logical id, type and physical id of each resource of a stack."""
        pages = self._client.get_paginator("list_stack_resources").paginate(StackName=name)
        for page in pages:
            for resource in page["StackResourceSummaries"]:
                if physical_id := resource.get("PhysicalResourceId"):
                    yield resource["LogicalResourceId"], resource["ResourceType"], physical_id

    def deploy(self, wanted: WantedStack) -> Stack:
        """Make a stack be as it is wanted, and wait until it is.

        Whatever an interrupted run left is finished or cleared away first.

        Raises:
            StackFailedError: it was rolled back; the message begins with the cause.
            DeploymentError: it is in a state only a person can lead it out of.
        """
        existing = self._settled(wanted.name, wanted.label)
        seen = self._events_so_far(existing)
        request = {**wanted.request(), "ClientRequestToken": str(uuid.uuid4())}
        if existing is None:
            self._console.step(wanted.label, "is being created")
            stack_id = self._client.create_stack(**request)["StackId"]
        else:
            try:
                stack_id = self._client.update_stack(**request)["StackId"]
            except ClientError as error:
                if "No updates are to be performed" not in str(error):
                    raise
                self._console.step(wanted.label, "is as it should be", "dim")
                return existing
            self._console.step(wanted.label, "is being changed")
        stack = self._follow(stack_id, wanted.label, seen)
        if stack is None or stack.status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            raise self._failure(stack_id, stack, wanted.label, seen)
        return stack

    def delete(self, name: str, label: str) -> None:
        """Delete a stack, and wait until it is gone. One that is not there is gone already.

        Raises:
            StackFailedError: something of it could not be deleted.
        """
        stack = self._finished(name, label)
        if stack is None:
            self._console.step(label, "is not there", "dim")
            return
        self._console.step(label, "is being deleted")
        self._delete(stack, label)

    @contextmanager
    def previewed(self, wanted: WantedStack) -> Iterator[list[Change]]:
        """What an update would change. The change set is gone when the block ends.

        Raises:
            DeploymentError: CloudFormation could not say.
        """
        name = f"plan-{uuid.uuid4()}"
        change_set_id = self._client.create_change_set(
            **wanted.request(), ChangeSetName=name, ChangeSetType="UPDATE"
        )["Id"]
        try:
            yield self._changes(change_set_id, wanted.label)
        finally:
            self._client.delete_change_set(ChangeSetName=change_set_id)

    def _changes(self, change_set_id: str, label: str) -> list[Change]:
        while True:
            answer = self._client.describe_change_set(ChangeSetName=change_set_id)
            if answer["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
                break
            self._sleep(_LOOK_SECONDS / 2)
        reason = answer.get("StatusReason", "")
        if answer["Status"] == "FAILED":
            if "didn't contain changes" in reason or "No updates are to be performed" in reason:
                return []
            advice = advice_for(reason)
            raise DeploymentError("\n".join(filter(None, [f"{label}: {reason}", advice])))
        changes = [_change(found) for found in answer["Changes"]]
        while token := answer.get("NextToken"):
            answer = self._client.describe_change_set(ChangeSetName=change_set_id, NextToken=token)
            changes += [_change(found) for found in answer["Changes"]]
        return changes

    def _settled(self, name: str, label: str) -> Stack | None:
        """A stack that can be updated, or None where one can be created."""
        stack = self._finished(name, label)
        if stack is None:
            return None
        if stack.status in _NEVER_CAME_TO_BE:
            self._console.step(
                label, f"never came to be ({stack.status}): deleting what is left of it"
            )
            self._delete(stack, label)
            return None
        if stack.status == "UPDATE_ROLLBACK_FAILED":
            raise DeploymentError(
                f"{label} could not be rolled back (UPDATE_ROLLBACK_FAILED): {stack.reason}\n"
                "Mend what the reason names, then: aws cloudformation continue-update-rollback "
                f"--stack-name {name} (with --resources-to-skip for what cannot be mended), and "
                "run `up` again."
            )
        if stack.status == "DELETE_FAILED":
            raise DeploymentError(
                f"{label} is half deleted (DELETE_FAILED): {stack.reason}\n"
                "Run `down` to finish that, then `up`."
            )
        return stack

    def _finished(self, name: str, label: str) -> Stack | None:
        """A stack nobody works on, after waiting for whoever does."""
        stack = self.find(name)
        if stack is None or not stack.is_busy:
            return stack
        self._console.step(label, f"is being worked on already ({stack.status}): waiting for that")
        return self._follow(stack.id, label, set())

    def _delete(self, stack: Stack, label: str) -> None:
        seen = self._events_so_far(stack)
        self._client.delete_stack(StackName=stack.id)
        left = self._follow(stack.id, label, seen)
        if left is not None:
            raise self._failure(stack.id, left, label, seen)

    def _follow(self, stack_id: str, label: str, seen: set[str]) -> Stack | None:
        """Tell of each event until CloudFormation is done with a stack.

        Args:
            stack_id: the stack.
            label: how a person reads it.
            seen: events of earlier operations.
        """
        told = set(seen)
        while True:
            stack = self.find(stack_id)
            for event in self._operation_events(stack_id, told):
                told.add(event["EventId"])
                self._tell(event, label)
            if stack is None or not stack.is_busy:
                return stack
            self._sleep(_LOOK_SECONDS)

    def _tell(self, event: "StackEventTypeDef", label: str) -> None:
        status = event["ResourceStatus"]
        tone = "bad" if "FAILED" in status or "ROLLBACK" in status else ""
        tone = tone or ("good" if status.endswith("_COMPLETE") else "dim")
        resource = f"{event['LogicalResourceId']} ({event['ResourceType']})"
        if event["ResourceType"] == _STACK_TYPE:
            resource = "the stack"
        reason = event.get("ResourceStatusReason", "") if tone == "bad" else ""
        words = status.lower().replace("_", " ")
        self._console.step(label, ": ".join(filter(None, [f"{resource} {words}", reason])), tone)

    def _operation_events(self, stack_id: str, seen: set[str]) -> list["StackEventTypeDef"]:
        """Events of the newest operation that are not seen yet, oldest first."""
        fresh: list[StackEventTypeDef] = []
        pages = self._client.get_paginator("describe_stack_events").paginate(StackName=stack_id)
        for page in pages:
            for event in page["StackEvents"]:  # Newest first.
                if event["EventId"] in seen:
                    return fresh[::-1]
                fresh.append(event)
                if _begins_an_operation(event):
                    return fresh[::-1]
        return fresh[::-1]

    def _events_so_far(self, stack: Stack | None) -> set[str]:
        """The newest event of a stack: what comes after it is new."""
        if stack is None:
            return set()
        newest = self._client.describe_stack_events(StackName=stack.id)["StackEvents"][:1]
        return {event["EventId"] for event in newest}

    def _failure(
        self, stack_id: str, stack: Stack | None, label: str, seen: set[str]
    ) -> StackFailedError:
        """The first real cause of a failure, what to do about it, and where that leaves things."""
        cause = _first_cause(self._operation_events(stack_id, seen))
        status = stack.status if stack else "gone"
        if cause is None:
            reason = (stack.reason if stack else "") or "CloudFormation gave no reason"
            first = f"{label} failed: {reason}"
        else:
            reason = cause.get("ResourceStatusReason", "no reason given")
            resource = f"{cause['LogicalResourceId']} ({cause['ResourceType']})"
            first = f"{label} failed at {resource}: {reason}"
        return StackFailedError(
            "\n".join(filter(None, [first, advice_for(reason), _what_now(status, label)]))
        )


def _what_now(status: str, label: str) -> str:
    if status == "UPDATE_ROLLBACK_COMPLETE":
        return f"{label} is again as it was before ({status})."
    if status == "DELETE_FAILED":
        return f"{label} is half deleted ({status}); the same command goes on from there."
    if status == "UPDATE_ROLLBACK_FAILED":
        return f"{label} could not be rolled back either ({status})."
    return f"{label} was rolled back ({status}); the next `up` begins it anew."


def _begins_an_operation(event: "StackEventTypeDef") -> bool:
    return (
        event["ResourceType"] == _STACK_TYPE
        and event.get("PhysicalResourceId") == event["StackId"]
        and event["ResourceStatus"]
        in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
    )


def _first_cause(events: list["StackEventTypeDef"]) -> "StackEventTypeDef | None":
    """The first failure that is not the consequence of another."""
    failures = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
    for event in failures:
        reason = event.get("ResourceStatusReason", "").lower()
        if not any(words in reason for words in _CONSEQUENCES):
            return event
    return failures[0] if failures else None


def _change(found: "ChangeTypeDef") -> Change:
    resource = found["ResourceChange"]
    causes = {
        detail["Target"].get("Name") or detail["Target"].get("Attribute", "")
        for detail in resource.get("Details", [])
    }
    return Change(
        resource["Action"],
        resource["LogicalResourceId"],
        resource["ResourceType"],
        resource.get("Replacement", "False"),
        tuple(sorted(filter(None, causes))),
    )
