"""Rules for the imports of every module."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]

# The packages of this project that each package may import, and the libraries that it may not.
ALLOWED_PACKAGES = {
    "database": {"database"},
    "imaging": {"imaging"},
    "web_app": {"web_app", "database", "imaging"},
    "lambda_functions": {"lambda_functions", "database", "imaging"},
    "deployment": {"deployment", "database"},
    "local_cloud": {"local_cloud", "deployment"},
    "load_tester": set(),
}
FORBIDDEN = {
    "database": {"flask", "PIL", "google", "aws_lambda_powertools"},
    "imaging": {"flask", "boto3", "botocore", "sqlalchemy", "google", "aws_lambda_powertools"},
    "web_app": {"google", "aws_lambda_powertools", "awslambdaric", "moto"},
    "lambda_functions": {"flask", "moto"},
    "deployment": set(),
    "local_cloud": set(),
    "load_tester": {"flask", "sqlalchemy"},
}
PACKAGES = set(ALLOWED_PACKAGES)


def modules() -> list[Path]:
    found: list[Path] = []
    for package in sorted(PACKAGES):
        single = ROOT / f"{package}.py"
        found += [single] if single.exists() else sorted((ROOT / package).rglob("*.py"))
    return found


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: replace the relative import by an absolute one"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_packages(path):
    return (module.split(".")[0] for module in imported_modules(path))


def test_a_package_imports_only_allowed_packages():
    for path in modules():
        package = path.relative_to(ROOT).parts[0].removesuffix(".py")
        imported = set(imported_packages(path))

        assert imported & PACKAGES <= ALLOWED_PACKAGES[package], path
        assert not imported & FORBIDDEN[package], path


def test_only_settings_modules_read_the_environment():
    for path in modules():
        # The interface of Lambda passes its address and the limits of a function in variables.
        if path.name in ("settings.py", "load_tester.py", "runtime_client.py"):
            continue

        source = path.read_text()

        assert "os.environ[" not in source.replace("del os.environ[", ""), path
        assert "os.environ.get" not in source, path
        assert "getenv" not in source, path


def test_only_the_secret_store_of_the_database_package_calls_aws():
    callers = {
        path.name
        for path in (ROOT / "database").rglob("*.py")
        if set(imported_packages(path)) & {"boto3", "botocore"}
    }

    assert callers == {"secret_store.py"}


# The folders of the web application, and the folders that each may import. `app.py` may import all.
ALLOWED_FOLDERS = {
    "routes": {"routes", "middleware", "services", "adapters"},
    "middleware": {"middleware", "adapters"},
    "services": {"services", "adapters"},
    "adapters": {"adapters"},
}


def web_app_modules():
    return [
        path
        for folder in ALLOWED_FOLDERS
        for path in sorted((ROOT / "web_app" / folder).glob("*.py"))
    ]


def test_folders_of_the_web_application_import_only_allowed_folders():
    for path in web_app_modules():
        folders = {
            module.split(".")[1]
            for module in imported_modules(path)
            if module.startswith("web_app.") and module.split(".")[1] in ALLOWED_FOLDERS
        }

        assert folders <= ALLOWED_FOLDERS[path.parent.name], path


def test_services_and_adapters_do_not_import_flask():
    for path in web_app_modules():
        if path.parent.name in ("services", "adapters"):
            modules = set(imported_modules(path))

            assert not {module for module in modules if module.startswith("flask")}, path
            assert "web_app.dependencies" not in modules, path


def test_pure_modules_of_the_functions_import_neither_aws_nor_the_database():
    for name in ("thumbnail/derivatives.py", "annotation/model_input.py"):
        imported = set(imported_packages(ROOT / "lambda_functions" / name))
        assert not imported & {"boto3", "botocore", "database", "sqlalchemy"}
