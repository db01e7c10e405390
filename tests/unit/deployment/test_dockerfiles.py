"""What each image is made of, read from its Dockerfile; tests/images builds them."""

import json
import re
from pathlib import Path

import pytest

from deployment.image_layer import AWS_SERVICES, finish
from local_cloud.template import Template
from tests.unit.test_architecture import OURS

ROOT = Path(__file__).parents[3]
DOCKERFILES = {
    "web_app": ROOT / "web_app" / "Dockerfile",
    "annotation": ROOT / "lambda_functions" / "annotation" / "Dockerfile",
    "thumbnail": ROOT / "lambda_functions" / "thumbnail" / "Dockerfile",
}


@pytest.fixture(params=DOCKERFILES)
def dockerfile(request):
    return DOCKERFILES[request.param]


def copied(dockerfile):
    """Source and destination of what is copied from the project."""
    return re.findall(r"^COPY (?!--from)(.+) (\S+)$", dockerfile.read_text(), re.MULTILINE)


def test_an_image_gets_only_code_that_its_part_may_import(dockerfile):
    part = dockerfile.relative_to(ROOT).parts[0]
    code = [source for source, to in copied(dockerfile) if to.startswith("/build/code/")]

    assert {source.split("/")[0] for source in code} <= OURS[part]
    # Each lands under its own name, so that it is imported by it.
    for source, to in copied(dockerfile):
        if source in code:
            folder = source if source.endswith("/") else str(Path(source).parent) + "/"
            assert to == f"/build/code/{folder}"


def test_what_an_image_copies_is_there(dockerfile):
    for sources, _ in copied(dockerfile):
        for source in sources.split():
            assert list(ROOT.glob(source.rstrip("/"))), source


def test_an_image_stands_on_an_exact_version(dockerfile):
    (base,) = re.findall(r"^ARG BASE=(\S+)$", dockerfile.read_text(), re.MULTILINE)
    stages = re.findall(r"^FROM (\S+)", dockerfile.read_text(), re.MULTILINE)

    assert re.search(r":3\.13\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?$", base)
    assert set(stages) == {"${BASE}"}


def test_the_functions_images_stand_on_the_same_base():
    bases = {
        re.search(r"^ARG BASE=(\S+)$", DOCKERFILES[name].read_text(), re.MULTILINE)[1]
        for name in ("annotation", "thumbnail")
    }

    assert len(bases) == 1


@pytest.mark.parametrize("name", ["annotation", "thumbnail"])
def test_an_images_own_command_is_its_functions_handler(name):
    (command,) = re.findall(r"^CMD (.+)$", DOCKERFILES[name].read_text(), re.MULTILINE)
    template = Template.read({"ImageBucketName": "originals", "ThumbnailBucketName": "thumbnails"})

    assert json.loads(command) == [template.functions[f"{name.title()}Function"].handler]


def test_the_images_know_the_aws_services_that_the_code_calls():
    made = set()
    for folder in ("web_app", "lambda_functions", "database"):
        for path in (ROOT / folder).rglob("*.py"):
            made |= set(re.findall(r'\.client\(\s*"([a-z0-9-]+)"', path.read_text()))

    assert made == AWS_SERVICES


@pytest.fixture
def layer(tmp_path):
    """A folder as pip leaves it."""
    folder = tmp_path / "packages"
    for name in ("bin/tool", "botocore/data/s3/model", "botocore/data/ec2/model"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("x")
    (folder / "botocore" / "data" / "endpoints.json").write_text("{}")
    (folder / "module.py").write_text("def where():\n    return where.__code__.co_filename\n")
    (folder / "module.py").chmod(0o600)
    return folder


def test_a_layer_holds_no_scripts_and_no_services_that_nobody_calls(layer):
    finish(layer, "/app")

    left = {str(path.relative_to(layer)) for path in layer.rglob("*") if path.is_file()}
    assert {path for path in left if "pycache" not in path} == {
        "botocore/data/endpoints.json",
        "botocore/data/s3/model",
        "module.py",
    }


def test_a_layer_says_nothing_of_when_and_where_it_was_made(layer):
    finish(layer, "/app")

    (bytecode,) = layer.rglob("*.pyc")
    assert str(layer).encode() not in bytecode.read_bytes()
    assert b"/app/module.py" in bytecode.read_bytes()
    assert {path.stat().st_mtime for path in [layer, *layer.rglob("*")]} == {315532800}


def test_everybody_may_read_a_layer_and_only_its_owner_could_change_it(layer):
    finish(layer, "/app")

    modes = {path.stat().st_mode & 0o777 for path in layer.rglob("*") if path.is_file()}
    assert modes == {0o644}
    assert layer.stat().st_mode & 0o777 == 0o755
