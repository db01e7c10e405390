"""An AWS account for tests of the commands, as unkind as AWS.

Only what the commands meet is here: the states of stacks, protected resources, deleted resources
that are still listed, exports, pages, throttled requests. Each rule of docs/assumptions/aws.md
names the test that shows it. The clients are those of boto3, so requests are validated; the account
answers before a request is sent.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import boto3.session
import botocore.session
from botocore import xform_name
from botocore.config import Config

from tests.support.cloudformation import Stack, TemplateError, document
from tests.support.fake_services import (
    ACCOUNT,
    DATABASE,
    LOAD_BALANCER,
    REGION,
    AwsError,
    FakeResource,
    FakeServices,
    alarm_arn,
)

GROUP = "AWS::AutoScaling::AutoScalingGroup"
ALARM = "AWS::CloudWatch::Alarm"
# A digest that no image has.
NO_DIGEST = "sha256:" + "0" * 64
# Properties of which a change replaces the resource. The reference of each type says so.
REPLACING = {DATABASE: ("DBSnapshotIdentifier", "MasterUsername", "DBSubnetGroupName")}

# Real pages are longer, but a reader of one page only would miss something here too.
PAGE = 20
# SignalResource has no reason. https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_SignalResource.html
NO_SIGNAL = (
    "Received 1 FAILURE signal(s) out of 2.  Unable to satisfy 100% MinSuccessfulInstancesPercent"
    " requirement"
)


@dataclass
class FakeStack:
    """A stack and its history."""

    id: str
    name: str
    template: str
    tags: list[dict[str, str]]
    request: dict[str, Any]
    status: str = "REVIEW_IN_PROGRESS"
    reason: str = ""
    resources: dict[str, FakeResource] = field(default_factory=dict)
    exports: dict[str, str] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)
    outputs: dict[str, str] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    is_protected: bool = False
    was_completed: bool = False
    policy: str | None = None
    role: str | None = None
    triggers: list[str] = field(default_factory=list)


class Connection:
    """Clients of boto3 that send their requests to one account, which can be replaced.

    To make clients takes longer than a test, so the tests share them.
    """

    account: "FakeAws"

    def session(self, **_arguments: Any) -> boto3.session.Session:
        """Return a session that makes such clients."""
        core = botocore.session.Session()
        # Without a fixed name of the client, a quarter of the time of each request builds one.
        core.set_default_client_config(Config(user_agent="tests"))
        session = boto3.session.Session(
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name=REGION,
            botocore_session=core,
        )
        session.events.register("before-parameter-build.*.*", self._keep_parameters)
        session.events.register("before-call.*.*", self._answer)
        return session

    def _keep_parameters(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["fake_aws"] = dict(params)

    def _answer(self, model: Any, context: dict[str, Any], **_: Any) -> Any:
        service = model.service_model.service_name
        return self.account.answer(service, model.name, context["fake_aws"])


class FakeAws(FakeServices):
    """The account: its stacks, and what they create.

    Attributes:
        stacks: every stack that was ever created, by id.
        fails_rollback: whether the next roll-back of an update fails.
        requests_left: the number of requests until the command is interrupted; None for never.
        throttled: the number of the next requests that are refused.
        rings_during_update: the logical id of an alarm that begins to ring during the next update.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stacks: dict[str, FakeStack] = {}
        self.fails_rollback = False
        self.requests_left: int | None = None
        self.throttled = 0
        self.rings_during_update: str | None = None
        self._operations: dict[str, Iterator[None]] = {}
        self._now = datetime(2026, 11, 26, tzinfo=UTC)
        self._number = 0

    # Time

    def advance(self, steps: int = 60) -> None:
        """Let time pass: each operation in progress does that many steps."""
        for stack_id, operation in list(self._operations.items()):
            for _ in range(steps):
                if next(operation, "end") == "end":
                    self._operations.pop(stack_id, None)
                    break

    def sleep(self, _seconds: float) -> None:
        """Let time pass while a command waits."""
        self.advance()

    # Requests

    def answer(self, service: str, operation: str, parameters: dict[str, Any]) -> Any:
        """Return the response to a request, as botocore parses it."""
        handle = getattr(self, f"{service}_{xform_name(operation)}")
        if self.requests_left is not None:
            self.requests_left -= 1
            if self.requests_left < 0:
                raise KeyboardInterrupt
        try:
            if self.throttled:
                self.throttled -= 1
                raise AwsError("Throttling", "Rate exceeded")
            answer = handle(**parameters) or {}
        except AwsError as error:
            body = {"Error": {"Code": error.code, "Message": str(error)}}
            return SimpleNamespace(status_code=400), body
        return SimpleNamespace(status_code=200), {**answer, "ResponseMetadata": {}}

    # CloudFormation

    def stack_named(self, name: str) -> FakeStack | None:
        """Return the existing stack with this name."""
        found = [s for s in self.stacks.values() if s.name == name]
        return found[-1] if found and found[-1].status != "DELETE_COMPLETE" else None

    def cloudformation_describe_stacks(self, StackName: str) -> dict[str, Any]:
        stack = self.stacks.get(StackName) or self._existing(StackName)
        description = {
            "StackId": stack.id,
            "StackName": stack.name,
            "StackStatus": stack.status,
            "StackStatusReason": stack.reason,
            "CreationTime": self._now,
            "EnableTerminationProtection": stack.is_protected,
            **({"RoleARN": stack.role} if stack.role else {}),
            "Tags": stack.tags,
            "Parameters": stack.request["Parameters"],
            "RollbackConfiguration": {
                "RollbackTriggers": [{"Arn": arn, "Type": ALARM} for arn in stack.triggers]
            },
            "Outputs": [
                {"OutputKey": key, "OutputValue": value} for key, value in stack.outputs.items()
            ],
        }
        return {"Stacks": [description]}

    def cloudformation_list_stacks(
        self, StackStatusFilter: list[str], NextToken: str = "0"
    ) -> dict[str, Any]:
        listed = [
            {"StackId": stack.id, "StackName": stack.name, "StackStatus": stack.status}
            for stack in self.stacks.values()
            if stack.status in StackStatusFilter
        ]
        return _page("StackSummaries", listed, NextToken)

    def cloudformation_create_stack(self, StackName: str, **request: Any) -> dict[str, Any]:
        if self.stack_named(StackName) is not None:
            raise AwsError("AlreadyExistsException", f"Stack [{StackName}] already exists")
        self._number += 1
        template = re.search(r"\d\d-.*", StackName)
        assert template
        stack = FakeStack(
            f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{StackName}/{self._number}",
            StackName,
            template[0],
            request["Tags"],
            request,
            policy=request.get("StackPolicyBody"),
            role=request.get("RoleARN"),
        )
        wanted = self._evaluate(stack.template, request)
        stack.status = "CREATE_IN_PROGRESS"
        self.stacks[stack.id] = stack
        self._operations[stack.id] = self._create(stack, wanted)
        return {"StackId": stack.id}

    def cloudformation_update_stack(self, StackName: str, **request: Any) -> dict[str, Any]:
        stack = self._existing(StackName)
        if stack.status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"):
            raise AwsError(
                "ValidationError",
                f"Stack:{stack.id} is in {stack.status} state and can not be updated.",
            )
        wanted = self._evaluate(stack.template, request)
        keys = ("Parameters", "TemplateBody", "Tags")
        if all(request[key] == stack.request[key] for key in keys):
            raise AwsError("ValidationError", "No updates are to be performed.")
        stack.status = "UPDATE_IN_PROGRESS"
        stack.role = request.get("RoleARN", stack.role)
        if "RollbackConfiguration" in request:
            triggers = request["RollbackConfiguration"]["RollbackTriggers"]
            stack.triggers = [trigger["Arn"] for trigger in triggers]
        self._operations[stack.id] = self._update(stack, wanted, request)
        return {"StackId": stack.id}

    def cloudformation_set_stack_policy(self, StackName: str, StackPolicyBody: str) -> None:
        self._existing(StackName).policy = StackPolicyBody

    def cloudformation_continue_update_rollback(
        self, StackName: str, RoleARN: str | None = None
    ) -> None:
        stack = self._existing(StackName)
        stack.role = RoleARN or stack.role
        if stack.status != "UPDATE_ROLLBACK_FAILED":
            raise AwsError("ValidationError", f"Stack is in {stack.status} state.")
        stack.status = "UPDATE_ROLLBACK_IN_PROGRESS"
        self._operations[stack.id] = self._roll_update_back(stack)

    def cloudformation_delete_stack(self, StackName: str, RoleARN: str | None = None) -> None:
        stack = self.stacks.get(StackName) or self.stack_named(StackName)
        if stack is None or stack.status == "DELETE_COMPLETE":
            return
        stack.role = RoleARN or stack.role
        if stack.is_protected:
            raise AwsError(
                "ValidationError",
                f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled",
            )
        for name in stack.exports:
            users = [other.name for other in self._living() if name in other.imports]
            if users:
                # https://github.com/aws/aws-cdk/issues/604: the stack keeps its state.
                stack.reason = f"Export {name} cannot be deleted as it is in use by {users[0]}"
                return
        stack.status = "DELETE_IN_PROGRESS"
        self._operations[stack.id] = self._delete(stack)

    def cloudformation_update_termination_protection(
        self, StackName: str, EnableTerminationProtection: bool
    ) -> dict[str, Any]:
        stack = self._existing(StackName)
        stack.is_protected = EnableTerminationProtection
        return {"StackId": stack.id}

    def cloudformation_list_stack_resources(
        self, StackName: str, NextToken: str = "0"
    ) -> dict[str, Any]:
        stack = self.stacks.get(StackName) or self._existing(StackName)
        # Deleted resources stay in the list. https://github.com/rebuy-de/aws-nuke/issues/270
        listed = [
            {
                "LogicalResourceId": resource.logical_id,
                "PhysicalResourceId": resource.physical_id,
                "ResourceType": resource.type,
                "ResourceStatus": resource.status,
                "LastUpdatedTimestamp": self._now,
            }
            for resource in stack.resources.values()
        ]
        return _page("StackResourceSummaries", listed, NextToken)

    def cloudformation_describe_stack_events(
        self, StackName: str, NextToken: str = "0"
    ) -> dict[str, Any]:
        stack = self.stacks.get(StackName) or self._existing(StackName)
        return _page("StackEvents", stack.events[::-1], NextToken)

    def _existing(self, name: str) -> FakeStack:
        stack = self.stacks.get(name) or self.stack_named(name)
        if stack is None:
            raise AwsError("ValidationError", f"Stack with id {name} does not exist")
        return stack

    def _living(self) -> list[FakeStack]:
        return [stack for stack in self.stacks.values() if stack.status != "DELETE_COMPLETE"]

    def _evaluate(self, template: str, request: dict[str, Any]) -> Stack:
        exports = {name: value for s in self._living() for name, value in s.exports.items()}
        parameters = {p["ParameterKey"]: p["ParameterValue"] for p in request["Parameters"]}
        try:
            return _evaluated(template, tuple(parameters.items()), tuple(exports.items()))
        except TemplateError as error:
            missing = re.search(r"imports (\S+),", str(error))
            message = f"No export named {missing[1]} found." if missing else str(error)
            raise AwsError("ValidationError", message) from error

    # Operations

    def _create(self, stack: FakeStack, wanted: Stack) -> Iterator[None]:
        self._note(stack, stack.name, "CREATE_IN_PROGRESS")
        stack.imports = set(wanted.imports)
        problem = False
        for logical_id in wanted.creation_order():
            yield
            problem = not self._create_resource(stack, wanted, logical_id)
            if problem:
                break
        problem = problem or not self._publish(stack, wanted)
        yield
        if not problem:
            self._end(stack, "CREATE_COMPLETE")
        elif stack.request.get("OnFailure") == "DO_NOTHING":
            self._end(stack, "CREATE_FAILED")
        else:
            self._note(stack, stack.name, "ROLLBACK_IN_PROGRESS")
            stack.status = "ROLLBACK_IN_PROGRESS"
            stack.imports, stack.exports = set(), {}
            yield
            is_gone = yield from self._delete_resources(stack, is_rollback=True)
            self._end(stack, "ROLLBACK_COMPLETE" if is_gone else "ROLLBACK_FAILED")

    def _update(self, stack: FakeStack, wanted: Stack, request: dict[str, Any]) -> Iterator[None]:
        self._note(stack, stack.name, "UPDATE_IN_PROGRESS")
        yield
        problems = {**self._denials(stack, wanted, request), **self._breaches(stack)}
        problems |= {
            name: reason
            for name in wanted.resources
            if (reason := self._problem(wanted, name)) is not None
        }
        for logical_id, reason in problems.items():
            self._note(stack, logical_id, "UPDATE_FAILED", reason)
            stack.status = "UPDATE_ROLLBACK_IN_PROGRESS"
            yield from self._roll_update_back(stack)
            return
        for resource in stack.resources.values():
            if resource.logical_id not in wanted.resources and resource.status != "DELETE_COMPLETE":
                self.end_to_exist(resource, holds_data=True)
                resource.status = "DELETE_COMPLETE"
        for logical_id, resource in wanted.resources.items():
            existing = stack.resources.get(logical_id)
            if existing is None or existing.status == "DELETE_COMPLETE":
                self._create_resource(stack, wanted, logical_id)
            else:
                existing.properties = resource.get("Properties", {})
                self.protect(existing)
            yield
        stack.request, stack.tags = request, request["Tags"]
        stack.imports = set(wanted.imports)
        self._publish(stack, wanted)
        self._end(stack, "UPDATE_COMPLETE")

    def _denials(self, stack: FakeStack, wanted: Stack, request: dict[str, Any]) -> dict[str, str]:
        """Return why the stack policy denies an update, by the logical ids of the resources."""
        policy = request.get("StackPolicyDuringUpdateBody", stack.policy)
        if policy is None:
            return {}
        [denied] = [s for s in json.loads(policy)["Statement"] if s["Effect"] == "Deny"] or [None]
        reasons = {}
        for resource in stack.resources.values():
            if resource.status == "DELETE_COMPLETE":
                continue
            change = _change(resource, wanted.resources.get(resource.logical_id))
            if denied and change in denied["Action"]:
                types = denied["Condition"]["StringEquals"]["ResourceType"]
                if resource.type in types:
                    reasons[resource.logical_id] = (
                        f"Action denied by stack policy: Statement [#2] does not allow [{change}] "
                        f"for resource [LogicalResourceId/{resource.logical_id}]"
                    )
        return reasons

    def _breaches(self, stack: FakeStack) -> dict[str, str]:
        """Return which roll-back trigger is missing, or rings during the update."""
        arns = {alarm_arn(name): name for name in self.alarms}
        if missing := [arn for arn in stack.triggers if arn not in arns]:
            return {stack.name: f"The alarm {missing[0]} does not exist"}
        for arn in stack.triggers:
            rings_now = self.rings_during_update and self.rings_during_update.lower() in arn
            if rings_now or self.alarms[arns[arn]]:
                self.rings_during_update = None
                return {stack.name: f"Alarm {arn} went to the ALARM state"}
        return {}

    def _roll_update_back(self, stack: FakeStack) -> Iterator[None]:
        self._note(stack, stack.name, "UPDATE_ROLLBACK_IN_PROGRESS")
        yield
        fails, self.fails_rollback = self.fails_rollback, False
        self._end(stack, "UPDATE_ROLLBACK_FAILED" if fails else "UPDATE_ROLLBACK_COMPLETE")

    def _delete(self, stack: FakeStack) -> Iterator[None]:
        self._note(stack, stack.name, "DELETE_IN_PROGRESS")
        yield
        is_gone = yield from self._delete_resources(stack, is_rollback=False)
        if is_gone:
            stack.exports, stack.imports = {}, set()
        self._end(stack, "DELETE_COMPLETE" if is_gone else "DELETE_FAILED")

    def _create_resource(self, stack: FakeStack, wanted: Stack, logical_id: str) -> bool:
        definition = wanted.resources[logical_id]
        self._note(stack, logical_id, "CREATE_IN_PROGRESS", resource_type=definition["Type"])
        if reason := self._problem(wanted, logical_id):
            self._note(stack, logical_id, "CREATE_FAILED", reason, resource_type=definition["Type"])
            return False
        self._number += 1
        physical_id = f"{stack.template}.{logical_id}-{self._number}".lower()
        if definition["Type"] == LOAD_BALANCER:
            physical_id = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:{physical_id}"
        resource = FakeResource(
            logical_id,
            definition["Type"],
            physical_id,
            definition.get("Properties", {}),
            definition.get("DeletionPolicy", "Delete"),
        )
        stack.resources[logical_id] = resource
        self.begin_to_exist(resource)
        self.protect(resource)
        self._note(stack, logical_id, "CREATE_COMPLETE", resource_type=definition["Type"])
        return True

    def _problem(self, wanted: Stack, logical_id: str) -> str | None:
        """Return why a resource cannot be created or updated."""
        reason = self.failing.get(logical_id)
        resource_type = wanted.resources[logical_id]["Type"]
        zone = wanted.resources[logical_id].get("Properties", {}).get("AvailabilityZone", REGION)
        if zone.removeprefix(REGION) not in ("", "a", "b", "c"):
            reason = f"Value ({zone}) for parameter availabilityZone is invalid."
        if resource_type == GROUP and NO_DIGEST in json.dumps(wanted.resources):
            reason = NO_SIGNAL
        if reason == NO_SIGNAL:
            self.write_start_lines()
        return reason

    def _delete_resources(self, stack: FakeStack, *, is_rollback: bool) -> Iterator[None]:
        is_gone = True
        for resource in reversed(stack.resources.values()):
            if resource.status in ("DELETE_COMPLETE", "DELETE_SKIPPED"):
                continue
            yield
            if resource.policy == "RetainExceptOnCreate" and not is_rollback:
                resource.status = "DELETE_SKIPPED"
                continue
            if reason := self.obstacle(resource):
                resource.status = "DELETE_FAILED"
                self._note(stack, resource.logical_id, "DELETE_FAILED", reason)
                is_gone = False
            else:
                self.end_to_exist(resource, holds_data=stack.was_completed)
                resource.status = "DELETE_COMPLETE"
        return is_gone

    def _publish(self, stack: FakeStack, wanted: Stack) -> bool:
        """Make the outputs and exports of a stack. An export name exists once in a region."""
        for name in wanted.exports:
            for other in self._living():
                if other is not stack and name in other.exports:
                    stack.reason = (
                        f"Export with name {name} is already exported by stack {other.name}. "
                        "Rollback requested by user."
                    )
                    self._note(stack, stack.name, "CREATE_FAILED", stack.reason)
                    return False
        stack.exports = {name: self._physical(stack, v) for name, v in wanted.exports.items()}
        stack.outputs = {name: self._physical(stack, v) for name, v in wanted.outputs.items()}
        return True

    def _physical(self, stack: FakeStack, value: Any) -> str:
        def replace(found: re.Match[str]) -> str:
            resource = stack.resources.get(found[1])
            return resource.physical_id if resource else found[0]

        return re.sub(rf"<{stack.template}\.(\w+)>", replace, str(value))

    def _end(self, stack: FakeStack, status: str) -> None:
        stack.status = status
        stack.was_completed |= status == "CREATE_COMPLETE"
        self._note(stack, stack.name, status)

    def _note(
        self,
        stack: FakeStack,
        logical_id: str,
        status: str,
        reason: str = "",
        resource_type: str = "AWS::Example",
    ) -> None:
        is_stack = logical_id == stack.name
        self._now += timedelta(seconds=1)
        stack.events.append(
            {
                "EventId": str(len(stack.events)),
                "StackId": stack.id,
                "StackName": stack.name,
                "LogicalResourceId": logical_id,
                "PhysicalResourceId": stack.id if is_stack else "",
                "ResourceType": "AWS::CloudFormation::Stack" if is_stack else resource_type,
                "ResourceStatus": status,
                "ResourceStatusReason": reason,
                "Timestamp": self._now,
            }
        )


def _page(key: str, items: list[Any], token: str) -> dict[str, Any]:
    start = int(token)
    page: dict[str, Any] = {key: items[start : start + PAGE]}
    if start + PAGE < len(items):
        page["NextToken"] = str(start + PAGE)
    return page


# Sequences of commands deploy the same stacks again and again, and nothing changes the result.
@lru_cache(maxsize=256)
def _evaluated(
    template: str, parameters: tuple[tuple[str, str], ...], exports: tuple[tuple[str, str], ...]
) -> Stack:
    wanted = Stack(template, document(template), dict(parameters), dict(exports))
    assert not wanted.failed_assertions(), wanted.failed_assertions()
    _ = wanted.resources, wanted.exports
    return wanted


def _change(resource: FakeResource, wanted: dict[str, Any] | None) -> str:
    """Return what an update does with a resource, in the words of a stack policy."""
    if wanted is None:
        return "Update:Delete"
    properties = wanted.get("Properties", {})
    replaces = any(
        resource.properties.get(name) != properties.get(name)
        for name in REPLACING.get(resource.type, ())
    )
    return "Update:Replace" if replaces else "Update:Modify"
