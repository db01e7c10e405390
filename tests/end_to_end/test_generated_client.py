"""A client that a generator writes from the OpenAPI document, used against the whole system."""

import importlib
import io
import json
import subprocess
import sys
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import requests

from tests.support.factories import make_jpeg
from tests.support.local_system import wait_until
from tests.support.time_limits import scaled

# The generator would format the files with a program that these tests do not have.
CONFIG = "post_hooks: []\n"
OPERATIONS = {
    "upload": ["upload_images"],
    "images": [
        "change_images",
        "create_owner",
        "delete_image",
        "edit_image",
        "get_image",
        "list_images",
    ],
    "keys": ["create_key", "revoke_key"],
    "usage": ["get_usage"],
    "health": ["get_health"],
}


@pytest.fixture(scope="module")
def package(system, tmp_path_factory):
    """Generate the client, and return its modules by the names of its operations."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "config.yml").write_text(CONFIG)
    document = requests.get(f"{system.url}/api/openapi.json", timeout=scaled(10)).json()
    (folder / "openapi.json").write_text(json.dumps(document))
    generated = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
            *("--path", "openapi.json", "--config", "config.yml", "--output-path", "image_client"),
            "--fail-on-warning",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=scaled(120),
    )
    assert generated.returncode == 0, generated.stdout + generated.stderr
    sys.path.insert(0, str(folder))
    try:
        modules = {
            name: importlib.import_module(f"image_client.api.{tag}.{name}")
            for tag, names in OPERATIONS.items()
            for name in names
        }
        for name in ("models", "types", "client"):
            modules[name] = importlib.import_module(f"image_client.{name}")
    finally:
        sys.path.remove(str(folder))
    return SimpleNamespace(**modules)


@pytest.fixture
def connect(package, system):
    """Return a function that creates a client with a token or without one."""
    with ExitStack() as clients:

        def create(token=None):
            client = (
                package.client.AuthenticatedClient(base_url=system.url, token=token)
                if token
                else package.client.Client(base_url=system.url)
            )
            return clients.enter_context(client)

        yield create


@pytest.fixture
def client(package, connect):
    """Create a client with the token of a new owner."""
    return connect(package.create_owner.sync(client=connect()).owner_token)


def upload(package, client, *names):
    files = [
        package.types.File(
            payload=io.BytesIO(make_jpeg((200 + 10 * number, 120))),
            file_name=name,
            mime_type="image/jpeg",
        )
        for number, name in enumerate(names)
    ]
    body = package.models.UploadImagesBody(image=files)
    response = package.upload_images.sync_detailed(client=client, body=body)
    assert response.status_code == 201
    return [result.id for result in response.parsed.results]


def test_it_uploads_polls_edits_changes_many_and_deletes(package, client):
    models = package.models
    ids = upload(package, client, "dog.jpg", "cat.jpg", "Straße.jpg")

    def images():
        return [package.get_image.sync(image_id, client=client) for image_id in ids]

    wait_until(lambda: all(image.status == "completed" for image in images()), seconds=60)
    assert all(image.annotation for image in images())

    edited = package.edit_image.sync(
        ids[0], client=client, body=models.Edit(alt_text="A dog.", tags=["dog"])
    )
    assert (edited.alt_text, edited.tags) == ("A dog.", ["dog"])

    batch = models.Batch(action=models.BatchAction("add_tags"), ids=ids, tags=["summer"])
    changed = package.change_images.sync(client=client, body=batch)
    assert {result.outcome for result in changed.results} == {"done"}
    assert all("summer" in image.tags for image in images())

    assert package.delete_image.sync_detailed(ids[0], client=client).status_code == 204
    listed = package.list_images.sync(client=client, mine=True)
    assert {image.id for image in listed.images} == set(ids[1:])


def test_an_error_is_an_object_with_a_code(package, client):
    missing = package.get_image.sync(999_999, client=client)
    invalid = package.edit_image.sync(
        upload(package, client, "x.jpg")[0],
        client=client,
        body=package.models.Edit(tags=["x"] * 99),
    )

    assert isinstance(missing, package.models.Error)
    assert missing.code == "image_not_found"
    assert invalid.code == "invalid_edit"


def test_a_key_is_used_and_revoked(package, client, connect):
    key = package.create_key.sync(client=client, body=package.models.NewKey(name="Script"))
    with_key = connect(key.key)

    assert package.get_usage.sync(client=with_key).requests == 0
    assert package.revoke_key.sync_detailed(key.id, client=client).status_code == 204

    assert package.get_usage.sync(client=with_key).code == "invalid_owner_token"


def test_the_version_of_the_server_can_be_read(package, connect):
    health = package.get_health.sync(client=connect())

    assert health.status == "ok"
    assert health.version
