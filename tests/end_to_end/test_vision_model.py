"""The whole local system with captions by a vision model on a scripted server."""

import json

import pytest
import requests

from tests.support.factories import make_jpeg
from tests.support.local_system import LocalSystem
from tests.support.scripted_openai import scripted_openai
from tests.support.time_limits import scaled

FIELDS = {
    "outcome": "described",
    "language": "de",
    "caption": "Ein Hund läuft bei Ebbe am Strand entlang.",
    "alt_text": "Hund am Strand",
    "tags": ["Hund", "Strand"],
    "text_in_image": "",
}


@pytest.fixture(scope="module")
def server():
    with scripted_openai() as fake:
        yield fake


@pytest.fixture(scope="module")
def system(server, tmp_path_factory):
    running = LocalSystem(
        tmp_path_factory.mktemp("vision") / "state",
        LOCAL_VISION_URL=server.url,
        LOCAL_VISION_MODEL="Qwen/Qwen3-VL:8b",
        CAPTION_LANGUAGE="German",
        GEMINI_MODEL_NAME="gemini-x",
    )
    running.start()
    yield running
    running.stop()


def test_the_caption_of_a_vision_model_has_its_language_and_its_name(system, server):
    server.script.append(json.dumps(FIELDS))

    (result,) = system.upload(("dog.jpg", make_jpeg((320, 200))))
    image = system.finished(result["id"])

    page = requests.get(f"{system.url}{image['url']}", timeout=scaled(30)).text
    assert image["annotation"] == FIELDS["caption"]
    assert image["annotation_model"] == "Qwen/Qwen3-VL:8b"
    assert image["annotation_writer"] == "the vision model Qwen/Qwen3-VL:8b"
    assert "Caption by the vision model Qwen/Qwen3-VL:8b" in page
    assert "Captions come from the vision model Qwen/Qwen3-VL:8b on this computer." in page


def test_an_error_of_its_server_is_shown_and_no_other_caption_is_written(system, server):
    server.script.append((404, {"error": {"message": "model not found"}}))

    (result,) = system.upload(("cat.jpg", make_jpeg((330, 200))))
    image = system.finished(result["id"])

    assert image["annotation"] is None
    assert image["annotation_status"] == "failed"
    assert "has no model 'local-vision-qwen-qwen3-vl-8b'" in image["annotation_error"]["message"]
