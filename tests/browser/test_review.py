"""Browser tests of the review desk: by keyboard, by touch and without JavaScript."""

from playwright.sync_api import expect

from tests.browser.test_accessibility import assert_no_violations

SIZES = """elements => elements.map((element) => {
    const { width, height } = element.getBoundingClientRect();
    return [width, height];
})"""


def open_desk(page, query=""):
    page.goto(f"/review{query}")
    expect(page.locator('[data-part="help-opener"]')).to_be_visible()  # The script is ready.


def name(page):
    return page.locator('[data-part="name"]')


def toast(page):
    return page.locator('[data-part="toasts"]')


class Keyboard:
    """Counts the keys that are pressed beside typing."""

    def __init__(self, page):
        self.page = page
        self.presses = 0

    def press(self, key):
        self.presses += 1
        self.page.keyboard.press(key)


def test_twenty_alt_texts_are_corrected_by_keyboard_with_two_keys_each(person, page):
    names = [f"corrected-{number:02}.jpg" for number in range(20)]
    ids = person.add(*names)
    open_desk(page)
    keyboard = Keyboard(page)
    seen = []

    for number in range(20):
        shown = name(page).text_content()
        seen.append(shown)
        keyboard.press("e")
        page.keyboard.type(f"Rex on the beach, photo {number}")
        keyboard.press("Enter")
        expect(name(page)).not_to_have_text(shown)

    expect(name(page)).to_have_text("Everything is reviewed.")
    assert keyboard.presses <= 3 * 20
    assert sorted(seen) == names
    for image_id in ids:
        _, image = person.api("GET", f"/api/images/{image_id}")
        number = seen.index(image["filename"])
        assert image["alt_text"] == f"Rex on the beach, photo {number}"
        assert (image["review"], image["sources"]["alt_text"]) == ("reviewed", "human")


def test_every_key_does_what_its_button_does_and_is_undone(person, page):
    first, second = person.add("first.jpg", "second.jpg")
    open_desk(page)
    expect(name(page)).to_have_text("second.jpg")

    page.keyboard.press("j")
    expect(name(page)).to_have_text("first.jpg")
    page.keyboard.press("ArrowLeft")
    expect(name(page)).to_have_text("second.jpg")
    page.go_back()
    expect(name(page)).to_have_text("first.jpg")
    page.keyboard.press("k")
    expect(name(page)).to_have_text("second.jpg")

    page.keyboard.press("d")
    expect(page.locator('[data-part="facts"]')).to_contain_text("Decorative")
    assert person.api("GET", f"/api/images/{second}")[1]["alt_text"] == ""
    page.keyboard.press("Control+z")
    expect(page.locator('[data-part="facts"]')).not_to_contain_text("Decorative")

    page.keyboard.press("Enter")
    expect(name(page)).to_have_text("first.jpg")
    assert person.api("GET", f"/api/images/{second}")[1]["review"] == "reviewed"
    page.keyboard.press("Control+z")
    expect(name(page)).to_have_text("second.jpg")
    assert person.api("GET", f"/api/images/{second}")[1]["review"] == "unreviewed"

    page.keyboard.press("Delete")
    expect(name(page)).to_have_text("first.jpg")
    assert person.api("GET", f"/api/images/{second}")[0] == 404
    toast(page).get_by_role("button", name="Undo").click()
    expect(name(page)).to_have_text("second.jpg")
    assert person.api("GET", f"/api/images/{second}")[0] == 200

    page.keyboard.press("Control+z")
    expect(toast(page)).to_contain_text("There is nothing to undo.")
    assert person.api("GET", f"/api/images/{first}")[1]["review"] == "unreviewed"


def test_a_new_caption_is_shown_when_it_arrives(person, page):
    person.send("again.jpg")
    open_desk(page)

    page.keyboard.press("r")
    page.keyboard.type("Rex is the dog")
    page.keyboard.press("Enter")

    expect(toast(page)).to_contain_text("Caption: A dog runs on a beach.")
    page.keyboard.press("r")
    expect(page.get_by_label("Context")).to_have_value("Rex is the dog")
    assert_no_violations(page)


def test_no_key_acts_while_a_text_is_typed_or_after_they_are_switched_off(person, page):
    (image_id,) = person.add("typed.jpg")
    open_desk(page)
    page.get_by_label("Caption").fill("")
    page.keyboard.type("jk rd e? Rex")
    expect(page.get_by_label("Caption")).to_have_value("jk rd e? Rex")
    page.keyboard.press("Escape")
    expect(page.locator('[data-part="saved"]')).to_have_text("Saved.")
    assert person.api("GET", f"/api/images/{image_id}")[1]["annotation"] == "jk rd e? Rex"

    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_be_visible()
    assert_no_violations(page)
    dialog.get_by_label("Use these shortcuts").uncheck()
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    page.keyboard.press("d")
    page.keyboard.press("Enter")
    page.reload()
    expect(page.locator('[data-part="help-opener"]')).to_be_visible()
    page.keyboard.press("d")
    page.get_by_role("button", name="Save only").click()
    expect(page.locator('[data-part="saved"]')).to_have_text("Saved.")
    _, image = person.api("GET", f"/api/images/{image_id}")
    assert (image["decorative"], image["review"]) == (False, "unreviewed")


def test_a_click_after_typing_saves_and_approves(person, page):
    first, second = person.add("clicked-1.jpg", "clicked-2.jpg")
    open_desk(page)
    page.get_by_label("Alt text").fill("Rex")
    page.get_by_role("button", name="Approve and next").click()
    expect(name(page)).to_have_text("clicked-1.jpg")
    page.get_by_label("Tags").fill("rex, sea")
    page.get_by_role("button", name="Decorative").click()
    expect(page.locator('[data-part="facts"]')).to_contain_text("Decorative")

    _, image = person.api("GET", f"/api/images/{second}")
    assert (image["alt_text"], image["review"]) == ("Rex", "reviewed")
    _, image = person.api("GET", f"/api/images/{first}")
    assert (image["tags"], image["decorative"]) == (["rex", "sea"], True)


def test_texts_that_another_window_changed_are_shown_beside_the_own_ones(person, page):
    (image_id,) = person.add("conflict.jpg")
    open_desk(page)
    person.api("PATCH", f"/api/images/{image_id}", {"alt_text": "Theirs"})

    page.keyboard.press("e")
    page.keyboard.type("Mine")
    page.keyboard.press("Enter")

    expect(page.get_by_role("alert")).to_contain_text("changed while you edited")
    expect(page.get_by_text("Saved meanwhile: Theirs")).to_be_visible()
    expect(page.get_by_label("Alt text")).to_have_value("Mine")
    assert_no_violations(page)
    page.get_by_label("Alt text").press("Enter")
    expect(name(page)).to_have_text("Everything is reviewed.")
    assert person.api("GET", f"/api/images/{image_id}")[1]["alt_text"] == "Mine"


def test_an_undo_shows_a_text_that_was_saved_elsewhere_since(person, page):
    first, second = person.add("first.jpg", "second.jpg")
    person.api("PATCH", f"/api/images/{second}", {"alt_text": "Earlier", "tags": ["dog"]})
    open_desk(page)
    page.get_by_label("Tags").fill("cat")
    page.get_by_label("Alt text").fill("Mine")
    page.get_by_label("Alt text").press("Enter")
    expect(name(page)).to_have_text("first.jpg")
    person.api("PATCH", f"/api/images/{second}", {"alt_text": "Theirs"})

    page.keyboard.press("Control+z")

    expect(page.get_by_role("alert")).to_contain_text("changed while you edited")
    expect(page.get_by_text("Saved meanwhile: Theirs")).to_be_visible()
    expect(page.get_by_label("Alt text")).to_have_value("Earlier")
    assert person.api("GET", f"/api/images/{second}")[1]["alt_text"] == "Theirs"
    page.get_by_role("button", name="Save only").click()
    expect(page.locator('[data-part="saved"]')).to_have_text("Saved.")
    assert person.api("GET", f"/api/images/{second}")[1]["alt_text"] == "Earlier"
    assert person.api("GET", f"/api/images/{first}")[1]["review"] == "unreviewed"


def test_several_edits_of_one_image_are_undone_in_turn(person, page):
    (image_id,) = person.add("edits.jpg")
    person.api("PATCH", f"/api/images/{image_id}", {"alt_text": "Earlier"})
    open_desk(page)
    for text in ("One", "Two"):
        page.get_by_label("Alt text").fill(text)
        page.get_by_role("button", name="Save only").click()
        expect(page.locator('[data-part="saved"]')).to_have_text("Saved.")
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    expect(page.locator('[data-part="facts"]')).to_contain_text("Decorative")

    page.keyboard.press("Control+z")
    expect(page.locator('[data-part="facts"]')).not_to_contain_text("Decorative")
    for text in ("One", "Earlier"):
        page.keyboard.press("Control+z")
        expect(page.get_by_label("Alt text")).to_have_value(text)

    assert person.api("GET", f"/api/images/{image_id}")[1]["alt_text"] == "Earlier"


def test_the_undo_of_an_approval_says_what_the_review_is_then(person, page):
    (image_id,) = person.add("approved.jpg")
    person.api("PATCH", f"/api/images/{image_id}", {"reviewed": True})
    person.api("PATCH", f"/api/images/{image_id}", {"alt_text": "Rex"})
    open_desk(page, "?review=changed")
    facts = page.locator('[data-part="facts"]')
    expect(facts).to_contain_text("Changed since the review")
    page.keyboard.press("Enter")
    expect(name(page)).to_have_text("No image is in this list.")

    page.keyboard.press("Control+z")
    expect(toast(page)).to_contain_text("The approval is withdrawn. The image is unreviewed now.")
    expect(facts).to_contain_text("Not reviewed")
    assert person.api("GET", f"/api/images/{image_id}")[1]["review"] == "unreviewed"

    # The approval of an approved image only saves its texts.
    person.api("PATCH", f"/api/images/{image_id}", {"reviewed": True})
    open_desk(page, f"?review=reviewed&image={image_id}")
    page.get_by_label("Alt text").fill("Rex, a dog")
    page.get_by_label("Alt text").press("Enter")
    expect(toast(page)).to_contain_text("Approved.")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    expect(toast(page)).to_contain_text("The earlier text is back.")
    expect(page.get_by_label("Alt text")).to_have_value("Rex")


def test_texts_changed_meanwhile_are_not_approved_unseen(person, page):
    (image_id,) = person.add("unseen.jpg")
    open_desk(page)
    person.api("PATCH", f"/api/images/{image_id}", {"alt_text": "Theirs"})

    page.keyboard.press("Enter")

    expect(page.get_by_role("alert")).to_contain_text("changed while you edited")
    assert person.api("GET", f"/api/images/{image_id}")[1]["review"] == "unreviewed"


def test_an_image_that_was_deleted_meanwhile_is_skipped(person, page):
    first, second = person.add("kept.jpg", "gone.jpg")
    open_desk(page)
    expect(name(page)).to_have_text("gone.jpg")
    person.api("DELETE", f"/api/images/{second}")

    page.keyboard.press("Enter")

    expect(toast(page)).to_contain_text("deleted meanwhile")
    expect(name(page)).to_have_text("kept.jpg")
    assert person.api("GET", f"/api/images/{first}")[1]["review"] == "unreviewed"


def test_a_text_survives_a_lost_connection_and_a_reload(person, page):
    (image_id,) = person.add("draft.jpg")
    open_desk(page)
    page.keyboard.press("e")
    page.keyboard.type("Not sent yet")
    person.drop_connection()
    page.keyboard.press("Enter")
    expect(toast(page)).to_contain_text("did not answer")
    person.restore_connection()

    page.reload()
    expect(page.locator('[data-part="draft"]')).to_be_visible()
    expect(page.get_by_label("Alt text")).to_have_value("Not sent yet")
    page.get_by_label("Alt text").press("Enter")
    expect(name(page)).to_have_text("Everything is reviewed.")
    assert person.api("GET", f"/api/images/{image_id}")[1]["alt_text"] == "Not sent yet"


def test_every_state_has_no_violations_and_large_buttons(new_person):
    widths = (320, 375, 1280)
    person = new_person(has_touch=True)
    page = person.page
    page.goto("/review")
    expect(name(page)).to_have_text("You have no images.")
    assert_no_violations(page, widths=widths)
    first, second = person.add("a-name-that-is-long-" * 6 + ".jpg", "second.jpg")
    person.api("PATCH", f"/api/images/{first}", {"alt_text": f"Image of {'dogs ' * 40}"})
    person.api("PATCH", f"/api/images/{second}", {"decorative": True, "reviewed": True})

    for query in ("", f"?image={second}", "?alt=long", "?alt=decorative", "?image=999999999"):
        open_desk(page, query)
        assert_no_violations(page, widths=widths)
        buttons = page.locator(".desk__actions .button:visible, .desk__step:visible")
        for width in widths:
            page.set_viewport_size({"width": width, "height": 800})
            sizes = buttons.evaluate_all(SIZES)
            assert sizes
            assert all(side >= 44 for size in sizes for side in size)
    open_desk(page)
    expect(page.get_by_text("Up to 125 are easy to listen to.")).to_be_visible()
    page.get_by_role("button", name="Approve and next").tap()
    expect(name(page)).to_have_text("Everything is reviewed.")
    page.get_by_role("link", name="Changed since the review").tap()
    expect(name(page)).to_have_text("No image is in this list.")
    assert_no_violations(page, widths=widths)


def test_the_desk_works_without_javascript(person, new_person):
    first, second = person.add("plain-1.jpg", "plain-2.jpg")
    plain = new_person(
        java_script_enabled=False, storage_state=person.page.context.storage_state()
    ).page
    plain.goto("/")
    plain.get_by_role("link", name="Review").click()
    plain.get_by_label("Alt text").fill("Rex")
    plain.get_by_role("button", name="Approve and next").click()
    expect(name(plain)).to_have_text("plain-1.jpg")
    expect(plain.get_by_role("status", name="Messages")).to_contain_text("Approved.")
    plain.get_by_role("button", name="Decorative").click()
    expect(plain.locator('[data-part="facts"]')).to_contain_text("Decorative")
    plain.get_by_role("button", name="Delete").click()
    expect(name(plain)).to_have_text("Everything is reviewed.")
    plain.get_by_role("button", name="Undo").click()
    expect(name(plain)).to_have_text("plain-1.jpg")

    assert person.api("GET", f"/api/images/{second}")[1]["alt_text"] == "Rex"
    assert person.api("GET", f"/api/images/{first}")[1]["decorative"] is True


def test_an_earlier_text_is_restored_on_the_page_of_an_image_and_undone(person, page):
    (image_id,) = person.add("earlier.jpg")
    person.api("PATCH", f"/api/images/{image_id}", {"annotation": "Rex.", "tags": ["rex"]})
    page.goto(f"/images/{image_id}")
    page.get_by_text("Earlier texts").click()
    assert_no_violations(page, widths=(1280, 375))

    page.get_by_role("button", name="Restore this caption: A dog runs on a beach.").click()

    expect(toast(page)).to_contain_text("The earlier text is back.")
    expect(page.locator(".caption")).to_have_text("A dog runs on a beach.")
    expect(page.get_by_role("button", name="Restore this caption: Rex.")).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 800})
    toast(page).get_by_role("button", name="Undo").click()
    expect(page.locator(".caption")).to_have_text("Rex.")


def test_texts_are_copied_from_the_desk_by_keyboard(person, page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    (image_id,) = person.add("copied.jpg")
    open_desk(page)
    page.get_by_label("Alt text").fill("Rex, a dog")
    address = page.url.rsplit("/review", 1)[0] + f"/images/{image_id}/preview"
    copied = {
        "caption": "A dog runs on a beach.",
        "alt text": "Rex, a dog",
        "HTML": f'<img src="{address}" alt="Rex, a dog" ',
        "Markdown": f"![Rex, a dog]({address})",
    }

    for what, text in copied.items():
        page.get_by_role("button", name=f"Copy {what}").focus()
        page.keyboard.press("Enter")
        expect(toast(page)).to_contain_text(f"{what[0].upper()}{what[1:]} copied.")
        assert page.evaluate("navigator.clipboard.readText()").startswith(text)
    expect(name(page)).to_have_text("copied.jpg")
