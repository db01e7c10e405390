"""Requests that a web page can cause at the servers of the local cloud."""

import http.client
import json

import pytest

from local_cloud.gemini_emulator import GeminiHandler
from local_cloud.loopback_http import LoopbackServer
from local_cloud.runtime_api import Failure, Invocation, RuntimeAPI
from tests.support.time_limits import scaled

NEXT = "/2018-06-01/runtime/invocation/next"
INIT_ERROR = "/2018-06-01/runtime/init/error"
MODEL = "/v1beta/models/local-emulator"
CHROMIUM = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36"
# Headers that a browser adds to a request from a page, and that the page cannot remove.
PAGES = {
    "DNS rebinding": {"Host": "evil.example:{port}"},
    "DNS rebinding with a misleading name": {"Host": "127.0.0.1.evil.example:{port}"},
    "no host": {"Host": ""},
    "an image": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    "an image on another port": {"Sec-Fetch-Site": "same-site"},
    "an address that the user opens": {"Sec-Fetch-Site": "none"},
    "a form": {"Origin": "http://evil.example", "Content-Type": "text/plain"},
    "a sandboxed form": {"Origin": "null"},
    "a browser without these headers": {"User-Agent": CHROMIUM},
}


@pytest.fixture
def runtime_api():
    api = RuntimeAPI()
    api.start()
    yield api
    api.close()


@pytest.fixture(scope="module")
def gemini():
    server = LoopbackServer(GeminiHandler)
    server.start()
    yield server
    server.close()


def send(server, method, path, headers, body=b""):
    connection = http.client.HTTPConnection(server.address, timeout=scaled(30))
    filled = {name: value.format(port=server.server_port) for name, value in headers.items()}
    try:
        connection.request(method, path, body or None, filled)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("headers", PAGES.values(), ids=PAGES)
def test_a_page_cannot_take_an_event_of_a_function(runtime_api, headers):
    event = Invocation("request", {"detail": "private"}, "arn", deadline_ms=0, trace_id="Root=1")
    runtime_api.invocations.put(event)

    status, body = send(runtime_api, "GET", NEXT, headers)

    assert status == 403
    assert b"private" not in body
    assert runtime_api.invocations.get_nowait() is event
    assert runtime_api.reports.empty()


@pytest.mark.parametrize("headers", PAGES.values(), ids=PAGES)
def test_a_page_cannot_report_the_failure_of_a_function(runtime_api, headers):
    status, _ = send(runtime_api, "POST", INIT_ERROR, headers, b'{"errorType": "Evil"}')

    assert status == 403
    assert runtime_api.reports.empty()


@pytest.mark.parametrize("headers", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_cannot_use_the_emulator_of_gemini(gemini, method, headers):
    path = MODEL if method == "GET" else f"{MODEL}:generateContent?key=a"

    status, body = send(gemini, method, path, headers, b"{}" if method == "POST" else b"")

    assert status == 403
    assert b"local-emulator" not in body


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}"])
def test_programs_of_this_machine_use_either_of_its_names(runtime_api, gemini, host):
    error = json.dumps({"errorType": "Broken", "errorMessage": "as reported"}).encode()

    reported = send(runtime_api, "POST", INIT_ERROR, {"Host": host}, error)
    described = send(gemini, "GET", MODEL, {"Host": host})

    assert reported[0] == 202
    assert runtime_api.reports.get_nowait() == Failure("Broken", "as reported")
    assert described[0] == 200
