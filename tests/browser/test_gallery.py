"""Browser tests of the gallery and its lightbox."""

import re

import pytest
import requests
from playwright.sync_api import expect

from tests.browser.person import new_jpeg
from tests.support.scripted_gemini import answer
from tests.support.time_limits import scaled, scaled_ms

REFUSAL = answer("", candidates=[], promptFeedback={"blockReason": "PROHIBITED_CONTENT"})
PAGE_SIZE = 24
# Without the images of other tests, whose cards and thumbnails take time.
MINE = "/gallery?mine=true"
NO_OBSERVER = "window.IntersectionObserver = class { observe() {} unobserve() {} };"


def has_loaded(image):
    return image.evaluate("image => image.complete && image.naturalWidth > 0")


def add_with_captions(person, *captions):
    """Add images with these captions, the last one as the newest."""
    for image_id, caption in zip(
        person.add(*(f"{c}.jpg" for c in captions)), captions, strict=True
    ):
        assert person.api("PATCH", f"/api/images/{image_id}", {"annotation": caption})[0] == 200


def add_described(person, caption, *tags):
    """Add an image with this caption and these tags, and return its id."""
    (image_id,) = person.add("IMG_1.jpg")
    texts = {"annotation": caption, "alt_text": f"Alt: {caption}", "tags": list(tags)}
    assert person.api("PATCH", f"/api/images/{image_id}", texts)[0] == 200
    return image_id


@pytest.fixture(scope="module")
def many_images(system, ready_images):
    """Add more images of another owner than a page shows."""
    response = requests.post(f"{system.url}/api/owners", timeout=scaled(30))
    names = (f"{number}.jpg" for number in range(PAGE_SIZE + 6))
    ready_images.add(response.json()["owner_token"], *names)


# Cards


def test_a_new_caption_appears_without_a_reload(person, page, gemini):
    gemini.hold()
    person.choose(("live.jpg", new_jpeg()))
    image_id = person.id_of(person.expect_state("live.jpg", "accepted"))
    page.goto("/gallery")
    card = person.card(image_id)
    expect(card).to_contain_text("Writing a caption…")
    page.evaluate("window.isSamePage = true")

    gemini.release()

    expect(card).to_contain_text("A dog runs on a beach.")

    assert page.evaluate("window.isSamePage")
    expect(card.locator("img.thumbnail")).to_have_attribute("alt", "Dog on beach")


def test_polling_requests_all_pending_images_at_once_and_ends_when_none_is_pending(
    person, page, gemini
):
    gemini.hold()
    person.choose(*((f"{number}.jpg", new_jpeg()) for number in range(3)))
    for number in range(3):
        person.expect_state(f"{number}.jpg", "accepted")
    requested = []
    page.on("request", lambda r: requested.append(r.url) if "/api/image_status?" in r.url else None)
    with page.expect_request(re.compile(r"/api/image_status\?ids=\d+,\d+,\d+$")):
        page.goto("/gallery")

    gemini.release()

    expect(page.locator(".card--pending")).to_have_count(0, timeout=scaled_ms(30))
    # A card may show a caption before a response has it. That response is awaited to announce it.
    page.wait_for_timeout(scaled_ms(2.5))
    seen = len(requested)
    page.wait_for_timeout(2500)
    assert len(requested) == seen


def test_a_rate_limited_gallery_waits_and_then_shows_the_caption(person, page, gemini):
    gemini.hold()
    person.choose(("patient.jpg", new_jpeg()))
    image_id = person.id_of(person.expect_state("patient.jpg", "accepted"))
    refused = []

    def refuse_once(route):
        kind = re.search("card|image_status", route.request.url)[0]
        if kind in refused:
            route.continue_()
        else:
            refused.append(kind)
            route.fulfill(
                status=429,
                headers={"Retry-After": "1"},
                json={"error": "Too many requests.", "code": "rate_limited"},
            )

    page.route(re.compile("/card$|/api/image_status"), refuse_once)
    with page.expect_response(lambda response: response.status == 429):
        page.goto("/gallery")

    gemini.release()

    expect(person.card(image_id)).to_contain_text("A dog runs on a beach.", timeout=scaled_ms(30))
    assert set(refused) == {"card", "image_status"}


def test_polling_pauses_in_a_hidden_tab(person, page, gemini):
    gemini.hold()
    person.choose(("hidden.jpg", new_jpeg()))
    person.expect_state("hidden.jpg", "accepted")
    page.goto("/gallery")
    requested = []
    page.on("request", lambda r: requested.append(r.url) if "/api/image_status?" in r.url else None)
    set_hidden = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""

    page.evaluate(set_hidden, True)
    page.wait_for_timeout(500)  # A request that was already sent may still arrive.
    requested.clear()
    page.wait_for_timeout(3000)
    while_hidden = len(requested)
    with page.expect_request(re.compile(r"/api/image_status\?")):
        page.evaluate(set_hidden, False)

    assert while_hidden == 0


def test_a_failed_image_shows_the_reason_and_its_owner_can_retry_it(person, page, gemini):
    gemini.script.append(REFUSAL)
    image_id = person.send("refused.jpg")
    page.goto("/gallery?status=failed")
    card = person.card(image_id)
    expect(card).to_contain_text("Caption:")

    card.get_by_role("button", name="Retry").click()

    expect(card).to_contain_text("A dog runs on a beach.", timeout=scaled_ms(30))
    expect(card.locator(".error-message")).to_have_count(0)


def test_all_failed_images_of_an_owner_can_be_retried_at_once(person, page, gemini):
    ids = []
    for name in ("a.jpg", "b.jpg"):
        gemini.script.append(REFUSAL)
        ids.append(person.send(name))
    page.goto("/gallery?status=failed")

    page.get_by_role("button", name="Retry all my failed images").click()

    for image_id in ids:
        expect(person.card(image_id)).to_contain_text(
            "A dog runs on a beach.", timeout=scaled_ms(30)
        )


def test_a_failed_image_of_another_owner_has_no_retry_button(person, new_person, gemini):
    gemini.script.append(REFUSAL)
    image_id = person.send("theirs.jpg")
    stranger = new_person()

    stranger.page.goto("/gallery?status=failed")

    expect(stranger.card(image_id)).to_be_visible()
    expect(stranger.card(image_id).get_by_role("button")).to_have_count(0)


def test_cards_keep_their_size_while_thumbnails_load(person, page):
    person.add("placed.jpg")
    page.route("**/image-annotation-thumbnails/**", lambda route: None)  # Never respond.
    page.goto(MINE, wait_until="domcontentloaded")

    box = page.locator(".thumbnail").first.bounding_box()

    assert abs(box["width"] - box["height"]) < 1  # The shape of the thumbnail.
    thumbnail = page.locator(".thumbnail").first
    expect(thumbnail).to_have_attribute("data-color", re.compile("^#"))
    expect(thumbnail).to_have_css("background-color", re.compile(r"^rgb\("))


def test_an_expired_link_is_renewed(person, page):
    (image_id,) = person.add("aged.jpg")
    answers = iter(["expired"])

    def handle(route):
        if next(answers, None):
            route.fulfill(status=403, body="<Error><Code>AccessDenied</Code></Error>")
        else:
            route.continue_()

    path = person.api("GET", f"/api/images/{image_id}")[1]["thumbnail_url"].partition("?")[0]
    page.route(f"{path}*", handle)
    page.goto(MINE)

    image = person.card(image_id).locator("img.thumbnail")
    expect(image).to_have_attribute("data-renewed", "true")
    person.wait_for("document.querySelector('[data-renewed]').naturalWidth > 0")


def test_a_link_that_fails_again_is_renewed_only_once(person, page):
    (image_id,) = person.add("dead.jpg")
    path = person.api("GET", f"/api/images/{image_id}")[1]["thumbnail_url"].partition("?")[0]
    requested = []
    page.route(f"{path}*", lambda route: (requested.append(1), route.fulfill(status=403)))

    page.goto(MINE)
    expect(person.card(image_id).locator(".thumbnail--broken")).to_be_visible()
    page.wait_for_timeout(500)

    assert len(requested) <= 2


# Search, tags and pages


def test_a_search_finds_a_word_of_a_caption_and_its_url_can_be_shared(person, page, new_person):
    image_id = add_described(person, "A zeppelin over the harbour.", "zeppelin")
    page.goto("/gallery")

    page.get_by_role("searchbox").fill("zeppelin")
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile(r"q=zeppelin"))
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator(".heading__count")).to_have_text(re.compile("1 image for “zeppelin”"))
    stranger = new_person()
    stranger.page.goto(page.url)
    expect(stranger.card(image_id)).to_be_visible()


def test_a_search_without_results_offers_all_images(page):
    page.goto("/gallery?q=nothingiscalledthis")

    expect(page.locator(".empty")).to_contain_text("No images match.")
    page.get_by_role("link", name="Show all images").click()
    expect(page).to_have_url(re.compile("/gallery$"))


def test_a_tag_links_to_all_images_with_that_tag(person, page):
    image_id = add_described(person, "A quokka smiles.", "quokka", "island")
    page.goto("/gallery")

    person.card(image_id).get_by_role("link", name="quokka", exact=True).click()

    expect(page).to_have_url(re.compile("tag=quokka"))
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_role("link", name="Remove tag quokka").click()
    expect(page).not_to_have_url(re.compile("tag="))


def test_scrolling_loads_more_images_and_each_only_once(person, page, many_images):
    page.goto("/gallery")
    expect(page.locator(".card")).to_have_count(PAGE_SIZE)

    page.mouse.wheel(0, 20_000)

    person.wait_for(f"document.querySelectorAll('.card').length > {PAGE_SIZE}")
    ids = page.locator(".card").evaluate_all("cards => cards.map(c => c.dataset.imageId)")
    assert len(ids) == len(set(ids))
    assert ids == sorted(ids, key=int, reverse=True)


def test_load_more_is_a_link_without_javascript(new_person, many_images):
    page = new_person(java_script_enabled=False).page
    page.goto("/gallery")

    page.get_by_role("link", name="Load more").click()

    expect(page).to_have_url(re.compile("cursor="))
    expect(page.locator(".card").first).to_be_visible()
    expect(page.get_by_role("link", name="First page")).to_be_visible()


def test_load_more_works_by_keyboard_and_focuses_the_first_new_card(person, page, many_images):
    page.add_init_script(NO_OBSERVER)
    page.goto("/gallery")
    more = page.get_by_role("button", name="Load more")
    more.focus()

    page.keyboard.press("Space")

    person.wait_for(f"document.querySelectorAll('.card').length > {PAGE_SIZE}")
    first_new = page.locator(".card").nth(PAGE_SIZE).locator(".card__link")
    expect(first_new).to_be_focused()


def test_arrow_keys_move_between_cards_and_only_one_is_a_tab_stop(page, many_images):
    page.set_viewport_size({"width": 375, "height": 800})  # Two columns.
    page.goto("/gallery")
    links = page.locator(".card__link")
    expect(page.locator('.card a[tabindex="0"]')).to_have_count(1)
    links.first.focus()

    for key, index in [
        ("ArrowRight", 1),
        ("ArrowDown", 3),
        ("ArrowLeft", 2),
        ("ArrowUp", 0),
        ("ArrowUp", 0),
    ]:
        page.keyboard.press(key)
        expect(links.nth(index)).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")

    assert page.evaluate("document.activeElement.closest('.card')") is None
    page.keyboard.press("Shift+Tab")
    expect(links.nth(1)).to_be_focused()


@pytest.mark.parametrize("has_scripts", [True, False])
def test_the_way_back_from_an_image_keeps_the_search(person, new_person, has_scripts):
    image_id = add_described(person, "A narwhal dives.", "narwhal")
    page = new_person(java_script_enabled=has_scripts).page
    page.goto("/gallery?q=narwhal&status=completed")
    path = page.locator(".card__link").first.get_attribute("href")
    page.goto(path)
    assert f"/images/{image_id}?" in page.url

    page.get_by_role("navigation", name="Place in the gallery").get_by_role(
        "link", name="Gallery"
    ).click()

    expect(page).to_have_url(re.compile(rf"q=narwhal&status=completed#card-{image_id}$"))
    expect(page.locator(f"#card-{image_id}")).to_be_in_viewport()


# The lightbox


def test_the_lightbox_has_an_address_and_back_closes_it(person, page, new_person):
    (image_id,) = person.add("linked.jpg")
    page.goto("/gallery?tag=dog")
    person.card(image_id).locator(".card__link").click()
    dialog = page.get_by_role("dialog", name="Image viewer")
    expect(page).to_have_url(re.compile(rf"/gallery\?tag=dog#image-{image_id}$"))
    address = page.url

    page.go_back()

    expect(dialog).to_be_hidden()
    expect(page).to_have_url(re.compile(r"/gallery\?tag=dog$"))
    expect(person.card(image_id).locator(".card__link")).to_be_focused()
    page.go_forward()
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile(r"/gallery\?tag=dog$"))
    stranger = new_person().page
    stranger.goto(address)
    expect(stranger.get_by_role("dialog")).to_contain_text("Alt text: Dog on beach")
    stranger.get_by_role("button", name="Close").click()
    expect(stranger).to_have_url(re.compile(r"/gallery\?tag=dog$"))


def test_the_lightbox_works_with_the_keyboard(person, page):
    add_with_captions(person, *(f"The {name} of three." for name in ("third", "second", "first")))
    page.goto(MINE)
    links = page.locator(".card__link")
    links.first.focus()

    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Image viewer")
    expect(dialog).to_contain_text("The first of three.")
    page.keyboard.press("ArrowRight")
    expect(dialog).to_contain_text("The second of three.")
    expect(dialog).not_to_contain_text("The first of three.")
    page.keyboard.press("ArrowRight")
    expect(dialog).to_contain_text("The third of three.")
    page.keyboard.press("ArrowLeft")
    expect(dialog).to_contain_text("The second of three.")
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body"
            " || document.querySelector('dialog[open]').contains(document.activeElement)"
        )
    page.keyboard.press("Escape")

    expect(dialog).to_be_hidden()
    expect(links.nth(1)).to_be_focused()


def test_texts_are_copied_in_the_lightbox_by_keyboard(person, page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    (image_id,) = person.add("copied.jpg")
    page.goto(MINE)
    person.card(image_id).locator(".card__link").click()
    address = page.evaluate(f"location.origin + '/images/{image_id}/preview'")
    copied = {
        "Caption": "A dog runs on a beach.",
        "Alt text": "Dog on beach",
        "HTML": f'<img src="{address}" alt="Dog on beach" width=',
        "Markdown": f"![Dog on beach]({address})",
    }

    for name, text in copied.items():
        page.get_by_role("button", name=f"Copy {name}").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog").get_by_role("status")).to_contain_text(f"{name} copied.")
        assert page.evaluate("navigator.clipboard.readText()").startswith(text)


def test_the_lightbox_shows_the_preview(person, page):
    (image_id,) = person.add("large.jpg")
    page.goto("/gallery")

    person.card(image_id).locator(".card__link").click()

    preview = page.locator(".lightbox__image--loaded")
    expect(preview).to_be_visible()
    assert "-preview.jpg" in preview.evaluate("image => image.currentSrc")
    link = page.get_by_role("link", name="Details")
    expect(link).to_have_attribute("href", f"/images/{image_id}")


def test_a_swipe_shows_the_next_image(person, page):
    add_with_captions(person, "The older of two.", "The newer of two.")
    page.goto(MINE)
    page.locator(".card__link").first.click()
    dialog = page.get_by_role("dialog", name="Image viewer")
    expect(dialog).to_contain_text("The newer of two.")

    page.mouse.move(700, 300)
    page.mouse.down()
    page.mouse.move(400, 310, steps=5)
    page.mouse.up()

    expect(dialog).to_contain_text("The older of two.")


def test_a_card_links_to_the_image_page_without_javascript(person, new_person):
    (image_id,) = person.add("plain.jpg")
    page = new_person(java_script_enabled=False).page
    page.goto("/gallery")

    page.locator(f'.card[data-image-id="{image_id}"] .card__link').click()

    expect(page).to_have_url(re.compile(f"/images/{image_id}$"))


# Sample photos


# The page is closed before the server that it may still load scripts from.
def test_one_click_adds_the_sample_photos_to_an_empty_gallery(live_url, page):
    page.goto(f"{live_url}/gallery")
    expect(page.locator(".samples__photo")).to_have_count(3)
    assert all(has_loaded(image) for image in page.locator(".samples__photo").all())

    page.get_by_role("button", name="Add three sample photos").click()

    expect(page).to_have_url(f"{live_url}/gallery")
    expect(page.locator(".card")).to_have_count(3)
    expect(page.locator(".empty")).to_have_count(0)


def test_images_that_were_uploaded_meanwhile_are_offered_and_added_without_a_reload(
    new_person,
):
    # The clock of a window stays changed, so this is not the window that tests share.
    person = new_person()
    page = person.page
    (shown,) = person.add("shown.jpg")
    page.clock.install()
    page.goto("/gallery")
    page.evaluate("window.isSamePage = true")
    expect(person.card(shown)).to_be_visible()
    (added,) = new_person().add("meanwhile.jpg")
    button = page.get_by_role("button", name="1 new image")
    expect(button).to_have_count(0)

    page.clock.fast_forward("05:00")
    expect(button).to_be_visible()
    button.focus()
    page.keyboard.press("Enter")

    expect(person.card(added).locator(".card__link")).to_be_focused()
    expect(page.locator(".card").first).to_have_attribute("data-image-id", str(added))
    expect(button).to_be_hidden()
    assert page.evaluate("window.isSamePage")
