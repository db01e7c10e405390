"""A browser test of the stylesheet."""

import re
from pathlib import Path

import pytest

import web_app

COMPONENTS = sorted((Path(web_app.__file__).parent / "static" / "css").glob("*.css"))
# Declarations for other browsers than Chromium.
FOR_OTHER_BROWSERS = re.compile(r"::-moz-[\w-]+ \{[^}]*\}")


def declarations(path):
    """Return the declarations of a stylesheet as pairs of property and value."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    text = FOR_OTHER_BROWSERS.sub("{}", text)
    blocks = re.findall(r"\{([^{}]*)\}", text)
    pairs = [line.partition(":") for block in blocks for line in block.split(";") if line.strip()]
    return [(name.strip(), " ".join(value.split())) for name, _, value in pairs]


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.name)
def test_the_browser_supports_every_declaration(page, path):
    pairs = declarations(path)

    unsupported = page.evaluate(
        "pairs => pairs.filter(([name, value]) =>"
        " !CSS.supports(name, value.replace(' !important', '')))",
        pairs,
    )

    assert pairs
    assert unsupported == [], f"Correct these declarations in {path}"
