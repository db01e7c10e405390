"""Compare the documents with the code, the tests and the files they name."""

import ast
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DESIGN = ROOT / "Project_Design.md"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"
DECISIONS = ROOT / "docs" / "decisions"
DEPENDENCIES = DECISIONS / "0054-dependencies.md"
GLOSSARY = ROOT / "docs" / "glossary.md"
THREATS = ROOT / "docs" / "threats.md"

PRODUCT = (
    "web_app",
    "lambda_functions",
    "database",
    "imaging",
    "deployment",
    "local_cloud",
    "load_tester.py",
)
MAX_DESIGN_WORDS = 1000  # Without the map, which has a row for each module.
MAX_GLOSSARY_ENTRIES = 10


def section(document: Path, heading: str) -> str:
    """Return the text below a heading, up to the next heading of the same or a higher level."""
    level = heading.split(" ")[0]
    text = document.read_text().partition(f"\n{heading}\n")[2]
    assert text, f"{document.relative_to(ROOT)} has no heading “{heading}”"
    return re.split(rf"\n#{{1,{len(level)}}} ", text)[0]


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of every table row, without headings and rulers."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for i, row in enumerate(rows) if not _is_ruler(row) and not _is_head(rows, i)]


def _is_ruler(row: list[str]) -> bool:
    return all(re.fullmatch(r":?-+:?", cell) for cell in row)


def _is_head(rows: list[list[str]], i: int) -> bool:
    return i + 1 < len(rows) and _is_ruler(rows[i + 1])


def documents() -> list[Path]:
    """Return every Markdown file of the project."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


# ---- The map ------------------------------------------------------------------------------------


def product_modules() -> set[str]:
    """Return the path of every module, except migrations and packages with only a docstring."""
    paths = [ROOT / name for name in PRODUCT if name.endswith(".py")]
    paths += [path for name in PRODUCT for path in (ROOT / name).rglob("*.py")]
    return {
        str(path.relative_to(ROOT))
        for path in paths
        if path.parent.name != "versions" and (path.name != "__init__.py" or _has_code(path))
    }


def _has_code(path: Path) -> bool:
    statements = ast.parse(path.read_text()).body
    return any(not isinstance(statement, ast.Expr) for statement in statements)


def test_every_module_of_the_product_has_one_row_in_the_map():
    rows = [row[0].strip("`") for row in table_rows(section(DESIGN, "## The map"))]
    modules = product_modules()

    assert sorted(modules - set(rows)) == [], "add a row to “The map” in Project_Design.md"
    gone = [name for name in rows if not (ROOT / name).exists()]
    assert not gone, "remove these rows from “The map” in Project_Design.md"
    assert len(rows) == len(set(rows)), "a module has two rows in “The map”"


def test_every_row_of_the_map_says_what_the_module_holds():
    rows = table_rows(section(DESIGN, "## The map"))

    assert [name for name, holds in rows if not re.search(r"\w", holds)] == []


def test_the_design_is_short_enough_to_be_read_at_once():
    text = DESIGN.read_text()
    words = len(text.split()) - len(section(DESIGN, "## The map").split())

    assert words <= MAX_DESIGN_WORDS, "move a reason to docs/decisions"


# ---- Names in documents -------------------------------------------------------------------------


@cache
def defined_names(path: Path) -> set[str]:
    """Return `function`, `Class` and `Class.method` for what a module defines."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.FunctionDef(name=name):
                names.add(name)
            case ast.ClassDef(name=name, body=body):
                names.add(name)
                names |= {f"{name}.{each.name}" for each in body if hasattr(each, "name")}
                names |= {
                    f"{name}.{each.target.id}"
                    for each in body
                    if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
                }
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


def named_in_documents(pattern: str) -> list[tuple[Path, Any]]:
    """Return each document with each text in it that has this pattern."""
    return [
        (document, found)
        for document in documents()
        for found in re.findall(pattern, document.read_text())
    ]


def test_every_function_a_document_names_exists():
    """A document names one as `path/module.py::function` or `path/module.py::Class.method`."""
    for document, (path, name) in named_in_documents(r"`([\w/.]+\.py)::([\w.]+)`"):
        assert (ROOT / path).exists(), f"{document.name} names {path}, which does not exist"
        names = defined_names(ROOT / path)
        assert name in names, f"{document.name} names {path}::{name}, which does not exist"


def test_every_path_a_document_names_exists():
    folders = "|".join([*PRODUCT[:-1], "tests", "docs", "benchmarks"])

    gone = [
        f"{document.relative_to(ROOT)}: {name}"
        for document, name in named_in_documents(rf"`((?:{folders})/[\w./-]+)[`:]")
        if not (ROOT / name).exists()
    ]

    assert gone == []


def test_every_link_between_documents_leads_to_a_file_and_a_heading():
    for document, target in named_in_documents(r"\]\((?!https?:|mailto:)([^)\s]+)\)"):
        name, _, anchor = target.partition("#")
        linked = (document.parent / name).resolve() if name else document
        assert linked.exists(), f"{document.relative_to(ROOT)} links to {target}"
        if anchor:
            assert anchor in anchors(linked), f"{document.relative_to(ROOT)} links to {target}"


@cache
def anchors(document: Path) -> set[str]:
    """Return the anchors that a Markdown viewer makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ---- Decisions and glossary ---------------------------------------------------------------------


def decision_records() -> list[Path]:
    return sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")


def test_the_index_of_decisions_lists_every_record_with_its_title():
    index = (DECISIONS / "README.md").read_text()
    listed = dict(re.findall(r"^- \[\d{4}\]\(([^)]+)\) (.+)$", index, re.MULTILINE))
    titles = {
        path.name: path.read_text().splitlines()[0].partition(". ")[2]
        for path in decision_records()
    }

    assert listed == titles, "docs/decisions/README.md and the records differ"


def test_the_numbers_of_decisions_are_not_used_twice():
    numbers = [path.name[:4] for path in decision_records()]

    assert len(numbers) == len(set(numbers))


def test_a_decision_has_a_date_and_the_three_sections():
    for record in decision_records():
        lines = record.read_text().splitlines()

        assert re.fullmatch(rf"# {record.name[:4]}\. .+", lines[0]), record
        assert re.fullmatch(r"Date: \d{4}-\d\d-\d\d", lines[2]), record
        headings = [line for line in lines if line.startswith("## ")]
        assert headings == ["## Context", "## Choice", "## Consequence"], record
        for heading in headings:
            assert section(record, heading).strip(), f"{record}: {heading} is empty"


def test_the_glossary_stays_short():
    entries = re.findall(r"^## ", GLOSSARY.read_text(), re.MULTILINE)

    assert 0 < len(entries) <= MAX_GLOSSARY_ENTRIES, "use a standard term instead"


# ---- Threats, dependencies, benchmarks ----------------------------------------------------------


def threats() -> dict[str, list[tuple[str, str]]]:
    """Return the tests of each threat, as (path, function)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for threat, defence, tests in table_rows(THREATS.read_text()):
        assert defence
        path, found[threat] = "", []
        for named, function in re.findall(r"`([\w./]*)::(\w+)`", tests):
            path = named or path
            found[threat].append((path, function))
    return found


def test_every_threat_has_a_defence_and_tests_that_exist():
    table = threats()

    assert len(table) >= 20
    assert [threat for threat, tests in table.items() if not tests] == []
    for path, function in {test for tests in table.values() for test in tests}:
        found = f"\ndef {function}(" in (ROOT / path).read_text()
        assert found, f"docs/threats.md names {path}::{function}, which does not exist"


def test_every_dependency_has_its_reason():
    direct = "\n".join(path.read_text() for path in (ROOT / "requirements").glob("*.in"))
    pinned = set(re.findall(r"^([A-Za-z][A-Za-z0-9_.-]*)(?:\[.*\])?==", direct, re.MULTILINE))
    explained = {
        name
        for row in table_rows(DEPENDENCIES.read_text())
        for name in re.findall(r"`([^`]+)`", row[0])
    }

    assert sorted(pinned - explained) == [], f"add a row to {DEPENDENCIES.relative_to(ROOT)}"


def test_every_top_level_package_is_in_the_design():
    design = DESIGN.read_text()
    packages = [f"{path.name}/" for path in ROOT.iterdir() if (path / "__init__.py").exists()]

    assert [name for name in packages if name not in design] == []


def test_the_benchmarks_page_shows_the_last_run():
    text = BENCHMARKS.read_text()
    rows = json.loads((ROOT / "benchmarks" / "results.json").read_text())

    shown = dict(re.findall(r"^\| `(\w+)` \|[^|]*\|[^|]*\| (\d+\.\d\d) \|", text, re.MULTILINE))
    assert shown == {row["name"]: f"{row['ratio']:.2f}" for row in rows if " " not in row["name"]}
    limits = section(BENCHMARKS, "## Where a goal is missed, and what limits it")
    missed = {row["name"].split(" ")[0] for row in rows if not row["met"]}
    assert [name for name in sorted(missed) if f"`{name}`" not in limits] == []


def test_the_screenshots_program_starts():
    command = [sys.executable, "docs/screenshots.py", "--help"]

    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
