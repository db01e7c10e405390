"""The smoke test on a site with every fault."""

import io
import re

import pytest

from deployment import smoke
from deployment.__main__ import main
from deployment.console import Console
from deployment.smoke import (
    SignInError,
    SmokeTestError,
    UnreachableError,
    run_after_deployment,
    smoke_test,
)
from tests.support.certificates import self_signed
from tests.support.scripted_site import COOKIE, STATUS, scripted_site


@pytest.fixture
def site():
    with scripted_site() as site:
        yield site


def run(site, **options):
    printed = io.StringIO()
    smoke_test(site.url, Console(printed), sleep=lambda _: None, **options)
    return printed.getvalue()


def failed(job, message="The captioning service refused the key."):
    error = {"code": "configuration", "message": message, "attempts": 1}
    return 200, {**STATUS, f"{job}_status": "failed", f"{job}_error": error}


def test_a_site_that_works_is_used_once_and_left_as_it_was(site):
    site.pending = 3

    printed = run(site)

    steps = [line.split("smoke test")[1].strip() for line in printed.splitlines()]
    assert steps == [
        "image 7 uploaded",
        "caption: Colours in squares.",
        "thumbnail of 11 bytes",
        "deleted",
    ]
    assert site.images == set()


FAULTS = {
    "not ready": (
        ("GET", "/health/ready"),
        (503, {"error": "Not ready: database unavailable.", "code": "not_ready"}),
        "The servers are not ready: 503 Not ready: database unavailable. Read their log",
    ),
    "no server": (("GET", "/health/ready"), (502, b"<html>"), "502 Bad Gateway. Read their log"),
    "no owner": (("POST", "/api/owners"), (500, {"error": "Server error."}), "`logs web`"),
    "another application": (("POST", "/api/owners"), (201, b"hello"), "did not answer with JSON"),
    "redirect": (("POST", "/api/owners"), (301, "https://127.0.0.1/"), "with that --address"),
    "upload refused": (
        ("POST", "/upload"),
        (503, {"results": [{"error": {"code": "upload_failed", "message": "Not stored."}}]}),
        "could not accept an upload: 503 Not stored. Read the log of the servers",
    ),
    "request refused": (("POST", "/upload"), (403, b"<html>"), "403 Forbidden."),
    "caption failed": (
        ("GET", "/api/image_status/7"),
        failed("annotation"),
        "The annotation job failed: The captioning service refused the key. Read the log of the "
        "annotation function",
    ),
    "thumbnail failed": (
        ("GET", "/api/image_status/7"),
        failed("thumbnail"),
        "The thumbnail job failed",
    ),
    "job waits": (
        ("GET", "/api/image_status/7"),
        (200, {**STATUS, "annotation_status": "pending"}),
        "The annotation job did not end in 0 seconds: No attempt was reported.",
    ),
    "thumbnail forbidden": (
        ("GET", "/thumbnail"),
        (403, b"<Error/>"),
        "The link to the thumbnail got 403 Forbidden. Check the role of the servers",
    ),
    "not deleted": (
        ("DELETE", "/api/images/7"),
        (500, {"error": "Server error."}),
        "Image 7 remains.",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_message_that_says_what_to_look_at(site, fault):
    request, answer, message = FAULTS[fault]
    site.answers[request] = answer

    with pytest.raises(SmokeTestError, match=re.escape(message)) as caught:
        run(site, max_wait_seconds=0 if fault == "job waits" else 60)

    assert "\n" not in str(caught.value)
    assert type(caught.value) is SmokeTestError
    if ("POST", "/upload") in site.requests and request[1] != "/upload":
        assert ("DELETE", "/api/images/7") in site.requests


def test_a_site_that_cannot_be_reached_is_told_apart(unused_tcp_port):
    with pytest.raises(UnreachableError, match=r"cannot be reached from here .*AllowedClientCidr"):
        smoke_test(f"http://127.0.0.1:{unused_tcp_port}", Console(io.StringIO()))


def test_a_name_without_https_is_not_a_valid_certificate(site):
    with pytest.raises(SmokeTestError, match="has no valid certificate"):
        smoke_test(site.url.replace("http:", "https:"), Console(io.StringIO()))


def test_a_site_with_https_is_used_with_a_certificate_that_is_trusted(tmp_path, monkeypatch):
    files = self_signed(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(files.certificate))

    with scripted_site(files.certificate, files.key) as site:
        assert site.url.startswith("https://")
        assert "deleted" in run(site)
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        with pytest.raises(SmokeTestError, match="has no valid certificate"):
            run(site)


def test_a_site_with_sign_in_needs_the_cookies_of_a_browser(site):
    site.has_sign_in = True

    with pytest.raises(SignInError, match=r"wants a sign-in\. .*SMOKE_COOKIE='…'"):
        run(site)
    with pytest.raises(SignInError, match="The cookies of SMOKE_COOKIE are not accepted"):
        run(site, cookie="AWSELBAuthSessionCookie-0=too-old")
    assert "deleted" in run(site, cookie=f"{COOKIE}; AWSELBAuthSessionCookie-1=x")


@pytest.mark.parametrize("fault", ["unreachable", "sign-in"])
def test_up_only_reports_a_site_that_cannot_be_used_from_here(site, fault, unused_tcp_port):
    printed = io.StringIO()
    site.has_sign_in = True
    address = site.url if fault == "sign-in" else f"http://127.0.0.1:{unused_tcp_port}"

    run_after_deployment(address, Console(printed))

    assert printed.getvalue().startswith("The smoke test was not run. http://127.0.0.1")


def test_up_fails_if_the_site_does_not_work(site):
    site.answers["GET", "/api/image_status/7"] = failed("annotation")

    with pytest.raises(SmokeTestError, match="Everything was deployed, but the smoke test failed"):
        run_after_deployment(site.url, Console(io.StringIO()))


def test_the_command_needs_no_account_with_an_address(site, capsys, monkeypatch):
    site.has_sign_in = True
    monkeypatch.setenv("SMOKE_COOKIE", COOKIE)

    assert main(["smoke", "--address", f"{site.url}/"]) == 0

    assert "works." in capsys.readouterr().out


def test_each_image_of_a_smoke_test_is_different(site, monkeypatch):
    sent = []
    original = smoke.Image.Image.save
    monkeypatch.setattr(
        smoke.Image.Image,
        "save",
        lambda image, *arguments: (sent.append(image.tobytes()), original(image, *arguments)),
    )

    run(site)
    run(site)

    assert len(set(sent)) == 2
