"""The constraints of a template on its parameters: their values, and the rules between them.

CloudFormation checks them when it creates or updates a stack. The last stack comes after half an
hour, so `up` checks all of them before the first.
"""

import re
from collections.abc import Mapping
from typing import Any

from deployment.template_files import parameter_text


def violations(
    parameters: Mapping[str, Mapping[str, Any]],
    rules: Mapping[str, Mapping[str, Any]],
    values: Mapping[str, str],
) -> list[str]:
    """Return a sentence for each value or combination that CloudFormation would refuse.

    Args:
        parameters: the parameters that the template declares.
        rules: the rules of the template.
        values: the value of each parameter, as text.
    """
    sentences = [
        f"{name} is “{value}”, but it {_expectation(parameters[name])}"
        for name, value in values.items()
        if not all(_is_allowed(item, parameters[name]) for item in _items(value, parameters[name]))
    ]
    return sentences or [
        assertion["AssertDescription"]
        for rule in rules.values()
        if "RuleCondition" not in rule or _holds(rule["RuleCondition"], values)
        for assertion in rule["Assertions"]
        if not _holds(assertion["Assert"], values)
    ]


def _items(value: str, parameter: Mapping[str, Any]) -> list[str]:
    if parameter["Type"] == "CommaDelimitedList":
        return [item.strip() for item in value.split(",")]
    return [value]


def _is_allowed(value: str, parameter: Mapping[str, Any]) -> bool:
    if "AllowedValues" in parameter:
        return value in map(parameter_text, parameter["AllowedValues"])
    if parameter["Type"] == "Number":
        return _is_between(value, parameter)
    return len(value) <= parameter.get("MaxLength", 4096) and bool(
        re.fullmatch(parameter.get("AllowedPattern", "(?s:.*)"), value)
    )


def _is_between(value: str, parameter: Mapping[str, Any]) -> bool:
    try:
        number = float(value)
    except ValueError:
        return False
    lowest, highest = parameter.get("MinValue", "-inf"), parameter.get("MaxValue", "inf")
    return float(lowest) <= number <= float(highest)


def _expectation(parameter: Mapping[str, Any]) -> str:
    if "AllowedValues" in parameter:
        choices = ", ".join(map(parameter_text, parameter["AllowedValues"]))
        return f"must be one of: {choices}."
    if "ConstraintDescription" in parameter:
        return str(parameter["ConstraintDescription"])
    if parameter["Type"] == "Number":
        lowest, highest = parameter.get("MinValue", "…"), parameter.get("MaxValue", "…")
        return f"must be a number from {lowest} to {highest}."
    return f"must have at most {parameter.get('MaxLength', 4096)} characters."


def _holds(condition: Any, values: Mapping[str, str]) -> bool:
    """Evaluate a condition of the rules, of the functions that the templates use."""
    match condition:
        case {"Fn::Equals": [left, right]}:
            return _text(left, values) == _text(right, values)
        case {"Fn::Not": [inner]}:
            return not _holds(inner, values)
        case {"Fn::And": inner}:
            return all(_holds(item, values) for item in inner)
        case {"Fn::Or": inner}:
            return any(_holds(item, values) for item in inner)
        case {"Fn::Contains": [choices, value]}:
            return _text(value, values) in [_text(choice, values) for choice in choices]
    raise ValueError(f"The rule {condition} uses a function that is not implemented.")


def _text(value: Any, values: Mapping[str, str]) -> str:
    match value:
        case {"Ref": name}:
            return values[name]
    return parameter_text(value)
