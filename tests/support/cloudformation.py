"""An evaluator of CloudFormation templates that needs no AWS account.

A `Stack` is a template with a set of parameters. It checks the parameters, evaluates the conditions
and resolves every reference in the resources. A value that only AWS knows is written as
`<stack.Resource.Attribute>`, and is the same in every reference.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from graphlib import TopologicalSorter
from pathlib import Path

from deployment.template_files import load_template

DEPLOYMENT = Path(__file__).parents[2] / "deployment"
STACKS = (
    "00-ecr-repositories",
    "01-vpc-network",
    "02-application-stack",
    "03-lambda-stack",
    "04-ec2-alb-asg-stack",
)
REGISTRY, NETWORK, DATA, FUNCTIONS, WEB = STACKS
REGION = "eu-west-1"
ACCOUNT = "111122223333"

_NO_VALUE = object()
_PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT,
    "AWS::NoValue": _NO_VALUE,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
}


class TemplateError(Exception):
    """A template or parameter that CloudFormation would reject."""


class Stack:
    """A template with a set of parameters.

    Args:
        name: the name of the template's file, without the extension.
        document: the template, with the long forms of the functions.
        parameters: the given parameters; the others have their defaults.
        exports: the values that earlier stacks exported, by name.
    Raises:
        TemplateError: a parameter is missing, unknown or not allowed.
    """

    def __init__(self, name, document, parameters, exports):
        self.name = name
        self.document = document
        self._exports_before = exports
        self._parameters = {
            parameter: _checked(parameter, definition, parameters)
            for parameter, definition in document["Parameters"].items()
        }
        if unknown := parameters.keys() - document["Parameters"].keys():
            raise TemplateError(f"{name} has no parameters {sorted(unknown)}")
        self.imports = set()
        self._references = {}  # For each resource, the resources that it refers to.
        self._resolving = None

    @cached_property
    def resources(self):
        """The resources that exist with these parameters, by logical id."""
        resources = {}
        for logical_id, resource in self.document["Resources"].items():
            if self._exists(resource):
                self._resolving = logical_id
                self._references[logical_id] = set()
                resources[logical_id] = self.resolve(
                    {key: value for key, value in resource.items() if key != "Condition"}
                )
        self._resolving = None
        return resources

    @cached_property
    def outputs(self):
        """The values of the outputs, by name."""
        return {
            name: self.resolve(output["Value"])
            for name, output in self.document.get("Outputs", {}).items()
            if self._exists(output)
        }

    @cached_property
    def exports(self):
        """The exported values, by the names that other stacks import them by."""
        return {
            self.resolve(output["Export"]["Name"]): self.outputs[name]
            for name, output in self.document.get("Outputs", {}).items()
            if name in self.outputs and "Export" in output
        }

    def of_type(self, *types):
        """Return the properties of the resources of these types, by logical id."""
        return {
            logical_id: resource.get("Properties", {})
            for logical_id, resource in self.resources.items()
            if resource["Type"] in types
        }

    def creation_order(self):
        """Return the resources, each after those that it refers to.

        Raises:
            graphlib.CycleError: the references are circular.
        """
        for logical_id, resource in self.resources.items():
            first = resource.get("DependsOn", [])
            self._references[logical_id] |= {first} if isinstance(first, str) else set(first)
        return list(TopologicalSorter(self._references).static_order())

    def failed_assertions(self):
        """Return the messages of the template's rules that these parameters violate."""
        return [
            assertion["AssertDescription"]
            for rule in self.document.get("Rules", {}).values()
            if self._holds(rule.get("RuleCondition", {"Fn::Equals": ["", ""]}))
            for assertion in rule["Assertions"]
            if not self._holds(assertion["Assert"])
        ]

    def resolve(self, value):
        """Replace every function in a value.

        Raises:
            TemplateError: a reference names something that does not exist with these parameters.
        """
        match value:
            case {"Ref": name}:
                return self._ref(name)
            case {"Fn::GetAtt": [logical_id, attribute]}:
                return self._attribute(logical_id, attribute)
            case {"Fn::Sub": [text, values]}:
                return self._sub(text, self.resolve(values))
            case {"Fn::Sub": text}:
                return self._sub(text, {})
            case {"Fn::If": [condition, then, otherwise]}:
                return self.resolve(then if self._condition(condition) else otherwise)
            case {"Fn::ImportValue": name}:
                return self._import(self.resolve(name))
            case {"Fn::Join": [separator, parts]}:
                return separator.join(_text(part) for part in self.resolve(parts))
            case {"Fn::Split": [separator, text]}:
                return self.resolve(text).split(separator)
            case {"Fn::Select": [index, choices]}:
                return self.resolve(choices)[int(self.resolve(index))]
            case {"Fn::FindInMap": [name, first, second]}:
                mapping = self.document["Mappings"][self.resolve(name)]
                return mapping[_text(self.resolve(first))][_text(self.resolve(second))]
            case {"Fn::GetAZs": _}:
                return [f"{REGION}{letter}" for letter in "abc"]
            case {"Fn::Base64": text}:
                return self.resolve(text)  # Not encoded, so that tests can read it.
            case dict() if any(key.startswith("Fn::") for key in value):
                raise TemplateError(f"{self.name}: {list(value)} is not implemented here")
            case dict():
                resolved = {key: self.resolve(item) for key, item in value.items()}
                return {key: item for key, item in resolved.items() if item is not _NO_VALUE}
            case list():
                return [item for item in map(self.resolve, value) if item is not _NO_VALUE]
            case _:
                return value

    def _ref(self, name):
        if name in self._parameters:
            return self._parameters[name]
        if name in ("AWS::StackName", "AWS::StackId"):
            return f"<{self.name}>"
        if name in _PSEUDO_PARAMETERS:
            return _PSEUDO_PARAMETERS[name]
        self._add_reference(name)
        return f"<{self.name}.{name}>"

    def _attribute(self, logical_id, attribute):
        self._add_reference(logical_id)
        return f"<{self.name}.{logical_id}.{attribute}>"

    def _add_reference(self, logical_id):
        """Record a reference to a resource, which must exist."""
        resource = self.document["Resources"].get(logical_id)
        if resource is None or not self._exists(resource):
            source = self._resolving or "an output"
            raise TemplateError(f"{self.name}: {source} refers to {logical_id}, which is missing")
        if self._resolving is not None:
            self._references[self._resolving].add(logical_id)

    def _sub(self, text, values):
        def replace(match):
            name = match[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in values:
                return _text(values[name])
            if "." in name:
                return self._attribute(*name.split(".", 1))
            return _text(self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", replace, text)

    def _import(self, name):
        self.imports.add(name)
        try:
            return self._exports_before[name]
        except KeyError:
            raise TemplateError(
                f"{self.name} imports {name}, which no earlier stack exports"
            ) from None

    def _exists(self, item):
        return "Condition" not in item or self._condition(item["Condition"])

    def _condition(self, name):
        return self._holds(self.document["Conditions"][name])

    def _holds(self, condition):
        match condition:
            case {"Condition": name}:
                return self._condition(name)
            case {"Fn::Equals": [left, right]}:
                return _text(self.resolve(left)) == _text(self.resolve(right))
            case {"Fn::Not": [inner]}:
                return not self._holds(inner)
            case {"Fn::And": inner}:
                return all(map(self._holds, inner))
            case {"Fn::Or": inner}:
                return any(map(self._holds, inner))
            case {"Fn::Contains": [choices, value]}:
                return _text(self.resolve(value)) in map(_text, self.resolve(choices))
        raise TemplateError(f"{self.name}: {condition} is not implemented here")


@cache
def document(name):
    """Return the template of a stack, with the long forms of the functions."""
    return load_template(DEPLOYMENT / f"{name}.yaml")


def parameter_file(name) -> Mapping[str, Mapping[str, str]]:
    """Return the parameters for each stack from a file in `deployment/parameters`."""
    return json.loads((DEPLOYMENT / "parameters" / f"{name}.json").read_text())


def deploy(parameters) -> dict[str, Stack]:
    """Evaluate all stacks in order, each with the exports of the earlier ones.

    Args:
        parameters: the parameters for each stack.
    """
    exports, stacks = {}, {}
    for name in STACKS:
        stacks[name] = Stack(name, document(name), parameters.get(name, {}), dict(exports))
        exports |= stacks[name].exports
    return stacks


def walk(value) -> Iterator[object]:
    """Yield a value and everything inside it."""
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from walk(item)


def _checked(name, definition, given):
    """Check a parameter and return the value that references to it resolve to."""
    if name not in given and "Default" not in definition:
        raise TemplateError(f"{name} must be given")
    value = _text(given.get(name, definition.get("Default")))
    is_list = definition["Type"] == "CommaDelimitedList" or definition["Type"].startswith("List<")
    values = [item.strip() for item in value.split(",")] if is_list else [value]
    for item in values:
        if not _is_allowed(item, definition):
            raise TemplateError(f"{name}: {item!r} {definition.get('ConstraintDescription', '')}")
    if definition["Type"].startswith("AWS::SSM::Parameter::Value<"):
        return f"<{value}>"
    return values if is_list else value


def _is_allowed(value, definition):
    if "AllowedValues" in definition:
        return value in map(_text, definition["AllowedValues"])
    if definition["Type"] == "Number" and not (
        float(definition.get("MinValue", "-inf"))
        <= float(value)
        <= float(definition.get("MaxValue", "inf"))
    ):
        return False
    if not definition.get("MinLength", 0) <= len(value) <= definition.get("MaxLength", 4096):
        return False
    return re.fullmatch(definition.get("AllowedPattern", "(?s).*"), value) is not None


def _text(value):
    """Convert a value to text like CloudFormation, with booleans in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


# ---- The environments that every stack must support ----------------------------------------------

# `up` sets these parameters to the images that it pushed.
IMAGES = {
    FUNCTIONS: {
        "AnnotationImageUri": f"111122223333.dkr.ecr.eu-west-1.amazonaws.com/a@sha256:{'a' * 64}",
        "ThumbnailImageUri": f"111122223333.dkr.ecr.eu-west-1.amazonaws.com/t@sha256:{'b' * 64}",
    },
    WEB: {"WebImageUri": f"111122223333.dkr.ecr.eu-west-1.amazonaws.com/w@sha256:{'c' * 64}"},
}
# Parameters that depend on the account, so no parameter file contains them.
ROLES = {
    FUNCTIONS: {"ExistingLambdaRoleArn": "arn:aws:iam::111122223333:role/LabRole"},
    WEB: {"ExistingInstanceProfileName": "LabInstanceProfile"},
}
CERTIFICATE = {
    WEB: {
        "CertificateArn": "arn:aws:acm:eu-west-1:111122223333:certificate/0d1e2f3a",
        "AllowedHosts": "images.example.org",
    },
}
# What the profile for production lacks.
PRODUCTION = {**CERTIFICATE, DATA: {"AlarmEmail": "operator@example.org"}}
HOSTED_ZONE = {WEB: {"HostedZoneId": "Z0123456789ABCDEFGHIJ", "AllowedHosts": "images.example.org"}}
SNAPSHOT = {DATA: {"DatabaseSnapshotIdentifier": "before-the-move"}}


def merged(*layers):
    return {
        stack: {name: value for layer in layers for name, value in layer.get(stack, {}).items()}
        for stack in STACKS
    }


def parameters_of(file, *layers):
    return merged(parameter_file(file), IMAGES, *layers)


PROFILES = {
    "default": parameters_of("default", CERTIFICATE),
    "prod": parameters_of("prod", PRODUCTION),
    "hosted-zone": parameters_of("default", HOSTED_ZONE),
    "lab": parameters_of("lab", ROLES),
    "no-cert": parameters_of("default"),
    "snapshot": parameters_of("default", CERTIFICATE, SNAPSHOT),
}
