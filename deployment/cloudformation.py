"""Create, update, delete and preview CloudFormation stacks, and print their events."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deployment.console import Console
from deployment.desired_stack import APPLICATION_TAG, DesiredStack
from deployment.errors import DeploymentError, StackFailedError, advice_for

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import ChangeTypeDef, StackEventTypeDef, StackTypeDef

_POLL_SECONDS = 4
_STACK_TYPE = "AWS::CloudFormation::Stack"

# A stack in one of these states was never completed.
_NEVER_COMPLETED = ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED")
# Reasons of resources that failed only because another resource failed.
_CONSEQUENCES = ("creation cancelled", "update cancelled", "resource(s) failed to")


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
    is_protected: bool  # From deletion.
    role_arn: str | None  # The role with which CloudFormation acts.

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
        role_arn: str | None = None,
    ) -> None:
        self._client = client
        self._console = console
        self._sleep = sleep
        # Without a role, CloudFormation acts with the role of an earlier request, or the caller's.
        self._role: dict[str, Any] = {"RoleARN": role_arn} if role_arn else {}

    def find(self, name_or_id: str) -> Stack | None:
        """Return the stack, or None if it does not exist or was deleted.

        Raises:
            DeploymentError: the stack belongs to another application.
        """
        found = self._describe(name_or_id)
        if found is None:
            return None
        if not _has_our_tag(found):
            raise DeploymentError(
                f"The stack {found['StackName']} belongs to another application: it does not have "
                "the tag Application=image-annotation. It was not touched. Choose another "
                "--environment."
            )
        return Stack(
            found["StackId"],
            found["StackStatus"],
            found.get("StackStatusReason", ""),
            {p["ParameterKey"]: p.get("ParameterValue", "") for p in found.get("Parameters", [])},
            {o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", [])},
            {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
            found.get("LastUpdatedTime") or found["CreationTime"],
            found.get("EnableTerminationProtection", False),
            found.get("RoleARN"),
        )

    def is_own(self, name: str) -> bool:
        """Return whether a stack with this name exists and belongs to this application."""
        found = self._describe(name)
        return found is not None and _has_our_tag(found)

    def _describe(self, name_or_id: str) -> "StackTypeDef | None":
        try:
            answer = self._client.describe_stacks(StackName=name_or_id)
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        [found] = answer["Stacks"]
        return found if found["StackStatus"] != "DELETE_COMPLETE" else None

    def resources(self, name: str) -> Iterator[tuple[str, str, str]]:
        """Yield the logical id, type and physical id of each existing resource of a stack."""
        pages = self._client.get_paginator("list_stack_resources").paginate(StackName=name)
        for resource in pages.search("StackResourceSummaries[]"):
            # The list also has deleted resources, with their former physical ids.
            is_deleted = resource["ResourceStatus"] == "DELETE_COMPLETE"
            if (physical_id := resource.get("PhysicalResourceId")) and not is_deleted:
                yield resource["LogicalResourceId"], resource["ResourceType"], physical_id

    def kept_resources(self, name: str) -> Iterator[tuple[str, str, str]]:
        """Yield the resources that the deletion of earlier stacks of this name has kept.

        CloudFormation lists deleted stacks for 90 days.
        """
        pages = self._client.get_paginator("list_stacks").paginate(
            StackStatusFilter=["DELETE_COMPLETE"]
        )
        for summary in pages.search("StackSummaries[]"):
            if summary["StackName"] == name:
                stack_id = summary["StackId"]
                [stack] = self._client.describe_stacks(StackName=stack_id)["Stacks"]
                if _has_our_tag(stack):
                    yield from self.resources(stack_id)

    def was_never_completed(self, stack: Stack) -> bool:
        """Return whether a stack was never created completely, so that it holds no data.

        CloudFormation forgets events after 90 days, so the first event must still be there.
        """
        if stack.status != "DELETE_FAILED":
            return stack.status in _NEVER_COMPLETED
        pages = self._client.get_paginator("describe_stack_events").paginate(StackName=stack.id)
        states = [
            event["ResourceStatus"]
            for event in pages.search("StackEvents[]")
            if event.get("PhysicalResourceId") == stack.id
        ]
        return "CREATE_IN_PROGRESS" in states and "CREATE_COMPLETE" not in states

    def deploy(self, desired: DesiredStack, *, keep_on_failure: bool = False) -> Stack:
        """Create or update a stack and wait for it.

        Waits for an operation that is still in progress, and deletes a stack that was never
        completed, before it begins. Resources are protected from deletion only after the stack
        was created completely.

        Args:
            desired: the stack.
            keep_on_failure: leave the resources of a failed creation, for a search of the cause.

        Raises:
            StackFailedError: the stack was rolled back; the message begins with the cause.
            DeploymentError: the stack is in a state that only the operator can resolve.
        """
        stack = self._prepare(desired.name, desired.label)
        if stack is None:
            stack = self._create(desired.unprotected(), keep_on_failure=keep_on_failure)
            if not desired.protections:
                return stack
            # The triggers may be alarms of a stack that was just replaced.
            desired = replace(desired, rollback_triggers=None)
        return self._update(desired, stack)

    def _create(self, desired: DesiredStack, *, keep_on_failure: bool) -> Stack:
        self._console.print_step(desired.label, "creating")
        request = desired.create_request() | self._role | {"ClientRequestToken": str(uuid.uuid4())}
        if keep_on_failure:
            request["OnFailure"] = "DO_NOTHING"
        stack_id = self._client.create_stack(**request)["StackId"]
        return self._finish(stack_id, desired.label, set())

    def _update(self, desired: DesiredStack, existing: Stack) -> Stack:
        seen = self._latest_event(existing)
        if desired.policy:
            self._client.set_stack_policy(StackName=existing.id, StackPolicyBody=desired.policy)
        request = desired.update_request() | self._role | {"ClientRequestToken": str(uuid.uuid4())}
        try:
            self._client.update_stack(**request)
        except ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise
            self._console.print_step(desired.label, "no changes", "dim")
            return existing
        self._console.print_step(desired.label, "updating")
        return self._finish(existing.id, desired.label, seen)

    def _finish(self, stack_id: str, label: str, seen: set[str]) -> Stack:
        """Wait for the end of a creation or an update, and require its success."""
        stack = self._wait(stack_id, label, seen)
        if stack is None or stack.status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            raise self._failure(stack_id, stack, label, seen)
        return stack

    def protect(self, stack: Stack, *, is_protected: bool) -> None:
        """Switch the termination protection of a stack on or off, if it is not so already."""
        if stack.is_protected == is_protected:
            return
        self._client.update_termination_protection(
            StackName=stack.id, EnableTerminationProtection=is_protected
        )

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
        if self.was_never_completed(stack):
            self._console.print_step(
                label, f"was never completed ({stack.status}); deleting what is left of it"
            )
            self._delete(stack, label)
            return None
        if stack.status == "UPDATE_ROLLBACK_FAILED":
            return self._continue_rollback(stack, name, label)
        if stack.status == "DELETE_FAILED":
            raise DeploymentError(
                f"{label} is only partly deleted (DELETE_FAILED): {stack.reason}\n"
                "Run the same `down` again, with --delete-data if you used it, and then `up`."
            )
        return stack

    def _continue_rollback(self, stack: Stack, name: str, label: str) -> Stack:
        """Repeat the roll-back of a failed update."""
        self._console.print_step(label, "was not rolled back completely; continuing")
        seen = self._latest_event(stack)
        self._client.continue_update_rollback(StackName=stack.id, **self._role)
        remaining = self._wait(stack.id, label, seen)
        if remaining is not None and remaining.status == "UPDATE_ROLLBACK_COMPLETE":
            return remaining
        reason = remaining.reason if remaining else stack.reason
        raise DeploymentError(
            f"{label} could not be rolled back (UPDATE_ROLLBACK_FAILED): {reason}\n"
            "Fix the cause and run: aws cloudformation continue-update-rollback "
            f"--stack-name {name} (with --resources-to-skip for resources that cannot be "
            "fixed). Then run `up` again."
        )

    def _find_idle(self, name: str, label: str) -> Stack | None:
        """Return the stack after any operation in progress has ended."""
        stack = self.find(name)
        if stack is None or not stack.is_busy:
            return stack
        self._console.print_step(label, f"waiting for another operation ({stack.status})")
        return self._wait(stack.id, label, set())

    def _delete(self, stack: Stack, label: str) -> None:
        seen = self._latest_event(stack)
        self._client.delete_stack(StackName=stack.id, **self._role)
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


def _has_our_tag(stack: "StackTypeDef") -> bool:
    tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
    return APPLICATION_TAG.items() <= tags.items()


def _resource(event: "StackEventTypeDef") -> str:
    return f"{event['LogicalResourceId']} ({event['ResourceType']})"


def _lines(*lines: str | None) -> str:
    return "\n".join(filter(None, lines))


def _state(status: str, label: str) -> str:
    match status:
        case "UPDATE_ROLLBACK_COMPLETE":
            return f"{label} is back in its previous state ({status})."
        case "CREATE_COMPLETE" | "UPDATE_COMPLETE":
            return f"{label} was not changed ({status})."
        case "CREATE_FAILED":
            return (
                f"The resources of {label} were kept ({status}). The next `up` or `down` deletes "
                "them."
            )
        case "DELETE_FAILED":
            return f"{label} is only partly deleted ({status}). Run the same command again."
        case "UPDATE_ROLLBACK_FAILED":
            return f"{label} could not be rolled back either ({status}). Run `up` again."
        case _:
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
