"""Browser tests of the selection in the gallery, of its actions and their undo, and of the bin."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.test_accessibility import assert_no_violations
from tests.support.local_system import wait_until
from tests.support.scripted_gemini import answer
from tests.support.time_limits import scaled_ms


@pytest.fixture
def ids(person, page):
    """Add four images, open the gallery, and return their ids in its order."""
    ids = person.add(*(f"{number}.jpg" for number in range(4)))[::-1]
    open_gallery(page)
    return ids


@pytest.fixture
def sent_ids(person, page):
    """Do the same with two images whose captions can be written again."""
    ids = [person.send(f"{number}.jpg") for number in range(2)][::-1]
    open_gallery(page)
    return ids


def open_gallery(page, search="?mine=true"):
    """Open the gallery, by default without the images of other tests, whose cards take time."""
    page.goto(f"/gallery{search}")
    # The script gives the link its role.
    expect(page.get_by_role("button", name="Select", exact=True)).to_be_visible()


def start(page):
    page.locator("[data-part=select]").click()
    expect(page.locator(".selection")).to_be_visible()


def box(page, image_id):
    return page.locator(f"#card-{image_id} .card__checkbox")


def expect_selected(page, ids, selected):
    for image_id in ids:
        expect(box(page, image_id)).to_be_checked(checked=image_id in selected)
    expect(page.locator(".selection__count")).to_have_text(f"{len(selected)} selected")


def press(page, name):
    page.locator(".selection").get_by_role("button", name=name, exact=True).click()


def test_a_click_and_a_shift_click_select_a_range_and_escape_ends_it(page, ids):
    start(page)
    page.locator(f"#card-{ids[0]} .card__link").click()
    expect_selected(page, ids, ids[:1])
    page.locator(f"#card-{ids[2]} .card__link").click(modifiers=["Shift"])
    expect_selected(page, ids, ids[:3])
    box(page, ids[1]).uncheck()
    expect_selected(page, ids, [ids[0], ids[2]])

    page.keyboard.press("Escape")

    expect(page.locator(".selection")).to_be_hidden()
    expect(page.locator("[data-part=select]")).to_be_focused()
    page.locator(f"#card-{ids[0]} .card__link").click()
    expect(page.locator(".lightbox")).to_be_visible()


def test_images_are_selected_by_keyboard(page, ids):
    page.locator(f"#card-{ids[0]} .card__link").focus()
    page.keyboard.press("x")
    expect_selected(page, ids, ids[:1])
    expect(box(page, ids[0])).to_be_focused()
    page.keyboard.press("Shift+ArrowRight")
    expect_selected(page, ids, ids[:2])
    page.keyboard.press("ArrowRight")
    expect(box(page, ids[2])).to_be_focused()
    page.keyboard.press("Space")
    expect_selected(page, ids, ids[:3])
    page.keyboard.press("x")
    expect_selected(page, ids, ids[:2])

    page.keyboard.press("Control+a")

    for image_id in ids:
        expect(box(page, image_id)).to_be_checked()


def test_a_long_press_begins_the_selection(new_person):
    person = new_person(has_touch=True, is_mobile=True, viewport={"width": 375, "height": 800})
    page = person.page
    (image_id,) = person.add("touched.jpg")
    page.goto("/gallery")
    place = page.locator(f"#card-{image_id} .card__link").bounding_box()
    point = {"x": place["x"] + 40, "y": place["y"] + 40}
    devtools = page.context.new_cdp_session(page)

    devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    expect(page.locator(".selection")).to_be_visible()
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    expect_selected(page, [image_id], [image_id])
    expect(page.locator(".lightbox")).to_be_hidden()


def test_selected_images_are_deleted_and_the_undo_restores_them_in_place(person, page, ids):
    start(page)
    for image_id in ids[1:3]:
        box(page, image_id).check()
    press(page, "Delete")

    toast = page.locator(".toast")
    expect(toast).to_contain_text("Moved 2 images to your bin.")
    for image_id in ids[1:3]:
        expect(page.locator(f"#card-{image_id}")).to_have_count(0)
    toast.get_by_role("button", name="Undo").click()

    expect(toast).to_contain_text("Restored 2 images.")
    shown = page.locator(".card").evaluate_all("cards => cards.map((card) => card.dataset.imageId)")
    assert shown[:4] == [str(image_id) for image_id in ids]
    assert person.api("GET", "/api/bin") == (200, {"images": [], "next_cursor": None})


def test_tags_are_added_and_the_undo_removes_them(page, ids):
    start(page)
    box(page, ids[0]).check()
    page.get_by_text("Tags…").click()
    page.locator(".selection input[name=tags]").fill("holiday")
    page.keyboard.press("Enter")

    expect(page.locator(".toast")).to_contain_text("Added tags to 1 image.")
    expect(page.locator(f"#card-{ids[0]} .tags")).to_contain_text("holiday")
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(page.locator(".toast")).to_contain_text("Removed the tag from 1 image.")
    expect(page.locator(f"#card-{ids[0]} .tags")).not_to_contain_text("holiday")


def test_approvals_are_withdrawn(person, page, ids):
    person.api("PATCH", f"/api/images/{ids[0]}", {"reviewed": True})
    person.api("PATCH", f"/api/images/{ids[0]}", {"alt_text": "Rex"})
    start(page)
    box(page, ids[0]).check()
    press(page, "Approve")
    expect(page.locator(".toast")).to_contain_text("Approved 1 image.")
    assert person.api("GET", f"/api/images/{ids[0]}")[1]["review"] == "reviewed"

    page.locator(".toast").get_by_role("button", name="Withdraw approval").click()

    message = "Withdrew the approval of 1 image. The state is “Unreviewed” now."
    expect(page.locator(".toast")).to_contain_text(message)
    assert person.api("GET", f"/api/images/{ids[0]}")[1]["review"] == "unreviewed"


def test_refused_images_stay_selected_and_the_reason_is_shown(person, page, ids):
    full = [f"tag {number}" for number in range(20)]
    assert person.api("PATCH", f"/api/images/{ids[0]}", {"tags": full})[0] == 200
    start(page)
    for image_id in ids[:2]:
        box(page, image_id).check()
    page.get_by_text("Tags…").click()
    page.locator(".selection input[name=tags]").fill("holiday")
    press(page, "Add tags")

    message = "Added tags to 1 image. 1 image not changed: Use up to 20 tags. You have 21."
    expect(page.locator(".toast--error")).to_contain_text(message)
    expect_selected(page, ids, ids[:1])


def test_all_images_that_match_are_changed_and_those_of_others_stay(person, page, ids, new_person):
    for image_id in ids[:2]:
        person.api("PATCH", f"/api/images/{image_id}", {"tags": ["of this test"]})
    other = new_person()
    (others,) = other.add("other.jpg")
    other.api("PATCH", f"/api/images/{others}", {"tags": ["of this test"]})
    page.goto("/gallery?tag=of+this+test&utm_source=a+newsletter")
    start(page)
    press(page, "Select all that match")
    expect(page.locator(".selection__count")).to_have_text("All that match are selected: 2")
    press(page, "Delete")

    expect(page.locator(".toast")).to_contain_text("Moved 2 images to your bin.")
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator(f"#card-{others}")).to_be_visible()


def test_all_that_match_is_offered_only_if_an_action_finds_what_is_shown(page, ids):
    for search, is_offered in (
        ("?sort=changed", True),
        ("?since=2020-01-01", True),
        ("?sort=changed&since=2020-01-01", False),
    ):
        open_gallery(page, search)
        start(page)

        button = page.get_by_role("button", name="Select all that match")
        expect(button).to_be_visible(visible=is_offered)


def test_selected_images_are_exported(page, ids):
    start(page)
    for image_id in ids[:2]:
        box(page, image_id).check()
    with page.expect_download() as download:
        press(page, "Export")

    rows = download.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [str(image_id) for image_id in ids[:2]]
    end = "Selected images (CSV): The server has sent the whole file (2 images)."
    expect(page.locator(".export")).to_contain_text(end)
    expect(page.locator(".toast")).to_contain_text(end)


def test_a_message_covers_neither_the_masthead_nor_the_buttons_of_the_selection(page, ids):
    for width in (320, 375, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        open_gallery(page)
        start(page)
        press(page, "Delete")  # Without an image, this is an error, which stays until it is closed.
        toast = page.locator(".toast--error")
        expect(toast).to_be_in_viewport(ratio=1)

        box(page, ids[0]).check()
        press(page, "Export")
        expect(page.locator(".masthead .export--ended")).to_be_visible()
        message = page.locator(".toast").bounding_box()
        for covered in (".selection", ".masthead"):
            place = page.locator(covered).bounding_box()
            assert (
                message["y"] >= place["y"] + place["height"]
                or message["y"] + message["height"] <= place["y"]
            ), (covered, width)
        page.locator(".selection").get_by_role("link", name="Cancel").click()
        expect(page.locator(".selection")).to_be_hidden()


def test_selected_images_get_new_captions_in_another_language(page, sent_ids, gemini, person):
    german = {"caption": "Ein Hund am Strand.", "alt_text": "Ein Hund", "tags": ["hund"]}
    gemini.script += [answer({**german, "language": "de"})] * 2
    start(page)
    for image_id in sent_ids:
        box(page, image_id).check()
    page.locator(".selection summary", has_text="New captions…").click()
    page.locator("select[data-option][name=language]").select_option("de")
    press(page, "Write new captions")

    expect(page.locator(".toast")).to_contain_text("Writing new captions for 2 images…")
    for image_id in sent_ids:
        caption = page.locator(f"#card-{image_id} .caption")
        expect(caption).to_have_text("Ein Hund am Strand.")
        expect(caption).to_have_attribute("lang", "de")
    requests = [request["systemInstruction"]["parts"][0]["text"] for request in gemini.requests]
    assert all("Write in German." in text for text in requests[-2:])
    _, shown = person.api("GET", f"/api/images/{sent_ids[0]}")
    assert shown["caption_options"] == {
        "language": "de",
        "style": None,
        "context": None,
        "use_embedded_text": False,
    }


def status_of(person, image_id):
    return person.api("GET", f"/api/images/{image_id}")[1]["status"]


def test_options_of_selected_images_are_left_to_the_site_again(page, sent_ids, gemini, person):
    options = {"language": "de,fr", "style": "short", "context": "Rex", "use_embedded_text": True}
    body = {"action": "regenerate", "ids": sent_ids, **options}
    german = {"caption": "Ein Hund am Strand.", "alt_text": "Ein Hund", "language": "de"}
    gemini.script += [answer(german)] * 2
    person.api("POST", "/api/images/batch", body)
    for image_id in sent_ids:
        wait_until(lambda each=image_id: status_of(person, each) == "completed", seconds=30)
    start(page)
    for image_id in sent_ids:
        box(page, image_id).check()
    page.locator(".selection summary", has_text="New captions…").click()
    for name, value in (
        ("language", "site"),
        ("style", "site"),
        ("old_context", "remove"),
        ("use_embedded_text", "false"),
    ):
        page.locator(f"select[data-option][name={name}]").select_option(value)
    assert_no_violations(page)
    press(page, "Write new captions")

    expect(page.locator(".toast")).to_contain_text("Writing new captions for 2 images…")
    for image_id in sent_ids:
        _, shown = person.api("GET", f"/api/images/{image_id}")
        assert shown["caption_options"] == {
            "language": None,
            "style": None,
            "context": None,
            "use_embedded_text": False,
        }


def submit_button(page):
    return page.get_by_role("button", name="Write new captions")


def test_every_option_for_new_captions_is_reached_on_a_phone(page, ids):
    page.set_viewport_size({"width": 320, "height": 480})
    start(page)
    box(page, ids[0]).check()
    # A long gallery, so that the form is far from its end.
    page.evaluate(
        """() => {
            const card = document.querySelector(".gallery .card");
            for (let i = 0; i < 40; i += 1) {
                card.after(card.cloneNode(true));
            }
            scrollTo({ top: 1000, behavior: "instant" });
        }"""
    )
    page.locator(".selection summary", has_text="New captions…").click()

    form = page.locator(".selection").bounding_box()
    assert form["y"] >= 0 and form["y"] + form["height"] <= 480
    for field in (*page.locator(".selection [data-option]").all(), submit_button(page)):
        field.focus()
        expect(field).to_be_in_viewport(ratio=0.9)
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_a_thousand_images_are_deleted_in_parts_with_progress(page, ids):
    """The API is replaced, because uploading a thousand images would take minutes."""
    sent = []

    def respond(route):
        body = route.request.post_data_json
        sent.append(body["ids"])
        results = [{"id": each, "outcome": "done", "error": None} for each in body["ids"]]
        route.fulfill(json={"results": results, "done": len(results), "next_cursor": None})

    page.route("**/api/images/batch", respond)
    start(page)
    page.evaluate(
        """() => {
            const list = document.querySelector(".gallery");
            for (let id = 900000; id < 901000; id += 1) {
                const card = list.querySelector(".card").cloneNode(true);
                card.querySelectorAll("img, .tags").forEach((part) => part.remove());
                card.id = `card-${id}`;
                card.dataset.imageId = id;
                list.append(card);
            }
        }"""
    )
    page.keyboard.press("Control+a")
    press(page, "Delete")

    # While the toast is absent, `expect` would look up the roles of all cards each time it polls.
    page.locator(".toast").wait_for(timeout=scaled_ms(60))
    expect(page.locator(".toast")).to_contain_text("Moved 1,004 images to your bin.")
    assert [len(part) for part in sent] == [200] * 5 + [4]
    expect(page.locator("#card-900999")).to_have_count(0)


def test_the_owner_restores_deletes_for_good_and_empties_the_bin(person, page, ids):
    for image_id in ids[:3]:
        person.api("DELETE", f"/api/images/{image_id}")
    page.goto("/gallery?mine=true")
    page.get_by_role("link", name="Bin").click()
    expect(page.locator(".card")).to_have_count(3)

    page.locator(f"#card-{ids[0]}").get_by_role("button", name="Restore").click()
    expect(page.locator(".messages")).to_contain_text("Restored 1 image.")
    page.locator(f"#card-{ids[1]}").get_by_role("button", name="Delete…").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete for good").click()
    expect(page.locator(".messages")).to_contain_text("Deleted 1 image for good.")
    page.get_by_role("button", name="Empty bin…").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete all for good").click()

    expect(page.locator(".empty")).to_contain_text("The bin is empty.")
    assert person.api("GET", f"/api/images/{ids[0]}")[0] == 200


def test_the_same_actions_work_without_javascript(page, ids, new_person):
    plain = new_person(java_script_enabled=False, storage_state=page.context.storage_state()).page
    plain.goto("/gallery")
    plain.locator("[data-part=select]").click()
    for image_id in ids[:2]:
        box(plain, image_id).check()
    press(plain, "Delete")

    expect(plain).to_have_url(re.compile("/gallery$"))
    expect(plain.locator(".messages")).to_contain_text("Moved 2 images to your bin.")
    expect(plain.locator(f"#card-{ids[0]}")).to_have_count(0)
    plain.get_by_role("button", name="Undo").click()
    expect(plain.locator(".messages")).to_contain_text("Restored 2 images.")
    expect(plain.locator(f"#card-{ids[0]}")).to_have_count(1)
