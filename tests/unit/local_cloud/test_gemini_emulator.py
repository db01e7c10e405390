"""Call the Gemini emulator with the client library of Google."""

import io
import json
import urllib.error
import urllib.request

import pytest
from google import genai
from google.genai import errors, types
from PIL import Image
from pydantic import BaseModel

from lambda_functions.annotation.description import DESCRIBED, RESPONSE_SCHEMA
from local_cloud.gemini_emulator import GeminiHandler
from local_cloud.loopback_http import LoopbackServer


class Description(BaseModel):
    caption: str
    alt_text: str
    tags: list[str]


class Mood(BaseModel):
    mood: str
    score: int
    caption: str


@pytest.fixture(scope="module")
def server():
    server = LoopbackServer(GeminiHandler)
    server.start()
    yield server
    server.close()


@pytest.fixture
def client(server, monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"http://{server.address}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with genai.Client(api_key="local") as client:
        yield client


def describe(client, image, schema=Description, image_format="JPEG"):
    encoded = io.BytesIO()
    image.save(encoded, image_format)
    part = types.Part.from_bytes(data=encoded.getvalue(), mime_type=f"image/{image_format.lower()}")
    config = types.GenerateContentConfig(
        response_mime_type="application/json", response_schema=schema
    )
    return client.models.generate_content(
        model="local-emulator", contents=["Describe it.", part], config=config
    )


def two_colours(above, below, size=(300, 200)):
    image = Image.new("RGB", size, above)
    image.paste(below, (0, size[1] // 2, *size))
    return image


def test_a_caption_describes_shape_brightness_and_colours(client):
    response = describe(client, two_colours((90, 160, 255), (60, 170, 60)))

    assert response.parsed == Description(
        caption="An evenly lit landscape image, mostly blue with green: blue above, green below.",
        alt_text="An evenly lit landscape image, mostly blue with green: blue above, green below.",
        tags=["landscape", "blue", "green"],
    )


@pytest.mark.parametrize(
    ("size", "colour", "caption"),
    [
        ((100, 200), (5, 5, 5), "A dark portrait image, almost entirely black."),
        ((100, 101), (255, 255, 255), "A bright square image, almost entirely white."),
        ((200, 100), (128, 128, 128), "An evenly lit landscape image, almost entirely grey."),
        ((200, 100), (230, 20, 20), "An evenly lit landscape image, almost entirely red."),
        ((200, 100), (110, 60, 20), "A dark landscape image, almost entirely brown."),
        ((200, 100), (255, 140, 0), "An evenly lit landscape image, almost entirely orange."),
        ((200, 100), (250, 240, 60), "A bright landscape image, almost entirely yellow."),
        ((200, 100), (20, 160, 150), "An evenly lit landscape image, almost entirely teal."),
        ((200, 100), (130, 40, 200), "An evenly lit landscape image, almost entirely purple."),
        ((200, 100), (255, 110, 190), "An evenly lit landscape image, almost entirely pink."),
    ],
)
def test_each_colour_has_its_common_name(client, size, colour, caption):
    assert describe(client, Image.new("RGB", size, colour)).parsed.caption == caption


def test_transparent_pixels_count_as_white(client):
    image = Image.new("RGBA", (200, 100), (0, 0, 0, 0))

    response = describe(client, image, image_format="PNG")

    assert response.parsed.caption == "A bright landscape image, almost entirely white."


def test_the_response_has_token_counts_and_the_model_version(client):
    response = describe(client, Image.new("RGB", (60, 40), "red"))

    usage = response.usage_metadata
    assert response.candidates[0].finish_reason == types.FinishReason.STOP
    assert response.model_version == "local-colours-1"
    assert usage.prompt_token_count > 258
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count


def test_the_response_has_exactly_the_properties_of_the_schema(client):
    response = describe(client, Image.new("RGB", (60, 40), "red"), schema=Mood)

    assert set(json.loads(response.text)) == {"mood", "score", "caption"}
    assert isinstance(response.parsed, Mood)


def test_the_response_follows_the_schema_of_the_captions(client):
    response = describe(client, Image.new("RGB", (60, 40), "red"), schema=RESPONSE_SCHEMA)

    fields = json.loads(response.text)
    assert list(fields) == list(RESPONSE_SCHEMA.properties)
    assert (fields["outcome"], fields["language"]) == (DESCRIBED, "en")
    assert fields["text_in_image"] == ""  # The emulator cannot read.


def test_the_model_can_be_queried(client):
    assert client.models.get(model="local-emulator").name == "models/local-emulator"


def test_bytes_that_are_not_an_image_give_the_error_of_google(client):
    part = types.Part.from_bytes(data=b"not an image", mime_type="image/jpeg")

    with pytest.raises(errors.ClientError) as refused:
        client.models.generate_content(model="local-emulator", contents=[part])

    assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("path", "body", "key", "status"),
    [
        ("/v1/models/m:generateContent", b"{", "local", 400),
        ("/v1/models/m:generateContent", b"[]", "local", 400),
        ("/v1/models/m:generateContent", b'{"contents": 3}', "local", 400),
        ("/v1beta/models/m:generateContent", b"{}", "", 403),
        ("/v1beta/models/m:sing", b"{}", "local", 404),
        ("/v3/models/m:generateContent", b"{}", "local", 404),
    ],
)
def test_an_invalid_request_gets_an_error_in_the_format_of_google(server, path, body, key, status):
    request = urllib.request.Request(
        f"http://{server.address}{path}", data=body, headers={"x-goog-api-key": key}
    )

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)

    with refused.value as answer:
        error = json.load(answer)["error"]
    assert answer.code == error["code"] == status
    assert error["status"] and error["message"]
