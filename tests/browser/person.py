"""What a person does in front of a browser, in words."""

import base64
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.support.factories import make_jpeg
from tests.support.local_system import wait_until

File = tuple[str, bytes]
_widths = itertools.count(64)

_TRANSFER = """files => {
    const transfer = new DataTransfer();
    for (const { name, data } of files) {
        const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
        transfer.items.add(new File([bytes], name));
    }
    document.body.dispatchEvent(
        new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
}"""


def new_jpeg() -> bytes:
    """A JPEG that nobody has sent yet."""
    return make_jpeg((next(_widths), 48))


class Person:
    """Somebody with a window of their own.

    Attributes:
        troubles: errors of the page's scripts; a test that ends with any fails.
    """

    def __init__(self, page: Page, troubles: list[str]) -> None:
        self.page = page
        self.troubles = troubles

    # Uploading

    def choose(self, *files: File) -> None:
        """Pick files on the upload page."""
        self.open_upload_page()
        self.page.set_input_files(
            "#image",
            [{"name": name, "mimeType": "", "buffer": data} for name, data in files],
        )

    def drop(self, *paths: Path) -> None:
        """Drag files or folders from the desktop onto the page, as the browser itself tells it."""
        self.open_upload_page()
        devtools = self.page.context.new_cdp_session(self.page)
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            devtools.send(
                "Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 420, "data": data}
            )

    def paste(self, *files: File) -> None:
        """Paste files."""
        self.open_upload_page()
        encoded = [{"name": n, "data": base64.b64encode(d).decode()} for n, d in files]
        self.page.evaluate(_TRANSFER, encoded)

    def open_upload_page(self) -> None:
        """Go there, unless it is open; and wait until it is ready."""
        if self.page.url.rstrip("/").count("/") != 2:
            self.page.goto("/")
        expect(self.page.locator(".uploader--enhanced")).to_be_visible()

    def row(self, name: str) -> Locator:
        """The row of one file on the upload page."""
        return self.page.locator(".upload-row").filter(has=self.page.get_by_text(name, exact=True))

    def expect_state(self, name: str, state: str, seconds: float = 15) -> Locator:
        """Wait until a row is in this state."""
        row = self.row(name)
        expect(row).to_have_attribute("data-state", state, timeout=seconds * 1000)
        return row

    def upload(self, name: str = "beach.jpg", data: bytes | None = None) -> int:
        """Upload one image, wait until the system has done with it, and return its id."""
        self.choose((name, data or new_jpeg()))
        row = self.row(name)
        expect(row).to_have_attribute("data-state", "completed", timeout=30_000)
        return self.id_of(row)

    def upload_failing(self, name: str) -> int:
        """Upload an image whose caption fails; the model must have been told so."""
        self.choose((name, new_jpeg()))
        row = self.row(name)
        expect(row).to_have_attribute("data-state", "failed", timeout=30_000)
        return self.id_of(row)

    @staticmethod
    def id_of(row: Locator) -> int:
        """The id of a row's image."""
        return int((row.locator("[data-part=link]").get_attribute("href") or "").split("/")[-1])

    # Looking

    def wait_for(self, expression: str) -> None:
        """Wait until a script's expression is true.

        Playwright's own waiting evaluates text within the page, which our policy forbids.
        """
        wait_until(lambda: bool(self.page.evaluate(expression)), seconds=15)

    def card(self, image_id: int) -> Locator:
        """An image's card in the gallery."""
        return self.page.locator(f'.card[data-image-id="{image_id}"]')

    def api(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """What a script of the page's own would get."""
        status, answer = self.page.evaluate(
            """async ([method, path, body]) => {
                const token = document.querySelector('meta[name="csrf-token"]').content;
                const headers = { "Content-Type": "application/json", "X-CSRFToken": token };
                const options = { method, headers };
                if (body !== null) options.body = JSON.stringify(body);
                const response = await fetch(path, options);
                return [response.status, await response.json().catch(() => null)];
            }""",
            [method, path, body],
        )
        return status, answer

    def slow_down(self, bytes_per_second: int) -> None:
        """Give them a slow connection, upwards."""
        devtools = self.page.context.new_cdp_session(self.page)
        devtools.send("Network.enable")
        devtools.send(
            "Network.emulateNetworkConditions",
            {
                "offline": False,
                "latency": 0,
                "downloadThroughput": -1,
                "uploadThroughput": bytes_per_second,
            },
        )

    def uploads_begun(self) -> list[str]:
        """A list that grows with each upload that leaves the browser."""
        begun: list[str] = []
        self.page.on(
            "request",
            lambda request: (
                begun.append(request.method)
                if request.method == "POST" and request.url.endswith("/upload")
                else None
            ),
        )
        return begun


def write_files(folder: Path, names: Iterable[str]) -> None:
    """JPEGs of these names, in folders where the names say so."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(new_jpeg())
