import pytest

from local_cloud.captions import settings
from local_cloud.captions.model_names import requested_name
from local_cloud.captions.settings import CaptionSettings
from local_cloud.setting_values import SettingError

VISION = {"LOCAL_VISION_URL": "http://127.0.0.1:11434/v1", "LOCAL_VISION_MODEL": "qwen3-vl:8b"}


@pytest.fixture(autouse=True)
def packages(monkeypatch):
    monkeypatch.setattr(settings, "_has_packages", lambda: True)


def test_the_recogniser_is_the_default():
    chosen = CaptionSettings.read({})

    assert chosen.requested_model == "local-recogniser-1"
    assert chosen.emulator_arguments == ["--recogniser"]
    assert "set GEMINI_API_KEY" in chosen.notice


@pytest.mark.parametrize("is_off", [True, False])
def test_colours_are_described_without_the_recogniser_or_its_packages(monkeypatch, is_off):
    monkeypatch.setattr(settings, "_has_packages", lambda: is_off)

    chosen = CaptionSettings.read({"LOCAL_RECOGNISER": "off"} if is_off else {})

    assert chosen.requested_model == "local-colours-1"
    assert chosen.emulator_arguments == []
    assert "measured colours only" in chosen.notice


def test_a_vision_model_comes_before_the_recogniser():
    chosen = CaptionSettings.read(VISION)

    assert chosen.requested_model == "local-vision-qwen3-vl-8b"
    assert chosen.emulator_arguments == [
        *("--vision-url", "http://127.0.0.1:11434/v1"),
        *("--vision-model", "qwen3-vl:8b"),
    ]
    assert chosen.notice == "Captions come from the vision model qwen3-vl:8b on this computer."


def test_the_notice_names_another_computer():
    chosen = CaptionSettings.read({**VISION, "LOCAL_VISION_URL": "http://gpu.example:8000/v1"})

    assert chosen.notice.endswith("qwen3-vl:8b at gpu.example.")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"LOCAL_RECOGNISER": "yes"}, "LOCAL_RECOGNISER must be on or off"),
        ({"LOCAL_VISION_URL": "http://a:1/v1"}, "Set LOCAL_VISION_MODEL too"),
        ({"LOCAL_VISION_MODEL": "a"}, "Set LOCAL_VISION_URL too"),
        ({**VISION, "LOCAL_VISION_URL": "localhost:11434"}, "must be an address such as"),
        ({**VISION, "LOCAL_VISION_URL": "ftp://localhost"}, "must be an address such as"),
        ({**VISION, "LOCAL_VISION_URL": "http://me:pw@localhost"}, "must not contain a user name"),
        ({**VISION, "LOCAL_VISION_TIMEOUT_SECONDS": "5"}, "from 20 to 900"),
    ],
)
def test_an_invalid_setting_is_named(variables, message):
    with pytest.raises(SettingError, match=message):
        CaptionSettings.read(variables)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("qwen3-vl:8b", "local-vision-qwen3-vl-8b"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "local-vision-qwen-qwen2.5-vl-7b-instruct"),
        ("模型", "local-vision-"),
        ("x" * 200, f"local-vision-{'x' * 87}"),
    ],
)
def test_the_name_in_requests_has_the_form_of_a_name_of_gemini(model, name):
    assert requested_name(model) == name
