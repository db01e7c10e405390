"""Check the content of each image by its Dockerfile. tests/images builds the images."""

import json
import re
from pathlib import Path

import pytest

from deployment.image_layer import AWS_SERVICES, finish
from local_cloud.template import Template
from tests.unit.test_architecture import ALLOWED_PACKAGES

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
    """Return the source and destination of each COPY from the project."""
    return re.findall(r"^COPY (?!--from)(.+) (\S+)$", dockerfile.read_text(), re.MULTILINE)


def test_an_image_contains_only_code_that_its_package_may_import(dockerfile):
    part = dockerfile.relative_to(ROOT).parts[0]
    code = [source for source, to in copied(dockerfile) if to.startswith("/build/code/")]

    assert {source.split("/")[0] for source in code} <= ALLOWED_PACKAGES[part]
    # Each folder keeps its name, so that imports work.
    for source, to in copied(dockerfile):
        if source in code:
            folder = source if source.endswith("/") else str(Path(source).parent) + "/"
            assert to == f"/build/code/{folder}"


def test_every_copied_path_exists(dockerfile):
    for sources, _ in copied(dockerfile):
        for source in sources.split():
            assert list(ROOT.glob(source.rstrip("/"))), source


def test_an_image_verifies_the_database_with_the_roots_of_rds(dockerfile):
    text = dockerfile.read_text()
    folder = re.findall(r"^WORKDIR (\S+)$", text, re.MULTILINE)[-1]
    copied_folders = {source for source, _ in copied(dockerfile)}

    assert f"ENV DB_CA_FILE={folder}/database/rds_roots.pem\n" in text
    assert copied_folders & {"database/", "database/rds_roots.pem"}


def test_the_base_image_has_an_exact_version(dockerfile):
    (base,) = re.findall(r"^ARG BASE=(\S+)$", dockerfile.read_text(), re.MULTILINE)
    stages = re.findall(r"^FROM (\S+)", dockerfile.read_text(), re.MULTILINE)

    assert re.search(r":3\.13\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?$", base)
    assert set(stages) == {"${BASE}"}


def test_both_function_images_have_the_same_base():
    bases = {
        re.search(r"^ARG BASE=(\S+)$", DOCKERFILES[name].read_text(), re.MULTILINE)[1]
        for name in ("annotation", "thumbnail")
    }

    assert len(bases) == 1


@pytest.mark.parametrize("name", ["annotation", "thumbnail"])
def test_the_default_command_of_an_image_is_the_handler_of_its_function(name):
    (command,) = re.findall(r"^CMD (.+)$", DOCKERFILES[name].read_text(), re.MULTILINE)
    template = Template.read({"ImageBucketName": "originals", "ThumbnailBucketName": "thumbnails"})

    assert json.loads(command) == [template.functions[f"{name.title()}Function"].handler]


def test_the_images_keep_exactly_the_aws_services_that_the_code_uses():
    made = set()
    for folder in ("web_app", "lambda_functions", "database"):
        for path in (ROOT / folder).rglob("*.py"):
            made |= set(re.findall(r'\.client\(\s*"([a-z0-9-]+)"', path.read_text()))

    assert made == AWS_SERVICES


@pytest.fixture
def layer(tmp_path):
    """Create a folder like those that pip creates."""
    folder = tmp_path / "packages"
    for name in ("bin/tool", "botocore/data/s3/model", "botocore/data/ec2/model"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("x")
    (folder / "botocore" / "data" / "endpoints.json").write_text("{}")
    (folder / "module.py").write_text("def where():\n    return where.__code__.co_filename\n")
    (folder / "module.py").chmod(0o600)
    return folder


def test_a_layer_contains_no_scripts_and_no_unused_services(layer):
    finish(layer, "/app")

    left = {str(path.relative_to(layer)) for path in layer.rglob("*") if path.is_file()}
    assert {path for path in left if "pycache" not in path} == {
        "botocore/data/endpoints.json",
        "botocore/data/s3/model",
        "module.py",
    }


def test_a_layer_does_not_depend_on_the_time_or_folder_of_the_build(layer):
    finish(layer, "/app")

    (bytecode,) = layer.rglob("*.pyc")
    assert str(layer).encode() not in bytecode.read_bytes()
    assert b"/app/module.py" in bytecode.read_bytes()
    assert {path.stat().st_mtime for path in [layer, *layer.rglob("*")]} == {315532800}


def test_every_user_can_read_a_layer_and_only_its_owner_can_write(layer):
    finish(layer, "/app")

    modes = {path.stat().st_mode & 0o777 for path in layer.rglob("*") if path.is_file()}
    assert modes == {0o644}
    assert layer.stat().st_mode & 0o777 == 0o755
