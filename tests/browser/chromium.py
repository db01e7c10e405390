"""Where Chromium is, and how it is started."""

import os
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CHROMIUM_MISSING = (
    "The browser suite did not run: no Chromium here. Enable it with: make chromium "
    "(or: .venv/bin/python -m playwright install --with-deps chromium)"
)


class ChromiumMissingError(Exception):
    """No Chromium is on this machine; the message says how to get one."""

    def __init__(self) -> None:
        super().__init__(CHROMIUM_MISSING)


def find_chromium(playwright: Playwright) -> str:
    """The path of a Chromium: the one named by CHROMIUM, the system's, or Playwright's own.

    Raises:
        ChromiumMissingError: there is none.
    """
    candidates = [
        os.environ.get("CHROMIUM"),
        *map(shutil.which, NAMES),
        playwright.chromium.executable_path,
    ]
    for path in candidates:
        if path and Path(path).exists():
            return path
    raise ChromiumMissingError


def launch(playwright: Playwright) -> Browser:
    """A running Chromium, as long as the block lasts that it is used in.

    Raises:
        ChromiumMissingError: there is none.
    """
    return playwright.chromium.launch(executable_path=find_chromium(playwright), args=ARGUMENTS)
