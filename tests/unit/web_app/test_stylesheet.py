"""The stylesheet: it is served as one file, and its class names agree with the pages."""

import re
from pathlib import Path

import pytest

import web_app

WEB_APP = Path(web_app.__file__).parent
STATIC = WEB_APP / "static"
COMPONENTS = sorted((STATIC / "css").glob("*.css"))


def page_sources():
    paths = [*(WEB_APP / "templates").glob("*.html"), *(STATIC / "modules").glob("*.js")]
    return "\n".join(path.read_text() for path in paths)


def styles():
    return "\n".join(path.read_text() for path in COMPONENTS)


def test_pages_load_one_stylesheet_that_holds_every_component(client):
    page = client.get("/").get_data(as_text=True)
    [address] = re.findall(r'<link rel="stylesheet" href="([^"]+)"', page)

    with client.get(address) as response:
        served = response.get_data(as_text=True)

    assert "@import" not in served
    assert [path.name for path in COMPONENTS if path.read_text() not in served] == []


def test_app_css_imports_each_component_once():
    imported = re.findall(r'^@import "css/(.+)";$', (STATIC / "app.css").read_text(), re.MULTILINE)

    assert sorted(imported) == [path.name for path in COMPONENTS]


def test_every_class_that_is_styled_is_on_an_element_of_a_page():
    sources = page_sources()
    styled = set(re.findall(r"\.([a-z][\w-]*)", re.sub(r"/\*.*?\*/", "", styles(), flags=re.S)))

    def is_used(name):
        block, separator, _ = name.rpartition("--")
        is_built = separator and re.search(rf"\b{block}--(\{{\{{|\$\{{)", sources)
        return is_built or re.search(rf"(?<![\w-]){name}(?![\w-])", sources)

    unused = sorted(name for name in styled if not is_used(name))
    assert unused == [], f"Delete these from web_app/static/css, or use them: {unused}"


@pytest.mark.parametrize("pattern", [r"var\((--[\w-]+)\)", r"^\s+(--[\w-]+):"])
def test_every_custom_property_is_defined_and_used(pattern):
    names = set(re.findall(pattern, styles(), re.MULTILINE))

    for name in names:
        assert re.search(rf"^\s+{name}:", styles(), re.MULTILINE), f"{name} is not defined"
        assert f"var({name})" in styles(), f"{name} is not used"
