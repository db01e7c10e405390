"""The actions of a person in a browser, for the browser tests."""

import base64
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import CDPSession, Locator, Page, expect

from tests.browser.ready_images import ReadyImages
from tests.support.factories import make_jpeg
from tests.support.local_system import LocalSystem, wait_until
from tests.support.time_limits import scaled, scaled_ms

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


def new_jpeg(**options: Any) -> bytes:
    """Return a JPEG that was not uploaded before, with save options of Pillow."""
    return make_jpeg((next(_widths), 48), **options)


class Person:
    """A person with a browser window.

    Attributes:
        script_errors: errors of the scripts on the page. A test fails if any are left at its end.
    """

    def __init__(
        self,
        page: Page,
        script_errors: list[str],
        system: LocalSystem,
        ready_images: ReadyImages,
    ) -> None:
        self.page = page
        self.script_errors = script_errors
        self._system = system
        self._ready_images = ready_images
        self._devtools: CDPSession | None = None

    # Without the page

    def add(self, *names: str) -> list[int]:
        """Add completed images without their originals, the last one as the newest.

        An upload through the page would need more than half of the processor time of most tests.
        """
        return self._ready_images.add(self.token(), *names)

    def send(self, name: str = "beach.jpg", data: bytes | None = None) -> int:
        """Upload an image through the API, wait until it is not pending, and return its id."""
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {self.token()}"
            (result,) = self._system.upload((name, data or new_jpeg()), session=session)
        return int(self._system.finished(result["id"])["id"])

    def token(self) -> str:
        """Return the token of the owner, which is the cookie. Create it if there is none."""
        for cookie in self.page.context.cookies(self._system.url):
            if cookie["name"] == "owner":
                return cookie["value"]
        response = requests.post(f"{self._system.url}/api/owners", timeout=scaled(30))
        token = str(response.json()["owner_token"])
        self.page.context.add_cookies(
            [
                {
                    "name": "owner",
                    "value": token,
                    "url": self._system.url,
                    "httpOnly": True,
                    "sameSite": "Lax",
                }
            ]
        )
        return token

    def api(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call the API as the owner, without the browser, and return the status and the JSON."""
        response = requests.request(
            method,
            f"{self._system.url}{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.token()}"},
            timeout=scaled(30),
        )
        return response.status_code, response.json() if response.content else None

    # Uploading

    def choose(self, *files: File) -> None:
        """Choose files on the upload page."""
        self.open_upload_page()
        self.page.set_input_files(
            "#image",
            [{"name": name, "mimeType": "", "buffer": data} for name, data in files],
        )

    def drop(self, *paths: Path) -> None:
        """Drop files or folders on the page through the browser's own drag events."""
        self.open_upload_page()
        devtools = self.page.context.new_cdp_session(self.page)
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            devtools.send(
                "Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 420, "data": data}
            )

    def paste(self, *files: File) -> None:
        """Paste files on the upload page."""
        self.open_upload_page()
        encoded = [{"name": n, "data": base64.b64encode(d).decode()} for n, d in files]
        self.page.evaluate(_TRANSFER, encoded)

    def open_upload_page(self) -> None:
        """Open the upload page, unless it is open, and wait until its script is ready."""
        if self.page.url.rstrip("/").count("/") != 2:
            self.page.goto("/")
        expect(self.page.locator(".uploader--enhanced")).to_be_visible()

    def row(self, name: str) -> Locator:
        """Return the row of a file on the upload page."""
        return self.page.locator(".upload-row").filter(has=self.page.get_by_text(name, exact=True))

    def expect_state(self, name: str, state: str, seconds: float = 15) -> Locator:
        """Wait until the row of a file is in a state, and return the row."""
        row = self.row(name)
        expect(row).to_have_attribute("data-state", state, timeout=seconds * 1000)
        return row

    def upload(self, name: str = "beach.jpg", data: bytes | None = None) -> int:
        """Upload one image, wait until it is completed, and return its id."""
        self.choose((name, data or new_jpeg()))
        row = self.row(name)
        expect(row).to_have_attribute("data-state", "completed", timeout=scaled_ms(30))
        return self.id_of(row)

    def upload_failing(self, name: str) -> int:
        """Upload an image, wait until its caption fails, and return its id."""
        self.choose((name, new_jpeg()))
        row = self.row(name)
        expect(row).to_have_attribute("data-state", "failed", timeout=scaled_ms(30))
        return self.id_of(row)

    @staticmethod
    def id_of(row: Locator) -> int:
        """Return the id of the image of a row."""
        return int((row.locator("[data-part=link]").get_attribute("href") or "").split("/")[-1])

    # Looking

    def wait_for(self, expression: str) -> None:
        """Wait until a JavaScript expression is true.

        Playwright's `wait_for_function` uses eval, which the Content-Security-Policy forbids.
        """
        wait_until(lambda: bool(self.page.evaluate(expression)), seconds=15)

    def card(self, image_id: int) -> Locator:
        """Return the card of an image in the gallery."""
        return self.page.locator(f'.card[data-image-id="{image_id}"]')

    def fetch(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call the API from a script of the page, and return the status and the JSON."""
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
        """Limit the upload speed of the browser."""
        self._emulate_network(bytes_per_second, is_offline=False)

    def drop_connection(self) -> None:
        """Break all requests of the browser, until `restore_connection`."""
        self._emulate_network(-1, is_offline=True)

    def restore_connection(self) -> None:
        """End `drop_connection`."""
        self._emulate_network(-1, is_offline=False)

    def _emulate_network(self, bytes_per_second: int, *, is_offline: bool) -> None:
        if self._devtools is None:
            self._devtools = self.page.context.new_cdp_session(self.page)
            self._devtools.send("Network.enable")
        self._devtools.send(
            "Network.emulateNetworkConditions",
            {
                "offline": is_offline,
                "latency": 0,
                "downloadThroughput": -1,
                "uploadThroughput": bytes_per_second,
            },
        )

    def record_upload_requests(self) -> list[str]:
        """Return a list that grows with each upload request of the page."""
        sent: list[str] = []
        self.page.on(
            "request",
            lambda request: (
                sent.append(request.method)
                if request.method == "POST" and request.url.endswith("/upload")
                else None
            ),
        )
        return sent


def write_files(folder: Path, names: Iterable[str]) -> None:
    """Write JPEG files. A name with slashes creates folders."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(new_jpeg())
