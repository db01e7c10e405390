"""A browser test with 100 files. It is in the last file, because it keeps the system busy."""

import re

from playwright.sync_api import expect

from tests.browser.person import new_jpeg
from tests.support.time_limits import scaled_ms


def test_all_of_100_files_are_uploaded(person, page):
    person.choose(*((f"{number}.jpg", new_jpeg()) for number in range(100)))

    expect(page.locator("[data-part=summary]")).to_contain_text(
        "100 of 100 uploaded", timeout=scaled_ms(60)
    )

    expect(page.locator("[data-part=summary]")).not_to_contain_text(
        re.compile("not (accepted|sent)")
    )
    expect(page.locator(".upload-row")).to_have_count(100)
