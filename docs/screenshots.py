"""Take screenshots of every page in both themes, narrow and wide: `python docs/screenshots.py`.

The program starts the whole system with its state in a temporary folder, uploads scenes drawn here,
and writes `docs/<page>-<theme>-<width>.png`. It needs Chromium; `CHROMIUM=/path/to/it` chooses one.
"""

import argparse
import io
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pillow_heif
from PIL import Image, ImageChops, ImageDraw, ImageFilter
from playwright.sync_api import Browser, Page, sync_playwright

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from tests.browser.chromium import launch  # noqa: E402 # Needs the path above.
from tests.support.local_system import LocalSystem  # noqa: E402
from tests.support.scripted_gemini import ScriptedGemini, answer, scripted_gemini  # noqa: E402

WIDTHS = {375: 812, 1280: 860}
THEMES = ("light", "dark")
MODEL = "gemini-3.5-flash-lite"
REFUSAL = answer("", candidates=[], promptFeedback={"blockReason": "SAFETY"})


# Scenes


@dataclass(frozen=True)
class Scene:
    """A drawn landscape with the description that a model might give.

    Attributes:
        sky: the colours at the top and the bottom, "#rrggbb #rrggbb".
        ridges: the lines of hills, the farthest first. Each has its height (a share, from the top),
            its roughness and its colour, "0.6 0.01 #5a325a, …".
        sun: left, top and diameter (shares of the width, the height, the height) and colour.
    """

    name: str
    size: tuple[int, int]
    caption: str
    alt_text: str
    tags: list[str]
    sky: str
    ridges: str
    sun: str | None = None

    def encoded(self, name: str | None = None) -> bytes:
        """Return the image in the format of its own file name, or of another one."""
        extension = (name or self.name).rpartition(".")[2]
        image, data = self.draw(), io.BytesIO()
        if extension == "heic":
            pillow_heif.from_pillow(image).save(data)
        else:
            image.save(data, {"jpg": "JPEG"}.get(extension, extension.upper()))
        return data.getvalue()

    def draw(self) -> Image.Image:
        """Draw the image. The result is the same each time."""
        image = draw_sky(self.size, *self.sky.split())
        if self.sun:
            image = add_sun(image, self.sun)
        for index, ridge in enumerate(self.ridges.split(", ")):
            level, roughness, color = ridge.split()
            draw_ridge(image, float(level), float(roughness), color, f"{self.name} {index}")
        return image.filter(ImageFilter.GaussianBlur(1))


def draw_sky(size: tuple[int, int], top: str, bottom: str) -> Image.Image:
    """Draw a gradient from top to bottom."""
    share = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), share)


def add_sun(image: Image.Image, sun: str) -> Image.Image:
    """Add a disc and its glow."""
    (width, height), (*shares, color) = image.size, sun.split()
    left, top, side = (
        float(share) * length for share, length in zip(shares, (width, height, height), strict=True)
    )
    glow = Image.new("RGB", image.size)
    ImageDraw.Draw(glow).ellipse((left, top, left + side, top + side), fill=color)
    for blur in (0.01, 0.1):
        image = ImageChops.screen(image, glow.filter(ImageFilter.GaussianBlur(height * blur)))
    return image


def draw_ridge(image: Image.Image, level: float, rough: float, color: str, seed: str) -> None:
    """Draw one line of hills and fill the area below it."""
    walk, (width, height) = random.Random(seed), image.size
    base, step = height * level, height * rough
    points, y = [(0.0, float(height))], base
    for x in range(0, width + 12, 12):
        y += walk.uniform(-step, step)
        y = max(base - step * 6, min(base + step * 3, y))
        points.append((float(x), y))
    ImageDraw.Draw(image).polygon([*points, (width, height)], fill=color)


SCENES = [
    Scene(
        "sunset-over-hills.jpg",
        (1500, 1000),
        "An orange sun sets behind purple hills that fade into the haze.",
        "Sunset over layered hills",
        ["sunset", "hills", "haze"],
        sky="#3c286e #fa965a",
        ridges="0.6 0.01 #5a325a, 0.72 0.012 #3c2346, 0.85 0.01 #1e142d",
        sun="0.6 0.3 0.18 #ffdc96",
    ),
    Scene(
        "alpine-lake.png",
        (1200, 900),
        "A still turquoise lake lies beneath grey mountains on a clear day.",
        "Lake beneath mountains",
        ["lake", "mountains"],
        sky="#5a96dc #d2e6f5",
        ridges="0.45 0.02 #96a5b9, 0.58 0.015 #5a6e87, 0.72 0.0015 #286e8c",
    ),
    Scene(
        "dunes.webp",
        (1200, 800),
        "Sand dunes roll towards a pale sun in warm afternoon light.",
        "Dunes in warm light",
        ["dunes", "desert", "sand"],
        sky="#f0c88c #fae1b4",
        ridges="0.55 0.006 #d7a55f, 0.7 0.008 #be8746, 0.85 0.006 #a06932",
        sun="0.25 0.15 0.14 #ffffdc",
    ),
    Scene(
        "forest morning.heic",
        (1000, 1300),
        "Morning mist drifts between the dark slopes of a pine forest.",
        "Misty forest slopes",
        ["forest", "mist", "morning"],
        sky="#c8e1d7 #ebf0e1",
        ridges="0.4 0.014 #8caf96, 0.55 0.018 #50825f, 0.72 0.014 #235537, 0.88 0.01 #123220",
    ),
    Scene(
        "night-sky.jpg",
        (1300, 850),
        "A full moon hangs in a deep blue sky above a dark ridge.",
        "Moon above a ridge",
        ["night", "moon", "sky"],
        sky="#080a23 #282c5f",
        ridges="0.75 0.014 #0e0e1c",
        sun="0.7 0.2 0.1 #e1e1eb",
    ),
    Scene(
        "tulips.avif",
        (1000, 1000),
        "Rows of red and orange tulips stretch to the horizon under a light sky.",
        "Tulip field",
        ["tulips", "spring", "field"],
        sky="#b4d7fa #e1f0fa",
        ridges="0.5 0.003 #5aa050, 0.58 0.009 #dc3246, 0.7 0.009 #f58228, 0.83 0.009 #c8286e",
    ),
    Scene(
        "harbour lights.jpg",
        (1200, 900),
        "",  # The model refuses this one.
        "",
        [],
        sky="#1d2b53 #c9748f",
        ridges="0.62 0.004 #5b3f66, 0.7 0.001 #2b4a6f, 0.86 0.006 #141b33",
        sun="0.42 0.4 0.16 #ffd0a8",
    ),
    Scene(
        "lavender.jpg",
        (1200, 900),
        "Lavender fields glow violet under a soft evening sky.",
        "Lavender at dusk",
        ["lavender", "field", "evening"],
        sky="#facdb4 #ffebcd",
        ridges="0.48 0.006 #788278, 0.58 0.004 #966eb4, 0.72 0.005 #7850a5, 0.87 0.004 #583887",
        sun="0.15 0.25 0.12 #ffebbe",
    ),
    Scene(
        "winter-fjord.jpg",
        (1400, 900),
        "Snowy peaks rise over a fjord of dark, calm water.",
        "Snowy fjord",
        ["fjord", "snow", "winter"],
        sky="#aac3dc #ebf0f5",
        ridges="0.42 0.025 #dee6ee, 0.56 0.022 #a5b6c8, 0.7 0.0015 #344e64",
    ),
    Scene(
        "red canyon.jpg",
        (1100, 1100),
        "Red rock walls step down into a canyon in late light.",
        "Red canyon walls",
        ["canyon", "rock", "desert"],
        sky="#78afd7 #f5d7b4",
        ridges="0.4 0.016 #cd7855, 0.55 0.018 #af553c, 0.7 0.014 #873a2d, 0.86 0.01 #582422",
    ),
    Scene(
        "tea terraces.jpg",
        (1200, 850),
        "Green terraces of tea follow the curves of rolling hills.",
        "Tea terraces",
        ["tea", "hills", "green"],
        sky="#cde6f0 #f5f8e1",
        ridges="0.42 0.007 #96be82, 0.54 0.007 #73a85c, 0.67 0.007 #548e42, 0.82 0.007 #346c30",
    ),
    Scene(
        "northern-lights.png",
        (1300, 900),
        "Green northern lights fill the sky above low hills.",
        "Northern lights",
        ["aurora", "night", "green"],
        sky="#061628 #2e9678",
        ridges="0.78 0.01 #0a1e22, 0.88 0.008 #051014",
        sun="0.3 0.35 0.3 #1e8c5a",
    ),
]


# Pages


class Photographer:
    """Takes screenshots of each page in every theme and width."""

    def __init__(self, browser: Browser, url: str, folder: Path, state: dict[str, object]) -> None:
        self._browser, self._url, self._folder, self._state = browser, url, folder, state

    @contextmanager
    def page(self, theme: str, width: int) -> Iterator[Page]:
        """Open a page in a new browser context with the cookies of this photographer."""
        context = self._browser.new_context(
            base_url=self._url,
            viewport={"width": width, "height": WIDTHS[width]},
            color_scheme=theme,  # type: ignore[arg-type]
            reduced_motion="reduce",
            storage_state=self._state,  # type: ignore[arg-type]
        )
        try:
            yield context.new_page()
        finally:
            context.close()

    def take(
        self,
        name: str,
        path: str,
        prepare: Callable[[Page], None] = lambda page: None,
        *,
        whole: bool = False,
    ) -> None:
        """Take the four screenshots of one page."""
        for theme in THEMES:
            for width in WIDTHS:
                with self.page(theme, width) as page:
                    page.goto(path, wait_until="networkidle")
                    prepare(page)
                    page.wait_for_timeout(300)
                    target = self._folder / f"{name}-{theme}-{width}.png"
                    page.screenshot(path=target, full_page=whole)
                    print(target)


def fill(system: LocalSystem, gemini: ScriptedGemini, page: Page) -> None:
    """Upload the scenes through the page. The first of the list becomes the newest."""
    page.goto(system.url, wait_until="networkidle")
    for scene in reversed(SCENES):
        words = {"caption": scene.caption, "alt_text": scene.alt_text, "tags": scene.tags}
        gemini.script.append(answer(words, modelVersion=MODEL) if scene.caption else REFUSAL)
        send(page, scene.name, scene.encoded())
        row = page.locator(".upload-row", has_text=scene.name)
        row.locator("xpath=self::*[@data-state='completed' or @data-state='failed']").wait_for(
            timeout=60_000
        )


def send(page: Page, name: str, data: bytes) -> None:
    """Choose one file in the upload form."""
    page.set_input_files(
        "#image", {"name": name, "mimeType": "application/octet-stream", "buffer": data}
    )


def uploading(page: Page) -> None:
    """Show the upload page with a file in each state."""
    # A duplicate, a rejected file, and one upload that never ends.
    page.route("**/upload", lambda route: None if b"harbour" in body(route) else route.continue_())
    send(page, SCENES[0].name, SCENES[0].encoded())
    page.locator(".upload-row[data-state=duplicate]").wait_for()
    send(page, "notes.txt", b"Milk, bread, a roll of film")
    page.locator(".upload-row[data-state=rejected]").wait_for()
    send(page, "harbour.jpg", SCENES[8].encoded("harbour.png"))
    page.locator(".upload-row[data-state=sending]").wait_for()


def body(route) -> bytes:
    """Return the body of a request, or nothing if the browser does not show it."""
    return route.request.post_data_buffer or b""


def open_lightbox(page: Page) -> None:
    """Open the first image in the lightbox."""
    page.locator(".card__link").first.click()
    page.locator(".lightbox__image--loaded").wait_for(timeout=5000)


def open_editor(page: Page) -> None:
    """Open the form that edits the text."""
    page.locator("[data-editor] > summary").click()


def select_images(page: Page) -> None:
    """Select the first three images of the gallery."""
    page.locator("[data-part=select]").click()
    for box in page.locator(".card__checkbox").all()[:3]:
        box.check()


def delete_images(page: Page) -> None:
    """Move the first three images of the gallery to the bin."""
    page.goto("/gallery", wait_until="networkidle")
    select_images(page)
    page.locator(".selection").get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Undo").wait_for()


def main() -> None:
    """Take all screenshots."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=DOCS, help="folder for the screenshots")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as state,
        scripted_gemini() as gemini,
        sync_playwright() as playwright,
        launch(playwright) as browser,
    ):
        system = LocalSystem(
            Path(state) / "state",
            GEMINI_API_KEY="not-needed",
            GOOGLE_GEMINI_BASE_URL=gemini.url,
            SITE_NOTICE="The captions in these pictures are examples.",
            ORIGINALS_VISIBLE_TO="owner",
        )
        system.start()
        try:
            take_all(system, gemini, browser, folder)
        finally:
            system.stop()
        take_samples(browser, Path(state) / "samples", folder)


def take_samples(browser: Browser, state: Path, folder: Path) -> None:
    """Take screenshots of the sample photos with the captions of the built-in recogniser."""
    system = LocalSystem(state, LOCAL_RECOGNISER="on", ORIGINALS_VISIBLE_TO="owner")
    system.start()
    try:
        context = browser.new_context(base_url=system.url)
        page = context.new_page()
        page.goto("/gallery", wait_until="networkidle")
        page.get_by_role("button", name="Add three sample photos").click()
        page.locator(".card:not(.card--pending)").nth(2).wait_for(timeout=60_000)
        owner = Photographer(browser, system.url, folder, context.storage_state())
        owner.take("samples", "/gallery")
        context.close()
    finally:
        system.stop()


def take_all(system: LocalSystem, gemini: ScriptedGemini, browser: Browser, folder: Path) -> None:
    """Take screenshots of the empty gallery, then of all pages with images."""
    visitor = Photographer(browser, system.url, folder, {})
    visitor.take("gallery-empty", "/gallery")
    context = browser.new_context()
    page = context.new_page()
    fill(system, gemini, page)
    newest = page.evaluate("fetch('/api/images').then(r => r.json()).then(b => b.images[0].id)")
    owner = Photographer(browser, system.url, folder, context.storage_state())
    owner.take("upload", "/")
    owner.take("uploading", "/", uploading)
    owner.take("gallery", "/gallery")
    owner.take("search", "/gallery?q=sky")
    owner.take("search-empty", "/gallery?q=submarine")
    owner.take("lightbox", "/gallery?status=completed", open_lightbox)
    owner.take("image", f"/images/{newest}")
    owner.take("image-edit", f"/images/{newest}", open_editor, whole=True)
    owner.take("review", "/review")
    owner.take("selection", "/gallery", select_images)
    with owner.page(THEMES[0], 1280) as own_page:
        delete_images(own_page)
    owner.take("bin", "/bin")
    owner.take("docs", "/api/docs")
    owner.take("error", "/images/999999")
    context.close()


if __name__ == "__main__":
    main()
