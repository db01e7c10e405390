"""A page of another site in the user's browser, which sends requests to the local system."""

from collections.abc import Callable, Iterator

import psutil
import pytest
from playwright.sync_api import Browser, Page

from tests.support.factories import make_jpeg
from tests.support.local_system import LocalSystem
from tests.support.scripted_gemini import ScriptedGemini

BUCKET = "image-annotation-originals"
# Everything that a page can send without permission of the server. It returns what it could read.
ATTACK = """
async ({images, forms, reads}) => {
  const load = (url) => new Promise((done) => {
    const image = new Image();
    image.onload = () => done(url);
    image.onerror = () => done(null);
    image.src = url;
  });
  const read = (url) => fetch(url).then((answer) => answer.text()).catch(() => null);
  const post = ([url, body]) =>
    fetch(url, {method: "POST", mode: "no-cors", body, headers: {"Content-Type": "text/plain"}})
      .then(() => null, () => null);
  const sent = [...images.map(load), ...forms.map(post), ...reads.map(read)];
  // A request that waits for an event gets no answer yet.
  const waiting = new Promise((done) => setTimeout(done, 10_000, null));
  const results = await Promise.all(sent.map((answer) => Promise.race([answer, waiting])));
  return results.filter((result) => result !== null);
}
"""


@pytest.fixture
def hostile_page(browser: Browser, attacker: Callable[[str], str]) -> Iterator[Page]:
    """Open a page of another site, which resolves to this machine in every browser."""
    page = browser.new_page()
    page.goto(attacker(""))
    yield page
    page.close()


def runtime_apis(system: LocalSystem) -> set[str]:
    """Return the addresses of the Runtime APIs, from the environments of the functions."""
    return {
        process.environ()["AWS_LAMBDA_RUNTIME_API"]
        for process in system.processes_of("awslambdaric")
        if process.status() != psutil.STATUS_ZOMBIE
    }


def test_a_page_of_another_site_cannot_read_or_delete_an_image_or_take_an_event(
    system: LocalSystem, gemini: ScriptedGemini, hostile_page: Page
) -> None:
    (before,) = system.upload(("before.jpg", make_jpeg((320, 240))))
    status = system.finished(before["id"])
    thumbnail = status["thumbnail_url"].split("?")[0].rpartition("/")[2]
    key = f"originals/{thumbnail.removesuffix('.webp')}.jpg"
    aws, apis = system.aws_url, runtime_apis(system)
    assert len(apis) >= 3, "the functions are running"
    delete = f"<Delete><Object><Key>{key}</Key></Object></Delete>"
    forms = [[f"{aws}/{BUCKET}?delete&Signature=x", delete]]
    forms += [[f"http://{api}/2018-06-01/runtime/init/error", "{}"] for api in apis]
    attack = {
        "images": [
            f"{aws}/{BUCKET}/{key}?Signature=x",
            *(f"http://{api}/2018-06-01/runtime/invocation/next?" for api in apis),
            *(f"http://{api}/2018-06-01/runtime/invocation/next" for api in apis),
        ],
        "forms": forms,
        "reads": [f"{system.url}/api/images", f"{aws}/{BUCKET}?list-type=2&Signature=x"],
    }

    was_read = hostile_page.evaluate(ATTACK, attack)
    (after,) = system.upload(("after.jpg", make_jpeg((321, 240))))

    assert was_read == []
    stored = system.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    assert stored == make_jpeg((320, 240))
    # An event that the page had taken would be repeated only after a minute.
    assert system.finished(after["id"], seconds=30)["status"] == "completed"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_the_pages_show_images_under_either_name_of_this_machine(
    browser: Browser, system: LocalSystem, gemini: ScriptedGemini, name: str
) -> None:
    (result,) = system.upload((f"{name}.jpg", make_jpeg((322 + len(name), 240))))
    system.finished(result["id"])
    page = browser.new_page()

    page.goto(f"http://{name}:{system.port}/images/{result['id']}")

    widths = page.evaluate(
        """() => Promise.all([...document.querySelectorAll("main img")].map(async (image) => {
             await image.decode(); return image.naturalWidth; }))"""
    )
    assert widths
    assert all(widths)
    page.close()
