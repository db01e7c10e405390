"""Run the smoke test on the local system with the deployment command."""

import requests


def test_the_smoke_test_uses_a_running_system_and_leaves_nothing(system):
    printed = system.run_deployment("smoke", "--address", system.url)

    assert "caption: A dog runs on a beach." in printed
    assert printed.rstrip().endswith("works.")
    images = requests.get(f"{system.url}/api/images", timeout=10).json()["images"]
    assert images == []
