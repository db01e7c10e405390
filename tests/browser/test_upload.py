"""Browser tests of the upload page."""

import re
from functools import cache

from playwright.sync_api import expect

from tests.browser.conftest import MAX_UPLOAD_BYTES
from tests.browser.person import new_jpeg, write_files
from tests.support.factories import encode, make_encoded, make_photo
from tests.support.scripted_gemini import answer, error
from tests.support.time_limits import scaled_ms

REFUSAL = answer("", candidates=[], promptFeedback={"blockReason": "PROHIBITED_CONTENT"})

# The classes of folders have no global names, so the first dropped folder leads to them.
FAIL_FOR_LOCKED_FOLDERS = """
const getEntry = DataTransferItem.prototype.webkitGetAsEntry;
DataTransferItem.prototype.webkitGetAsEntry = function () {
  const entry = getEntry.call(this);
  const folderClass = entry?.isDirectory && Object.getPrototypeOf(entry);
  if (folderClass && !folderClass.isChanged) {
    const create = folderClass.createReader;
    folderClass.isChanged = true;
    folderClass.createReader = function () {
      const reader = create.call(this);
      if (this.name.startsWith("locked")) {
        reader.readEntries = (_, reject) => reject(new DOMException("", "NotReadableError"));
      }
      return reader;
    };
  }
  return entry;
};
"""


@cache
def large_jpeg():
    return encode(make_photo((900, 700)), "JPEG", quality=95)


def test_a_chosen_file_gets_its_caption_without_a_reload(person, page, gemini):
    gemini.hold()
    person.choose(("beach.jpg", new_jpeg()))
    page.evaluate("window.isSamePage = true")

    row = person.expect_state("beach.jpg", "accepted")
    expect(row).to_contain_text("Writing a caption…")
    gemini.release()
    person.expect_state("beach.jpg", "completed")

    expect(row).to_contain_text("A dog runs on a beach.")
    assert page.evaluate("window.isSamePage")


def test_a_row_shows_the_image_its_name_and_its_size(person):
    person.choose(("red.jpg", new_jpeg()))

    row = person.row("red.jpg")
    expect(row.locator(".upload-row__preview img")).to_be_visible()
    expect(row.locator("[data-part=size]")).to_have_text(re.compile(r"^\d+ (bytes|kB)$"))
    expect(row.locator(".upload-row__name")).to_have_text("red.jpg")


def test_a_file_that_the_browser_cannot_show_gets_an_icon_and_then_its_thumbnail(person):
    person.choose(("phone.heic", make_encoded("HEIC", (90, 61))))

    row = person.row("phone.heic")
    expect(row.locator(".upload-row__preview .icon")).to_have_count(1)
    person.expect_state("phone.heic", "completed")
    expect(row.locator(".upload-row__preview img")).to_have_attribute(
        "src", re.compile("thumbnails")
    )


def test_dropped_files_and_folders_are_uploaded(person, folder):
    write_files(folder, ["1.jpg", "deeper/2.jpg", "deeper/still/3.jpg"])
    (folder / "notes.txt").write_text("not an image")
    single = folder.parent / "single.jpg"
    single.write_bytes(new_jpeg())

    person.drop(folder, single)

    for name in ("1.jpg", "2.jpg", "3.jpg", "single.jpg"):
        person.expect_state(name, "completed", seconds=30)
    expect(person.expect_state("notes.txt", "rejected")).to_contain_text("can’t read this kind")


def test_an_unreadable_folder_is_named_and_the_rest_of_the_drop_is_uploaded(person, folder):
    # The tests may run as a user that can read everything, so Chromium's reader fails here.
    person.page.add_init_script(FAIL_FOR_LOCKED_FOLDERS)
    write_files(folder, ["1.jpg", "locked-a/2.jpg", "open/locked-b/3.jpg", "open/4.jpg"])
    locked, single = folder.parent / "locked-c", folder.parent / "single.jpg"
    write_files(folder.parent, ["locked-c/5.jpg", "single.jpg"])

    person.drop(locked, folder, single)

    for name in ("locked-a", "locked-b", "locked-c"):
        expect(person.expect_state(name, "rejected")).to_contain_text("cannot read this")
    for name in ("1.jpg", "4.jpg", "single.jpg"):
        person.expect_state(name, "completed", seconds=30)
    expect(person.page.locator(".upload-row")).to_have_count(6)


def test_files_of_the_system_are_skipped(person, folder):
    names = [".DS_Store", "Thumbs.db", "desktop.ini", "._1.jpg"]
    write_files(folder, ["1.jpg", *names, *(f"deeper/{name}" for name in names)])

    person.drop(folder)

    person.expect_state("1.jpg", "completed", seconds=30)
    expect(person.page.locator(".upload-row")).to_have_count(1)

    person.choose(("2.jpg", new_jpeg()), *((name, b"") for name in names))

    person.expect_state("2.jpg", "completed", seconds=30)
    expect(person.page.locator(".upload-row")).to_have_count(2)


def test_a_pasted_image_is_uploaded(person):
    person.paste(("image.png", make_encoded("PNG", (83, 41))))

    person.expect_state("image.png", "completed")


def test_a_duplicate_links_to_the_first_upload(person):
    data = new_jpeg()
    image_id = person.upload("first.jpg", data)

    person.choose(("again.jpg", data))

    link = person.expect_state("again.jpg", "duplicate").locator("[data-part=link]")
    expect(link).to_contain_text("Open it")
    expect(link).to_have_attribute("href", f"/images/{image_id}")


def test_files_that_cannot_succeed_are_rejected_before_their_upload(person, page):
    files = [
        ("huge.jpg", b"\xff\xd8\xff" + bytes(MAX_UPLOAD_BYTES), "The limit is 2 MB"),
        ("page.jpg", b"<html>not an image</html>", "can’t read this kind"),
        ("empty.jpg", b"", "empty"),
        ("film.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "can’t read this kind"),
    ]
    page.goto("/")
    sent = person.record_upload_requests()

    person.choose(*((name, data) for name, data, _ in files))

    for name, _, reason in files:
        expect(person.expect_state(name, "rejected")).to_contain_text(reason)
    page.wait_for_timeout(300)
    assert sent == []


def test_a_rejection_by_the_server_is_shown_with_its_reason(person):
    person.choose(("torn.jpg", new_jpeg()[:200]))

    expect(person.expect_state("torn.jpg", "rejected")).to_contain_text("damaged or incomplete")


def test_a_progress_bar_shows_the_share_that_was_sent(person, page):
    person.open_upload_page()
    person.slow_down(150_000)

    person.choose(("slow.jpg", large_jpeg()))

    person.expect_state("slow.jpg", "sending")
    person.wait_for(
        "(() => { const bar = document.querySelector('.upload-row progress');"
        " return bar.value > 0.05 && bar.value < 0.95; })()"
    )
    assert 0 < page.locator(".queue__progress").evaluate("bar => bar.value") < 1


def test_leaving_during_an_upload_asks_for_confirmation(person, page):
    person.open_upload_page()
    page.locator("h1").click()  # Browsers only ask after an interaction with the page.
    person.slow_down(20_000)
    person.choose(("slow.jpg", large_jpeg()))
    person.expect_state("slow.jpg", "sending")
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.type), dialog.accept()))

    page.goto("/gallery")

    assert dialogs == ["beforeunload"]


def test_the_result_is_announced_to_screen_readers_and_leaving_then_does_not_ask(person, page):
    person.upload("told.jpg")
    announcer = page.locator("[data-part=announcer]")
    assert announcer.get_attribute("aria-live") == "polite"
    expect(announcer).to_have_text("1 of 1 uploaded, 1 with caption.")
    page.locator("h1").click()
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.type), dialog.accept()))

    page.goto("/gallery")

    assert dialogs == []


def test_cancelling_one_file_leaves_the_others_running(person, page):
    person.token()  # The owner is known, so three requests run at a time.
    person.open_upload_page()
    person.slow_down(100_000)
    person.choose(("unwanted.jpg", large_jpeg()), ("wanted.jpg", new_jpeg()))
    person.expect_state("unwanted.jpg", "sending")

    person.row("unwanted.jpg").get_by_role("button", name="Cancel").click()

    person.expect_state("unwanted.jpg", "cancelled")
    person.expect_state("wanted.jpg", "completed", seconds=30)
    expect(person.row("unwanted.jpg").get_by_role("button", name="Retry")).to_be_focused()


def test_cancel_all_stops_every_upload(person, page):
    person.open_upload_page()
    person.slow_down(20_000)
    sent = person.record_upload_requests()
    person.choose(*((f"{number}.jpg", large_jpeg() + bytes(number)) for number in range(5)))
    person.expect_state("0.jpg", "sending")

    page.get_by_role("button", name="Cancel all").click()

    for number in range(5):
        person.expect_state(f"{number}.jpg", "cancelled")
    page.wait_for_timeout(300)
    assert len(sent) <= 3
    expect(page.get_by_role("button", name="Cancel all")).to_be_hidden()


def test_three_uploads_run_at_a_time_when_the_owner_is_known(person, page):
    person.upload("known.jpg")
    person.slow_down(20_000)
    sent = person.record_upload_requests()

    person.choose(*((f"{number}.jpg", large_jpeg() + bytes(number)) for number in range(5)))

    for number in range(3):
        person.expect_state(f"{number}.jpg", "sending")
    person.expect_state("3.jpg", "waiting")
    assert len(sent) == 3


def test_the_first_files_of_a_new_person_belong_to_one_owner(person, page):
    person.choose(*((f"{number}.jpg", new_jpeg()) for number in range(4)))

    for number in range(4):
        row = person.expect_state(f"{number}.jpg", "completed", seconds=30)
        assert person.fetch("GET", f"/api/images/{person.id_of(row)}")[1]["is_mine"]


def test_retry_sends_only_the_failed_file_again(person, page):
    person.token()
    person.open_upload_page()
    answers = iter([500])
    page.route(
        "**/upload",
        lambda route: (
            route.fulfill(status=500, json={"error": "Our error."})
            if next(answers, None)
            else route.continue_()
        ),
    )
    person.choose(("unlucky.jpg", new_jpeg()))
    expect(person.expect_state("unlucky.jpg", "not_sent")).to_contain_text("Our error.")
    person.choose(("lucky.jpg", new_jpeg()))
    person.expect_state("lucky.jpg", "completed")
    sent = person.record_upload_requests()

    page.get_by_role("button", name="Retry failed (1)").click()

    person.expect_state("unlucky.jpg", "completed")
    assert len(sent) == 1


def test_a_dropped_connection_pauses_the_queue_and_it_continues_by_itself(person, page):
    person.upload("known.jpg")
    person.slow_down(20_000)
    person.choose(*((f"{number}.jpg", large_jpeg() + bytes(number)) for number in range(5)))
    person.expect_state("0.jpg", "sending")
    banner = page.locator("[data-part=banner]")

    person.drop_connection()

    # Chromium may complete the requests that had begun.
    expect(banner).to_have_text(
        re.compile(r"Connection lost\. \d files wait\. Uploading continues when you are online\.")
    )
    assert banner.bounding_box()["y"] < page.locator(".upload-row").first.bounding_box()["y"]
    expect(page.locator("[data-part=summary]")).not_to_contain_text("not ")
    person.expect_state("4.jpg", "waiting")
    person.restore_connection()

    expect(banner).to_be_hidden(timeout=scaled_ms(30))
    for number in range(5):
        person.expect_state(f"{number}.jpg", "completed", seconds=60)


def test_a_busy_server_pauses_the_queue_and_the_reason_is_above_all_files(person, page):
    person.open_upload_page()
    statuses = []

    def handle(route):
        if statuses:
            route.fulfill(
                status=statuses.pop(),
                headers={"Retry-After": "3"},
                json={"error": "Too many.", "code": "rate_limited"},
            )
        else:
            route.continue_()

    page.route("**/upload", handle)
    banner = page.locator("[data-part=banner]")
    for status in (429, 503):
        statuses.append(status)

        person.choose((f"{status}.jpg", new_jpeg()))

        expect(banner).to_contain_text("The server is busy. 1 file waits. Continuing in")
        person.expect_state(f"{status}.jpg", "completed", seconds=30)
        expect(banner).to_be_hidden()
        assert statuses == []


def test_files_with_a_problem_come_first_and_can_be_shown(person, page, gemini):
    page.set_viewport_size({"width": 1280, "height": 400})  # Lower than a few files.
    good = [(f"{number}.jpg", new_jpeg()) for number in range(4)]
    person.choose(*good, ("notes.txt", b"not an image"), ("torn.jpg", new_jpeg()[:200]))
    for name, _ in good:
        person.expect_state(name, "completed", seconds=60)
    gemini.script.append(REFUSAL)
    person.upload_failing("refused.jpg")

    names = page.locator(".upload-row__name").all_inner_texts()

    assert names == ["notes.txt", "torn.jpg", "refused.jpg", *(name for name, _ in good)]
    expect(page.locator("[data-part=summary]")).to_have_text(
        "5 of 7 uploaded · 4 with caption · 2 not accepted · 1 couldn’t be captioned"
    )
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(person.row("notes.txt")).not_to_be_in_viewport()
    page.get_by_role("button", name="Show problems").click()
    expect(person.row("notes.txt")).to_be_focused()
    expect(person.row("notes.txt")).to_be_in_viewport()


def test_a_browser_without_cookies_is_told_that_its_images_cannot_be_changed(person, page):
    page.add_init_script("Object.defineProperty(navigator, 'cookieEnabled', { value: false })")
    page.goto("/")

    expect(page.locator("[data-part=banner]")).to_contain_text("does not keep cookies")


def test_a_cookie_that_is_not_kept_is_noticed_at_the_first_upload(person, page):
    person.open_upload_page()
    page.context.clear_cookies()
    # The page believes that it has an owner, and the browser has no cookie of one.
    page.route("**/api/owners", lambda route: route.fulfill(status=201, json={}))

    person.upload("lost.jpg")

    expect(page.locator("[data-part=banner]")).to_contain_text("does not keep cookies")


def test_a_phone_is_not_asked_to_drop_or_paste(new_person):
    page = new_person(has_touch=True, is_mobile=True, viewport={"width": 375, "height": 800}).page
    page.goto("/")

    expect(page.locator(".uploader--enhanced")).to_be_visible()
    expect(page.locator("[data-part=paste-hint]")).to_be_hidden()
    expect(page.locator("[data-part=drop-title]")).to_be_hidden()


def test_the_row_and_the_page_of_an_image_agree_about_its_size(person, page):
    files = [(f"{padding}.jpg", new_jpeg() + bytes(padding)) for padding in (0, 700_000)]
    person.choose(*files)
    rows = [person.expect_state(name, "completed", seconds=30) for name, _ in files]
    shown = [(person.id_of(row), row.locator("[data-part=size]").inner_text()) for row in rows]

    for image_id, size in shown:
        page.goto(f"/images/{image_id}")

        expect(page.locator(".facts")).to_contain_text(f", {size}")


def test_a_failed_caption_shows_the_reason_and_can_be_retried(person, gemini):
    gemini.script.append(REFUSAL)
    person.upload_failing("refused.jpg")
    row = person.row("refused.jpg")
    expect(row.locator("[data-part=detail]")).not_to_be_empty()

    row.get_by_role("button", name="Retry").click()

    person.expect_state("refused.jpg", "completed", seconds=30)
    expect(row).to_contain_text("A dog runs on a beach.")


def test_a_transient_error_is_shown_above_all_files_until_the_retry_succeeds(person, page, gemini):
    gemini.script.append(error(500, "INTERNAL"))
    person.choose(("later.jpg", new_jpeg()))

    expect(person.row("later.jpg")).to_contain_text("Waiting for its caption")
    expect(page.locator("[data-part=banner]")).to_contain_text(
        "1 image waits for its caption. We’ll keep trying"
    )
    person.expect_state("later.jpg", "completed", seconds=30)
    expect(page.locator("[data-part=banner]")).to_be_hidden()


def test_the_page_works_without_javascript(new_person):
    person = new_person(java_script_enabled=False)
    page = person.page
    page.goto("/")

    page.set_input_files(
        "#image", [{"name": "plain.jpg", "mimeType": "image/jpeg", "buffer": new_jpeg()}]
    )
    page.get_by_role("button", name="Upload").click()

    expect(page).to_have_url(re.compile("/gallery$"))
    expect(page.locator(".messages")).to_contain_text("plain.jpg: uploaded.")
    expect(page.locator(".card").first).to_contain_text("plain.jpg")


def test_the_plain_form_works_when_a_module_cannot_be_loaded(person, page):
    page.route("**/modules/upload_queue.js", lambda route: route.abort())
    page.goto("/")

    page.set_input_files(
        "#image", [{"name": "still.jpg", "mimeType": "image/jpeg", "buffer": new_jpeg()}]
    )
    page.get_by_role("button", name="Upload", exact=True).click()

    expect(page.locator(".messages")).to_contain_text("still.jpg: uploaded.")
    assert len(person.script_errors) == 1  # The missing module is reported.
    person.script_errors.clear()
