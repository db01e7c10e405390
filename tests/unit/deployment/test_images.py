"""Build and push images with each tool, and report failures."""

import base64
import io
import json
import sys

import boto3
import pytest
from botocore.stub import Stubber

from deployment.console import Console
from deployment.errors import DeploymentError
from deployment.images import IMAGES, PROJECT, SHARED_SOURCES, Builder, Registry, content_tag

REPOSITORY = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/dev/web"
DIGEST = f"sha256:{'a' * 64}"
WEB = IMAGES[0]

# A fake build tool that records its arguments and fails in one chosen subcommand.
TOOL = """#!{python}
import json, sys
arguments = sys.argv[1:]
with open({calls!r}, "a") as calls:
    print(json.dumps([{name!r}, *arguments]), file=calls)
if arguments[0] == "login":
    print("got", len(sys.stdin.read()), "characters")
if arguments[0] == {fails!r}:
    sys.exit("no space left on device")
"""


@pytest.fixture
def project(tmp_path):
    for image in IMAGES:
        for folder in image.folders:
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / "code.py").write_text(folder)
        dockerfile = tmp_path / image.dockerfile
        dockerfile.parent.mkdir(exist_ok=True)
        dockerfile.write_text("FROM scratch\n")
    return tmp_path


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Set an empty PATH and return a function that adds a fake tool to it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name, fails=""):
        tool = folder / name
        calls = str(folder / "calls")
        tool.write_text(TOOL.format(python=sys.executable, calls=calls, name=name, fails=fails))
        tool.chmod(0o755)

    put.calls = lambda: [json.loads(line) for line in (folder / "calls").read_text().splitlines()]
    return put


@pytest.fixture
def builder(project):
    return Builder(Console(io.StringIO()), project)


@pytest.mark.parametrize(
    ("tool", "build", "push"),
    [
        ("docker", "--provenance=false", ["docker", "push", f"{REPOSITORY}:tag"]),
        ("podman", "docker", ["podman", "push", f"{REPOSITORY}:tag"]),
        (
            "buildah",
            "docker",
            ["buildah", "push", f"{REPOSITORY}:tag", f"docker://{REPOSITORY}:tag"],
        ),
    ],
)
def test_each_tool_builds_an_image_that_lambda_supports(path, builder, tool, build, push):
    path(tool)

    builder.build_and_push(WEB, f"{REPOSITORY}:tag", ("AWS", "secret"))

    login, built, pushed = path.calls()[-3:]
    assert login == [
        *(tool, "login", "--username", "AWS", "--password-stdin"),
        "111122223333.dkr.ecr.eu-west-1.amazonaws.com",
    ]
    assert built[:4] == [tool, "build", "--platform", "linux/amd64"]
    assert build in built
    assert built[-1] == "."
    assert pushed == push


def test_images_for_arm_have_their_own_tags(path, project):
    path("docker")
    builder = Builder(Console(io.StringIO()), project, "arm64")

    builder.build_and_push(WEB, f"{REPOSITORY}:tag", ("AWS", "secret"))

    assert path.calls()[-2][:4] == ["docker", "build", "--platform", "linux/arm64"]
    assert content_tag(WEB, project, "arm64") == f"{content_tag(WEB, project)}-arm64"


@pytest.mark.parametrize("fails", ["version", "buildx"])
def test_a_tool_that_cannot_run_or_lacks_its_plugin_is_skipped(path, builder, fails):
    path("docker", fails=fails)
    path("podman")

    builder.build_and_push(WEB, f"{REPOSITORY}:tag", ("AWS", "secret"))

    assert path.calls()[-1][0] == "podman"


def test_without_a_working_tool_the_error_gives_the_reason_for_each(path, builder):
    path("docker", fails="version")

    with pytest.raises(DeploymentError, match="No tool on this machine can build images") as error:
        builder.build_and_push(WEB, f"{REPOSITORY}:tag", ("AWS", "secret"))

    assert "docker: no space left on device; podman: not installed" in str(error.value)


def test_docker_without_its_plugin_is_not_used_and_the_error_says_why(path, builder):
    path("docker", fails="buildx")

    with pytest.raises(DeploymentError, match="docker: its plugin buildx is missing"):
        builder.build_and_push(WEB, f"{REPOSITORY}:tag", ("AWS", "secret"))


def test_the_error_of_a_failed_build_has_its_last_output(path, builder):
    path("docker", fails="build")

    with pytest.raises(DeploymentError, match="could not build the web image") as error:
        builder.build_and_push(WEB, f"{REPOSITORY}:tag", ("AWS", "secret"))

    assert "no space left on device" in str(error.value)
    assert "secret" not in str(error.value)


@pytest.fixture
def ecr():
    client = boto3.client(
        "ecr", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


def is_pushed(stubber):
    stubber.add_response("describe_images", {"imageDetails": [{"imageDigest": DIGEST}]})


def is_not_pushed(stubber):
    stubber.add_client_error("describe_images", "ImageNotFoundException", "no image", 400)


def test_a_pushed_image_is_not_built_again(ecr, project):
    client, stubber = ecr
    is_pushed(stubber)
    built = []
    registry = Registry(client, lambda *call: built.append(call), Console(io.StringIO()), project)

    assert registry.publish(WEB, REPOSITORY) == f"{REPOSITORY}@{DIGEST}"
    assert built == []


def test_a_missing_image_is_built_and_pushed_once(ecr, project):
    client, stubber = ecr
    token = base64.b64encode(b"AWS:secret").decode()
    is_not_pushed(stubber)
    data = {"authorizationData": [{"authorizationToken": token}]}
    stubber.add_response("get_authorization_token", data)
    is_pushed(stubber)
    built = []
    registry = Registry(client, lambda *call: built.append(call), Console(io.StringIO()), project)

    assert registry.publish(WEB, REPOSITORY) == f"{REPOSITORY}@{DIGEST}"
    assert built == [(WEB, f"{REPOSITORY}:{content_tag(WEB, project)}", ("AWS", "secret"))]


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ],
)
def test_a_list_of_images_is_refused_right_after_the_push(ecr, project, media_type):
    client, stubber = ecr
    details = {"imageDigest": DIGEST, "imageManifestMediaType": media_type}
    stubber.add_response("describe_images", {"imageDetails": [details]})
    registry = Registry(client, lambda *call: None, Console(io.StringIO()), project)

    with pytest.raises(DeploymentError, match="Lambda does not accept") as error:
        registry.publish(WEB, REPOSITORY)

    assert f"--repository-name dev/web --image-ids imageTag={content_tag(WEB, project)}" in str(
        error.value
    )


def test_a_tag_changes_only_with_the_sources_of_its_image(project):
    before = {image.name: content_tag(image, project) for image in IMAGES}
    (project / "web_app" / "code.py").write_text("changed")
    (project / "web_app" / "__pycache__").mkdir()
    (project / "web_app" / "__pycache__" / "code.pyc").write_bytes(b"compiled")

    after = {image.name: content_tag(image, project) for image in IMAGES}

    assert after["web"] != before["web"]
    assert after["annotation"] == before["annotation"]
    (project / "web_app" / "__pycache__" / "code.pyc").write_bytes(b"compiled again")
    assert content_tag(WEB, project) == after["web"]


def test_a_missing_dockerfile_is_named(project):
    (project / WEB.dockerfile).unlink()

    with pytest.raises(DeploymentError, match="web_app/Dockerfile is missing"):
        content_tag(WEB, project)


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_a_dockerfile_copies_only_files_that_the_tag_covers(image):
    copied = [
        source
        for line in (PROJECT / image.dockerfile).read_text().splitlines()
        if line.startswith("COPY ") and "--from=" not in line
        for source in line.split()[1:-1]
    ]

    assert copied
    for source in copied:
        assert source in SHARED_SOURCES or source.split("/")[0] in image.folders, source
