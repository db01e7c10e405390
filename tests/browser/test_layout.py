"""Browser tests of the layout: no page is wider than its window, and controls are large enough."""

import pytest
from playwright.sync_api import expect

WIDTHS = [320, 375, 768, 1280]
# The distances of https://www.w3.org/TR/WCAG22/#text-spacing
TEXT_SPACING = """() => {
    for (const element of document.querySelectorAll("*")) {
        // A form may have a field with the name "style". Its fields inherit these styles.
        if (!(element.style instanceof CSSStyleDeclaration)) continue;
        element.style.setProperty("line-height", "1.5", "important");
        element.style.setProperty("letter-spacing", "0.12em", "important");
        element.style.setProperty("word-spacing", "0.16em", "important");
    }
    for (const paragraph of document.querySelectorAll("p")) {
        paragraph.style.setProperty("margin-bottom", "2em", "important");
    }
}"""
LONG_TAGS = [f"{number:02}{'m' * 48}" for number in range(20)]


LONG_TEXTS = {
    "annotation": " ".join(["Donaudampfschifffahrtsgesellschaft" * 5, *["a long caption"] * 100]),
    "alt_text": "A long alt text. " * 25,
    "tags": LONG_TAGS,
}


def assert_not_wider_than_its_window(page, widths=WIDTHS):
    for width in widths:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, page.url


@pytest.fixture
def paths(person):
    """Return the paths of all kinds of pages, with texts as long as they can be."""
    (image_id,) = person.add(f"{'a-very-long-file-name-' * 8}.jpg")
    assert person.api("PATCH", f"/api/images/{image_id}", LONG_TEXTS)[0] == 200
    (binned_id,) = person.add(f"{'a-long-deleted-file-name-' * 8}.jpg")
    assert person.api("DELETE", f"/api/images/{binned_id}")[0] == 204
    pages = [
        "/",
        "/gallery",
        "/gallery?select=1",
        "/bin",
        "/gallery?q=nothingiscalledthis",
        "/api/docs",
        "/keys",
        "/usage",
        "/404",
    ]
    return [*pages, f"/images/{image_id}"]


def test_no_page_is_wider_than_its_window_also_with_more_space_between_letters(page, paths):
    for path in paths:
        page.goto(path)
        assert_not_wider_than_its_window(page)
        page.evaluate(TEXT_SPACING)
        assert_not_wider_than_its_window(page, [320, 375])
    page.reload()
    page.get_by_text("Edit caption, alt text and tags").click()
    assert page.locator("input[name=tags]").input_value() == ", ".join(LONG_TAGS)
    assert_not_wider_than_its_window(page)


def test_no_page_is_wider_than_its_window_without_scripts(new_person, paths):
    page = new_person(java_script_enabled=False, viewport={"width": 320, "height": 800}).page
    for path in paths:
        page.goto(path)
        metrics = page.context.new_cdp_session(page).send("Page.getLayoutMetrics")
        assert metrics["cssContentSize"]["width"] <= 320, path


def test_a_long_caption_in_the_lightbox_scrolls_by_keyboard(person, page):
    (image_id,) = person.add("long.jpg")
    person.api("PATCH", f"/api/images/{image_id}", LONG_TEXTS)
    page.goto("/gallery")
    person.card(image_id).locator(".card__link").click()
    caption = page.get_by_role("group", name="Caption")
    expect(caption).to_contain_text("a long caption")

    caption.focus()
    page.keyboard.press("End")

    person.wait_for("document.querySelector('.lightbox__text').scrollTop > 0")


def test_links_of_the_header_tags_and_the_way_back_are_large_enough_for_a_finger(page, paths):
    page.set_viewport_size({"width": 375, "height": 800})
    page.goto(paths[-1])

    for selector, height in ((".masthead__link", 44), (".breadcrumb a", 44), (".tag", 24)):
        boxes = [link.bounding_box() for link in page.locator(selector).all()]
        assert boxes
        assert min(box["height"] for box in boxes) >= height, selector
