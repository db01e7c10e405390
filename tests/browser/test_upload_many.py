"""A browser test with many files. It is in the last file, because it keeps the system busy."""

import re

from playwright.sync_api import expect

from tests.browser.person import new_jpeg
from tests.support.time_limits import scaled_ms

FILES = 30

# Counts how often the line above all files appears.
COUNT_BANNERS = """() => {
    const banner = document.querySelector("[data-part=banner]");
    window.bannerCount = 0;
    new MutationObserver(() => {
        window.bannerCount += banner.hidden ? 0 : 1;
    }).observe(banner, { attributeFilter: ["hidden"] });
}"""


def test_many_files_arrive_although_the_connection_is_lost_in_the_middle(person, page):
    person.open_upload_page()
    person.slow_down(10_000)  # So that the connection is lost before all files are sent.
    page.evaluate(COUNT_BANNERS)
    banner, summary = page.locator("[data-part=banner]"), page.locator("[data-part=summary]")
    person.choose(*((f"{number}.jpg", new_jpeg()) for number in range(FILES)))
    expect(summary).to_have_text(re.compile(rf"^[1-9]\d? of {FILES} "), timeout=scaled_ms(60))

    person.drop_connection()

    expect(banner).to_have_text(
        re.compile(r"Connection lost\. \d+ files wait\. Uploading continues when you are online\.")
    )
    sent_before = summary.inner_text()
    expect(page.locator(".upload-row[data-state=sending]")).to_have_count(0)
    assert not sent_before.startswith(f"{FILES} of {FILES}")
    person.restore_connection()

    expect(summary).to_contain_text(f"{FILES} of {FILES} uploaded", timeout=scaled_ms(120))
    expect(banner).to_be_hidden(timeout=scaled_ms(30))
    expect(summary).not_to_contain_text(re.compile("not (accepted|sent)"))
    assert page.evaluate("window.bannerCount") == 1
    assert len(mine(person)) == FILES


def mine(person):
    """Return the ids of all images of a person."""
    ids, query = [], "mine=true&limit=100"
    while True:
        status, body = person.fetch("GET", f"/api/images?{query}")
        assert status == 200
        ids += [image["id"] for image in body["images"]]
        if body["next_cursor"] is None:
            return ids
        query = f"mine=true&limit=100&cursor={body['next_cursor']}"
