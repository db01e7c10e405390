"""A hundred files at once, in the last module: the system is busy with them for a while."""

import re

from playwright.sync_api import expect

from tests.browser.person import new_jpeg


def test_a_batch_of_100_files_arrives_whole(person, page):
    person.choose(*((f"{number}.jpg", new_jpeg()) for number in range(100)))

    expect(page.locator("[data-part=summary]")).to_contain_text(
        "100 of 100 uploaded", timeout=60_000
    )

    expect(page.locator("[data-part=summary]")).not_to_contain_text(
        re.compile("not (accepted|sent)")
    )
    expect(page.locator(".upload-row")).to_have_count(100)
