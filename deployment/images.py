"""Build the three container images, push them to ECR and return their digests.

The tag of an image is the hash of the files it is built from. Tags in these repositories are
immutable, so an existing tag is the same image, and nothing is built.
"""

import base64
import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployment.console import Console
from deployment.errors import DeploymentError

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

PROJECT = Path(__file__).parents[1]

# The platform of a builder, by the value of the parameter Architecture. The machine that builds
# may have another architecture.
_PLATFORMS = {"x86_64": "linux/amd64", "arm64": "linux/arm64"}
X86 = "x86_64"
_TAIL_LINES = 20

# Files that every image is built with.
SHARED_SOURCES = (".dockerignore", "deployment/image_layer.py")


@dataclass(frozen=True)
class Image:
    """One image and its sources."""

    name: str
    dockerfile: str
    folders: tuple[str, ...]  # The folders that the Dockerfile copies from.

    @property
    def repository_output(self) -> str:
        """The output of the repositories' stack, such as `WebRepositoryUri`."""
        return f"{self.name.title()}RepositoryUri"

    @property
    def parameter(self) -> str:
        """The parameter of the stack that runs the image, such as `WebImageUri`."""
        return f"{self.name.title()}ImageUri"


_FUNCTION_FOLDERS = ("lambda_functions", "database", "imaging")
IMAGES = (
    Image("web", "web_app/Dockerfile", ("web_app", "database", "imaging")),
    Image("annotation", "lambda_functions/annotation/Dockerfile", _FUNCTION_FOLDERS),
    Image("thumbnail", "lambda_functions/thumbnail/Dockerfile", _FUNCTION_FOLDERS),
)


def content_tag(image: Image, project: Path = PROJECT, architecture: str = X86) -> str:
    """Return the tag of an image: the hash of every file it is built from, and its architecture.

    Raises:
        DeploymentError: the Dockerfile is missing.
    """
    if not (project / image.dockerfile).is_file():
        raise DeploymentError(f"{image.dockerfile} is missing. Clone the project again.")
    digest = hashlib.sha256(image.dockerfile.encode())
    for path in _sources(image, project):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(project).as_posix()}\0{content}\n".encode())
    tag = digest.hexdigest()[:20]
    return tag if architecture == X86 else f"{tag}-{architecture}"


def _sources(image: Image, project: Path) -> Iterator[Path]:
    for name in SHARED_SOURCES:
        if (project / name).is_file():
            yield project / name
    for folder in image.folders:
        for path in sorted((project / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


class Builder:
    """Builds and pushes images with docker, podman or buildah, the first of them that works."""

    def __init__(self, console: Console, project: Path = PROJECT, architecture: str = X86) -> None:
        self._console = console
        self._project = project
        self._platform = _PLATFORMS[architecture]
        self._tool: str | None = None

    def build_and_push(self, image: Image, reference: str, credentials: tuple[str, str]) -> None:
        """Build an image and push it as `<repository>:<tag>`.

        `credentials` are the user name and password of the registry.

        Raises:
            DeploymentError: no tool works, or the tool failed; the message has its last output.
        """
        tool = self._tool = self._tool or _working_tool()
        user, password = credentials
        registry = reference.partition("/")[0]
        login = [tool, "login", "--username", user, "--password-stdin", registry]
        self._run(login, "sign in to the registry", password)

        self._console.print_step(image.name, f"building with {tool}")
        names = ["--platform", self._platform, "--file", image.dockerfile, "--tag", reference]
        # Lambda accepts only an image with one manifest for one platform, without attestations.
        attestations = ["--provenance=false", "--sbom=false"]
        manifest = attestations if tool == "docker" else ["--format", "docker"]
        self._run([tool, "build", *names, *manifest, "."], f"build the {image.name} image")

        self._console.print_step(image.name, "pushing")
        destination = [f"docker://{reference}"] if tool == "buildah" else []
        self._run([tool, "push", reference, *destination], f"push the {image.name} image")

    def _run(self, command: list[str], purpose: str, stdin: str = "") -> None:
        done = subprocess.run(
            command,
            cwd=self._project,
            input=stdin,
            text=True,
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode != 0:
            tail = "\n".join(done.stdout.splitlines()[-_TAIL_LINES:])
            raise DeploymentError(
                f"{command[0]} could not {purpose}. Its last output:\n{tail}\n"
                "Fix the cause and run the same command again. Completed steps are not repeated."
            )


def _problem(command: list[str]) -> str | None:
    """Run a command. Return None if it succeeded, or the last line that it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    return "".join((done.stderr or done.stdout).strip().splitlines()[-1:]) or "cannot run"


def _working_tool() -> str:
    """Return the first tool that is installed and runs.

    Raises:
        DeploymentError: no tool works.
    """
    problems = []
    for tool in ("docker", "podman", "buildah"):
        if shutil.which(tool) is None:
            problems.append(f"{tool}: not installed")
            continue
        problem = _problem([tool, "version"])
        if problem is None and tool == "docker" and _problem(["docker", "buildx", "version"]):
            # Without it, docker builds with an older builder that lacks the options for Lambda.
            problem = "its plugin buildx is missing"
        if problem is None:
            return tool
        problems.append(f"{tool}: {problem}")
    raise DeploymentError(
        "No tool on this machine can build images. Install docker, podman or buildah, or start its "
        f"service ({'; '.join(problems)})."
    )


BuildAndPush = Callable[[Image, str, tuple[str, str]], None]


class Registry:
    """The images in the ECR repositories; missing images are built with `build_and_push`."""

    def __init__(
        self,
        client: "ECRClient",
        build_and_push: BuildAndPush,
        console: Console,
        project: Path = PROJECT,
        architecture: str = X86,
    ) -> None:
        self._client = client
        self._build_and_push = build_and_push
        self._console = console
        self._project = project
        self._architecture = architecture

    def publish(self, image: Image, repository_uri: str) -> str:
        """Build and push an image if it is missing. Return `<repository>@sha256:…`.

        Raises:
            DeploymentError: the image could not be built or pushed.
        """
        tag = self.tag(image)
        digest = self.find_digest(repository_uri, tag)
        if digest is not None:
            self._console.print_step(image.name, f"already pushed ({tag})", "dim")
        else:
            self._build_and_push(image, f"{repository_uri}:{tag}", self._credentials())
            digest = self.find_digest(repository_uri, tag)
            if digest is None:
                raise DeploymentError(
                    f"The {image.name} image was pushed, but {repository_uri} does not have it. "
                    "Run the same command again."
                )
            self._console.print_step(image.name, f"pushed ({tag}, {digest[:19]}…)", "success")
        return f"{repository_uri}@{digest}"

    def find(self, image: Image, repository_uri: str) -> str | None:
        """Return `<repository>@sha256:…` for the current sources, or None if it was not pushed."""
        digest = self.find_digest(repository_uri, self.tag(image))
        return f"{repository_uri}@{digest}" if digest else None

    def tag(self, image: Image) -> str:
        """Return the tag of an image for the current sources."""
        return content_tag(image, self._project, self._architecture)

    def find_digest(self, repository_uri: str, tag: str) -> str | None:
        """Return the digest of a tag, or None if the tag does not exist.

        Raises:
            DeploymentError: Lambda would refuse the image, half an hour later.
        """
        try:
            answer = self._client.describe_images(
                repositoryName=repository_uri.partition("/")[2], imageIds=[{"imageTag": tag}]
            )
        except self._client.exceptions.ImageNotFoundException:
            return None
        [found] = answer["imageDetails"]
        media_type = found.get("imageManifestMediaType", "")
        if "index" in media_type or "list" in media_type:
            repository = repository_uri.partition("/")[2]
            raise DeploymentError(
                f"{repository}:{tag} is a list of images ({media_type}), which Lambda does not "
                "accept. Delete it: aws ecr batch-delete-image --repository-name "
                f"{repository} --image-ids imageTag={tag}. Then build it with podman or buildah, "
                "or switch off the containerd image store of docker, and run `up` again."
            )
        return found["imageDigest"]

    def _credentials(self) -> tuple[str, str]:
        data = self._client.get_authorization_token()["authorizationData"][0]
        token = base64.b64decode(data["authorizationToken"]).decode()
        user, _, password = token.partition(":")
        return user, password
