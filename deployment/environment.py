"""A deployed environment: its name, its existing stacks and its parameter file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from deployment.aws import AWS
from deployment.cloudformation import CloudFormation, Stack
from deployment.console import Console
from deployment.desired_stack import DesiredStack, policy_against_loss
from deployment.errors import DeploymentError
from deployment.stacks import (
    APPLICATION,
    DEFAULT_PROFILE,
    ORDER,
    PROTECTIONS,
    REPOSITORIES,
    ParameterFile,
    Templates,
    stack_name,
)

# A tag of the first stack that holds the parameter file of the last `up`.
_PARAMETERS_TAG = "ParameterFile"
# Data, and the keys to it. A replacement creates an empty one.
_KEPT_TYPES = ("AWS::RDS::DBInstance", "AWS::S3::Bucket", "AWS::SecretsManager::Secret")


@dataclass(frozen=True)
class Environment:
    """One environment, such as `dev`, of an AWS account."""

    name: str
    aws: AWS
    stacks: CloudFormation
    templates: Templates
    console: Console

    def find(self, template_name: str) -> Stack | None:
        """Return the stack of a template, or None if it does not exist."""
        return self.stacks.find(stack_name(self.name, template_name))

    def find_all(self) -> dict[str, Stack]:
        """Return the existing stacks by template name, in order."""
        found = {name: self.find(name) for name in ORDER}
        return {name: stack for name, stack in found.items() if stack is not None}

    def outputs(self, template_name: str) -> Mapping[str, str]:
        """Return the outputs of a stack, or nothing if it does not exist."""
        stack = self.find(template_name)
        return stack.outputs if stack else {}

    def parameter_file(self, requested: str | None) -> ParameterFile:
        """Read the requested parameter file, or the file of the last `up` if none is requested."""
        if requested is None:
            repositories = self.find(REPOSITORIES)
            previous = repositories.tags.get(_PARAMETERS_TAG) if repositories else None
            requested = previous or DEFAULT_PROFILE
        elif os.path.sep in requested or requested.endswith(".json"):
            requested = os.path.relpath(requested)
        return ParameterFile.read(requested, self.templates)

    def desired_stack(
        self, template_name: str, parameter_file: ParameterFile, images: Mapping[str, str]
    ) -> DesiredStack:
        """Return the desired state of a stack. `images` holds image URIs by parameter name."""
        template = self.templates[template_name]
        given = {"Environment": self.name, **images}
        parameters = parameter_file.stack_parameters(template, given, self.aws.account)
        tags = {"Environment": self.name}
        if template_name == REPOSITORIES:
            tags[_PARAMETERS_TAG] = parameter_file.name
        return DesiredStack(
            stack_name(self.name, template_name),
            template_name,
            template.body,
            parameters,
            tags,
            {name: "false" for name in PROTECTIONS if parameters.get(name) == "true"},
            policy_against_loss(*_KEPT_TYPES) if template_name == APPLICATION else None,
        )

    def not_found_error(self) -> DeploymentError:
        """Build the error for an environment without stacks."""
        return DeploymentError(
            f"The environment “{self.name}” has no stacks in {self.aws.account.region}. Choose "
            "another --region or --environment, or run `up`."
        )
