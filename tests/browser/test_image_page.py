"""Browser tests of the image page, for the owner and for others."""

import re
from pathlib import Path

import pytest
import requests
from playwright.sync_api import expect

from tests.browser.person import new_jpeg
from tests.support.factories import make_encoded, make_exif, make_jpeg
from tests.support.scripted_gemini import answer

REFUSAL = answer("", candidates=[], promptFeedback={"blockReason": "PROHIBITED_CONTENT"})
MODEL_CAPTION = "A dog runs on a beach."


def caption_answer(caption):
    return answer({"caption": caption, "alt_text": "Alt", "tags": ["tag"]})


@pytest.fixture
def image_id(person, page):
    """Upload an image, open its page and return its id."""
    made = person.upload("beach.jpg")
    page.goto(f"/images/{made}")
    return made


def field(page, label):
    return page.get_by_role("textbox", name=re.compile(f"^{label}", re.IGNORECASE))


def edit(page, **fields):
    page.get_by_text("Edit caption, alt text and tags").click()
    for label, value in fields.items():
        field(page, label).fill(value)
    page.get_by_role("button", name="Save").click()


def test_the_page_shows_the_details_of_the_image(page, image_id):
    facts = page.locator(".facts")

    expect(page.locator("h1")).to_have_text("beach.jpg")
    expect(facts).to_contain_text("× 48 pixels")
    expect(facts).to_contain_text("gemini-scripted-001")
    expect(facts).to_contain_text("300 in, 45 out")
    expect(page.get_by_role("link", name="Open the original")).to_have_attribute(
        "href", re.compile("originals/")
    )


def downloaded(page):
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download").click()
    return downloading.value


def test_the_owner_downloads_the_original_under_its_file_name(person, page):
    original = make_jpeg((66, 48), exif=make_exif(gps=True))
    page.goto(f"/images/{person.upload('beach.jpg', original)}")

    download = downloaded(page)

    assert download.suggested_filename == "beach.jpg"
    assert Path(download.path()).read_bytes() == original
    expect(page.get_by_text("Others see a copy without location or camera data.")).to_be_visible()


def test_another_visitor_opens_and_downloads_a_copy_without_metadata(person, new_person):
    original = make_jpeg((67, 48), exif=make_exif(gps=True))
    assert b"Camera Maker" in original
    image_id = person.upload("beach.heic", original)
    page = new_person().page
    page.goto(f"/images/{image_id}")

    download = downloaded(page)
    opened = requests.get(
        page.get_by_role("link", name="Open", exact=True).get_attribute("href"), timeout=10
    )

    assert download.suggested_filename == "beach.jpg"
    assert opened.headers["Content-Type"] == "image/jpeg"
    for copy in (Path(download.path()).read_bytes(), opened.content):
        assert copy.startswith(b"\xff\xd8\xff")
        assert b"Exif" not in copy
        assert b"Camera Maker" not in copy
    expect(page.get_by_text("Only the owner can open the original.")).to_be_visible()
    assert "originals/" not in page.content()


@pytest.mark.parametrize("name", ["JPEG", "HEIC", "TIFF", "AVIF"])
def test_the_page_shows_the_preview_of_every_format(person, page, name):
    person.choose((f"phone.{name}", make_encoded(name, (97, 61))))
    row = person.expect_state(f"phone.{name}", "completed", seconds=30)

    page.goto(f"/images/{person.id_of(row)}")

    image = page.locator(".frame__image")
    expect(image).to_have_js_property("complete", True)
    shown = image.evaluate("image => [image.currentSrc, image.naturalWidth]")
    assert "-preview.jpg" in shown[0]
    assert shown[1] > 0


def test_an_edit_is_saved_and_marked_as_edited(page, image_id):
    edit(page, caption="Rex at the sea.", tags="rex, sea")

    expect(page.locator(".caption")).to_have_text("Rex at the sea.")
    expect(page.locator(".provenance")).to_contain_text("Edited by you")
    expect(page.locator(".tags")).to_contain_text("rex")
    page.reload()
    expect(page.locator(".caption")).to_have_text("Rex at the sea.")
    expect(page.locator(".ai-version")).to_contain_text(MODEL_CAPTION)


def test_a_caption_can_be_cleared(page, image_id):
    page.get_by_text("Edit caption, alt text and tags").click()
    page.get_by_role("button", name="Clear caption, alt text and tags").click()
    page.get_by_role("button", name="Save").click()

    expect(page.locator(".image__caption")).to_contain_text("No caption.")
    expect(page.locator(".tags")).to_have_count(0)


def test_the_ai_version_can_be_restored(page, image_id):
    edit(page, caption="A wrong caption.")
    expect(page.locator(".caption")).to_have_text("A wrong caption.")

    page.get_by_role("button", name="Use the AI version").click()

    expect(page.locator(".caption")).to_have_text(MODEL_CAPTION)
    expect(page.locator(".provenance")).to_contain_text("gemini-scripted-001")


def test_a_new_caption_replaces_a_caption_of_the_model(page, image_id, gemini):
    gemini.script.append(caption_answer("Another caption."))

    page.get_by_role("button", name="Write a new caption").click()

    expect(page.locator(".caption")).to_have_text("Another caption.", timeout=30_000)


def test_a_new_caption_never_overwrites_an_edit(page, image_id, gemini):
    edit(page, caption="My own caption.")
    expect(page.locator(".provenance")).to_contain_text("Edited by you")
    gemini.script.append(caption_answer("A newer caption of the model."))

    page.get_by_role("button", name="Write a new caption").click()

    expect(page.locator(".ai-version")).to_contain_text(
        "A newer caption of the model.", timeout=30_000
    )
    expect(page.locator(".caption")).to_have_text("My own caption.")


def test_a_new_caption_leaves_an_open_editor_unchanged(page, image_id, gemini):
    gemini.delay_seconds = 1
    gemini.script.append(caption_answer("A new caption."))
    page.get_by_role("button", name="Write a new caption").click()
    page.get_by_text("Edit caption, alt text and tags").click()
    field(page, "caption").fill("Half a sen")

    expect(page.locator(".caption")).to_have_text("A new caption.", timeout=30_000)

    expect(field(page, "caption")).to_have_value("Half a sen")


def test_a_rejected_edit_shows_the_reason_and_keeps_the_text(page, image_id):
    tags = ", ".join(f"tag{number}" for number in range(30))

    edit(page, tags=tags)

    expect(page.locator("[data-part=edit-error]")).to_be_visible()
    expect(field(page, "tags")).to_have_value(tags)


def test_cancelling_an_edit_restores_the_text(page, image_id):
    page.get_by_text("Edit caption, alt text and tags").click()
    field(page, "caption").fill("Never mind")
    page.get_by_role("button", name="Cancel").click()

    expect(page.locator(".caption")).to_have_text(MODEL_CAPTION)
    expect(page.locator(".editor")).not_to_have_attribute("open", "")


def test_an_image_is_deleted_after_a_confirmation(person, page, image_id):
    page.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete this image?")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".caption")).to_have_text(MODEL_CAPTION)

    page.get_by_role("button", name="Delete…").click()
    dialog.get_by_role("button", name="Delete permanently").click()

    expect(page).to_have_url(re.compile("/gallery$"))
    expect(person.card(image_id)).to_have_count(0)
    assert page.goto(f"/images/{image_id}").status == 404


def test_a_failed_image_can_be_retried(person, page, gemini):
    gemini.script.append(REFUSAL)
    image_id = person.upload_failing("refused.jpg")
    page.goto(f"/images/{image_id}")
    expect(page.locator(".error-message").first).to_contain_text("Caption:")

    page.get_by_role("button", name="Retry").click()

    expect(page.locator(".caption")).to_have_text(MODEL_CAPTION, timeout=30_000)


def test_a_new_caption_appears_without_a_reload(person, page, gemini):
    gemini.delay_seconds = 3
    person.choose(("live.jpg", new_jpeg()))
    page.goto(f"/images/{person.id_of(person.expect_state('live.jpg', 'accepted'))}")
    expect(page.locator(".caption")).to_have_text("Writing a caption…")

    expect(page.locator(".caption")).to_have_text(MODEL_CAPTION)
    expect(page.get_by_role("button", name="Write a new caption")).to_be_visible()


def test_another_person_cannot_change_an_image(image_id, new_person):
    stranger = new_person()
    stranger.page.goto(f"/images/{image_id}")

    expect(stranger.page.locator(".caption")).to_have_text(MODEL_CAPTION)
    expect(stranger.page.get_by_role("button")).to_have_count(0)
    expect(stranger.page.get_by_text("Edit caption, alt text and tags")).to_have_count(0)
    for method, path, body in [
        ("PATCH", f"/api/images/{image_id}", {"annotation": "Mine now"}),
        ("POST", f"/api/images/{image_id}/retry", {"regenerate": True}),
        ("DELETE", f"/api/images/{image_id}", None),
    ]:
        status, answered = stranger.api(method, path, body)
        assert (status, answered["code"]) == (403, "not_owner"), (method, answered)


def test_markup_in_a_caption_is_shown_as_text(person, page, gemini):
    hostile = "<img src=x onerror=window.isHacked=1> & <script>window.isHacked=1</script>"
    gemini.script.append(caption_answer(hostile))
    image_id = person.upload("hostile.jpg")
    expect(person.row("hostile.jpg")).to_contain_text(hostile)

    for path in (f"/images/{image_id}", "/gallery"):
        page.goto(path)
        expect(page.locator(".caption", has_text="onerror").first).to_have_text(hostile)
    person.card(image_id).locator(".card__link").click()

    expect(page.locator(".lightbox__caption")).to_have_text(hostile)
    assert page.evaluate("window.isHacked") is None


# Without JavaScript


def test_the_owner_can_edit_restore_and_delete_without_javascript(
    person, page, image_id, new_person
):
    plain = new_person(java_script_enabled=False, storage_state=page.context.storage_state()).page
    plain.goto(f"/images/{image_id}")

    edit(plain, caption="Without a script.")
    expect(plain.locator(".caption")).to_have_text("Without a script.")
    plain.get_by_role("button", name="Use the AI version").click()
    expect(plain.locator(".caption")).to_have_text(MODEL_CAPTION)
    plain.get_by_text("Delete…").click()
    plain.get_by_role("button", name="Delete permanently").click()

    expect(plain).to_have_url(re.compile("/gallery$"))
    assert plain.goto(f"/images/{image_id}").status == 404
