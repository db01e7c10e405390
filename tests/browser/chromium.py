"""Functions that find and start Chromium."""

import os
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Playwright

# Those without windows first: they need less than half of the processor time.
NAMES = (
    *("chromium-headless-shell", "chrome-headless-shell"),
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Pages share a process, one thread draws, and V8 does not optimise code that runs for seconds.
    # Together this saves a tenth of the processor time.
    "--renderer-process-limit=1",
    "--num-raster-threads=1",
    "--js-flags=--no-opt",
]
CHROMIUM_MISSING = (
    "The browser tests did not run: Chromium is not installed. Install it with: make chromium "
    "(or: .venv/bin/python -m playwright install --with-deps chromium)"
)


class ChromiumMissingError(Exception):
    """Chromium is not installed; the message says how to install it."""

    def __init__(self) -> None:
        super().__init__(CHROMIUM_MISSING)


def find_chromium(playwright: Playwright) -> str:
    """Return the path of Chromium: from CHROMIUM, from the PATH, or Playwright's own.

    Raises:
        ChromiumMissingError: Chromium is not installed.
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
    """Start Chromium. Use it in a `with` block, which closes it.

    Raises:
        ChromiumMissingError: Chromium is not installed.
    """
    return playwright.chromium.launch(executable_path=find_chromium(playwright), args=ARGUMENTS)
