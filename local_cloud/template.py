"""Read functions, event rules and schedules from the template of the functions' stack.

A local run has the handlers, time-outs, memory limits, variables, event patterns and the schedule
of `deployment/03-lambda-stack.yaml`, so that errors there appear on the developer's machine.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from deployment.template_files import FOLDER, load_template, parameter_text

LAMBDA_TEMPLATE = FOLDER / "03-lambda-stack.yaml"

_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}


class UnresolvedError(LookupError):
    """A value of the template is known only in a deployed stack."""


@dataclass(frozen=True)
class Function:
    """One function of the template."""

    logical_id: str
    handler: str  # package.module.function
    timeout_seconds: int
    memory_megabytes: int
    environment: Mapping[str, str]  # Only the values that are known without a deployed stack.
    variables: frozenset[str]  # The names of all variables.

    @property
    def name(self) -> str:
        """The short name for console and logs: `annotation` for `AnnotationFunction`."""
        return self.logical_id.removesuffix("Function").lower()


@dataclass(frozen=True)
class EventRule:
    """A rule that invokes a function for matching events."""

    name: str
    event_pattern: Mapping[str, Any]
    function_id: str


@dataclass(frozen=True)
class Schedule:
    """A rule that invokes a function at a fixed interval."""

    name: str
    every_seconds: int
    function_id: str


class Template:
    """A CloudFormation template whose parameters have their defaults.

    Args:
        document: the template, with long forms instead of short tags (`!Ref`, `!Sub`, …).
        imports: values that other stacks export. A name such as `ImageBucketName` has no
            environment prefix.
    """

    def __init__(self, document: Mapping[str, Any], imports: Mapping[str, str]) -> None:
        self._resources: Mapping[str, Any] = document["Resources"]
        self._parameters = {
            name: parameter["Default"]
            for name, parameter in document.get("Parameters", {}).items()
            if "Default" in parameter
        }
        self._imports = imports

    @classmethod
    def read(cls, imports: Mapping[str, str], path: Path = LAMBDA_TEMPLATE) -> "Template":
        """Read a template file."""
        return cls(load_template(path), imports)

    @cached_property
    def functions(self) -> dict[str, Function]:
        """The functions by logical id."""
        return {
            logical_id: self._function(logical_id, properties)
            for logical_id, properties in self._properties("AWS::Lambda::Function")
        }

    def event_rules(self) -> list[EventRule]:
        """Return the event rules, one per target."""
        return [
            EventRule(name, self.resolve(pattern), function_id)
            for name, pattern, function_id in self._rules("EventPattern")
        ]

    def schedules(self) -> list[Schedule]:
        """Return the scheduled rules, one per target."""
        return [
            Schedule(name, _every_seconds(expression), function_id)
            for name, expression, function_id in self._rules("ScheduleExpression")
        ]

    def _rules(self, condition: str) -> Iterator[tuple[str, Any, str]]:
        """Yield the name, the condition and the function's id of each rule that has it."""
        for name, properties in self._properties("AWS::Events::Rule"):
            if condition in properties:
                for target in properties["Targets"]:
                    yield name, properties[condition], str(target["Arn"]["Fn::GetAtt"][0])

    def resolve(self, value: Any) -> Any:
        """Replace references to parameters and other stacks with their values.

        Raises:
            UnresolvedError: a part of the value is known only in a deployed stack.
        """
        match value:
            case {"Ref": name}:
                return _known(self._parameters, name)
            case {"Fn::ImportValue": name}:
                prefix = f"image-annotation-{self._parameters['Environment']}-"
                return _known(self._imports, self.resolve(name).removeprefix(prefix))
            case {"Fn::Sub": str(text)}:
                return re.sub(
                    r"\$\{([^!}]+)\}", lambda found: str(_known(self._parameters, found[1])), text
                )
            case dict() if len(value) == 1 and next(iter(value)).startswith(("Fn::", "Condition")):
                raise UnresolvedError(next(iter(value)))
            case dict():
                return {key: self.resolve(item) for key, item in value.items()}
            case list():
                return [self.resolve(item) for item in value]
            case _:
                return value

    def _function(self, logical_id: str, properties: Mapping[str, Any]) -> Function:
        variables = properties.get("Environment", {}).get("Variables", {})
        environment = {}
        for name, value in variables.items():
            try:
                environment[name] = parameter_text(self.resolve(value))
            except UnresolvedError:
                continue
        return Function(
            logical_id,
            handler=properties["ImageConfig"]["Command"][0],
            timeout_seconds=int(self.resolve(properties.get("Timeout", 3))),
            memory_megabytes=int(self.resolve(properties.get("MemorySize", 128))),
            environment=environment,
            variables=frozenset(variables),
        )

    def _properties(self, resource_type: str) -> list[tuple[str, Mapping[str, Any]]]:
        return [
            (logical_id, resource["Properties"])
            for logical_id, resource in self._resources.items()
            if resource["Type"] == resource_type
        ]


def _known(values: Mapping[str, Any], name: str) -> Any:
    if name not in values:
        raise UnresolvedError(name)
    return values[name]


def _every_seconds(expression: str) -> int:
    """Return the seconds of a rate expression: 60 for `rate(1 minute)`."""
    found = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
    if found is None:
        raise ValueError(f"a local run supports only rate(…) schedules, not {expression}")
    return int(found[1]) * _SECONDS[found[2]]
