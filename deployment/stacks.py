"""The five stacks: their order, their templates, and the parameters of each.

A parameter file holds one object for each template, by its file name:
`{"02-application-stack": {"DatabaseInstanceClass": "db.t4g.micro"}}`. What it leaves out has the
template's default, so a file and the templates describe an environment completely.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from deployment.aws import Account
from deployment.errors import UsageError
from deployment.template_files import load_template

FOLDER = Path(__file__).parent
PROFILES = FOLDER / "parameters"
DEFAULT_PROFILE = "default"

REPOSITORIES = "00-ecr-repositories"
NETWORK = "01-vpc-network"
APPLICATION = "02-application-stack"
FUNCTIONS = "03-lambda-stack"
WEB = "04-ec2-alb-asg-stack"
ORDER = (REPOSITORIES, NETWORK, APPLICATION, FUNCTIONS, WEB)

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
_LONGEST_BODY_BYTES = 51_200

# Set by `up` itself, so no file may.
_GIVEN = ("Environment", "AnnotationImageUri", "ThumbnailImageUri", "WebImageUri")
_PLACEHOLDER = re.compile(r"\$\{AWS::(AccountId|Partition|Region)\}")


@dataclass(frozen=True)
class StackTemplate:
    """One template file."""

    path: Path

    @property
    def name(self) -> str:
        """`02-application-stack`."""
        return self.path.stem

    @cached_property
    def body(self) -> str:
        """As CloudFormation gets it: the file itself, or, where that is too long, without its
        comments."""
        text = self.path.read_text(encoding="utf-8")
        if len(text.encode()) <= _LONGEST_BODY_BYTES:
            return text
        return json.dumps(self._document, separators=(",", ":"), default=str)

    @cached_property
    def parameters(self) -> dict[str, Mapping[str, Any]]:
        """The parameters it declares."""
        return dict(self._document.get("Parameters", {}))

    @cached_property
    def outputs(self) -> frozenset[str]:
        """The names of what it tells."""
        return frozenset(self._document.get("Outputs", {}))

    @cached_property
    def resources(self) -> dict[str, str]:
        """The type of each resource, by its logical id."""
        resources = self._document["Resources"].items()
        return {logical_id: resource["Type"] for logical_id, resource in resources}

    @cached_property
    def _document(self) -> Mapping[str, Any]:
        document: Mapping[str, Any] = load_template(self.path)
        return document


def stack_name(environment: str, template_name: str) -> str:
    """`dev-02-application-stack`: in order in the console, and short, for resources are named after
    it, a database within 63 characters."""
    return f"{environment}-{template_name}"


@dataclass(frozen=True)
class Templates:
    """The five, by name and in order."""

    by_name: Mapping[str, StackTemplate]

    @classmethod
    def read(cls, folder: Path | None = None) -> Self:
        """Read a folder (default: this one)."""
        folder = folder or FOLDER
        return cls({name: StackTemplate(folder / f"{name}.yaml") for name in ORDER})

    def __getitem__(self, name: str) -> StackTemplate:
        return self.by_name[name]


@dataclass(frozen=True)
class ParameterFile:
    """What an environment is told beyond the templates' defaults."""

    name: str  # A profile's name, or a path.
    values: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, name: str, templates: Templates) -> Self:
        """Read a profile (`lab`, `default`, `prod`) or the file at a path.

        Raises:
            UsageError: there is none, or it names what no template has.
        """
        path = PROFILES / f"{name}.json"
        if not path.is_file():
            path = Path(name)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            profiles = ", ".join(sorted(path.stem for path in PROFILES.glob("*.json")))
            raise UsageError(
                f"There is no parameter file “{name}”: name a profile ({profiles}) or a path."
            ) from error
        except ValueError as error:
            raise UsageError(f"{path} is not JSON: {error}.") from error
        _check(path, values, templates)
        return cls(name, values)

    def parameters(
        self, template: StackTemplate, given: Mapping[str, str], account: Account
    ) -> dict[str, str]:
        """Every parameter of a stack that has not its default.

        Args:
            template: the stack's template.
            given: what no file can know: the environment and the images.
            account: fills `${AWS::AccountId}`, `${AWS::Partition}` and `${AWS::Region}`.
        Raises:
            UsageError: a parameter without a default is not set.
        """
        told = self.values.get(template.name, {})
        values = {name: _filled(_text(value), account) for name, value in told.items()}
        values |= {name: value for name, value in given.items() if name in template.parameters}
        missing = [
            name
            for name, parameter in template.parameters.items()
            if "Default" not in parameter and name not in values
        ]
        if missing:
            raise UsageError(
                f"{template.name} needs {', '.join(missing)}: set it in the parameter file "
                f"“{self.name}”."
            )
        return values


def _check(path: Path, values: Any, templates: Templates) -> None:
    if not isinstance(values, dict) or not all(isinstance(v, dict) for v in values.values()):
        raise UsageError(f'{path} must hold {{"{APPLICATION}": {{"Parameter": "value"}}, …}}.')
    for name, parameters in values.items():
        if name not in ORDER:
            raise UsageError(f"{path} names the stack “{name}”; there are {', '.join(ORDER)}.")
        for parameter in parameters:
            if parameter in _GIVEN:
                raise UsageError(f"{path} sets {parameter} of {name}, which `up` sets itself.")
            if parameter not in templates[name].parameters:
                raise UsageError(f"{path} sets {parameter}, which {name}.yaml does not have.")


def _text(value: Any) -> str:
    """A parameter of CloudFormation is text: a list is joined by commas, a truth is `true`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(_text(item) for item in value)
    return str(value)


def _filled(text: str, account: Account) -> str:
    facts = {"AccountId": account.id, "Partition": account.partition, "Region": account.region}
    return _PLACEHOLDER.sub(lambda found: facts[found[1]], text)
