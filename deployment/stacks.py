"""The five stacks: their order, templates and parameters.

A parameter file has one object per template, by file name:
`{"02-application-stack": {"DatabaseInstanceClass": "db.t4g.micro"}}`. A parameter that it does not
name has the default of the template, so the file and the templates describe an environment
completely.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from deployment.aws import Account
from deployment.constraints import violations
from deployment.errors import UsageError
from deployment.template_files import FOLDER, load_template, parameter_text

PROFILES = FOLDER / "parameters"
DEFAULT_PROFILE = "default"

REPOSITORIES = "00-ecr-repositories"
NETWORK = "01-vpc-network"
APPLICATION = "02-application-stack"
FUNCTIONS = "03-lambda-stack"
WEB = "04-ec2-alb-asg-stack"
ORDER = (REPOSITORIES, NETWORK, APPLICATION, FUNCTIONS, WEB)

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
_MAX_BODY_BYTES = 51_200

# `up` sets these parameters, so a parameter file must not.
_GIVEN = ("Environment", "AnnotationImageUri", "ThumbnailImageUri", "WebImageUri")
# The parameters that protect a resource from deletion.
PROTECTIONS = ("DatabaseDeletionProtection", "LoadBalancerDeletionProtection")
# Several stacks use these parameters, so all of them must have the same value.
_SHARED = {
    "Architecture",
    "GeminiDailyTokenBudget",
    "KmsKeyArn",
    "MaxImagePixels",
    "ThumbnailHeight",
    "ThumbnailWidth",
}
_PLACEHOLDER = re.compile(r"\$\{AWS::(AccountId|Partition|Region)\}")


@dataclass(frozen=True)
class StackTemplate:
    """One template file."""

    path: Path

    @property
    def name(self) -> str:
        """The name of the template, such as `02-application-stack`."""
        return self.path.stem

    @cached_property
    def body(self) -> str:
        """The text sent to CloudFormation: the file, or JSON without comments if it is too long."""
        text = self.path.read_text(encoding="utf-8")
        if len(text.encode()) <= _MAX_BODY_BYTES:
            return text
        return json.dumps(self._document, separators=(",", ":"), default=str)

    @cached_property
    def parameters(self) -> dict[str, Mapping[str, Any]]:
        """The declared parameters by name."""
        return dict(self._document.get("Parameters", {}))

    @cached_property
    def rules(self) -> dict[str, Mapping[str, Any]]:
        """The rules for combinations of parameters, by name."""
        return dict(self._document.get("Rules", {}))

    @cached_property
    def outputs(self) -> frozenset[str]:
        """The names of the outputs."""
        return frozenset(self._document.get("Outputs", {}))

    @property
    def mappings(self) -> Mapping[str, Any]:
        """The mappings, from a name to a table."""
        return dict(self._document.get("Mappings", {}))

    @cached_property
    def resources(self) -> dict[str, str]:
        """The type of each resource, by its logical id."""
        resources = self._document["Resources"].items()
        return {logical_id: resource["Type"] for logical_id, resource in resources}

    def properties(self, resource_type: str) -> list[Mapping[str, Any]]:
        """Return the properties of every resource of a type."""
        resources = self._document["Resources"].values()
        return [
            resource["Properties"] for resource in resources if resource["Type"] == resource_type
        ]

    @cached_property
    def _document(self) -> Mapping[str, Any]:
        return load_template(self.path)


def stack_name(environment: str, template_name: str) -> str:
    """Return a name such as `image-annotation-dev-02-application-stack`.

    The prefix keeps the stacks apart from those of other applications in the account. The number
    sorts the stacks in the AWS console.
    """
    return f"image-annotation-{environment}-{template_name}"


Templates = Mapping[str, StackTemplate]


def read_templates(folder: Path | None = None) -> Templates:
    """Read the templates of a folder (default: `deployment/`) by name, in order."""
    return {name: StackTemplate((folder or FOLDER) / f"{name}.yaml") for name in ORDER}


@dataclass(frozen=True)
class ParameterFile:
    """The parameters of an environment that differ from the defaults of the templates."""

    name: str  # The name of a profile, or a path.
    values: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, name: str, templates: Templates) -> Self:
        """Read a profile (`lab`, `default`, `prod`) or the file at a path.

        Raises:
            UsageError: the file does not exist, is not valid, or names an unknown parameter.
        """
        path = PROFILES / f"{name}.json"
        if not path.is_file():
            path = Path(name)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            profiles = ", ".join(sorted(path.stem for path in PROFILES.glob("*.json")))
            raise UsageError(
                f"There is no parameter file “{name}”. Choose a profile ({profiles}) or a path."
            ) from error
        except ValueError as error:
            raise UsageError(f"{path} is not valid JSON: {error}. Correct the file.") from error
        _check(path, values, templates)
        parameter_file = cls(name, values)
        _check_shared(parameter_file, templates)
        return parameter_file

    def value(self, template: StackTemplate, parameter: str) -> str:
        """Return the value of a parameter: from the file, else the default of the template."""
        values = self.values.get(template.name, {})
        return parameter_text(values.get(parameter, template.parameters[parameter].get("Default")))

    def stack_parameters(
        self, template: StackTemplate, given: Mapping[str, str], account: Account
    ) -> dict[str, str]:
        """Return every parameter of a stack that does not have its default.

        Args:
            template: the template of the stack.
            given: the parameters that `up` sets: the environment and the images.
            account: the values of `${AWS::AccountId}`, `${AWS::Partition}` and `${AWS::Region}`.

        Raises:
            UsageError: a parameter without a default is not set.
        """
        values = {
            name: _replace_placeholders(parameter_text(value), account)
            for name, value in self.values.get(template.name, {}).items()
        }
        values |= {name: value for name, value in given.items() if name in template.parameters}
        missing = [
            name
            for name, parameter in template.parameters.items()
            if "Default" not in parameter and name not in values
        ]
        if missing:
            raise UsageError(
                f"{template.name} needs {', '.join(missing)}. Set it in the parameter file "
                f"“{self.name}”."
            )
        return values

    def check_constraints(self, templates: Templates, account: Account) -> None:
        """Check the values and their combinations as CloudFormation does, for all stacks at once.

        Raises:
            UsageError: CloudFormation would refuse a value. The message has a line for each.
        """
        found = [
            f"- {name}: {sentence}"
            for name, template in templates.items()
            for sentence in violations(
                template.parameters, template.rules, self._all_values(template, account)
            )
        ]
        if found:
            raise UsageError(
                f"CloudFormation would refuse the parameter file “{self.name}”:\n"
                + "\n".join(found)
                + "\nCorrect the file. Nothing was created."
            )

    def _all_values(self, template: StackTemplate, account: Account) -> dict[str, str]:
        """Return the value of each parameter, also of those that have their default."""
        return {
            name: _replace_placeholders(self.value(template, name), account)
            for name in template.parameters
            if name not in _GIVEN
        }


def _check(path: Path, values: Any, templates: Templates) -> None:
    if not isinstance(values, dict) or not all(isinstance(v, dict) for v in values.values()):
        raise UsageError(f'{path} must hold {{"{APPLICATION}": {{"Parameter": "value"}}, …}}.')
    for name, parameters in values.items():
        if name not in ORDER:
            raise UsageError(f"{path} has an unknown stack “{name}”. Use {', '.join(ORDER)}.")
        for parameter in parameters:
            if parameter in _GIVEN:
                raise UsageError(f"{path} sets {parameter} of {name}. Remove it: `up` sets it.")
            if parameter not in templates[name].parameters:
                raise UsageError(
                    f"{path} sets {parameter}, which {name}.yaml does not have. Remove it."
                )


def _check_shared(parameter_file: ParameterFile, templates: Templates) -> None:
    """Check that all stacks get the same values of shared parameters."""
    for parameter in sorted(_SHARED):
        values = {
            name: parameter_file.value(template, parameter)
            for name, template in templates.items()
            if parameter in template.parameters
        }
        if len(set(values.values())) > 1:
            texts = (f"{value or 'empty'} for {name}" for name, value in values.items())
            raise UsageError(
                f"In “{parameter_file.name}”, {parameter} is {' and '.join(texts)}. "
                "Use the same value."
            )


def _replace_placeholders(text: str, account: Account) -> str:
    values = {"AccountId": account.id, "Partition": account.partition, "Region": account.region}
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)
