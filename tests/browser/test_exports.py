"""Browser tests of exports: their progress, their end, a broken download, and a refusal.

A valve between the browser and gunicorn holds the file back, so that an export is in the middle
for as long as a test needs.
"""

import re
import socket
import threading
from contextlib import suppress

import pytest
from playwright.sync_api import expect

from database.models import Status
from tests.browser.conftest import WITHOUT_ANIMATIONS
from tests.browser.test_accessibility import assert_no_violations
from tests.integration.conftest import Gate, aws, make_gate
from tests.integration.test_exports import CAPTION, IMAGES
from tests.integration.test_web_app import run_web_app
from tests.support.image_rows import add_many
from tests.support.local_system import wait_until
from tests.support.time_limits import scaled_ms

__all__ = ["aws", "make_gate"]  # Fixtures.

# More than the pages need on one connection.
PASSED_BYTES = 4 * 1024 * 1024


class Valve(Gate):
    """A gate that lets only the first bytes of each long response pass while it is closed."""

    def __init__(self, target):
        self.is_open = threading.Event()
        super().__init__(target)

    def _pump(self, source, sink):
        passed, server = 0, self._server
        # The kernel would otherwise buffer more the faster this end reads.
        source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
        with suppress(OSError):
            while data := source.recv(256 * 1024):
                sink.sendall(data)
                passed += len(data)
                while passed > PASSED_BYTES and not self.is_open.wait(0.05):
                    if self._server is not server:  # The gate was shut meanwhile.
                        return
        self.close_both(source, sink)


@pytest.fixture(scope="module")
def web_app(chromium, aws, make_gate, tmp_path_factory):
    """Run the application with many images."""
    folder = tmp_path_factory.mktemp("exports")
    url = f"sqlite:///{folder / 'images.sqlite3'}"
    one_process = ("--workers", "1")
    with run_web_app(
        url, aws, make_gate, folder, with_database_gate=False, arguments=one_process
    ) as web_app:
        completed = {"annotation_status": Status.COMPLETED, "thumbnail_status": Status.COMPLETED}
        add_many(web_app.session_factory, IMAGES, annotation=CAPTION, **completed)
        yield web_app


@pytest.fixture
def valve(web_app):
    """Put a closed valve before the server."""
    valve = Valve(("127.0.0.1", int(web_app.url.rpartition(":")[2])))
    yield valve
    valve.is_open.set()
    valve.shut()


@pytest.fixture
def make_page(browser, valve, script_errors):
    """Return a function that opens a window behind the valve."""
    contexts = []

    def make(**options):
        context = browser.new_context(
            base_url=f"http://127.0.0.1:{valve.port}", **WITHOUT_ANIMATIONS, **options
        )
        context.set_default_timeout(scaled_ms(30))
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: script_errors.append(str(error)))
        return page

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def page(make_page):
    page = make_page()
    open_with_scripts(page, "/gallery")
    return page


def open_with_scripts(page, path):
    """Open a page, and wait until a click on its exports is handled by the script."""
    page.goto(path)
    loaded = "performance.getEntriesByType('resource').map(({ name }) => name)"
    module = f"{loaded}.find((name) => name.includes('/modules/exports'))"
    wait_until(lambda: page.evaluate(module), seconds=30)
    page.evaluate(f"import({module}).then(() => true)")


def start_export(page, name):
    page.get_by_role("navigation", name="Export and import").get_by_role("link", name=name).click()
    return page.locator(".export")


def end_of(name, images):
    """Return the message at the end of an export."""
    return (
        f"{name}: The server has sent the whole file ({images}). "
        "Look at the downloads of your browser."
    )


def expect_progress(line, name="Spreadsheet (CSV)"):
    """Wait until some of the images are in the file."""
    progress = rf"^{re.escape(name)}: [1-9][\d,]* of {IMAGES:,} images$"
    expect(line).to_have_text(re.compile(progress))
    bar = line.get_by_role("progressbar", name=f"Progress of the export: {name}", exact=True)
    expect(bar).to_be_visible()


@pytest.mark.parametrize("name", ["Spreadsheet (CSV)", "JSON Lines"])
def test_a_person_sees_the_progress_and_the_end_of_an_export(page, valve, name):
    with page.expect_download() as download:
        line = start_export(page, name)
    expect(page.locator(".toast")).to_contain_text(f"{name}: The export has started.")
    expect_progress(line, name)
    # Screen readers announce the toasts only, so not each step.
    assert line.evaluate("element => element.closest('[aria-live], [role=status]')") is None

    valve.is_open.set()

    end = end_of(name, f"{IMAGES:,} images")
    expect(line).to_have_text(end)
    expect(page.locator("[role=status] .toast")).to_contain_text(end)
    expect(line.get_by_role("progressbar")).to_have_count(0)
    text = download.value.path().read_text(encoding="utf-8-sig")
    assert text.count("A dog. A dog. ") >= IMAGES


def test_exports_that_run_at_once_have_the_names_of_their_links(page, valve):
    names = ["Spreadsheet (CSV)", "JSON Lines"]
    for name in names:
        lines = start_export(page, name)
    expect(lines).to_have_count(len(names))
    for name, line in zip(names, lines.all(), strict=True):
        expect_progress(line, name)

    valve.is_open.set()

    expect(lines).to_have_text([end_of(name, f"{IMAGES:,} images") for name in names])


def test_a_person_is_told_that_a_download_broke_off(page, valve):
    line = start_export(page, "Spreadsheet (CSV)")
    expect_progress(line)

    valve.shut()
    valve.open()

    stopped = re.compile(
        rf"Spreadsheet \(CSV\): The export stopped after [1-9][\d,]* of {IMAGES:,} images\. "
        r"Start it again\."
    )
    expect(line).to_have_text(stopped)
    expect(page.locator(".toast--error")).to_contain_text(stopped)

    # The message of the last export disappears when another one begins.
    valve.is_open.set()
    again = start_export(page, "Spreadsheet (CSV)")
    expect(again).to_have_text(end_of("Spreadsheet (CSV)", f"{IMAGES:,} images"))


def test_a_person_is_told_why_an_export_is_refused(page):
    line = start_export(page, "ZIP with pictures")

    reason = "ZIP with pictures: More than 500 images match, and a ZIP can hold up to 500."
    expect(line).to_contain_text(reason)
    expect(page.locator(".toast--error")).to_contain_text(reason)


def test_a_running_export_is_accessible_and_starts_by_keyboard(page, valve):
    widths = (320, 1280)
    page.get_by_role("link", name="Spreadsheet (CSV)").focus()
    page.keyboard.press("Enter")
    line = page.locator(".export")
    expect_progress(line)
    for width in widths:
        page.set_viewport_size({"width": width, "height": 800})
        # The gallery loads further images, and the progress stays visible.
        expect(line).to_be_in_viewport(ratio=1)
    # Without the many cards, whose colours need seconds, and the link that loads more.
    page.evaluate("document.querySelectorAll('.card ~ .card, .pager a').forEach((e) => e.remove())")

    assert_no_violations(page, widths=widths)
    valve.is_open.set()
    expect(line).to_contain_text("The server has sent the whole file")
    assert_no_violations(page, widths=widths)

    page.get_by_role("button", name="Close message: Spreadsheet (CSV)").press("Enter")
    expect(line).to_have_count(0)


def test_the_exports_of_the_page_of_imports_have_a_progress_too(make_page):
    page = make_page()
    open_with_scripts(page, "/import")
    page.get_by_role("link", name="CSV", exact=True).click()

    # None of the images is of this person.
    expect(page.locator(".export")).to_have_text(end_of("CSV", "0 images"))


def test_an_export_works_without_javascript(make_page, valve):
    valve.is_open.set()
    page = make_page(java_script_enabled=False)
    page.goto("/gallery")

    with page.expect_download() as download:
        page.get_by_role("link", name="JSON Lines").click()

    assert download.value.path().read_bytes().count(b"\n") == IMAGES
