"""Use a running site once: upload an image, wait for both jobs, fetch the thumbnail, delete it.

It sends only HTTP requests, so it works with each site that can be reached, also with `make run`.
"""

import io
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from PIL import Image

from deployment.console import Console
from deployment.errors import DeploymentError

_REQUEST_SECONDS = 30
_POLL_SECONDS = 1
# Longer than the time-outs and the attempts of a function, also right after its deployment.
MAX_WAIT_SECONDS = 300
_CSRF_TOKEN = re.compile(r'<meta name="csrf-token" content="([^"]+)"')
_SERVER_LOG = "Read the log of the servers (`logs web`)."
_NEXT_STEP = {
    "annotation": "Read the log of the annotation function (`logs annotation`).",
    "thumbnail": "Read the log of the thumbnail function (`logs thumbnail`).",
}


class SmokeTestError(DeploymentError):
    """The site does not work. The message has what failed and where to look."""


class UnreachableError(SmokeTestError):
    """The site cannot be reached from this machine. It may work for others."""


class SignInError(SmokeTestError):
    """The site wants a sign-in, which a program cannot do."""


def smoke_test(
    address: str,
    console: Console,
    *,
    cookie: str | None = None,
    max_wait_seconds: float = MAX_WAIT_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Upload a small image, wait for its caption and thumbnail, fetch the thumbnail, delete all.

    Args:
        address: the address of the site, such as `https://images.example.org`.
        console: prints each step.
        cookie: the cookies of a signed-in browser, for a site with sign-in.
        max_wait_seconds: the limit for both jobs together.
        sleep: waits between two requests for the status.

    Raises:
        SmokeTestError: a step failed.
    """
    with requests.Session() as session:
        visitor = _Visitor(address.rstrip("/"), session, console, cookie)
        visitor.check_readiness()
        visitor.sign_in()
        image_id = visitor.upload()
        try:
            status = visitor.wait_for_jobs(image_id, max_wait_seconds, sleep)
            visitor.fetch_thumbnail(status["thumbnail_url"])
        except BaseException:
            with suppress(SmokeTestError):  # The first failure is the one to report.
                visitor.delete(image_id)
            raise
        visitor.delete(image_id)


def run_after_deployment(address: str, console: Console, *, cookie: str | None = None) -> None:
    """Run the smoke test on a site that was just deployed.

    A site that cannot be used from here is only reported, because the load balancer found its
    servers healthy.

    Raises:
        SmokeTestError: the site is there and does not work.
    """
    try:
        smoke_test(address, console, cookie=cookie)
    except (UnreachableError, SignInError) as error:
        console.print(f"The smoke test was not run. {error}", "error")
    except SmokeTestError as error:
        raise SmokeTestError(
            f"Everything was deployed, but the smoke test failed. {error} Then run "
            "`python -m deployment smoke`."
        ) from error


class _Visitor:
    """A client of the site, with the cookies and the token that the site gives it."""

    def __init__(
        self, address: str, session: requests.Session, console: Console, cookie: str | None
    ) -> None:
        self._address, self._session, self._console = address, session, console
        session.headers["Accept"] = "application/json"
        self._cookie = cookie
        for part in (cookie or "").split(";"):
            name, _, value = part.strip().partition("=")
            if name:
                session.cookies.set(name, value)

    def check_readiness(self) -> None:
        """Require that the servers reach the database and the buckets."""
        response = self._send("GET", "/health/ready")
        if response.is_redirect or response.status_code == 200:
            return  # The load balancer of a site with sign-in redirects here too.
        raise SmokeTestError(
            f"The servers are not ready: {_reason(response)} Read their log (`logs web`), and "
            "check the state of the database and the buckets."
        )

    def sign_in(self) -> None:
        """Become an owner: a new one with a token, or the one of the cookies."""
        if self._cookie:
            page = self._send("GET", "/", accept="text/html")
            self._expect(page, 200, "show its first page", _SERVER_LOG)
            if token := _CSRF_TOKEN.search(page.text):
                self._session.headers["X-CSRFToken"] = token[1]
            return
        response = self._send("POST", "/api/owners")
        self._expect(response, 201, "create an owner", _SERVER_LOG)
        self._session.headers["Authorization"] = f"Bearer {_json(response)['owner_token']}"

    def upload(self) -> int:
        """Upload an image, and return its id."""
        files = {"image": ("smoke-test.jpg", _picture(), "image/jpeg")}
        response = self._send("POST", "/upload", files=files)
        self._expect(
            response,
            201,
            "accept an upload",
            "Read the log of the servers (`logs web`), and check the bucket of the originals.",
        )
        image_id = int(_json(response)["results"][0]["id"])
        self._print(f"image {image_id} uploaded")
        return image_id

    def wait_for_jobs(
        self, image_id: int, max_wait_seconds: float, sleep: Callable[[float], None]
    ) -> dict[str, Any]:
        """Wait until both jobs have ended, require their success, and return the status."""
        deadline = time.monotonic() + max_wait_seconds
        while True:
            response = self._send("GET", f"/api/image_status/{image_id}")
            self._expect(response, 200, "show the status", _SERVER_LOG)
            status = _json(response)
            failed = [job for job in _NEXT_STEP if status[f"{job}_status"] == "failed"]
            if failed:
                raise SmokeTestError(
                    f"The {failed[0]} job failed: {_sentence(status, failed[0])} "
                    f"{_NEXT_STEP[failed[0]]}"
                )
            waiting = [job for job in _NEXT_STEP if status[f"{job}_status"] == "pending"]
            if not waiting:
                self._print(f"caption: {status['annotation']}")
                return status
            if time.monotonic() >= deadline:
                raise SmokeTestError(
                    f"The {waiting[0]} job did not end in {max_wait_seconds:.0f} seconds: "
                    f"{_sentence(status, waiting[0])} {_NEXT_STEP[waiting[0]]}"
                )
            sleep(_POLL_SECONDS)

    def fetch_thumbnail(self, url: str) -> None:
        """Fetch the thumbnail with its link, as a browser does, without cookies or a token."""
        try:
            response = requests.get(url, timeout=_REQUEST_SECONDS)
        except requests.RequestException as error:
            raise SmokeTestError(
                f"The bucket of the thumbnails cannot be reached from here ({_cause(error)}). "
                "Check your network and the policy of the bucket."
            ) from error
        if response.status_code != 200 or not response.content:
            raise SmokeTestError(
                f"The link to the thumbnail got {response.status_code} {response.reason}. Check "
                "the role of the servers and the policy of the bucket of the thumbnails."
            )
        self._print(f"thumbnail of {len(response.content):,} bytes")

    def delete(self, image_id: int) -> None:
        """Delete the image, also from the bin, and require that it is gone."""
        response = self._send("DELETE", f"/api/images/{image_id}")
        next_step = f"Image {image_id} remains. {_SERVER_LOG}"
        self._expect(response, 204, "delete the image", next_step)
        gone = self._send("GET", f"/api/image_status/{image_id}")
        self._expect(gone, 404, "hide a deleted image", next_step)
        response = self._send("DELETE", f"/api/bin/{image_id}")
        self._expect(response, 204, "delete the image from the bin", next_step)
        self._print("deleted")

    def _send(
        self, method: str, path: str, *, accept: str | None = None, files: Any = None
    ) -> requests.Response:
        headers = {"Accept": accept} if accept else None
        try:
            return self._session.request(
                method,
                self._address + path,
                headers=headers,
                files=files,
                timeout=_REQUEST_SECONDS,
                allow_redirects=False,
            )
        except requests.exceptions.SSLError as error:
            raise SmokeTestError(
                f"{self._address} has no valid certificate ({_cause(error)}). Check CertificateArn "
                "and that its names include the host name."
            ) from error
        except requests.RequestException as error:
            raise UnreachableError(
                f"{self._address} cannot be reached from here ({_cause(error)}). Check the DNS "
                "record of the host name, AllowedClientCidr of 01-vpc-network and your network."
            ) from error

    def _expect(self, response: requests.Response, status: int, task: str, next_step: str) -> None:
        """Require a status, and otherwise say what to look at."""
        if response.status_code == status:
            return
        # The load balancer redirects to the identity provider; the application answers with 401.
        target = urljoin(self._address, response.headers.get("Location", self._address))
        if response.status_code == 401 or _host(target) != _host(self._address):
            refused = "The cookies of SMOKE_COOKIE are not accepted. " if self._cookie else ""
            raise SignInError(
                f"{refused}{self._address} wants a sign-in. Sign in with a browser, copy the value "
                "of the request header Cookie, and run: SMOKE_COOKIE='…' python -m deployment smoke"
            )
        if response.is_redirect:
            raise SmokeTestError(
                f"{self._address} redirects to {target}. Run `python -m deployment smoke` with "
                "that --address."
            )
        raise SmokeTestError(f"The site could not {task}: {_reason(response)} {next_step}")

    def _print(self, text: str) -> None:
        self._console.print_step("smoke test", text, "success")


def _picture() -> bytes:
    """Return a small JPEG of random colours, so that no earlier caption can be reused."""
    colors = Image.frombytes("RGB", (8, 6), os.urandom(8 * 6 * 3))
    picture = io.BytesIO()
    colors.resize((320, 240), Image.Resampling.BICUBIC).save(picture, "JPEG")
    return picture.getvalue()


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except requests.exceptions.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise SmokeTestError(
            f"{response.url} did not answer with JSON. Check that the address is the one of the "
            "Image Annotation System."
        )
    return body


def _host(address: str) -> str | None:
    return urlsplit(address).hostname


def _reason(response: requests.Response) -> str:
    """Return the status and, if there is one, the sentence of an error response."""
    try:
        body = response.json()
        if (results := body.get("results")) and results[0].get("error"):
            message = results[0]["error"]["message"]
        else:
            message = body["error"]
    except (requests.exceptions.JSONDecodeError, AttributeError, KeyError, TypeError):
        message = response.reason
    return f"{response.status_code} {str(message).rstrip('.')}."


def _sentence(status: dict[str, Any], job: str) -> str:
    """Return why the last attempt of a job failed."""
    error = status[f"{job}_error"]
    return str(error["message"]) if error else "No attempt was reported."


def _cause(error: BaseException) -> str:
    """Return the innermost cause, without the layers of the HTTP client around it."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return str(error) or type(error).__name__
