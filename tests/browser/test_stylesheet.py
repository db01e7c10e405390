"""Browser tests of the stylesheet."""

import re
from pathlib import Path

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


UNSUPPORTED = """files => Object.fromEntries(
    Object.entries(files)
        .map(([name, pairs]) => [name, pairs.filter(([property, value]) =>
            !CSS.supports(property, value.replace(" !important", "")))])
        .filter(([, pairs]) => pairs.length > 0))"""


def test_the_browser_supports_every_declaration(page):
    declared = {path.name: declarations(path) for path in COMPONENTS}

    unsupported = page.evaluate(UNSUPPORTED, declared)

    assert all(declared.values())
    assert unsupported == {}, "Correct these declarations."


def test_colours_change_at_once_with_the_theme_if_reduced_motion_is_preferred(page):
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto("/")
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")

    assert page.evaluate("document.getAnimations().length") == 0
