"""Browser tests of how an image is described: at its upload, and for a new caption."""

import re

from PIL import ExifTags, Image
from playwright.sync_api import expect

from tests.browser.person import new_jpeg
from tests.browser.test_accessibility import assert_no_violations
from tests.support.scripted_gemini import answer

GERMAN = answer({"language": "de", "caption": "Ein Hund am Strand.", "alt_text": "Ein Hund"})
FRENCH = answer({"language": "fr", "caption": "Un chien sur la plage.", "alt_text": "Un chien"})
SUMMARY = "New caption in another language or style"


def last_request(gemini):
    request = gemini.requests[-1]
    instructions = request["systemInstruction"]["parts"][0]["text"]
    return instructions, request["contents"][0]["parts"][-1]["text"]


def test_uploads_are_described_as_chosen_and_the_browser_keeps_language_and_style(
    person, page, gemini
):
    gemini.script.append(GERMAN)
    page.goto("/")
    page.get_by_text("How to describe").click()
    page.get_by_label("Language").select_option("de")
    page.get_by_label("Style").select_option("short")
    page.get_by_label("Context").fill("Rex is the dog")
    image_id = person.upload()

    instructions, text = last_request(gemini)
    assert "Write in German." in instructions
    assert '<notes>"Rex is the dog"</notes>' in text
    assert person.api("GET", f"/api/images/{image_id}")[1]["language"] == "de"

    page.reload()
    expect(page.get_by_text("How to describe")).to_have_text(
        "How to describe: German – Deutsch, Short: one sentence"
    )
    page.get_by_text("How to describe").click()
    expect(page.get_by_label("Language")).to_have_value("de")
    expect(page.get_by_label("Context")).to_have_value("")
    assert_no_violations(page)


def test_a_new_caption_is_written_in_another_language(person, page, gemini):
    image_id = person.send()
    gemini.script.append(FRENCH)
    page.goto(f"/images/{image_id}")
    page.get_by_text(SUMMARY).click()
    assert_no_violations(page)
    page.get_by_label("Language").select_option("fr")
    page.get_by_label("Language").press("Tab")
    page.get_by_role("button", name="Write a new caption").last.click()

    expect(page.locator(".caption")).to_have_text("Un chien sur la plage.")
    expect(page.locator(".caption")).to_have_attribute("lang", "fr")
    expect(page.locator(".facts")).to_contain_text("French – Français")
    page.get_by_text(SUMMARY).click()
    expect(page.get_by_label("Language")).to_have_value("fr")


def test_the_options_work_without_scripts(new_person, gemini):
    person = new_person(java_script_enabled=False)
    page = person.page
    gemini.script.append(GERMAN)
    page.goto("/")
    page.get_by_text("How to describe").click()
    page.get_by_label("Language").select_option("de")
    file = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": new_jpeg()}
    page.get_by_label("Images", exact=True).set_input_files(file)
    page.get_by_role("button", name="Upload").click()

    expect(page.locator(".card__link").first).to_be_visible()
    page.locator(".card__link").first.click()
    page.get_by_text(SUMMARY).wait_for()
    expect(page.locator(".caption")).to_have_attribute("lang", "de")
    page.get_by_text(SUMMARY).click()
    expect(page.get_by_label("Language")).to_have_value("de")
    gemini.script.append(FRENCH)
    page.get_by_label("Language").select_option("fr")
    page.get_by_role("button", name="Write a new caption").last.click()
    expect(page.locator(".caption")).to_have_attribute("lang", "fr")


def test_the_description_in_the_file_is_used_without_scripts(new_person, gemini):
    person = new_person(java_script_enabled=False)
    page = person.page
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "Rex at the fair"
    page.goto("/")
    page.get_by_text("How to describe").click()
    page.get_by_label("Description in the file").select_option("true")
    buffer = new_jpeg(exif=exif.tobytes())
    file = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": buffer}
    page.get_by_label("Images", exact=True).set_input_files(file)
    page.get_by_role("button", name="Upload").click()

    page.locator(".card__link").first.click()
    page.get_by_text(SUMMARY).wait_for()
    assert '<file>"Rex at the fair"</file>' in last_request(gemini)[1]
    expect(page.locator(".facts")).to_contain_text("Used as context, if there is one")
    page.get_by_text(SUMMARY).click()
    expect(page.get_by_label("Description in the file")).to_have_value("true")
    page.get_by_label("Description in the file").select_option("false")
    page.get_by_role("button", name="Write a new caption").last.click()
    page.get_by_text(SUMMARY).wait_for()
    assert "<file>" not in last_request(gemini)[1]


def test_the_browser_keeps_the_choice_of_the_description_in_the_file(person, page, gemini):
    page.goto("/")
    page.get_by_text("How to describe").click()
    page.get_by_label("Description in the file").select_option("true")
    image_id = person.upload()

    options = person.api("GET", f"/api/images/{image_id}")[1]["caption_options"]
    assert options["use_embedded_text"] is True
    page.goto("/")
    expect(page.get_by_text("How to describe")).to_have_text(
        "How to describe: with the description in the file"
    )
    page.goto(f"/images/{image_id}")
    page.get_by_text(SUMMARY).click()
    page.get_by_label("Description in the file").select_option("false")
    page.get_by_role("button", name="Write a new caption").last.click()
    expect(page.locator(".facts")).not_to_contain_text("Used as context")


def test_the_lightbox_shows_the_language_and_leads_to_a_new_caption_by_keyboard(
    person, page, gemini, new_person
):
    gemini.script.append(GERMAN)
    page.goto("/")
    page.get_by_text("How to describe").click()
    page.get_by_label("Language").select_option("de")
    image_id = person.upload()
    gemini.script.append(FRENCH)
    page.goto("/gallery?mine=true")
    person.card(image_id).locator(".card__link").press("Enter")
    dialog = page.get_by_role("dialog", name="Image viewer")
    expect(dialog.get_by_text("Language: German")).to_be_visible()
    assert_no_violations(page)

    dialog.get_by_role("link", name="New caption").press("Enter")
    expect(page).to_have_url(re.compile(rf"/images/{image_id}\?mine=true#new-caption$"))
    expect(page.locator("summary", has_text=SUMMARY)).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Language")).to_be_focused()
    page.get_by_label("Language").select_option("fr")
    page.get_by_role("button", name="Write a new caption").last.press("Enter")
    expect(page.locator(".caption")).to_have_text("Un chien sur la plage.")

    stranger = new_person().page
    stranger.goto(f"/gallery#image-{image_id}")
    dialog = stranger.get_by_role("dialog", name="Image viewer")
    expect(dialog.get_by_text("Language: French")).to_be_visible()
    expect(dialog.get_by_role("link", name="Details")).to_be_visible()
    expect(dialog.get_by_role("link", name="New caption")).to_be_hidden()


def test_translations_are_shown_and_found_by_their_language(person, page, gemini):
    arabic = {"caption": "كلب يركض على الشاطئ", "alt_text": "كلب على الشاطئ"}
    french = {"caption": "Un chien sur la plage.", "alt_text": "Un chien"}
    gemini.script.append(
        answer(
            {
                "language": "en",
                "caption": "A dog on the beach.",
                "alt_text": "A dog",
                "tags": ["dog"],
                "translations": {"fr": french, "ar": arabic, "ja": {}},
            }
        )
    )
    page.goto("/")
    page.get_by_text("How to describe").click()
    page.get_by_label("Language").select_option("en")
    page.get_by_label("Also in").fill("French, ar, ja")
    image_id = person.upload()
    page.goto(f"/images/{image_id}")

    region = page.get_by_role("region", name="Arabic – العربية")
    text = region.get_by_text(arabic["caption"])
    expect(text).to_have_attribute("lang", "ar")
    assert text.evaluate("element => getComputedStyle(element).direction") == "rtl"
    expect(page.get_by_text("no usable text in Japanese – 日本語")).to_be_visible()
    assert_no_violations(page)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for name, text in (
        ("Caption in Arabic", arabic["caption"]),
        ("Alt text in French", french["alt_text"]),
    ):
        page.get_by_role("button", name=f"Copy {name[0].lower()}{name[1:]}").press("Enter")
        expect(page.locator(".toast").get_by_text(f"{name} copied.")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == text

    page.goto("/gallery")
    page.get_by_text("Sort and more filters").click()
    page.locator(".more-filters select[name=language]").select_option("fr")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(f"#card-{image_id}")).to_be_visible()
    expect(page.get_by_text("Remove language French – Français")).to_be_visible()
    assert_no_violations(page)
    page.get_by_text("Remove language French – Français").click()
    expect(page).not_to_have_url(re.compile("language="))


def test_translations_are_corrected_and_restored_by_keyboard(person, page, gemini):
    texts = {"language": "en", "caption": "A dog.", "alt_text": "A dog", "tags": ["dog"]}
    arabic = {"caption": "كلب على الشاطئ", "alt_text": "كلب"}
    french = {"caption": "Un chien.", "alt_text": "Chien"}
    gemini.script.append(answer({**texts, "translations": {"ar": arabic, "fr": french}}))
    page.goto("/")
    page.get_by_text("How to describe").click()
    page.get_by_label("Language").select_option("en")
    page.get_by_label("Also in").fill("ar, fr")
    image_id = person.upload()
    page.goto(f"/images/{image_id}")

    page.get_by_text("Edit caption, alt text, tags and translations").focus()
    page.keyboard.press("Enter")
    for width in (320, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert_no_violations(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    caption = page.get_by_label("Caption in French")
    expect(caption).to_have_value("Un chien.")
    caption.fill("Rex court.")
    # A reload restores the unsaved text.
    page.reload()
    expect(page.get_by_label("Caption in French")).to_have_value("Rex court.")
    page.get_by_role("button", name="Save").press("Enter")

    expect(page.locator(".toast")).to_contain_text("Saved.")
    region = page.get_by_role("region", name="French – Français", exact=True)
    expect(region).to_contain_text("Rex court.")
    expect(region).to_contain_text("Edited by you")
    expect(page.get_by_role("region", name="Arabic – العربية")).not_to_contain_text("Edited")
    assert_no_violations(page)
    _, image = person.api("GET", f"/api/images/{image_id}")
    assert image["translations"] == {"ar": arabic, "fr": {**french, "caption": "Rex court."}}
    assert image["sources"]["caption"] == "model"

    page.get_by_role("button", name="Use these texts in French").press("Enter")
    expect(region).to_contain_text("Un chien.")
    page.get_by_role("button", name="Undo").press("Enter")
    expect(region).to_contain_text("Rex court.")
