"""Run the measurement of `make caption-quality`, and hold the recogniser to its figures."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from local_cloud.settings import Settings
from tests.support.scripted_openai import scripted_openai
from tests.verify import captions
from tests.verify.captions import REFERENCE, configured_caption, judge, measure, summary

PHOTOS = Path(__file__).parents[1] / "photos"
NO_KEY = {"GEMINI_API_KEY": "", "GOOGLE_GEMINI_BASE_URL": ""}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Restore the variables that the measurement sets."""
    for name in ("GOOGLE_GEMINI_BASE_URL", "NO_PROXY"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)


@pytest.mark.parametrize(
    ("caption", "nouns", "verdict"),
    [
        ("A cat.", ["cat", "kitten"], "right"),
        ("Two cats on a red sofa", ["cat", "sofa"], "right"),
        ("People with a dog.", ["person", "dog"], "right"),
        ("A cat and a bicycle.", ["cat"], "partly"),
        ("Two cats and several buses.", ["cat"], "partly"),
        ("A dog.", ["cat"], "wrong"),
        ("A category of things", ["cat"], "wrong"),
        ("A hot dog.", ["hot dog"], "right"),
        ("A hot dog.", ["dog"], "right"),
        ("A dog.", [""], "wrong"),
        (None, ["cat"], "silent"),
    ],
)
def test_a_caption_is_judged_by_its_nouns(caption, nouns, verdict):
    assert judge(caption, nouns) == verdict


def variants(image):
    """Yield a photo as other cameras might have taken it: nearer, and smaller and darker."""
    width, height = image.size
    yield "same", image
    yield "nearer", image.crop((width // 12, height // 12, width - width // 12, height))
    smaller = image.resize((width * 2 // 3, height * 2 // 3))
    yield "smaller and darker", ImageEnhance.Brightness(smaller).enhance(0.75)


def test_the_recogniser_is_seldom_wrong_and_often_speaks(networks_installed, tmp_path):
    """Each photo is in three variants, and no photo alone can reach a limit."""
    lines = ["id,nouns"]
    rows = [line.split(",") for line in (PHOTOS / REFERENCE).read_text().splitlines()[1:]]
    for name, nouns in rows:
        with Image.open(PHOTOS / name) as photo:
            for variant, image in variants(photo.convert("RGB")):
                target = f"{Path(name).stem} {variant}.jpg"
                image.save(tmp_path / target, quality=90)
                lines.append(f"{target},{nouns}")
    (tmp_path / REFERENCE).write_text("\n".join(lines))

    with configured_caption(Settings.read(NO_KEY, tmp_path)) as caption:
        results = measure(tmp_path, caption)

    verdicts = [result.verdict for result in results]
    report = summary(results), [r for r in results if r.verdict in ("wrong", "partly")]
    assert len(results) == 45
    assert verdicts.count("wrong") <= 3, report  # One photo.
    assert verdicts.count("right") >= 9, report  # Of 15 with things that it knows.


def test_a_vision_model_is_measured_in_the_same_way(capsys, monkeypatch, tmp_path):
    (tmp_path / REFERENCE).write_text("id,nouns\ncat.jpg,cat\ndog.jpg,dog\nold.jpg,car\n")
    for name in ("cat", "dog", "old"):
        Image.new("RGB", (60, 40), "red").save(tmp_path / f"{name}.jpg")
    with scripted_openai() as server:
        server.script += [
            '{"outcome": "described", "caption": "A cat sleeps.", "alt_text": "", "tags": []}',
            '{"outcome": "described", "caption": "A cat sleeps.", "alt_text": "", "tags": []}',
            (503, b"loading"),
        ]
        monkeypatch.setenv("LOCAL_VISION_URL", server.url)
        monkeypatch.setenv("LOCAL_VISION_MODEL", "qwen3-vl:8b")

        assert captions.main([str(tmp_path)]) == 0

    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "right   cat.jpg                  A cat sleeps.",
        "wrong   dog.jpg                  A cat sleeps.",
        "silent  old.jpg",
        "3 photos: 1 right, 0 partly, 1 wrong, 1 silent; 50 % of the captions are wrong",
    ]
    assert printed.err.startswith("old.jpg: ")


def test_a_folder_without_a_reference_is_explained(capsys, tmp_path):
    assert captions.main([str(tmp_path)]) == 2
    assert "reference.csv" in capsys.readouterr().err


def test_colours_alone_count_as_silent(tmp_path):
    photo = io.BytesIO()
    Image.new("RGB", (60, 40), "red").save(photo, "JPEG")
    (tmp_path / "red.jpg").write_bytes(photo.getvalue())

    with configured_caption(Settings.read({**NO_KEY, "LOCAL_RECOGNISER": "off"}, tmp_path)) as each:
        assert each(tmp_path / "red.jpg") is None


@pytest.fixture
def networks_installed():
    if not os.environ.get("REQUIRE_REAL_PARTS"):
        pytest.importorskip("onnxruntime")
