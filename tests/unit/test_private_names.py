"""The product uses only the public API of its dependencies.

A private name of a library can change in any release, and its documentation does not say so.
"""

import ast
import importlib
import inspect
import pkgutil
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("database", "imaging", "web_app", "lambda_functions", "deployment", "local_cloud")

# These begin with an underscore and are documented:
# https://docs.python.org/3/library/os.html#os._exit
# https://docs.python.org/3/library/collections.html#collections.somenamedtuple._replace
# https://marshmallow.readthedocs.io/en/stable/custom_fields.html
DOCUMENTED = {"os._exit", "_replace", "super()._deserialize"}
DOCUMENTED_HOOKS = {"_deserialize"}


def modules():
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [*files, ROOT / "load_tester.py"]


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_attributes(tree):
    """Yield the private attributes of anything but `self`, `cls` and the module's own classes."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = ast.unparse(node.value)
            if owner not in {"self", "cls", *own}:
                yield f"{owner}.{node.attr}"


def test_no_module_uses_a_private_attribute_of_another_object():
    used = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules()
        for name in private_attributes(ast.parse(path.read_text()))
        if name not in DOCUMENTED and name.rpartition(".")[2] not in DOCUMENTED
    ]

    assert used == [], "use the public API instead"


def test_no_module_imports_a_private_name():
    imported = [
        f"{path.relative_to(ROOT)}: {node.module}.{alias.name}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module.partition(".")[0] != "_typeshed"  # Types that exist for checkers only.
        and any(is_private(part) for part in (*node.module.split("."), alias.name))
    ]

    assert imported == []


def product_classes():
    """Yield the product's classes that inherit from a class of a library."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            # These run something when they are imported.
            if module.name.endswith((".__main__", ".wsgi", ".env", "gunicorn.conf", ".launcher")):
                continue
            if ".versions" in module.name:
                continue
            importlib.import_module(module.name)
            for _, value in inspect.getmembers(sys.modules[module.name], inspect.isclass):
                if value.__module__ == module.name:
                    yield value


def private_names_of(definition):
    """Return the private names that a class defines, and those that it uses on itself."""
    defined = {node.name for node in definition.body if isinstance(node, ast.FunctionDef)}
    used = {
        node.attr
        for node in ast.walk(definition)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "super()")
    }
    return {name for name in defined | used if is_private(name)}


@pytest.mark.slow
def test_no_class_overrides_or_calls_a_private_method_of_a_library():
    wrong = []
    for cls in product_classes():
        foreign = [
            base
            for base in cls.__mro__[1:]
            if base.__module__.partition(".")[0] not in {*PACKAGES, *sys.stdlib_module_names}
        ]
        theirs = {name for base in foreign for name in vars(base) if is_private(name)}
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
        names = private_names_of(tree.body[0]) & theirs
        if names - DOCUMENTED_HOOKS:
            wrong.append(f"{cls.__module__}.{cls.__name__}: {sorted(names)}")

    assert not wrong, "use the public API of the library instead"
