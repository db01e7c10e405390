"""Browser tests of pages on another site that try to act for a visitor.

`localhost` and `127.0.0.1` are two sites for a browser, although both are this machine.
"""

import base64

import pytest
import requests
from playwright.sync_api import Page, Route, expect

from tests.browser.person import Person, new_jpeg
from tests.support.local_system import LocalSystem, wait_until
from tests.support.time_limits import scaled

# Each attack is a script on the page of the attacker. `SITE` and `FILE` are replaced.
_FORM = """
const form = document.createElement("form");
form.method = "post";
form.action = "SITE/upload";
document.body.append(form);
"""
_FILE = """
const bytes = Uint8Array.from(atob("FILE"), (character) => character.charCodeAt(0));
const file = new File([bytes], "attack.jpg", { type: "image/jpeg" });
"""
_FILE_FIELD = """
form.enctype = "multipart/form-data";
const transfer = new DataTransfer();
transfer.items.add(file);
const input = document.createElement("input");
Object.assign(input, { type: "file", name: "image", files: transfer.files });
form.append(input);
"""
ATTACKS = {
    "form with a file": _FILE + _FORM + _FILE_FIELD + "form.submit();",
    "form with a file in a new window": (
        _FILE + _FORM + _FILE_FIELD + 'form.target = "_blank"; form.submit();'
    ),
    "form as text": (
        _FORM + 'form.enctype = "text/plain"; form.innerHTML = "<input name=image value=x>";'
        "form.submit();"
    ),
    "form for a new owner": _FORM + 'form.action = "SITE/api/owners"; form.submit();',
    "fetch": (
        _FILE + 'const body = new FormData(); body.append("image", file);'
        'fetch("SITE/upload", { method: "POST", mode: "no-cors", credentials: "include", body });'
    ),
    "fetch for a new owner": (
        'fetch("SITE/api/owners", { method: "POST", mode: "no-cors", credentials: "include" });'
    ),
}


def cookies_of(page: Page, system: LocalSystem) -> dict[str, str]:
    return {cookie["name"]: cookie["value"] for cookie in page.context.cookies(system.url)}


def newest_image(person: Person) -> int:
    """Return the id of the newest image of the site."""
    _, answer = person.fetch("GET", "/api/images?limit=1")
    return int(answer["images"][0]["id"])


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_page_of_another_site_cannot_replace_the_owner_or_upload(
    person, page, system, attacker, attack
):
    (image_id,) = person.add("mine.jpg")
    page.goto("/")
    cookies = cookies_of(page, system)
    script = attack.replace("SITE", system.url).replace(
        "FILE", base64.b64encode(new_jpeg()).decode()
    )
    answered: list[str] = []
    # A script of another site gets no answer at all, because of Cross-Origin-Resource-Policy.
    for event in ("requestfinished", "requestfailed"):
        page.context.on(
            event,
            lambda request: answered.append(request.url) if request.method == "POST" else None,
        )

    tab = page.context.new_page()
    tab.goto(attacker(f"<script>{script}</script>"))

    wait_until(lambda: tab.evaluate("1") and answered, seconds=15)
    assert cookies_of(page, system) == cookies
    assert newest_image(person) == image_id
    status, _ = person.fetch("DELETE", f"/api/images/{image_id}")
    assert status == 204


def test_a_form_of_another_site_shows_a_page_that_says_what_happened(
    person, page, system, attacker
):
    script = ATTACKS["form as text"].replace("SITE", system.url)

    page.goto(attacker(f"<script>{script}</script>"))

    expect(page.locator("h1")).to_contain_text("nothing was changed")
    page.get_by_role("link", name="Go to gallery").click()
    expect(page.locator("h1")).to_have_text("Gallery")


def test_a_visitor_who_follows_a_link_gets_an_owner_before_the_first_upload(
    person, page, system, attacker
):
    page.goto(attacker(f'<a href="{system.url}/">Describe your photos</a>'))
    page.get_by_role("link").click()
    expect(page.locator(".uploader--enhanced")).to_be_visible()
    assert "owner" not in cookies_of(page, system)

    image_id = person.upload()

    assert "owner" in cookies_of(page, system)
    assert person.fetch("GET", f"/api/images/{image_id}")[1]["is_mine"]


def test_a_first_upload_without_an_answer_belongs_to_the_visitor(person, page):
    person.open_upload_page()

    def lose_the_answer(route: Route) -> None:
        request = route.request
        requests.post(
            request.url,
            data=request.post_data_buffer,
            headers=request.all_headers(),
            timeout=scaled(30),
        )
        route.abort()

    page.route("**/upload", lose_the_answer, times=1)
    data = new_jpeg()
    person.choose(("lost.jpg", data))

    # The queue waits for the connection and sends the file again by itself.
    row = person.expect_state("lost.jpg", "duplicate")
    status, image = person.fetch("GET", f"/api/images/{person.id_of(row)}")
    assert (status, image["is_mine"]) == (200, True)


def test_a_first_upload_without_javascript_belongs_to_the_owner_of_the_page(new_person, system):
    person = new_person(java_script_enabled=False)
    page = person.page
    page.goto("/")
    owner = cookies_of(page, system)["owner"]

    page.set_input_files(
        "#image", [{"name": "plain.jpg", "mimeType": "image/jpeg", "buffer": new_jpeg()}]
    )
    page.get_by_role("button", name="Upload").click()

    expect(page.locator(".messages")).to_contain_text("plain.jpg: uploaded.")
    assert cookies_of(page, system)["owner"] == owner
