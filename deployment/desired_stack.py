"""The desired state of a stack, its policy, and the requests that create and update it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

# The tag of each stack of this application. Other stacks are never touched.
APPLICATION_TAG = {"Application": "image-annotation"}
# Longer than the alarms that roll an update back need to ring.
MONITORING_MINUTES = 10
_ALLOW = {"Effect": "Allow", "Principal": "*", "Action": "Update:*", "Resource": "*"}
_ALLOW_EVERYTHING = json.dumps({"Statement": [_ALLOW]})


def policy_against_loss(*resource_types: str) -> str:
    """Return a stack policy with which no update replaces or deletes resources of these types."""
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["Update:Replace", "Update:Delete"],
        "Resource": "*",
        "Condition": {"StringEquals": {"ResourceType": list(resource_types)}},
    }
    return json.dumps({"Statement": [_ALLOW, deny]})


@dataclass(frozen=True)
class DesiredStack:
    """The template, parameters and tags that a stack should have.

    Attributes:
        name: the name of the stack.
        label: the name in messages, such as `02-application-stack`.
        protections: the parameters that protect resources from deletion, with the values that
            switch the protection off.
        policy: the stack policy, which limits what an update may do; None for no limits.
        allows_replacement: whether the policy does not apply to this update.
        rollback_triggers: the ARNs of alarms that roll an update back when they ring during the
            update or some minutes after it; None leaves the triggers as they are.
        role_arn: the role with which a new stack is created; an existing one has a role already.
    """

    name: str
    label: str
    template_body: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    protections: Mapping[str, str] = field(default_factory=dict)
    policy: str | None = None
    allows_replacement: bool = False
    rollback_triggers: tuple[str, ...] | None = None
    role_arn: str | None = None

    def unprotected(self) -> "DesiredStack":
        """Return this stack without protection, for its creation.

        CloudFormation cannot roll back the creation of protected resources.
        """
        return replace(self, parameters={**self.parameters, **self.protections})

    def request(self) -> dict[str, Any]:
        """Return the common arguments of CreateStack, UpdateStack and CreateChangeSet."""
        return {
            "StackName": self.name,
            "TemplateBody": self.template_body,
            "Parameters": [
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in self.parameters.items()
            ],
            "Tags": [
                {"Key": key, "Value": value}
                for key, value in {**APPLICATION_TAG, **self.tags}.items()
            ],
            "Capabilities": ["CAPABILITY_IAM"],
        }

    def create_request(self) -> dict[str, Any]:
        """Return the arguments of CreateStack.

        The alarms of a stack do not exist yet, so that they cannot roll its creation back.
        """
        optional = {"StackPolicyBody": self.policy, "RoleARN": self.role_arn}
        return self.request() | {name: value for name, value in optional.items() if value}

    def update_request(self) -> dict[str, Any]:
        """Return the arguments of UpdateStack. The stack policy must be set before."""
        request = self.request()
        if self.allows_replacement:
            request["StackPolicyDuringUpdateBody"] = _ALLOW_EVERYTHING
        if self.rollback_triggers is not None:
            request["RollbackConfiguration"] = {
                "RollbackTriggers": [
                    {"Arn": arn, "Type": "AWS::CloudWatch::Alarm"} for arn in self.rollback_triggers
                ],
                # Without a trigger, CloudFormation would wait for nothing.
                "MonitoringTimeInMinutes": MONITORING_MINUTES if self.rollback_triggers else 0,
            }
        return request
