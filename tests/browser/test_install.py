"""Browser tests of the site as an app on a phone: its manifest, shared images, and the camera."""

import base64
import io
from urllib.parse import urljoin

import pytest
import requests
from PIL import Image
from playwright.sync_api import expect

from tests.support.factories import make_jpeg
from tests.support.time_limits import scaled

SHARE = """([name, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const files = new DataTransfer();
    files.items.add(new File([bytes], name, { type: "image/jpeg" }));
    files.items.add(new File([bytes.slice(0, 2)], "second.jpg", { type: "image/jpeg" }));
    const form = Object.assign(document.createElement("form"), {
        action: "/share", method: "post", enctype: "multipart/form-data",
    });
    const input = Object.assign(document.createElement("input"), {
        type: "file", name: "image", multiple: true,
    });
    input.files = files.files;
    form.append(input);
    document.body.append(form);
    form.submit();
}"""
IS_WORKER_ACTIVE = "navigator.serviceWorker.getRegistration('/share').then((r) => !!r?.active)"


def test_the_manifest_and_its_icons_can_be_loaded(person, page):
    page.goto("/")
    address = urljoin(page.url, page.locator("link[rel=manifest]").get_attribute("href"))

    response = requests.get(address, timeout=scaled(10))
    manifest = response.json()

    assert response.headers["Content-Type"].startswith("application/manifest+json")
    for icon in manifest["icons"]:
        image = requests.get(urljoin(address, icon["src"]), timeout=scaled(10))
        assert image.headers["Content-Type"].startswith(icon["type"])
        if icon["type"] == "image/png":
            size = "x".join(map(str, Image.open(io.BytesIO(image.content)).size))
            assert size == icon["sizes"]


@pytest.mark.parametrize("name", ["favicon.ico", "apple-touch-icon.png"])
def test_browsers_find_the_icons_in_the_root_folder(page, person, name):
    page.goto("/")

    response = requests.get(urljoin(page.url, name), timeout=scaled(10))

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("image/")
    assert Image.open(io.BytesIO(response.content)).width >= 32


def test_chromium_finds_no_fault_in_the_manifest(person, page):
    page.goto("/")

    manifest = page.context.new_cdp_session(page).send("Page.getAppManifest")

    assert manifest["errors"] == []
    assert manifest["data"]


def test_images_that_a_phone_shares_are_uploaded(person, page):
    page.goto("/")
    person.wait_for(IS_WORKER_ACTIVE)
    photo = base64.b64encode(make_jpeg((64, 48))).decode()

    page.evaluate(SHARE, ["Straße am Meer.jpg", photo])

    page.wait_for_url("**/")
    person.expect_state("Straße am Meer.jpg", "completed", seconds=30)
    person.expect_state("second.jpg", "rejected")
    assert page.url.endswith("/")  # A reload sends nothing again.
    page.reload()
    expect(page.locator(".upload-row")).to_have_count(0)


def test_a_phone_offers_its_camera(browser, live_url):
    with browser.new_context(has_touch=True, is_mobile=True, base_url=live_url) as phone:
        page = phone.new_page()
        page.goto("/")
        button = page.get_by_role("button", name="Take a photo")
        expect(button).to_be_visible()

        with page.expect_file_chooser() as chooser:
            button.click()
        chooser.value.set_files(
            [{"name": "camera.jpg", "mimeType": "image/jpeg", "buffer": make_jpeg()}]
        )

        expect(page.locator(".upload-row").filter(has_text="camera.jpg")).to_be_visible()


def test_a_computer_with_a_mouse_offers_no_camera(person, page):
    page.goto("/")

    expect(page.get_by_role("button", name="Choose a folder")).to_be_visible()
    expect(page.get_by_role("button", name="Take a photo")).to_be_hidden()
