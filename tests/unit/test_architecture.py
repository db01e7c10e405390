"""Who may know whom: the imports of every module, walked."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What each part may import of the project, and of what the world offers.
OURS = {
    "database": {"database"},
    "imaging": {"imaging"},
    "web_app": {"web_app", "database", "imaging"},
    "lambda_functions": {"lambda_functions", "database", "imaging"},
    "deployment": {"deployment"},
    "local_cloud": {"local_cloud", "deployment"},
    "load_tester": set(),
}
FORBIDDEN = {
    "database": {"flask", "boto3", "botocore", "PIL", "google", "aws_lambda_powertools"},
    "imaging": {"flask", "boto3", "botocore", "sqlalchemy", "google", "aws_lambda_powertools"},
    "web_app": {"google", "aws_lambda_powertools", "awslambdaric", "moto"},
    "lambda_functions": {"flask", "moto"},
    "deployment": set(),
    "local_cloud": set(),
    "load_tester": {"flask", "sqlalchemy"},
}
PARTS = set(OURS)


def modules() -> list[Path]:
    found: list[Path] = []
    for part in sorted(PARTS):
        single = ROOT / f"{part}.py"
        found += [single] if single.exists() else sorted((ROOT / part).rglob("*.py"))
    return found


def imported_packages(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it points"
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    imported = set(imported_packages(path))

    assert imported & PARTS <= OURS[part]
    assert not imported & FORBIDDEN[part]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_settings_read_the_environment(path):
    if path.name in ("settings.py", "load_tester.py"):
        return

    source = path.read_text()

    assert "os.environ[" not in source.replace("del os.environ[", "")
    assert "os.environ.get" not in source
    assert "getenv" not in source


def test_pages_and_use_cases_have_never_heard_of_one_another():
    imported = {
        alias
        for node in ast.walk(ast.parse((ROOT / "web_app" / "services" / "uploads.py").read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in [node.module]
    }

    assert not {module for module in imported if module.startswith("flask")}


def test_pure_parts_of_the_functions_know_neither_aws_nor_the_row():
    for name in ("thumbnail/thumbnail.py", "annotation/model_input.py"):
        imported = set(imported_packages(ROOT / "lambda_functions" / name))
        assert not imported & {"boto3", "botocore", "database", "sqlalchemy"}
