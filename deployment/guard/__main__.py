"""Check the templates with the rules of `stacks.guard`.

Guard is a policy language of AWS. `make lint` runs this beside cfn-lint, which checks types, and
checkov, which knows general rules of security. These rules hold what matters to these stacks.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deployment.template_files import FOLDER

RULES = Path(__file__).with_name("stacks.guard")


def violations(template: str, rules: str) -> list[str]:
    """Return one line for each place of a template that violates a rule.

    Raises:
        ValueError: the rules or the template cannot be read.
    """
    import guardpycfn  # Has no wheel for some machines; see main.

    answer = guardpycfn.validate_with_guard(template, rules, verbose=True)
    if not answer["success"]:
        raise ValueError(answer["error"])
    lines = []
    for rule in answer["result"]["children"]:
        check = rule["container"]["RuleCheck"]
        if check["status"] == "FAIL":
            places = sorted(set(_places(rule))) or ["the whole template"]
            lines += [f"{check['name']}: {place}" for place in places]
    return lines


def _places(node: Mapping[str, Any]) -> Iterator[str]:
    """Yield the path of each failed clause that has a message, with the message.

    The clauses without a message select resources. They fail for every other resource.
    """
    clause = node["container"].get("ClauseValueCheck") if node["container"] else None
    if isinstance(clause, dict):
        for check in clause.values():
            check = check.get("value", check) if isinstance(check, dict) else {}
            if message := check.get("custom_message"):
                yield f"{_path(check)}: {' '.join(message.split())}"
    for child in node["children"]:
        yield from _places(child)


def _path(check: Mapping[str, Any]) -> str:
    source = check.get("from", {})
    found = source.get("Resolved") or source.get("UnResolved", {}).get("traversed_to") or {}
    return str(found.get("path", ""))


def main() -> int:
    """Print the violations of all templates. Return 1 if there are any."""
    try:
        import guardpycfn  # noqa: F401
    except ImportError:
        print("guard: skipped, because guardpycfn has no wheel for this machine.")
        return 0
    rules = RULES.read_text(encoding="utf-8")
    found = False
    for path in sorted(FOLDER.glob("0*.yaml")):
        for line in violations(path.read_text(encoding="utf-8"), rules):
            found = True
            print(f"{path.name}: {line}")
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
