"""Measure the captions of a folder of photos: `make caption-quality DIR=…`.

The captions come from what `make run` would use: Gemini, a vision model, or the built-in
recogniser. The file `reference.csv` in the folder has a row for each photo: `id`, its file name,
and `nouns`, the nouns that a caption may use for what the photo shows, separated by `|`.
"""

import csv
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from database.models import DEFAULT_OPTIONS
from lambda_functions.annotation.captioner import Captioner
from lambda_functions.annotation.model_input import make_model_input
from lambda_functions.annotation.quality import parse_annotation
from lambda_functions.errors import WorkError
from local_cloud.captions.model_names import COLOURS_MODEL
from local_cloud.captions.vocabulary import DETECTOR_CLASSES, IMAGE_CLASSES, plural
from local_cloud.gemini_emulator import GeminiHandler, make_captioner
from local_cloud.loopback_http import LoopbackServer
from local_cloud.setting_values import SettingError
from local_cloud.settings import Settings

REFERENCE = "reference.csv"
LANGUAGE = "English"  # The nouns of the reference are English.
MAX_PIXELS = 400_000_000
GEMINI_SECONDS = 45
_GEMINI_NAMES = ("GEMINI_API_KEY", "GEMINI_MODEL_NAME", "GOOGLE_GEMINI_BASE_URL")
_DEFAULT_MODEL = "gemini-3.5-flash-lite"

Verdict = Literal["right", "partly", "wrong", "silent"]
Caption = Callable[[Path], str | None]


@dataclass(frozen=True)
class Result:
    """A photo with its caption; None if there is none, or it names measured colours only."""

    name: str
    caption: str | None
    verdict: Verdict


def judge(caption: str | None, nouns: Iterable[str]) -> Verdict:
    """Compare a caption with the nouns that it may use.

    A caption is right if it contains one of them, and partly right if it also names another thing
    that the recogniser knows. Without any of them it is wrong.
    """
    if caption is None:
        return "silent"
    accepted = {noun.strip().lower() for noun in nouns if noun.strip()}
    rest = caption.lower()
    # Longer nouns come first, so that the "hot dog" of a reference is no dog.
    for noun in sorted(accepted, key=len, reverse=True):
        rest = _form(noun).sub("", rest)
    if rest == caption.lower():
        return "wrong"
    return "partly" if any(_form(noun).search(rest) for noun in _known_nouns()) else "right"


def measure(folder: Path, caption: Caption) -> list[Result]:
    """Return a result for each photo of the reference."""
    with (folder / REFERENCE).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    results = []
    for row in rows:
        text = caption(folder / row["id"])
        results.append(Result(row["id"], text, judge(text, row["nouns"].split("|"))))
    return results


def summary(results: list[Result]) -> str:
    """Return the number of each verdict, and the share of captions that are not wrong."""
    counts = Counter(result.verdict for result in results)
    spoken = len(results) - counts["silent"]
    numbers = ", ".join(f"{counts[each]} {each}" for each in ("right", "partly", "wrong", "silent"))
    share = f"; {100 * counts['wrong'] / spoken:.0f} % of the captions are wrong" if spoken else ""
    return f"{len(results)} photos: {numbers}{share}"


@contextmanager
def configured_caption(settings: Settings) -> Iterator[Caption]:
    """Provide a function that captions a photo as a run with these settings would."""
    source = settings.caption_settings
    gemini = {name: settings.environment.get(name) or "" for name in _GEMINI_NAMES}
    if settings.emulator_port is None:
        server = None
        model = gemini["GEMINI_MODEL_NAME"] or _DEFAULT_MODEL
        base_url = gemini["GOOGLE_GEMINI_BASE_URL"]
    else:
        captioner = make_captioner(source.vision_url, source.vision_model, source.has_recogniser)
        handler = type("Handler", (GeminiHandler,), {"captioner": captioner})
        server = LoopbackServer(handler)
        server.start()
        model, base_url = source.requested_model, f"http://{server.address}"
        os.environ["NO_PROXY"] = "127.0.0.1,localhost"
    if base_url:
        os.environ["GOOGLE_GEMINI_BASE_URL"] = base_url
    seconds = source.vision_timeout_seconds if source.vision_url else GEMINI_SECONDS
    client = Captioner(
        lambda: gemini["GEMINI_API_KEY"] or "local",
        model_name=model,
        language=LANGUAGE,
        prompt=None,
    )

    task = client.task(DEFAULT_OPTIONS)

    def caption(path: Path) -> str | None:
        with path.open("rb") as original:
            jpeg = make_model_input(original, max_pixels=MAX_PIXELS)
        try:
            response = client.generate(jpeg, task, timeout_seconds=seconds)
            if response.model == COLOURS_MODEL:
                return None
            return parse_annotation(response.text, task).caption
        except WorkError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            return None

    with closing(client), closing(server) if server is not None else nullcontext():
        yield caption


def main(arguments: list[str]) -> int:
    """Print each caption with its verdict, and the totals. Return the exit code."""
    if len(arguments) != 1 or not (Path(arguments[0]) / REFERENCE).is_file():
        print(
            f"Give a folder of photos with a file {REFERENCE}: make caption-quality "
            "DIR=tests/photos\nIts columns are id, the name of a photo, and nouns, separated by |.",
            file=sys.stderr,
        )
        return 2
    try:
        settings = Settings.read()
    except SettingError as error:
        print(error, file=sys.stderr)
        return 2
    with configured_caption(settings) as caption:
        results = measure(Path(arguments[0]), caption)
    for result in results:
        print(f"{result.verdict:7} {Path(result.name).name:24} {result.caption or ''}".rstrip())
    print(summary(results))
    return 0


@cache
def _form(noun: str) -> re.Pattern[str]:
    """Return a pattern for a noun in the singular and the plural."""
    return re.compile(rf"\b(?:{re.escape(plural(noun))}|{re.escape(noun)})\b")


@cache
def _known_nouns() -> frozenset[str]:
    classifier = {name for each in IMAGE_CLASSES for name in (each.noun, each.group) if name}
    return frozenset(name.lower() for name in {*DETECTOR_CLASSES.values(), *classifier})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
