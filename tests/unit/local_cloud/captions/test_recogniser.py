import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from local_cloud.captions import recogniser as recogniser_module
from local_cloud.captions.findings import Box, Detection, Findings
from local_cloud.captions.recogniser import Recogniser

RED = Image.new("RGB", (60, 40), "red")


class FakeNetworks:
    """Networks that find a person in every image, and count their loads."""

    loads = 0

    def __init__(self):
        type(self).loads += 1

    def find(self, image):
        return Findings((Detection("person", 0.9, Box(0.1, 0.1, 0.9, 0.4)),), [0.0] * 1000)


@pytest.fixture
def fake_networks(monkeypatch):
    monkeypatch.setattr(FakeNetworks, "loads", 0)
    monkeypatch.setattr(recogniser_module, "load_networks", FakeNetworks)
    return FakeNetworks


def test_the_networks_are_loaded_once_and_at_the_first_image(fake_networks):
    recogniser = Recogniser()
    assert fake_networks.loads == 0

    with ThreadPoolExecutor(4) as threads:
        captions = list(threads.map(recogniser.describe, [RED] * 8))

    assert {each.caption for each in captions} == {"A person against a red background."}
    assert fake_networks.loads == 1


def test_a_recogniser_that_cannot_be_loaded_says_so_once_and_describes_nothing(monkeypatch, capfd):
    def fail():
        raise ImportError("No module named 'onnxruntime'")

    monkeypatch.setattr(recogniser_module, "load_networks", fail)
    recogniser = Recogniser()

    assert [recogniser.describe(RED) for _ in range(2)] == [None, None]
    assert capfd.readouterr().err == (
        "The built-in recogniser cannot be used: No module named 'onnxruntime'. Captions describe "
        "colours only.\n"
    )


def test_a_processor_without_avx_is_refused_before_the_import(monkeypatch, tmp_path):
    facts = tmp_path / "cpuinfo"
    facts.write_text("processor\t: 0\nflags\t\t: fpu sse sse2\n")
    monkeypatch.setattr(recogniser_module, "_PROCESSOR_FACTS", facts)
    monkeypatch.setattr(recogniser_module.platform, "machine", lambda: "x86_64")
    monkeypatch.delitem(sys.modules, "local_cloud.captions.networks", raising=False)

    with pytest.raises(recogniser_module.UnsupportedProcessorError):
        recogniser_module.load_networks()

    assert "local_cloud.captions.networks" not in sys.modules


def test_an_image_without_certain_findings_has_no_description(networks, monkeypatch):
    monkeypatch.setattr(recogniser_module, "load_networks", lambda: networks)

    assert Recogniser().describe(Image.new("RGB", (300, 200), (90, 120, 160))) is None


def test_an_image_of_one_pixel_can_be_described(networks, monkeypatch):
    monkeypatch.setattr(recogniser_module, "load_networks", lambda: networks)

    assert Recogniser().describe(Image.new("RGB", (1, 1))) is None
