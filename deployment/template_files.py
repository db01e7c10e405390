"""Read CloudFormation templates."""

from pathlib import Path
from typing import Any

import yaml

try:  # The parser in C takes a tenth of the time. PyYAML without libyaml does not have it.
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]

FOLDER = Path(__file__).parent


def load_template(path: Path) -> dict[str, Any]:
    """Read a template and replace short tags such as `!Ref` with their long forms."""
    template: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    return template


def parameter_text(value: Any) -> str:
    """Convert a value to the text of a parameter or variable: `true`, or `a,b` for a list."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(parameter_text(item) for item in value)
    return str(value)


class _Loader(SafeLoader):
    """A YAML loader that accepts the short tags of CloudFormation."""


def _construct_tag(loader: SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _construct_tag)
