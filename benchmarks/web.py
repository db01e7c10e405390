"""Requests per second of pages and of the JSON API, compared with a minimal Flask application.

Both run on the same gunicorn. In both measurements wrk, gunicorn and MySQL share the machine's
cores. Requests are like those of a browser: they have an `Accept-Encoding` header and the cookies
of a user who has uploaded images.
"""

import random
import re
import subprocess
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from sqlalchemy import insert

from benchmarks.measure import Row, at_least, in_turns, tool
from benchmarks.servers import (
    HELLO,
    PRODUCT,
    SECRET_KEY,
    gunicorn,
    mysql_database,
    product_environment,
)
from database import object_keys
from database.models import AnnotationSource, Image, Status
from database.session import create_database_engine
from database.settings import DatabaseSettings
from web_app.middleware.owners import COOKIE_NAME, Owner, Owners

ROWS = 10_000
PAGE_SIZE = 24
PAIRS = 5
# Enough to keep both of gunicorn's processes busy all the time.
CONNECTIONS = 32
SECONDS = 2
_OWNER = Owner("an owner of the benchmarks", is_new=False)
_BROWSER = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36",
}
_WORDS = [
    *("a", "two", "the", "old", "young", "red", "wooden", "brown", "small", "bright", "quiet"),
    *("dog", "cat", "child", "woman", "man", "boat", "bridge", "street", "market", "window"),
    *("tree", "river", "mountain", "field", "garden", "kitchen", "table", "chair", "lamp", "cup"),
    *("stands", "sits", "runs", "sleeps", "waits", "looks", "in", "under", "beside", "near"),
]


def measure_gallery_page() -> Sequence[Row]:
    return _measure("gallery_page", goal=0.02, path="/gallery")


def measure_gallery_revalidate() -> Sequence[Row]:
    return _measure("gallery_revalidate", goal=0.04, path="/gallery", is_known=True)


def measure_status_many() -> Sequence[Row]:
    ids = ",".join(str(image_id) for image_id in range(ROWS - PAGE_SIZE + 1, ROWS + 1))
    return _measure("status_many", goal=0.04, path=f"/api/image_status?ids={ids}")


def _measure(name: str, *, goal: float, path: str, is_known: bool = False) -> Sequence[Row]:
    """Measure the requests per second for one path.

    Args:
        name: the name of the row.
        goal: the lowest acceptable ratio to the minimal application.
        path: the path and query of the requests.
        is_known: send the ETag of the current response, so that the server responds with 304.
    """
    wrk = tool("wrk", "apt-get install wrk")
    with mysql_database() as database_url:
        fill(database_url)
        with (
            gunicorn(HELLO, {}) as hello,
            gunicorn(PRODUCT, product_environment(database_url), ready_path="/health") as product,
        ):
            browser = Browser(product.url + path)

            def ours() -> float:
                # Presigned links and the ETag change every few minutes. If that happens during a
                # measurement, repeat it.
                while True:
                    headers = browser.headers(is_known=is_known)
                    rate = _requests_per_second(wrk, browser.url, headers)
                    if browser.status(headers) == (304 if is_known else 200):
                        return rate

            rates = in_turns(
                lambda: _requests_per_second(wrk, hello.url, _BROWSER), ours, pairs=PAIRS
            )
    return [Row(name, *rates, "requests/s", at_least(goal))]


class Browser:
    """The requests of a browser for one URL, with the cookies of an owner of images."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._cookies = {COOKIE_NAME: Owners(SECRET_KEY).token(_OWNER)}

    def headers(self, *, is_known: bool) -> dict[str, str]:
        """Return the headers of the next request.

        Args:
            is_known: add the ETag of the current response.
        """
        response = self._get({})
        self._cookies.update((each.name, each.value or "") for each in response.cookies)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        if is_known:
            # The first response may have started the session, so ask for the ETag with its cookie.
            headers["If-None-Match"] = self._get(headers).headers["ETag"]
        return {**_BROWSER, **headers}

    def status(self, headers: dict[str, str]) -> int:
        return self._get(headers).status_code

    def _get(self, headers: dict[str, str]) -> requests.Response:
        # Do not use a requests.Session, because it would add its own cookies.
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        return requests.get(
            self.url, headers={**_BROWSER, "Cookie": cookies, **headers}, timeout=30
        )


def _requests_per_second(wrk: str, url: str, headers: dict[str, str]) -> float:
    report = subprocess.run(
        [
            *(wrk, "--threads", "1", "--connections", str(CONNECTIONS)),
            *("--timeout", "30s", "--duration", f"{SECONDS}s"),
            *(part for item in headers.items() for part in ("--header", ": ".join(item))),
            url,
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    if "Socket errors" in report or "Non-2xx" in report:
        raise RuntimeError(f"some requests failed:\n{report}")
    [rate] = re.findall(r"^Requests/sec:\s+([\d.]+)$", report, re.MULTILINE)
    return float(rate)


def fill(database_url: str) -> None:
    """Add rows with captions and tags. One in 40 has failed; one in ten belongs to the browser."""
    engine = create_database_engine(DatabaseSettings(database_url=database_url))
    dice = random.Random(24)
    with engine.begin() as connection:
        for start in range(0, ROWS, 1000):
            connection.execute(
                insert(Image), [_row(dice, number) for number in range(start, start + 1000)]
            )
    engine.dispose()


def _row(dice: random.Random, number: int) -> dict[str, Any]:
    original_key = object_keys.original_key("benchmark", uuid.uuid4(), extension="jpg")
    uploaded_at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    words: dict[str, Any] = {
        "annotation": f"{' '.join(dice.choices(_WORDS, k=dice.randint(8, 25)))}.".capitalize(),
        "alt_text": " ".join(dice.choices(_WORDS, k=dice.randint(5, 12))).capitalize(),
        "tags": sorted(set(dice.choices(_WORDS, k=dice.randint(3, 7)))),
    }
    has_failed = number % 40 == 7
    return {
        "filename": f"IMG_{number:05d}.jpg",
        "original_key": original_key,
        "thumbnail_key": object_keys.thumbnail_key(original_key),
        "content_type": "image/jpeg",
        "size_bytes": dice.randint(500_000, 8_000_000),
        "width": 4032,
        "height": 3024,
        "sha256": dice.randbytes(32).hex(),
        "dominant_color": f"#{dice.randrange(1 << 24):06x}",
        "owner_id": _OWNER.id if number % 10 == 3 else f"owner {dice.randrange(500)}",
        **(dict.fromkeys(words) if has_failed else words),
        **{f"generated_{name}": None if has_failed else value for name, value in words.items()},
        "annotation_source": None if has_failed else AnnotationSource.MODEL,
        "annotation_model": "gemini-3.5-flash-lite",
        "input_tokens": 1_180,
        "output_tokens": dice.randint(60, 160),
        "annotation_status": Status.FAILED if has_failed else Status.COMPLETED,
        "annotation_error_code": "blocked" if has_failed else None,
        "annotation_error_message": "The model declined to describe it." if has_failed else None,
        "annotation_attempts": 1,
        "thumbnail_status": Status.COMPLETED,
        "thumbnail_attempts": 1,
        "annotation_requested_at": uploaded_at,
        "thumbnail_requested_at": uploaded_at,
        "uploaded_at": uploaded_at,
        "updated_at": uploaded_at + timedelta(seconds=4),
    }
