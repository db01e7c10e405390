"""axe finds no violation on any page, in the light and the dark theme."""

import re
from collections import Counter
from datetime import UTC, datetime

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import expect

from load_tester import Plan, RunResult, Tally, Target, Threshold, summarise, write_html
from tests.browser.person import new_jpeg
from tests.browser.test_layout import LONG_TEXTS
from tests.support.scripted_gemini import answer

REFUSAL = answer("", candidates=[], promptFeedback={"blockReason": "PROHIBITED_CONTENT"})

# The colours change with the next frame.
WIDTH_AT_NEXT_FRAME = """() => new Promise((done) => {
  const measure = () => done(document.documentElement.scrollWidth);
  requestAnimationFrame(() => requestAnimationFrame(measure));
})"""
RUN_AXE = """([context, options]) =>
  axe.run(context ?? document, options).then(({ violations }) => ({ violations }))"""

ARABIC_TEXTS = {
    "annotation": "كلب يركض على الشاطئ عند الجزر.",
    "alt_text": "كلب على الشاطئ",
    "tags": ["كلب", "شاطئ", "low tide"],
}


COLOUR_RULES = ["color-contrast", "link-in-text-block"]
WIDTHS = (320, 375, 768, 1280)
REMOVE_OTHER_PARTS = """(selectors) => {
  const parts = selectors.map((selector) => document.querySelector(selector));
  for (const each of document.querySelectorAll("body *")) {
    if (!parts.some((part) => part.contains(each) || each.contains(part))) each.remove();
  }
}"""


# The answers to all media queries of the page, for example about the width of the window.
MEDIA_QUERIES = """() => {
  const find = (rule) => [
    ...(rule instanceof CSSMediaRule ? [matchMedia(rule.conditionText).matches] : []),
    ...[...(rule.cssRules ?? rule.styleSheet?.cssRules ?? [])].flatMap(find),
  ];
  return [...document.styleSheets].flatMap(find);
}"""


def assert_no_violations(page, *, widths=(None,), colours_of=None):
    """Run all rules in the light theme, and those about colours in the dark one too.

    Args:
        widths: the widths of the window; None leaves it as it is. No page may be wider. The width
            hides parts but changes no colour, so colours are compared at the first and the last
            width, and those of the dark theme at the last. Between them, the rules run only if
            other media queries match than at the width before.
        colours_of: the selectors of the parts whose colours are compared; None compares all. The
            page loses its other parts, because axe compares each part with all that may cover it.
    """
    without_colours = {rule: {"enabled": False} for rule in COLOUR_RULES}
    matched = None
    for width in widths:
        _set_up(page, width, "light")
        if len(widths) > 2:
            matched, before = page.evaluate(MEDIA_QUERIES), matched
            if matched == before and width != widths[-1]:
                continue
        skips_colours = colours_of or width not in (widths[0], widths[-1])
        _run(page, None, {"rules": without_colours} if skips_colours else {})
    if colours_of:
        page.evaluate(REMOVE_OTHER_PARTS, colours_of)
        _run(page, {"include": colours_of}, {"runOnly": COLOUR_RULES})
    _set_up(page, None, "dark")
    _run(page, {"include": colours_of} if colours_of else None, {"runOnly": COLOUR_RULES})


def _set_up(page, width, theme):
    if width:
        page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    content_width = page.evaluate(WIDTH_AT_NEXT_FRAME)
    assert not width or content_width <= width


def _run(page, context, options):
    # It is half a megabyte, so only once for each page.
    if page.evaluate("!window.axe"):
        page.evaluate(AXE_SCRIPT)
    # Without details of what is right, axe needs half of the time.
    arguments = [context, {**options, "resultTypes": ["violations"]}]
    results = AxeResults(page.evaluate(RUN_AXE, arguments))
    assert results.violations_count == 0, results.generate_report()


def test_the_upload_page_has_no_violations(person, page):
    page.goto("/")

    assert_no_violations(page)


def test_the_upload_page_with_a_file_in_each_state_has_no_violations(person, page, gemini):
    data = new_jpeg()
    person.upload("done.jpg", data)
    gemini.script.append(REFUSAL)
    person.upload_failing("failed.jpg")
    person.choose(("again.jpg", data), ("notes.txt", b"not an image"))
    person.expect_state("again.jpg", "duplicate")
    person.slow_down(20_000)
    person.choose(("slow.jpg", new_jpeg() + bytes(500_000)))
    person.expect_state("slow.jpg", "sending")

    assert_no_violations(page)


def test_the_empty_gallery_has_no_violations(live_url, page):
    page.goto(f"{live_url}/gallery")  # A system without images.

    expect(page.locator(".empty")).to_contain_text("No images yet.")
    assert_no_violations(page)


def test_the_gallery_with_pending_and_failed_images_has_no_violations(person, page, gemini):
    person.add("done.jpg")
    gemini.script.append(REFUSAL)
    person.send("failed.jpg")
    gemini.hold()
    person.choose(("pending.jpg", new_jpeg()))
    person.expect_state("pending.jpg", "accepted")
    page.goto("/gallery")
    expect(page.locator(".card--pending")).not_to_have_count(0)

    assert_no_violations(page)


def test_the_gallery_and_its_search_have_no_violations(person, page):
    person.add("done.jpg")
    for path in ("/gallery", "/gallery?tag=dog", "/gallery?q=nothingiscalledthis"):
        page.goto(path)

        assert_no_violations(page)


def test_the_selection_and_the_bin_have_no_violations(person, page):
    (image_id,) = person.add("mine.jpg")
    page.goto("/gallery")
    page.get_by_role("button", name="Select", exact=True).click()
    page.get_by_label("Select mine.jpg").check()
    page.get_by_text("Tags…").click()
    assert_no_violations(page, widths=WIDTHS)

    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    assert_no_violations(page, widths=WIDTHS)

    page.goto("/bin")
    expect(page.locator(f"#card-{image_id}")).to_be_visible()
    assert_no_violations(page, widths=WIDTHS)
    page.get_by_role("button", name="Delete… mine.jpg").click()
    expect(page.get_by_role("dialog")).to_contain_text("for good")
    assert_no_violations(page, widths=WIDTHS)


def test_the_lightbox_has_no_violations(person, page):
    person.add("large.jpg")
    page.goto("/gallery")
    page.locator(".card__link").first.click()
    expect(page.locator(".lightbox__image--loaded")).to_be_visible()

    assert_no_violations(page)


def test_screen_readers_skip_a_decorative_image_and_not_one_that_lacks_an_alt_text(person, page):
    (image_id,) = person.add("ornament.jpg")
    main = page.get_by_role("main")
    for change, images in (({"decorative": True}, 0), ({"decorative": False, "alt_text": None}, 1)):
        assert person.api("PATCH", f"/api/images/{image_id}", change)[0] == 200

        page.goto(f"/images/{image_id}")
        expect(main.get_by_role("img")).to_have_count(images)
        expect(main.get_by_text("screen readers skip")).to_have_count(1 - images)
        expect(main.get_by_text("No alt text.")).to_have_count(images)
        assert_no_violations(page)

        page.goto("/gallery?mine=true")
        card = person.card(image_id)
        expect(card.get_by_role("img")).to_have_count(images)
        link = card.get_by_role("link", name=re.compile("dog", re.IGNORECASE)).first
        assert_no_violations(page)
        link.press("Enter")
        viewer = page.get_by_role("dialog", name="Image viewer")
        expect(page.locator(".lightbox__image--loaded")).to_be_visible()
        expect(viewer.get_by_role("img")).to_have_count(images)
        expect(viewer.get_by_text("Decorative: no alt text.")).to_have_count(1 - images)
        assert_no_violations(page)


def test_the_image_page_and_its_dialogs_have_no_violations(person, page):
    (image_id,) = person.add("mine.jpg")
    page.goto(f"/images/{image_id}")
    assert_no_violations(page)

    page.get_by_text("Edit caption, alt text and tags").click()
    assert_no_violations(page)

    page.get_by_role("button", name="Delete…").click()
    assert_no_violations(page)


def test_long_texts_and_those_from_right_to_left_have_no_violations(person, page):
    long, arabic = person.add("long.jpg", "كلب.jpg")
    for image_id, texts in ((long, LONG_TEXTS), (arabic, ARABIC_TEXTS)):
        assert person.api("PATCH", f"/api/images/{image_id}", texts)[0] == 200
    page.goto("/gallery?mine=true")
    assert_no_violations(page, widths=WIDTHS)

    for image_id in (long, arabic):
        person.card(image_id).locator(".card__link").click()
        expect(page.locator(".lightbox__image--loaded")).to_be_visible()
        assert_no_violations(page, widths=WIDTHS)
        page.keyboard.press("Escape")
        # The browser goes back after the dialog is hidden, and that would cancel the next page.
        expect(page).to_have_url(re.compile(r"/gallery\?mine=true$"))
        expect(page.locator(".lightbox")).to_be_hidden()

    for image_id in (long, arabic):
        page.goto(f"/images/{image_id}")
        page.get_by_text("Edit caption, alt text and tags").click()
        assert_no_violations(page, widths=WIDTHS)
        page.get_by_role("button", name="Delete…").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert_no_violations(page, widths=WIDTHS)


# Comparing the colours of all parts takes a hundred times as long.
DOCS_PARTS = [
    *("header", ".heading", ".docs__contents", "#first-steps", "#errors", "footer"),
    *("#get--api-images", "#post--upload", "#patch--api-images-image_id", "#schema-Image"),
]
# The classes of elements that have a text of their own and are not in one of the parts.
OTHER_CLASSES = """(parts) => {
  const isText = (node) => node.nodeType === Node.TEXT_NODE && node.data.trim();
  const hasText = (each) => [...each.childNodes].some(isText);
  const classes = (root) => [...root.querySelectorAll("*")].filter(hasText)
    .map((each) => `${each.localName} ${each.className}`);
  const known = new Set(parts.flatMap((part) => classes(document.querySelector(part))));
  return classes(document.querySelector("main")).filter((each) => !known.has(each));
}"""


def test_the_api_reference_has_no_violations(person, page):
    page.goto("/api/docs")

    assert page.evaluate(OTHER_CLASSES, DOCS_PARTS) == []
    assert_no_violations(page, colours_of=DOCS_PARTS)


def test_the_page_of_keys_has_no_violations(person, page):
    page.goto("/keys")
    assert_no_violations(page)

    page.get_by_label("Name of a new key").fill("Phone")
    page.get_by_role("button", name="Create a key").click()
    expect(page.get_by_role("heading", name="Copy the key")).to_be_visible()
    assert_no_violations(page)


def test_the_page_of_usage_has_no_violations(person, page):
    person.send("mine.jpg")
    page.goto("/usage")

    expect(page.get_by_role("region", name="Usage by model")).to_be_visible()
    assert_no_violations(page)


def test_an_error_page_has_no_violations(person, page):
    page.goto("/images/999999999")

    assert_no_violations(page)


def test_the_report_of_a_load_test_has_no_violations(page, tmp_path):
    plan = Plan(Target.parse("http://127.0.0.1/gallery?q=dog"), 10, None, 2)
    result = RunResult(datetime.now(UTC), seconds=2)
    for second in range(2):
        tally = Tally(completed=3, failed=1, status_codes=Counter({200: 2, 500: 1}))
        tally.errors["HTTP status 500"] += 1
        tally.latency.record_value(1000 + second)
        result.total.add(tally)
        result.timeline.add(second, tally)
    thresholds = [Threshold.parse(text) for text in ("errors>1", "p99>10s")]
    summary = summarise(plan, result, arguments=["-n", "10"], thresholds=thresholds)
    write_html(tmp_path / "run.html", plan, summary)

    page.goto(f"file://{tmp_path}/run.html")

    assert page.get_by_text("crossed").count() == 1
    assert_no_violations(page, widths=(375, 1280))
