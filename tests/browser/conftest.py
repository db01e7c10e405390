"""Fixtures: Chromium, the local system, and an emulated Gemini that the tests control."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.chromium import ChromiumMissingError, find_chromium, launch
from tests.browser.person import Person, new_jpeg
from tests.browser.ready_images import ReadyImages
from tests.support.local_system import LocalSystem, wait_until
from tests.support.scripted_gemini import ScriptedGemini, scripted_gemini
from tests.support.time_limits import scaled, scaled_ms

MAX_UPLOAD_BYTES = 2 * 1024 * 1024
# Chromium would draw sixty frames a second for as long as an image is pending.
WITHOUT_ANIMATIONS: Any = {"reduced_motion": "reduce"}


class _Shared:
    """Chromium and the window of most tests, which stay open until the last test of this folder.

    A start for each file would need as much processor time as several tests. No scope of fixtures
    ends with a folder, and Playwright keeps an event loop running while it is open, which would
    block tests of other folders that start an event loop in the same process.
    """

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._browser: Browser | None = None
        self._window: BrowserContext | None = None

    def browser(self) -> Browser:
        """Return Chromium. Start it if it is not running."""
        if self._browser is None:
            playwright = self._opened.enter_context(sync_playwright())
            self._browser = self._opened.enter_context(launch(playwright))
        return self._browser

    def window(self, base_url: str) -> BrowserContext:
        """Return the window. Open it if it is not open."""
        if self._window is None:
            window = self.browser().new_context(base_url=base_url, **WITHOUT_ANIMATIONS)
            self._window = self._opened.enter_context(window)
            self._window.set_default_timeout(scaled_ms(30))
        return self._window

    def close(self) -> None:
        """Close all that is open."""
        self._browser = self._window = None
        self._opened.close()


_shared = _Shared()


@pytest.hookimpl(trylast=True)  # After the fixtures of the test.
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    if nextitem is None or not nextitem.path.is_relative_to(Path(__file__).parent):
        _shared.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[str]:
    """Provide the path of Chromium. Skip the test, before anything starts, if there is none."""
    with sync_playwright() as playwright:
        try:
            path = find_chromium(playwright)
        except ChromiumMissingError as error:
            if os.environ.get("REQUIRE_REAL_PARTS"):
                pytest.fail(str(error))
            pytest.skip(str(error))
    yield path
    _shared.close()  # Still open if the run ends early.


@pytest.fixture
def browser(chromium: str) -> Browser:
    """Return Chromium. Each test opens a window or a page of its own."""
    expect.set_options(timeout=scaled_ms(30))
    return _shared.browser()


@pytest.fixture(scope="session")
def session_gemini() -> Iterator[ScriptedGemini]:
    """Start the emulated Gemini of the whole run."""
    with scripted_gemini() as gemini:
        yield gemini


@pytest.fixture(scope="session")
def system(
    chromium: str, session_gemini: ScriptedGemini, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalSystem]:
    """Start the local system once for all tests."""
    running = LocalSystem(
        tmp_path_factory.mktemp("browser") / "state",
        GEMINI_API_KEY="the-key",
        GOOGLE_GEMINI_BASE_URL=session_gemini.url,
        MAX_UPLOAD_BYTES=str(MAX_UPLOAD_BYTES),
        SITE_NOTICE="Captions here come from a local emulator.",
        LOCAL_RETRY_SECONDS="1",
        ORIGINALS_VISIBLE_TO="owner",
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def ready_images(system: LocalSystem) -> Iterator[ReadyImages]:
    """Upload the image that `Person.add` copies."""
    images = ReadyImages(system, new_jpeg())
    yield images
    images.close()


@pytest.fixture
def gemini(system: LocalSystem, session_gemini: ScriptedGemini) -> Iterator[ScriptedGemini]:
    """Return the emulated Gemini in its default state."""
    # A pending image of an earlier test would use up the scripted responses of this one.
    wait_until(lambda: not pending_images(system), seconds=60)
    yield session_gemini
    session_gemini.script.clear()
    session_gemini.release()


def pending_images(system: LocalSystem) -> list[Any]:
    """Return the pending images of the system."""
    response = requests.get(f"{system.url}/api/images?status=pending&limit=1", timeout=scaled(30))
    images: list[Any] = response.json()["images"]
    return images


@pytest.fixture
def script_errors() -> Iterator[list[str]]:
    """Return the list of all errors of scripts. The test fails if any are left at its end."""
    errors: list[str] = []
    yield errors
    assert errors == []


@pytest.fixture
def new_person(
    browser: Browser,
    system: LocalSystem,
    ready_images: ReadyImages,
    gemini: ScriptedGemini,
    script_errors: list[str],
) -> Iterator[Callable[..., Person]]:
    """Return a function that opens a browser window with cookies and a cache of its own."""
    contexts: list[BrowserContext] = []

    def make(**options: Any) -> Person:
        context = browser.new_context(base_url=system.url, **WITHOUT_ANIMATIONS, **options)
        context.set_default_timeout(scaled_ms(30))
        contexts.append(context)
        return Person(_new_page(context, script_errors), script_errors, system, ready_images)

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def shared_window(browser: Browser, system: LocalSystem) -> BrowserContext:
    """Return the window of most tests.

    Its cache of scripts and styles halves the processor time of a test.
    """
    return _shared.window(system.url)


@pytest.fixture
def person(
    shared_window: BrowserContext,
    system: LocalSystem,
    ready_images: ReadyImages,
    gemini: ScriptedGemini,
    script_errors: list[str],
) -> Iterator[Person]:
    """Return a person without cookies and without anything stored in the browser."""
    shared_window.clear_cookies()
    page = _new_page(shared_window, script_errors)
    shared_window.new_cdp_session(page).send(
        "Storage.clearDataForOrigin", {"origin": system.url, "storageTypes": "all"}
    )
    yield Person(page, script_errors, system, ready_images)
    for each in shared_window.pages:
        each.close()
    shared_window.clear_permissions()
    shared_window.set_offline(False)


def _new_page(context: BrowserContext, script_errors: list[str]) -> Page:
    page = context.new_page()
    # The console also reports what the Content-Security-Policy blocks.
    page.on("pageerror", lambda error: script_errors.append(str(error)))
    page.on("console", lambda message: script_errors.append(message.text)
            if "Content Security Policy" in message.text else None)  # fmt: skip
    return page


@pytest.fixture
def page(person: Person) -> Page:
    """Return the page in the window of the person."""
    return person.page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder."""
    made = tmp_path / "holiday"
    made.mkdir()
    return made


@pytest.fixture
def attacker() -> Iterator[Callable[[str], str]]:
    """Return a function that serves a page with this content on another site."""
    pages = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path, b"")
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def serve(content: str) -> str:
        pages["/page"] = f"<!doctype html><title>Win a prize</title><body>{content}".encode()
        return f"http://localhost:{server.server_address[1]}/page"

    yield serve
    server.shutdown()
    server.server_close()
