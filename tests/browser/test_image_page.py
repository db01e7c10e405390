"""Browser tests of the image page, for the owner and for others."""

import re
from pathlib import Path

import pytest
import requests
from playwright.sync_api import expect

from tests.browser.person import new_jpeg
from tests.support.factories import make_encoded, make_exif, make_jpeg
from tests.support.scripted_gemini import answer
from tests.support.time_limits import scaled, scaled_ms

REFUSAL = answer("", candidates=[], promptFeedback={"blockReason": "PROHIBITED_CONTENT"})
MODEL_CAPTION = "A dog runs on a beach."
# The texts of a person, by the labels of the editor.
MINE = {"caption": "Rex.", "alt text": "Rex at the sea", "tags": "rex, sea"}


def caption_answer(caption):
    return answer({"caption": caption, "alt_text": "Alt", "tags": ["tag"]})


@pytest.fixture
def image_id(person, page):
    """Add an image, open its page and return its id."""
    (made,) = person.add("beach.jpg")
    page.goto(f"/images/{made}")
    return made


@pytest.fixture
def sent_id(person, page):
    """Do the same with an image whose caption can be written again."""
    made = person.send("beach.jpg")
    page.goto(f"/images/{made}")
    return made


def field(page, label):
    return page.get_by_role("textbox", name=re.compile(f"^{label}", re.IGNORECASE))


def others(page, label):
    """Return the values of the other fields of the editor."""
    return {name: saved(page, name).input_value() for name in MINE if name != label}


def saved(page, label):
    """Return a field of the editor, which may be closed."""
    names = {"caption": "annotation", "alt text": "alt_text", "tags": "tags"}
    return page.locator(f".editor [name={names[label]}]")


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
    page.goto(f"/images/{person.send('beach.jpg', original)}")

    download = downloaded(page)

    assert download.suggested_filename == "beach.jpg"
    assert Path(download.path()).read_bytes() == original
    expect(page.get_by_text("Others see a copy without location or camera data.")).to_be_visible()


def test_another_visitor_opens_and_downloads_a_copy_without_metadata(person, new_person):
    original = make_jpeg((67, 48), exif=make_exif(gps=True))
    assert b"Camera Maker" in original
    image_id = person.send("beach.heic", original)
    page = new_person().page
    page.goto(f"/images/{image_id}")

    download = downloaded(page)
    opened = requests.get(
        page.get_by_role("link", name="Open", exact=True).get_attribute("href"), timeout=scaled(30)
    )

    assert download.suggested_filename == "beach.jpg"
    assert opened.headers["Content-Type"] == "image/jpeg"
    for copy in (Path(download.path()).read_bytes(), opened.content):
        assert copy.startswith(b"\xff\xd8\xff")
        assert b"Exif" not in copy
        assert b"Camera Maker" not in copy
    expect(page.get_by_text("Only the owner can open the original.")).to_be_visible()
    assert "originals/" not in page.content()


def test_the_page_shows_the_preview_of_every_format(person, page):
    names = [f"phone.{name}" for name in ("JPEG", "HEIC", "TIFF", "AVIF")]
    person.choose(*((name, make_encoded(name.partition(".")[2], (97, 61))) for name in names))
    ids = [person.id_of(person.expect_state(name, "completed", seconds=30)) for name in names]

    for image_id, name in zip(ids, names, strict=True):
        page.goto(f"/images/{image_id}")

        expect(page.locator("h1")).to_have_text(name)
        image = page.locator(".frame__image")
        expect(image).to_have_js_property("complete", True)
        shown = image.evaluate("image => [image.currentSrc, image.naturalWidth]")
        assert "-preview.jpg" in shown[0], name
        assert shown[1] > 0, name


def shown_file(image):
    """Return the name of the file that an `<img>` shows, without the name of the image."""
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth") > 0
    return re.search(r"-[a-z-]+\.jpg", image.evaluate("image => image.currentSrc"))[0]


def test_phones_and_usual_screens_load_the_small_preview(person, new_person):
    sizes = [(2016, 1512), (1512, 2016)]
    ids = [person.send("large.jpg", make_jpeg(size)) for size in sizes]
    small, large = ("-small-preview.jpg", 2), ("-preview.jpg", 1)

    for width, scale, (file, divisor) in (
        (412, 1.75, small),
        (390, 3, small),
        (1920, 1, small),
        (1440, 2, large),
    ):
        viewport = {"width": width, "height": 900}
        page = new_person(viewport=viewport, device_scale_factor=scale).page
        for image_id, size in zip(ids, sizes, strict=True):
            page.goto(f"/images/{image_id}")
            image = page.locator(".frame__image")
            assert shown_file(image) == file, (width, size)
            # Each CSS pixel shows as many pixels of the file as the screen has, but not more than
            # two.
            assert image.bounding_box()["width"] * min(scale, 2) <= size[0] / divisor


def test_the_thumbnail_is_shown_until_the_preview_is_loaded_if_the_gallery_has_loaded_it(
    person, new_person
):
    (image_id,) = person.add("large.jpg")
    page = new_person().page
    requested = []
    page.on("request", lambda request: requested.append(request.url.partition("?")[0]))

    page.goto(f"/images/{image_id}")
    expect(page.get_by_role("button", name="Copy caption")).to_be_visible()  # The script is ready.
    assert shown_file(page.locator(".frame__image")).endswith("-preview.jpg")
    assert [url for url in requested if url.endswith(".webp")] == []

    page.goto("/gallery")
    page.locator(f'.card[data-image-id="{image_id}"] .card__link').click()
    page.get_by_role("link", name="Details").click()
    expect(page.locator("[data-frame]")).to_have_css("background-image", re.compile(r"\.webp"))


def test_phones_load_the_small_preview_in_the_lightbox_and_on_the_review_desk(new_person):
    person = new_person(viewport={"width": 412, "height": 823}, device_scale_factor=1.75)
    image_id = person.send("large.jpg", make_jpeg((2016, 1512)))
    page = person.page

    page.goto(f"/gallery#image-{image_id}")
    assert shown_file(page.locator(".lightbox__image--loaded")) == "-small-preview.jpg"

    page.goto(f"/review?image={image_id}")
    assert shown_file(page.locator(".desk__image")) == "-small-preview.jpg"


def test_an_edit_is_saved_and_marked_as_edited(page, image_id):
    edit(page, caption="Rex at the sea.", tags="rex, sea")

    expect(page.locator(".caption")).to_have_text("Rex at the sea.")
    expect(page.locator(".image__caption + .provenance")).to_contain_text("Edited by you")
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

    page.get_by_role("button", name="Use this caption").click()

    expect(page.locator(".caption")).to_have_text(MODEL_CAPTION)
    expect(page.locator(".image__caption + .provenance")).to_contain_text("gemini-scripted-001")


def test_an_alt_text_that_a_decorative_image_gets_is_shown_and_can_be_undone(
    person, page, image_id
):
    edit(page, **{"alt text": "A wrong alt text"})
    expect(page.get_by_text("A wrong alt text").first).to_be_visible()
    person.api("PATCH", f"/api/images/{image_id}", {"decorative": True})
    page.reload()
    is_decorative = page.get_by_text("Decorative: screen readers skip this image")
    expect(is_decorative).to_be_visible()

    def undo():
        page.locator(".toast").get_by_role("button", name="Undo").click()
        expect(page.locator(".toast")).to_contain_text("The image is decorative again.")
        expect(is_decorative).to_be_visible()

    page.get_by_role("button", name="Use this alt text").click()
    expect(page.locator(".alt-text__text")).to_have_text("Dog on beach")
    undo()

    page.get_by_text("Earlier texts").click()
    page.get_by_role("button", name="Restore this alt text: A wrong alt text").first.click()
    expect(page.locator(".alt-text__text")).to_have_text("A wrong alt text")
    undo()


def test_restoring_one_text_keeps_the_others_and_can_be_undone(page, image_id):
    edit(page, **MINE)
    version = page.locator(".ai-version")
    for text in (MODEL_CAPTION, "Dog on beach", "dog, sea"):
        expect(version).to_contain_text(text)
    message = page.locator(".toast")

    for name, field_name, generated in [
        ("Use this caption", "caption", MODEL_CAPTION),
        ("Use this alt text", "alt text", "Dog on beach"),
        ("Use these tags", "tags", re.compile("^dog, sea")),
    ]:
        page.get_by_role("button", name=name).click()
        expect(message).to_contain_text("the AI version again")
        expect(saved(page, field_name)).to_have_value(generated)
        assert others(page, field_name) == {n: t for n, t in MINE.items() if n != field_name}
        message.get_by_role("button", name="Undo").click()
        expect(message).to_contain_text("Your text is back.")
        expect(saved(page, field_name)).to_have_value(MINE[field_name])


def test_every_action_announces_its_result_and_a_new_caption_never_overwrites_an_edit(
    page, sent_id, gemini
):
    messages = page.locator("[data-part=toasts]")
    assert messages.get_attribute("role") == "status"
    edit(page, caption="Rex at the sea.")
    expect(messages).to_contain_text("Saved.")
    expect(messages.locator(".toast")).to_be_in_viewport()
    expect(page.locator(".image__caption + .provenance")).to_contain_text("Edited by you")
    gemini.hold()
    gemini.script.append(caption_answer("A newer caption of the model."))

    page.get_by_role("button", name="Write a new caption").click()

    expect(messages).to_contain_text("Writing a new caption…")
    gemini.release()
    expect(messages).to_contain_text("The new AI version is ready. Your text stays.")
    expect(page.locator(".ai-version")).to_contain_text("A newer caption of the model.")
    expect(page.locator(".caption")).to_have_text("Rex at the sea.")
    messages.get_by_role("button", name="Close message").click()
    expect(messages).to_be_empty()


def test_a_second_click_on_write_a_new_caption_presses_no_other_button_and_the_caption_arrives(
    page, sent_id, gemini
):
    gemini.hold()
    gemini.script.append(caption_answer("Another caption."))
    button = page.get_by_role("button", name="Write a new caption")
    button.scroll_into_view_if_needed()
    box = button.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    page.mouse.click(x, y)
    page.mouse.click(x, y)
    busy = page.get_by_role("button", name="Writing a new caption…")
    expect(busy).to_be_disabled()
    page.mouse.click(x, y)

    expect(page.get_by_role("dialog")).to_have_count(0)
    assert busy.bounding_box()["x"] == box["x"]
    gemini.release()
    expect(button).to_be_visible(timeout=scaled_ms(30))
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".caption")).to_have_text("Another caption.")


def test_caption_and_alt_text_can_be_copied(page, image_id):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    for name, text in (("Caption", MODEL_CAPTION), ("Alt text", "Dog on beach")):
        page.get_by_role("button", name=f"Copy {name}").click()
        expect(page.locator(".toast")).to_contain_text(f"{name} copied.")
        assert page.evaluate("navigator.clipboard.readText()") == text


def test_the_image_can_be_copied_for_another_page_by_keyboard(page, image_id):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    edit(page, **{"alt text": 'A "sign" & [Rex]'})
    expect(page.locator(".alt-text__text")).to_have_text('A "sign" & [Rex]')
    address = page.url.rsplit("/images/", 1)[0] + f"/images/{image_id}/preview"
    copied = {
        "HTML": f'<img src="{address}" alt="A &quot;sign&quot; &amp; [Rex]" ',
        "Markdown": f'![A "sign" \\& \\[Rex\\]]({address})',
    }

    for name, text in copied.items():
        page.get_by_role("button", name=f"Copy {name}").focus()
        page.keyboard.press("Enter")
        expect(page.locator(".toast")).to_have_text(f"{name} copied.")
        assert page.evaluate("navigator.clipboard.readText()").startswith(text)
    preview = requests.get(address, timeout=scaled(30))
    assert preview.headers["Content-Type"] == "image/jpeg"


def test_texts_have_their_direction_and_the_models_their_language(person, page, image_id):
    caption = page.locator(".caption")
    expect(caption).to_have_attribute("lang", "en")
    edit(page, caption="كلب يجري على الشاطئ")

    expect(caption).to_have_attribute("lang", "")
    assert caption.evaluate("p => getComputedStyle(p).direction") == "rtl"
    for selector in ("h1", ".alt-text__text", ".tag", "[name=annotation]", "[name=tags]"):
        expect(page.locator(selector).first).to_have_attribute("dir", "auto")
    page.goto("/gallery?mine=true")
    caption = person.card(image_id).locator(".caption")
    assert caption.evaluate("p => getComputedStyle(p).direction") == "rtl"


def test_a_caption_of_a_person_ends_a_failure(person, page, gemini):
    gemini.script.append(REFUSAL)
    image_id = person.send("refused.jpg")
    page.goto(f"/images/{image_id}")
    expect(page.locator(".status")).to_have_text("Failed")

    edit(page, caption="My own words.")

    expect(page.locator(".status")).to_have_text("Done")
    expect(page.locator(".image .error-message:not([hidden])")).to_have_count(0)
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    page.goto("/gallery?status=failed")
    expect(person.card(image_id)).to_have_count(0)


def test_a_new_caption_leaves_an_open_editor_unchanged(page, sent_id, gemini):
    gemini.hold()
    gemini.script.append(caption_answer("A new caption."))
    page.get_by_role("button", name="Write a new caption").click()
    page.get_by_text("Edit caption, alt text and tags").click()
    field(page, "caption").fill("Half a sen")
    gemini.release()

    expect(page.locator(".caption")).to_have_text("A new caption.", timeout=scaled_ms(30))

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
    expect(page.locator("[data-editor]")).not_to_have_attribute("open", "")


def test_an_image_is_deleted_after_a_confirmation(person, page, image_id):
    page.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete this image?")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".caption")).to_have_text(MODEL_CAPTION)

    page.get_by_role("button", name="Delete…").click()
    dialog.get_by_role("button", name="Move to bin").click()

    expect(page).to_have_url(re.compile("/gallery$"))
    expect(person.card(image_id)).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".messages")).to_contain_text("Restored 1 image.")
    expect(person.card(image_id)).to_be_visible()


def test_a_failed_image_can_be_retried(person, page, gemini):
    gemini.script.append(REFUSAL)
    image_id = person.send("refused.jpg")
    page.goto(f"/images/{image_id}")
    expect(page.locator(".error-message").first).to_contain_text("Caption:")

    page.get_by_role("button", name="Retry").click()

    expect(page.locator(".caption")).to_have_text(MODEL_CAPTION, timeout=scaled_ms(30))


def test_a_new_caption_appears_without_a_reload(person, page, gemini):
    gemini.hold()
    person.choose(("live.jpg", new_jpeg()))
    page.goto(f"/images/{person.id_of(person.expect_state('live.jpg', 'accepted'))}")
    expect(page.locator(".caption")).to_have_text("Writing a caption…")

    gemini.release()

    expect(page.locator(".caption")).to_have_text(MODEL_CAPTION)
    expect(page.get_by_role("button", name="Write a new caption")).to_be_visible()


def test_another_person_cannot_change_an_image(image_id, new_person):
    stranger = new_person()
    stranger.page.goto(f"/images/{image_id}")

    expect(stranger.page.locator(".caption")).to_have_text(MODEL_CAPTION)
    expect(stranger.page.get_by_role("button")).to_have_text(
        ["Copy caption", "Copy alt text", "Copy HTML", "Copy Markdown"]
    )
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

    for path in (f"/images/{image_id}", "/gallery?mine=true"):
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
    plain.get_by_role("button", name="Use this caption").click()
    expect(plain.locator(".caption")).to_have_text(MODEL_CAPTION)
    plain.get_by_text("Delete…").click()
    plain.get_by_role("button", name="Move to bin").click()

    expect(plain).to_have_url(re.compile("/gallery$"))
    expect(plain.locator(f"#card-{image_id}")).to_have_count(0)
    plain.get_by_role("button", name="Undo").click()
    expect(plain.locator(f"#card-{image_id}")).to_have_count(1)


def expect_scripts(page):
    """Wait until the script of the page has started: it shows this button of the editor."""
    expect(page.locator('[data-action="clear"]:not([hidden])')).to_have_count(1)


def test_the_keys_j_and_k_open_the_images_beside_this_one(person, page):
    older, newer = person.add("older.jpg", "newer.jpg")
    page.goto(f"/images/{newer}?sort=newest")
    expect_scripts(page)

    page.keyboard.press("j")
    expect(page).to_have_url(re.compile(rf"/images/{older}\?sort=newest$"))
    expect_scripts(page)
    page.keyboard.press("k")
    expect(page).to_have_url(re.compile(rf"/images/{newer}\?sort=newest$"))
    expect_scripts(page)
    page.get_by_text("Edit caption, alt text and tags").click()
    field(page, "caption").press_sequentially("jk")

    expect(field(page, "caption")).to_have_value(re.compile("jk"))
    expect(page).to_have_url(re.compile(rf"/images/{newer}\?sort=newest$"))


def test_a_draft_survives_a_link_back_and_a_reload_until_it_is_discarded(page, image_id):
    expect_scripts(page)
    page.get_by_text("Edit caption, alt text and tags").click()
    field(page, "caption").fill("Not saved yet.")
    page.get_by_role("link", name="Gallery", exact=True).first.click()
    expect(page.locator(".card").first).to_be_visible()

    page.goto(f"/images/{image_id}")

    expect(page.get_by_text("Unsaved draft restored.")).to_be_visible()
    expect(field(page, "caption")).to_have_value("Not saved yet.")
    page.reload()
    expect(field(page, "caption")).to_have_value("Not saved yet.")
    page.get_by_role("button", name="Discard").click()
    page.reload()
    expect(page.get_by_text("Unsaved draft restored.")).to_be_hidden()
    expect(saved(page, "caption")).to_have_value(MODEL_CAPTION)


def test_two_edits_at_once_show_both_texts(person, page, image_id):
    expect_scripts(page)
    page.get_by_text("Edit caption, alt text and tags").click()
    other = page.context.new_page()
    other.goto(f"/images/{image_id}")
    edit(other, caption="From the other tab.")
    expect(other.get_by_text("Saved.")).to_be_visible()

    field(page, "caption").fill("From this tab.")
    page.get_by_role("button", name="Save").click()

    expect(page.get_by_text("These texts were changed while you edited them.")).to_be_visible()
    expect(page.get_by_text("Saved meanwhile:").first).to_contain_text("From the other tab.")
    expect(field(page, "caption")).to_have_value("From this tab.")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".caption").first).to_have_text("From this tab.")
    # Chromium reports the two responses with status 412.
    assert [error for error in person.script_errors if "412" not in error] == []
    person.script_errors.clear()
