"""Compare docs/assumptions with the emulators and with the tests that the tables name."""

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from local_cloud import gemini_rules
from tests.verify.aws import NOT_SEEN_HERE, Verification, assumption

ROOT = Path(__file__).parents[2]
DOCUMENT = "docs/assumptions/gemini.md"
AWS_DOCUMENT = "docs/assumptions/aws.md"
RULES = "local_cloud/gemini_rules.py"


def rows(document: str = DOCUMENT) -> list[list[str]]:
    """Return the cells of every assumption."""
    lines = re.findall(r"^\| (.*) \|$", (ROOT / document).read_text(), re.MULTILINE)
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    return [row for row in cells if row[0] not in ("assumption", "---")]


# Where the parts of the fake account and of the models are.
AWS_PARTS = (
    "tests/support/fake_aws.py",
    "tests/support/fake_services.py",
    "tests/support/simulated_lambda.py",
    "database/connections.py",
    "database/migrations/users.py",
    "deployment/rds_roots.py",
)


def test_every_rule_of_the_emulator_has_a_row_and_every_row_an_existing_rule():
    rules = {rule.__name__ for rule in gemini_rules.RULES}
    defined = {
        node.name
        for node in ast.parse((ROOT / RULES).read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith(("require_", "refuse_"))
    }
    named = {name for row in rows() for name in re.findall(r"`(\w+)`", row[2])}

    assert sorted(defined - rules) == [], f"add them to RULES in {RULES}"
    assert sorted(rules - named) == [], f"add a row for them to {DOCUMENT}"
    assert sorted(named - rules) == [], f"{DOCUMENT} names rules that do not exist"


@pytest.mark.parametrize("row", rows(AWS_DOCUMENT), ids=lambda row: row[0][:60])
def test_every_assumption_about_aws_names_an_existing_part_of_the_fake_account(row):
    name = re.fullmatch(r"`(\w+)`", row[2])
    assert name
    text = "\n".join((ROOT / part).read_text() for part in AWS_PARTS)
    assert re.search(rf"(def {name[1]}\(|^(\w+, )?{name[1]} = )", text, re.MULTILINE)


@pytest.mark.parametrize("row", [*rows(), *rows(AWS_DOCUMENT)], ids=lambda row: row[0][:60])
def test_every_row_has_a_public_source_and_names_an_existing_test(row):
    assert len(row) == 4, "assumption | source | emulator rule | test"
    assert re.search(r"\(https://[^)]+\)", row[1]), "link its source"
    found = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[3])
    assert found, "name one test as `tests/….py::test_…`"
    assert f"def {found[2]}(" in (ROOT / found[1]).read_text(), "this test does not exist"


def test_verify_aws_sees_every_assumption_or_says_why_it_does_not():
    environment = SimpleNamespace()
    checked = {check.assumed for check in Verification(environment, None, None).checks()}
    excepted = {assumption(beginning) for beginning in NOT_SEEN_HERE}
    # The models of other parts of AWS have tables of their own below the first.
    number = (ROOT / AWS_DOCUMENT).read_text().split("\n## ")[0].count("\n| ") - 2
    assumptions = {row[0] for row in rows(AWS_DOCUMENT)[:number]}

    assert checked & excepted == set()
    assert sorted(assumptions - checked - excepted) == [], "add a check to tests/verify/aws.py"
    assert all(NOT_SEEN_HERE.values())
