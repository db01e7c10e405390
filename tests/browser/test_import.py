"""Browser tests of the import of corrections."""

from playwright.sync_api import expect

from tests.browser.test_accessibility import assert_no_violations

WIDTHS = (320, 375, 1280)


def table(*lines):
    return {
        "name": "captions.csv",
        "mimeType": "text/csv",
        "buffer": "\n".join(("id,caption,alt_text", *lines)).encode(),
    }


def press(page, name):
    """Press a button with the keyboard."""
    page.get_by_role("button", name=name).focus()
    page.keyboard.press("Enter")


def test_a_person_compares_applies_and_undoes_by_keyboard(person, page):
    (image_id,) = person.add("corrected.jpg")
    page.goto("/import")
    assert_no_violations(page, widths=WIDTHS)

    page.set_input_files("#file", table(f"{image_id},Rex runs on the beach.,Rex"))
    press(page, "Compare")
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare before you import")
    row = page.get_by_role("row").filter(has_text="Caption")
    expect(row).to_contain_text("A dog runs on a beach.")
    expect(row).to_contain_text("Rex runs on the beach.")
    assert_no_violations(page, widths=WIDTHS)

    press(page, "Apply to 1 image")
    expect(page.get_by_role("status", name="Messages")).to_contain_text("Imported the texts")
    assert_no_violations(page, widths=WIDTHS)
    status, image = person.api("GET", f"/api/images/{image_id}")
    assert (status, image["annotation"], image["alt_text"]) == (
        200,
        "Rex runs on the beach.",
        "Rex",
    )

    page.goto("/import")
    expect(page.get_by_role("heading", name="Your last import")).to_be_visible()
    press(page, "Undo this import")
    expect(page.get_by_role("status", name="Messages")).to_contain_text("Restored the texts")
    _, image = person.api("GET", f"/api/images/{image_id}")
    assert (image["annotation"], image["alt_text"]) == ("A dog runs on a beach.", "Dog on beach")


def test_lines_with_errors_are_listed(page):
    page.goto("/import")
    page.set_input_files("#file", table("123456789,New.,", "x,New.,"))

    page.get_by_role("button", name="Compare").click()

    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("2 lines have errors, so nothing was imported.")
    expect(alert).to_contain_text("Line 2: There is no image with this id.")
    expect(alert).to_contain_text("Line 3: The id is not a whole number.")
    assert_no_violations(page, widths=WIDTHS)


def test_an_import_works_without_javascript(person, new_person):
    (image_id,) = person.add("plain.jpg")
    plain = new_person(
        java_script_enabled=False, storage_state=person.page.context.storage_state()
    ).page
    plain.goto("/import")
    plain.set_input_files("#file", table(f"{image_id},Rex.,"))
    plain.get_by_role("button", name="Compare").click()
    plain.get_by_role("button", name="Apply to 1 image").click()

    expect(plain.get_by_role("heading", level=1)).to_have_text("Imported")
    plain.goto(f"/images/{image_id}")
    expect(plain.locator(".caption")).to_have_text("Rex.")
