"""One environment: what it is called, what it is told, and what of it is there."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from deployment.aws import AWS
from deployment.cloudformation import CloudFormation, Stack, WantedStack
from deployment.console import Console
from deployment.stacks import (
    DEFAULT_PROFILE,
    ORDER,
    REPOSITORIES,
    ParameterFile,
    Templates,
    stack_name,
)

# The first stack remembers which parameter file the environment was last told.
_PARAMETERS_TAG = "ParameterFile"


@dataclass(frozen=True)
class Environment:
    """An environment of an account.

    Args:
        name: such as `dev`.
        aws: the account.
        stacks: its stacks.
        templates: what they shall be.
        console: what the person reads.
    """

    name: str
    aws: AWS
    stacks: CloudFormation
    templates: Templates
    console: Console

    def find(self, template_name: str) -> Stack | None:
        """One of the five as it is."""
        return self.stacks.find(stack_name(self.name, template_name))

    def find_all(self) -> dict[str, Stack]:
        """Those of the five that are there, in order."""
        found = {name: self.find(name) for name in ORDER}
        return {name: stack for name, stack in found.items() if stack is not None}

    def outputs(self, template_name: str) -> Mapping[str, str]:
        """What a stack tells, nothing when it is not there."""
        stack = self.find(template_name)
        return stack.outputs if stack else {}

    def parameter_file(self, asked_for: str | None) -> ParameterFile:
        """What the environment is told: what is asked for, else the same as the last time."""
        if asked_for is None:
            repositories = self.find(REPOSITORIES)
            told = repositories.tags.get(_PARAMETERS_TAG) if repositories else None
            asked_for = told or DEFAULT_PROFILE
        elif os.path.sep in asked_for or asked_for.endswith(".json"):
            asked_for = os.path.relpath(asked_for)
        return ParameterFile.read(asked_for, self.templates)

    def wanted(
        self, template_name: str, told: ParameterFile, images: Mapping[str, str]
    ) -> WantedStack:
        """What a stack shall be.

        Args:
            template_name: which.
            told: its parameters beyond the defaults.
            images: the images' digests, by parameter.
        """
        template = self.templates[template_name]
        given = {"Environment": self.name, **images}
        tags = {"Application": "image-annotation", "Environment": self.name}
        if template_name == REPOSITORIES:
            tags[_PARAMETERS_TAG] = told.name
        return WantedStack(
            stack_name(self.name, template_name),
            template_name,
            template.body,
            told.parameters(template, given, self.aws.account),
            tags,
        )
