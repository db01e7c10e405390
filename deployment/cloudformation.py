"""Create, update, delete and preview CloudFormation stacks, and print their events."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deployment.console import Console
from deployment.errors import DeploymentError, StackFailedError, advice_for

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import ChangeTypeDef, StackEventTypeDef

_POLL_SECONDS = 4
_STACK_TYPE = "AWS::CloudFormation::Stack"

# A stack in one of these states was never completed, so it can be deleted without loss.
_NEVER_COMPLETED = ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED")
# Reasons of resources that failed only because another resource failed.
_CONSEQUENCES = ("creation cancelled", "update cancelled", "resource(s) failed to")


@dataclass(frozen=True)
class DesiredStack:
    """The template, parameters and tags that a stack should have."""

    name: str
    label: str  # The name in messages: `02-application-stack`.
    template_body: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def request(self) -> dict[str, Any]:
        """Return the arguments of CreateStack, UpdateStack and CreateChangeSet."""
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
    """An existing stack."""

    id: str
    status: str
    reason: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    tags: Mapping[str, str]
    changed_at: datetime

    @property
    def is_busy(self) -> bool:
        """True while an operation on the stack is in progress."""
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"


@dataclass(frozen=True)
class Change:
    """One resource in a change set."""

    action: str  # Add | Modify | Remove | Import | Dynamic
    logical_id: str
    resource_type: str
    replacement: str  # True | False | Conditional
    causes: tuple[str, ...]  # The names of the changed properties.


class CloudFormation:
    """The stacks of one account and region. Prints every stack event to the console."""

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
        """Return the stack, or None if it does not exist or was deleted."""
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
            found["StackStatus"],
            found.get("StackStatusReason", ""),
            {p["ParameterKey"]: p.get("ParameterValue", "") for p in found.get("Parameters", [])},
            {o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", [])},
            {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
            found.get("LastUpdatedTime") or found["CreationTime"],
        )

    def resources(self, name: str) -> Iterator[tuple[str, str, str]]:
        """Yield the logical id, type and physical id of each resource of a stack."""
        pages = self._client.get_paginator("list_stack_resources").paginate(StackName=name)
        for resource in pages.search("StackResourceSummaries[]"):
            if physical_id := resource.get("PhysicalResourceId"):
                yield resource["LogicalResourceId"], resource["ResourceType"], physical_id

    def deploy(self, desired: DesiredStack) -> Stack:
        """Create or update a stack and wait for it.

        Waits for an operation that is still in progress, and deletes a stack that was never
        completed, before it begins.

        Raises:
            StackFailedError: the stack was rolled back; the message begins with the cause.
            DeploymentError: the stack is in a state that only the operator can resolve.
        """
        existing = self._prepare(desired.name, desired.label)
        seen = self._latest_event(existing)
        request = {**desired.request(), "ClientRequestToken": str(uuid.uuid4())}
        if existing is None:
            self._console.print_step(desired.label, "creating")
            stack_id = self._client.create_stack(**request)["StackId"]
        else:
            try:
                stack_id = self._client.update_stack(**request)["StackId"]
            except ClientError as error:
                if "No updates are to be performed" not in str(error):
                    raise
                self._console.print_step(desired.label, "no changes", "dim")
                return existing
            self._console.print_step(desired.label, "updating")
        stack = self._wait(stack_id, desired.label, seen)
        if stack is None or stack.status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            raise self._failure(stack_id, stack, desired.label, seen)
        return stack

    def delete(self, name: str, label: str) -> None:
        """Delete a stack, if it exists, and wait until it is gone.

        Raises:
            StackFailedError: a resource could not be deleted.
        """
        stack = self._find_idle(name, label)
        if stack is None:
            self._console.print_step(label, "does not exist", "dim")
            return
        self._console.print_step(label, "deleting")
        self._delete(stack, label)

    def preview(self, desired: DesiredStack) -> list[Change]:
        """Return what an update would change, from a change set that is deleted again.

        Raises:
            DeploymentError: CloudFormation could not create the change set.
        """
        name = f"plan-{uuid.uuid4()}"
        change_set_id = self._client.create_change_set(
            **desired.request(), ChangeSetName=name, ChangeSetType="UPDATE"
        )["Id"]
        try:
            return self._changes(change_set_id, desired.label)
        finally:
            self._client.delete_change_set(ChangeSetName=change_set_id)

    def _changes(self, change_set_id: str, label: str) -> list[Change]:
        while True:
            answer = self._client.describe_change_set(ChangeSetName=change_set_id)
            if answer["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
                break
            self._sleep(_POLL_SECONDS / 2)
        reason = answer.get("StatusReason", "")
        if answer["Status"] == "FAILED":
            if "didn't contain changes" in reason or "No updates are to be performed" in reason:
                return []
            raise DeploymentError(_lines(f"{label}: {reason}", advice_for(reason)))
        changes = [_change(found) for found in answer["Changes"]]
        while token := answer.get("NextToken"):
            answer = self._client.describe_change_set(ChangeSetName=change_set_id, NextToken=token)
            changes += [_change(found) for found in answer["Changes"]]
        return changes

    def _prepare(self, name: str, label: str) -> Stack | None:
        """Return a stack that can be updated, or None if it must be created."""
        stack = self._find_idle(name, label)
        if stack is None:
            return None
        if stack.status in _NEVER_COMPLETED:
            self._console.print_step(
                label, f"was never completed ({stack.status}); deleting what is left of it"
            )
            self._delete(stack, label)
            return None
        if stack.status == "UPDATE_ROLLBACK_FAILED":
            raise DeploymentError(
                f"{label} could not be rolled back (UPDATE_ROLLBACK_FAILED): {stack.reason}\n"
                "Fix the cause and run: aws cloudformation continue-update-rollback "
                f"--stack-name {name} (with --resources-to-skip for resources that cannot be "
                "fixed). Then run `up` again."
            )
        if stack.status == "DELETE_FAILED":
            raise DeploymentError(
                f"{label} is only partly deleted (DELETE_FAILED): {stack.reason}\n"
                "Run `down` to finish the deletion, then `up`."
            )
        return stack

    def _find_idle(self, name: str, label: str) -> Stack | None:
        """Return the stack after any operation in progress has ended."""
        stack = self.find(name)
        if stack is None or not stack.is_busy:
            return stack
        self._console.print_step(label, f"waiting for another operation ({stack.status})")
        return self._wait(stack.id, label, set())

    def _delete(self, stack: Stack, label: str) -> None:
        seen = self._latest_event(stack)
        self._client.delete_stack(StackName=stack.id)
        remaining = self._wait(stack.id, label, seen)
        if remaining is not None:
            raise self._failure(stack.id, remaining, label, seen)

    def _wait(self, stack_id: str, label: str, seen: set[str]) -> Stack | None:
        """Print new events until the operation on a stack ends. Return the stack if it exists."""
        printed = set(seen)
        while True:
            stack = self.find(stack_id)
            for event in self._operation_events(stack_id, printed):
                printed.add(event["EventId"])
                self._print_event(event, label)
            if stack is None or not stack.is_busy:
                return stack
            self._sleep(_POLL_SECONDS)

    def _print_event(self, event: "StackEventTypeDef", label: str) -> None:
        status = event["ResourceStatus"]
        style = "success" if status.endswith("_COMPLETE") else "dim"
        if "FAILED" in status or "ROLLBACK" in status:
            style = "error"
        subject = "the stack" if event["ResourceType"] == _STACK_TYPE else _resource(event)
        text = f"{subject} {status.lower().replace('_', ' ')}"
        if style == "error" and (reason := event.get("ResourceStatusReason")):
            text = f"{text}: {reason}"
        self._console.print_step(label, text, style)

    def _operation_events(self, stack_id: str, seen: set[str]) -> list["StackEventTypeDef"]:
        """Return the unseen events of the newest operation, oldest first."""
        fresh: list[StackEventTypeDef] = []
        pages = self._client.get_paginator("describe_stack_events").paginate(StackName=stack_id)
        for event in pages.search("StackEvents[]"):  # Newest first.
            if event["EventId"] in seen:
                break
            fresh.append(event)
            if _begins_an_operation(event):
                break
        return fresh[::-1]

    def _latest_event(self, stack: Stack | None) -> set[str]:
        """Return the id of the newest event; later events belong to the next operation."""
        if stack is None:
            return set()
        newest = self._client.describe_stack_events(StackName=stack.id)["StackEvents"][:1]
        return {event["EventId"] for event in newest}

    def _failure(
        self, stack_id: str, stack: Stack | None, label: str, seen: set[str]
    ) -> StackFailedError:
        """Build the error: the first cause, advice about it, and the state of the stack."""
        cause = _first_cause(self._operation_events(stack_id, seen))
        status = stack.status if stack else "gone"
        if cause is None:
            reason = (stack.reason if stack else "") or "CloudFormation gave no reason"
            place = ""
        else:
            reason = cause.get("ResourceStatusReason", "no reason given")
            place = f" at {_resource(cause)}"
        first = f"{label} failed{place}: {reason}"
        return StackFailedError(_lines(first, advice_for(reason), _state(status, label)))


def _resource(event: "StackEventTypeDef") -> str:
    return f"{event['LogicalResourceId']} ({event['ResourceType']})"


def _lines(*lines: str | None) -> str:
    return "\n".join(filter(None, lines))


def _state(status: str, label: str) -> str:
    if status == "UPDATE_ROLLBACK_COMPLETE":
        return f"{label} is back in its previous state ({status})."
    if status == "DELETE_FAILED":
        return f"{label} is only partly deleted ({status}). Run the same command again."
    if status == "UPDATE_ROLLBACK_FAILED":
        return f"{label} could not be rolled back either ({status})."
    return f"{label} was rolled back ({status}). The next `up` creates it again."


def _begins_an_operation(event: "StackEventTypeDef") -> bool:
    return (
        event["ResourceType"] == _STACK_TYPE
        and event.get("PhysicalResourceId") == event["StackId"]
        and event["ResourceStatus"]
        in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
    )


def _first_cause(events: list["StackEventTypeDef"]) -> "StackEventTypeDef | None":
    """Return the first failure that is not the consequence of another failure."""
    failures = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
    for event in failures:
        reason = event.get("ResourceStatusReason", "").lower()
        if not any(phrase in reason for phrase in _CONSEQUENCES):
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
