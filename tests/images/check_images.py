"""Tests that build the three container images and run them: `make images-check`.

The base image is a substitute with Debian's Python (see build.sh), because registries may not be
reachable. So these tests check the Dockerfiles and the layers of the application, not the real base
images.
"""

import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image as PillowImage

from local_cloud.runtime_api import Failure, Invocation, Ready, RuntimeAPI, Success
from tests.images import image as images
from tests.images.image import Image
from tests.integration.conftest import AWS, aws  # noqa: F401 # A fixture is used by its name.
from tests.support import factories, mysql_server
from tests.support.local_system import wait_until
from tests.support.programs import free_port
from tests.support.scripted_gemini import CAPTION, scripted_gemini

ROOT = Path(__file__).parents[2]
EVENT = ROOT / "tests" / "events" / "s3_object_created.json"
MEGABYTE = 1_000_000
BYTECODE = "cpython-313"  # The Python version of the images, not of this process.
START_SECONDS = 60
ANSWER_SECONDS = 60

PARTS = {
    "web_app": "web_app",
    "annotation": "lambda_functions/annotation",
    "thumbnail": "lambda_functions/thumbnail",
}
# The maximum size of the application's layers, unpacked.
MAX_BYTES = {
    "web_app": 250 * MEGABYTE,
    "annotation": 350 * MEGABYTE,
    "thumbnail": 200 * MEGABYTE,
}
# The code folders of the project in each image.
FOLDERS = {
    "web_app": {
        *("database", "imaging", "imaging/containers", "imaging/embedding"),
        *("web_app", "web_app/adapters", "web_app/middleware"),
        *("web_app/routes", "web_app/services"),
    },
    "annotation": {
        *("database", "imaging", "imaging/containers", "imaging/embedding"),
        *("lambda_functions", "lambda_functions/annotation"),
    },
    "thumbnail": {
        *("database", "database/migrations", "database/migrations/versions"),
        *("imaging", "imaging/containers"),
        *("lambda_functions", "lambda_functions/maintenance", "lambda_functions/thumbnail"),
    },
}
PROJECT_SUFFIXES = {
    *(".py", ".pyc", ".html", ".css", ".js"),
    *(".jpg", ".svg", ".png", ".ico", ".webmanifest"),  # The sample photos, and the icons.
    ".pem",  # The authorities of the database.
}
PROJECT_FOLDERS = (
    *("database", "imaging", "lambda_functions", "web_app"),
    *("deployment", "local_cloud", "tests"),
)


@pytest.fixture(scope="session")
def store() -> Iterator[Path]:
    """Build the three images and return the folder with them."""
    folder = Path(tempfile.mkdtemp(prefix="images-"))
    try:
        images.build(folder)
        yield folder
        images.remove_all(folder)
    except images.ToolsMissingError as error:
        if os.environ.get("REQUIRE_REAL_PARTS"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def unpacked(store: Path) -> dict[str, Image]:
    """Return the unpacked images by name."""
    return {name: images.mount(store, f"localhost/{name}") for name in PARTS}


@pytest.fixture(params=PARTS)
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of each image in turn."""
    return str(request.param)


@pytest.fixture
def image(unpacked: dict[str, Image], name: str) -> Image:
    """Return each image in turn."""
    return unpacked[name]


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_the_layers_of_the_application_are_small(image, name, capsys):
    size = sum(path.stat().st_size for path in files_of(image.folder))

    with capsys.disabled():
        print(f" {size / MEGABYTE:.0f} MB ", end="")
    assert size <= MAX_BYTES[name]


def test_an_image_adds_nothing_outside_its_own_folder(store, image, name):
    dockerfile = (ROOT / PARTS[name] / "Dockerfile").read_text()
    base = images.mount(store, re.search(r"^ARG BASE=(.+)$", dockerfile, re.MULTILINE)[1])
    below = {path.relative_to(base.root) for path in files_of(base.root)}

    added = {path.relative_to(image.root) for path in files_of(image.root)} - below

    folder = image.folder.relative_to(image.root)
    assert added
    assert [path for path in added if not path.is_relative_to(folder)] == []


def test_an_image_contains_only_the_code_of_its_part(image, name):
    held = {
        str(path.parent.relative_to(image.folder))
        for path in files_of(image.folder)
        if path.suffix == ".py" and path.relative_to(image.folder).parts[0] in PROJECT_FOLDERS
    }

    assert held == FOLDERS[name]


def test_an_image_contains_no_installers_scripts_or_other_project_files(image):
    top = {path.name for path in image.folder.iterdir()}
    ours = [
        path
        for path in files_of(image.folder)
        if path.relative_to(image.folder).parts[0] in PROJECT_FOLDERS
        and path.suffix not in PROJECT_SUFFIXES
    ]

    assert top & {"bin", "pip", "setuptools", "wheel", "pytest", "moto"} == set()
    assert ours == []
    assert not list(image.folder.rglob(".*"))


def test_an_image_has_no_secrets_in_its_environment(image):
    names = {line.split("=")[0] for line in image.config["Env"]}

    assert names <= {
        "PATH",
        "LAMBDA_TASK_ROOT",
        "PYTHONUNBUFFERED",
        "PYTHONDONTWRITEBYTECODE",
        "DB_CA_FILE",  # The path of a file of public certificates.
    }


def test_an_image_runs_as_an_unprivileged_user_without_write_access(image):
    script = """
import os, pathlib
for path in ["/", *pathlib.Path.cwd().rglob("*")]:
    assert not os.access(path, os.W_OK), path
pathlib.Path("/tmp/spooled").write_bytes(b"x")
print(os.getuid(), os.getgid(), os.getgroups())
"""
    done = image.run("python3", "-c", script)

    assert done.stdout == "10001 10001 []\n"
    assert all(path.lstat().st_uid == 0 for path in files_of(image.folder))


def test_every_module_is_compiled_to_unchecked_bytecode(image):
    # https://peps.python.org/pep-0552/ The flags follow the magic number; 1: by hash, unchecked.
    for source in image.folder.rglob("*.py"):
        bytecode = source.parent / "__pycache__" / f"{source.stem}.{BYTECODE}.pyc"
        assert bytecode.read_bytes()[4:8] == b"\x01\0\0\0", source


def test_every_module_can_be_imported_with_the_images_own_packages(image, name):
    # Alembic and gunicorn run these files themselves.
    skipped = ("database/migrations/env.py", "web_app/gunicorn.conf.py")
    modules = [
        str(path.relative_to(image.folder)).removesuffix(".py").replace("/", ".")
        for path in image.folder.rglob("*.py")
        if path.relative_to(image.folder).parts[0] in PROJECT_FOLDERS
        and str(path.relative_to(image.folder)) not in skipped
    ]
    script = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"

    # -S limits the base image to its standard library.
    done = image.run(
        *("python3", "-S", "-c", script, *sorted(modules)),
        **WEB_SETTINGS,
        DATABASE_URL="sqlite://",
        AWS_DEFAULT_REGION="eu-west-1",
    )

    assert len(modules) > 10
    assert done.stdout == ""
    assert done.returncode == 0


def test_an_image_trusts_only_database_servers_of_rds(image):
    [path] = [
        line.removeprefix("DB_CA_FILE=")
        for line in image.config["Env"]
        if line.startswith("DB_CA_FILE=")
    ]

    assert image.run("cat", path).stdout == (ROOT / "database" / "rds_roots.pem").read_text()


def test_the_pins_of_an_image_are_complete_and_compatible(image):
    folder = image.config["WorkingDir"]

    done = image.run("python3", "-m", "pip", "check", PYTHONPATH=folder, PIP_NO_CACHE_DIR="1")

    assert done.stdout == "No broken requirements found.\n"


def test_a_second_build_gives_the_same_layers(store, unpacked):
    images.build(store, "again", PARTS["annotation"])
    again = images.mount(store, "localhost/annotation:again")

    assert contents(again) == contents(unpacked["annotation"])


def contents(image: Image) -> dict[str, tuple[str, int, float]]:
    """Return hash, mode and time of every file in the layers of the application."""
    return {
        str(path.relative_to(image.folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mode,
            path.stat().st_mtime,
        )
        for path in files_of(image.folder)
    }


# The tests below run the images with a real MySQL server and local S3 and Gemini emulators.

WEB_SETTINGS = {
    "FLASK_SECRET_KEY": "a key that only the tests know",
    "S3_IMAGE_BUCKET": AWS.image_bucket,
    "S3_THUMBNAIL_BUCKET": AWS.thumbnail_bucket,
    "DB_CA_FILE": "",  # The database of the tests is not one of Amazon RDS.
}


@pytest.fixture(scope="session")
def database_url(unpacked: dict[str, Image], mysql_server_url: str, tmp_path_factory) -> Any:
    """Return the URL of a MySQL database that the image migrated."""
    log = tmp_path_factory.mktemp("migrate") / "log"
    with mysql_server.fresh_database(mysql_server_url) as url:
        migrate = maintenance(unpacked, "migrate")
        with function(migrate, log, DATABASE_URL=url) as invoke:
            assert invoke({}) == {"outcome": "migrated"}
        yield url


def maintenance(unpacked: dict[str, Image], entry: str) -> Image:
    """Return the thumbnail image with the command of a maintenance function."""
    config = unpacked["thumbnail"].config
    command = [f"lambda_functions.maintenance.handler.{entry}"]
    return dataclasses.replace(unpacked["thumbnail"], config={**config, "Cmd": command})


@contextmanager
def function(image: Image, log: Path, **environment: str) -> Iterator[Any]:
    """Run an image like Lambda, and yield a function that invokes it."""
    api = RuntimeAPI()
    api.start()
    variables = {
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "AWS_LAMBDA_FUNCTION_NAME": "checked",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "DB_CA_FILE": "",  # The database of the tests is not one of Amazon RDS.
    }
    with image.running(log, **variables, **environment) as container:

        def next_report() -> Any:
            wait_until(
                lambda: not api.reports.empty() or not container.is_running, seconds=ANSWER_SECONDS
            )
            assert not api.reports.empty(), log.read_text()
            return api.reports.get()

        def invoke(event: Any) -> Any:
            deadline_ms = int((time.time() + ANSWER_SECONDS) * 1000)
            arn = "arn:aws:lambda:eu-west-1:123456789012:function:checked"
            api.invocations.put(Invocation("request", event, arn, deadline_ms, "Root=1-0-0"))
            report = next_report()
            return report.response if isinstance(report, Success) else report

        try:
            assert next_report() == Ready(), log.read_text()
            yield invoke
        finally:
            api.close()


@pytest.fixture
def web(unpacked: dict[str, Image], database_url: str, aws: AWS, tmp_path: Path) -> Iterator[Any]:  # noqa: F811
    """Run the web image and return its address and its container."""
    log, port = tmp_path / "web.log", free_port()
    command = [
        word.replace(":8000", f":{port}") for word in unpacked["web_app"].config["Cmd"]
    ]  # The container shares the network of this machine, where port 8000 can be in use.
    environment = {**aws.environment, **WEB_SETTINGS, "DATABASE_URL": database_url}
    with unpacked["web_app"].running(log, command=command, **environment) as container:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(address) or not container.is_running, seconds=START_SECONDS)
        assert container.is_running, log.read_text()
        yield address, container


def answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/health", timeout=5).ok
    except requests.RequestException:  # The server does not listen yet, or no worker is ready.
        return False


def test_the_web_image_serves_health_checks_pages_and_assets(web):
    address, _ = web

    health = requests.get(f"{address}/health", timeout=10)
    ready = requests.get(f"{address}/health/ready", timeout=10)
    gallery = requests.get(f"{address}/gallery", timeout=10)
    asset = requests.get(
        address + re.search(r'href="(/static/[^"]+\.css)"', gallery.text)[1], timeout=10
    )

    assert health.json()["status"] == "ok"
    assert ready.status_code == 200, ready.text
    assert gallery.status_code == 200
    assert asset.headers["Cache-Control"] == "max-age=31536000, public, immutable"
    assert asset.headers["Content-Encoding"] in ("br", "gzip")


def test_the_health_check_of_the_web_image_detects_a_stopped_server(web, unpacked):
    address, _ = web
    check = unpacked["web_app"].config["Healthcheck"]["Test"]

    def status(its_address: str) -> int:
        words = [word.replace("http://127.0.0.1:8000", its_address) for word in check[1:]]
        return unpacked["web_app"].run(*words).returncode

    assert check[0] == "CMD"
    assert status(address) == 0
    assert status(f"http://127.0.0.1:{free_port()}") == 1


def test_the_web_image_shuts_down_cleanly_on_its_stop_signal(web, unpacked):
    _, container = web

    status = container.stop(signal.Signals[unpacked["web_app"].config["StopSignal"]])

    assert status == 0
    assert "Shutting down" in container.log.read_text()


def test_the_images_create_thumbnail_and_caption_of_an_upload(
    web,
    unpacked,
    database_url,
    aws,  # noqa: F811
    tmp_path,
):
    address, _ = web
    environment = {**aws.environment, "DATABASE_URL": database_url}

    result = upload(address, factories.make_jpeg((800, 600)))
    key = only_key(aws)
    event = created(aws, key)
    with function(unpacked["thumbnail"], tmp_path / "thumbnail.log", **environment) as invoke:
        thumbnail_outcome = invoke(event)
    with (
        scripted_gemini() as gemini,
        function(
            unpacked["annotation"],
            tmp_path / "annotation.log",
            **environment,
            GEMINI_API_KEY="a-key-that-only-the-tests-know",
            GOOGLE_GEMINI_BASE_URL=gemini.url,
        ) as invoke,
    ):
        annotation_outcome = invoke(event)
    status = requests.get(address + result["status_url"], timeout=10).json()
    thumbnail = requests.get(status["thumbnail_url"], timeout=10).content

    assert thumbnail_outcome["outcome"] == annotation_outcome["outcome"] == "completed"
    assert status["status"] == "completed"
    assert status["annotation"] == CAPTION["caption"]
    assert PillowImage.open(io.BytesIO(thumbnail)).size == (400, 400)


def test_a_function_image_reports_an_invalid_event(unpacked, database_url, aws, tmp_path):  # noqa: F811
    environment = {**aws.environment, "DATABASE_URL": database_url}

    with function(unpacked["thumbnail"], tmp_path / "log", **environment) as invoke:
        failed = invoke({"detail": "names no original"})

    assert isinstance(failed, Failure)
    assert failed.error_type == "InvalidEventError"


def test_the_sweep_runs_in_the_thumbnail_image(unpacked, database_url, aws, tmp_path):  # noqa: F811
    environment = {**aws.environment, "DATABASE_URL": database_url}

    with function(maintenance(unpacked, "sweep"), tmp_path / "log", **environment) as invoke:
        swept = invoke({})

    assert swept["timed_out"] == 0


def upload(address: str, data: bytes) -> dict[str, Any]:
    response = requests.post(
        f"{address}/upload",
        files={"image": ("beach.jpg", data)},
        headers={"Accept": "application/json"},
        timeout=60,
    )
    assert response.status_code == 201, response.text
    result: dict[str, Any] = response.json()["results"][0]
    return result


def only_key(aws: AWS) -> str:  # noqa: F811
    with_bucket = aws.client("s3").list_objects_v2(Bucket=aws.image_bucket)
    (stored,) = with_bucket["Contents"]
    key: str = stored["Key"]
    return key


def created(aws: AWS, key: str) -> dict[str, Any]:  # noqa: F811
    event: dict[str, Any] = json.loads(EVENT.read_text())
    event["detail"]["bucket"]["name"] = aws.image_bucket
    event["detail"]["object"]["key"] = key
    return event
