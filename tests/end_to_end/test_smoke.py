"""Run the smoke test on the local system with the deployment command."""

import requests

from tests.support.time_limits import scaled


def list_images(system):
    images = requests.get(f"{system.url}/api/images", timeout=scaled(30)).json()["images"]
    return [image["id"] for image in images]


def test_the_smoke_test_uses_a_running_system_and_leaves_nothing(system, gemini):
    before = list_images(system)

    printed = system.run_deployment("smoke", "--address", system.url)

    assert "caption: A dog runs on a beach." in printed
    assert printed.rstrip().endswith("works.")
    assert list_images(system) == before
