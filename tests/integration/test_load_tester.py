"""Tests that run load_tester.py as a separate process against real servers."""

import json
import math
import os
import pty
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from load_tester import main
from tests.support.certificates import self_signed
from tests.support.factories import make_jpeg
from tests.support.local_system import wait_until
from tests.support.programs import start_program
from tests.support.time_limits import scaled

ROOT = Path(__file__).parents[2]


class Target:
    """The configured responses of a test server and the requests that it received."""

    def __init__(self):
        self.requests = []
        self.delay_seconds = 0
        self.status = 200
        self.stalled = threading.Event()
        self.stalled.set()
        self.responses = {}
        self.connections = 0


@contextmanager
def serving(tls=None):
    target = Target()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self):
            super().setup()
            target.connections += 1

        def respond(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            target.requests.append((self.command, self.path, dict(self.headers), body))
            target.stalled.wait()
            time.sleep(target.delay_seconds)
            status, response = target.responses.get(self.path, (target.status, b"hello"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(response)))
            self.end_headers()
            self.wfile.write(response)

        do_GET = do_POST = do_PUT = respond

        def log_message(self, *arguments):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request, client_address):
            pass  # Some tests close connections early on purpose.

    server = Server(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    target.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    try:
        yield target
    finally:
        target.stalled.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def target():
    with serving() as target:
        yield target


# Runs the load tester once for each line of input, each time in a new child process. The imports
# take most of the processor time of a short run, and the children share them.
_RUN_LOAD_TESTER = """
import json, os, signal, sys

from load_tester import main

for line in sys.stdin:
    run = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.alarm(run["seconds"])  # Ends a run that does not end itself.
        os.chdir(run["folder"])
        for stream in (1, 2):
            file = os.open(["", "stdout", "stderr"][stream], os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(file, stream)
        sys.argv = run["command"]
        sys.exit(main())
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.fixture(scope="module")
def load_testers():
    """Run a process that starts load testers."""
    with subprocess.Popen(
        [sys.executable, "-c", _RUN_LOAD_TESTER],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def load(load_testers, tmp_path):
    """Return a function that runs the load tester and returns the process and its summary."""

    def load(*arguments):
        summary = tmp_path / "summary.json"
        command = [str(ROOT / "load_tester.py"), "--json", str(summary), *map(str, arguments)]
        run = {"folder": str(tmp_path), "command": command, "seconds": math.ceil(scaled(60))}
        load_testers.stdin.write(json.dumps(run) + "\n")
        load_testers.stdin.flush()
        process = subprocess.CompletedProcess(
            command,
            int(load_testers.stdout.readline()),
            (tmp_path / "stdout").read_text(),
            (tmp_path / "stderr").read_text(),
        )
        return process, json.loads(summary.read_text()) if summary.exists() else None

    return load


def test_it_sends_the_given_number_of_requests(target, load):
    process, summary = load("--url", target.url, "--num-requests", 200, "--concurrency", 10)

    assert process.returncode == 0, process.stderr
    assert len(target.requests) == 200
    assert (summary["requests"], summary["failed"]) == (200, 0)
    assert summary["status_codes"] == {"200": 200}
    assert summary["received_bytes"] == 200 * len(b"hello")
    assert target.connections <= 10 + 1  # One more connection checks that the server is reachable.


def test_several_processes_share_the_requests(target, load):
    process, summary = load("--url", target.url, "-n", 101, "-c", 5, "--processes", 3)

    assert process.returncode == 0, process.stderr
    assert len(target.requests) == summary["requests"] == 101


def test_without_keep_alive_each_request_opens_a_connection(target, load):
    load("--url", target.url, "-n", 20, "-c", 2, "--no-keep-alive")

    assert target.connections == 20 + 1


def test_method_headers_and_body_are_sent_as_given(target, load, tmp_path):
    (tmp_path / "body").write_bytes(b"\x00\xff")

    load("--url", f"{target.url}/a?b=c", "-n", 1, "-m", "put", "-H", "X-Test: 1", "-b", "@body")

    method, path, headers, body = target.requests[0]
    assert (method, path, body) == ("PUT", "/a?b=c", b"\x00\xff")
    assert headers["X-Test"] == "1"


def test_the_measured_latency_is_the_known_delay(target, load):
    target.delay_seconds = 0.1

    _, summary = load("--url", target.url, "-n", 100, "-c", 5)

    assert summary["latency"]["min"] >= 100
    # Five connections cannot wait for longer together than five times the length of the run.
    assert 100 * summary["latency"]["mean"] <= 1.05 * 5 * 1000 * summary["seconds"]


def test_warm_up_requests_are_sent_but_not_measured(target, load):
    target.delay_seconds = 0.01

    _, summary = load("--url", target.url, "-n", 10, "-c", 1, "--warm-up", "500ms")

    assert summary["requests"] == 10
    assert len(target.requests) > 10


def test_a_stall_of_the_server_shows_in_every_delayed_request(target, load):
    def stall():
        while len(target.requests) < 60:
            time.sleep(0.01)
        target.stalled.clear()
        time.sleep(1)
        target.stalled.set()

    stalling = threading.Thread(target=stall)
    stalling.start()
    _, summary = load("--url", target.url, "--rate", 100, "-d", "3s")
    stalling.join()

    # A hundred requests were scheduled in this second. They waited half a second on average.
    waited = sum(bucket["count"] for bucket in summary["distribution"] if bucket["above"] > 200)
    assert waited >= 50
    assert summary["requests"] + summary["unsent"] == pytest.approx(300, abs=3)


def test_requests_without_a_free_connection_are_errors(target, load):
    target.delay_seconds = 0.5

    process, summary = load(
        "--url", target.url, "--rate", 50, "-c", 2, "-d", "2s", "--fail-if", "errors>0"
    )

    assert process.returncode == 1
    assert summary["unsent"] > 80
    assert "never sent" in process.stdout


def test_error_responses_are_counted_by_status(target, load):
    target.status = 503

    process, summary = load("--url", target.url, "-n", 7, "--fail-if", "errors>1%")

    assert process.returncode == 1
    assert summary["errors"] == {"HTTP 503": 7}
    assert "errors>1%: measured 100.00%" in process.stdout


def test_a_run_in_which_nothing_succeeds_has_failed(target, load):
    target.status = 404

    process, summary = load("--url", target.url, "-n", 5)

    assert process.returncode == 1
    assert summary["status_codes"] == {"404": 5}
    assert "Nothing succeeded." in process.stdout
    assert target.url in process.stdout


def test_a_request_that_times_out_is_an_error_and_its_latency_counts(target, load):
    target.stalled.clear()

    process, summary = load("--url", target.url, "-n", 2, "-c", 2, "--timeout", "300ms")

    assert process.returncode == 1, process.stderr
    assert summary["errors"] == {"timed out": 2}
    assert summary["latency"]["min"] >= 300


def test_redirects_are_not_followed(target, load):
    target.status = 302

    process, summary = load("--url", target.url, "-n", 3)

    assert len(target.requests) == 3
    assert summary["failed"] == 0
    assert "not followed" in process.stdout


def test_ctrl_c_prints_the_results_so_far(target, tmp_path):
    target.delay_seconds = 0.02
    process = start_program(
        [sys.executable, ROOT / "load_tester.py", "--url", target.url, "-d", "600s"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: len(target.requests) >= 50, seconds=60)

    os.killpg(process.pid, signal.SIGINT)  # A terminal sends SIGINT to every process of the group.
    stdout, stderr = process.communicate(timeout=scaled(60))

    assert process.returncode == 0, stderr
    assert "interrupted after" in stdout
    assert "p99" in stdout
    assert "Traceback" not in stdout + stderr


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://127.0.0.1:1/", "No server is listening on 127.0.0.1 port 1."),
        ("http://nobody.invalid/", "The host name nobody.invalid was not found."),
        ("nonsense", "is not a URL that begins with http:// or https://."),
    ],
)
def test_an_unreachable_url_ends_the_run_with_one_sentence(load, url, sentence):
    process, summary = load("--url", url)

    assert process.returncode == 2
    assert sentence in process.stderr
    assert "Traceback" not in process.stderr
    assert summary is None


@pytest.fixture
def tls(tmp_path):
    """Return the TLS context of a server with a self-signed certificate."""
    files = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context


def test_a_self_signed_certificate_is_rejected_unless_insecure_is_set(load, tls):
    with serving(tls) as target:
        refused, _ = load("--url", target.url)
        accepted, summary = load("--url", target.url, "-n", 5, "--insecure")

    assert refused.returncode == 2
    assert "is not trusted" in refused.stderr
    assert accepted.returncode == 0, accepted.stderr
    assert summary["status_codes"] == {"200": 5}


def test_an_https_url_of_a_server_without_tls_is_rejected(target, load):
    process, _ = load("--url", target.url.replace("http://", "https://"))

    assert process.returncode == 2
    assert "does not support TLS" in process.stderr


@pytest.fixture
def folder(tmp_path):
    """Return a folder with two images and a hidden file."""
    made = tmp_path / "images"
    made.mkdir()
    for index in range(2):
        (made / f"photo {index}.jpg").write_bytes(make_jpeg((8, 8 + index)))
    (made / ".hidden").write_bytes(b"")
    return made


def accepted_upload(status_url="http://somewhere.else.invalid/status/1"):
    result = {"outcome": "accepted", "status_url": status_url, "error": None}
    return (201, json.dumps({"results": [result]}).encode())


def status(word, **errors):
    jobs = {"annotation_error": None, "thumbnail_error": None}
    return (200, json.dumps({"status": word, **jobs, **errors}).encode())


def test_an_upload_is_polled_until_complete_and_only_on_the_target_host(target, load, folder):
    target.responses = {"/upload": accepted_upload(), "/status/1": status("completed")}

    process, summary = load("--url", target.url, "--upload", folder)

    assert process.returncode == 0, process.stderr
    assert (summary["requests"], summary["failed"]) == (2, 0)
    uploads = [body for method, path, _, body in target.requests if path == "/upload"]
    assert {name for body in uploads for name in (b"photo 0.jpg", b"photo 1.jpg") if name in body}
    assert summary["latency"]["p50"] >= summary["upload_latency"]["p50"]
    assert "image complete" in process.stdout


def owner_tokens(target):
    """Return the Authorization headers of the uploads."""
    return [
        headers.get("Authorization") for _, path, headers, _ in target.requests if path == "/upload"
    ]


def test_all_uploads_belong_to_the_owner_that_was_requested_before_the_first(target, load, folder):
    target.responses = {
        "/api/owners": (201, b'{"owner_token": "the-token"}'),
        "/upload": accepted_upload(),
        "/status/1": status("completed"),
    }

    _, summary = load("--url", target.url, "--upload", folder, "-n", 4, "-c", 2)

    assert target.requests[0][:2] == ("POST", "/api/owners")
    assert owner_tokens(target) == ["Bearer the-token"] * 4
    assert summary["requests"] == 4  # The request for the owner does not count.


def test_an_owner_token_of_the_options_is_used(target, load, folder):
    target.responses = {"/upload": accepted_upload(), "/status/1": status("completed")}

    load("--url", target.url, "--upload", folder, "-H", "Authorization: Bearer mine")

    assert owner_tokens(target) == ["Bearer mine"] * 2
    assert "/api/owners" not in [path for _, path, _, _ in target.requests]


def test_a_server_without_owner_tokens_gets_the_uploads_without_one(target, load, folder):
    target.responses = {
        "/api/owners": (404, b"{}"),
        "/upload": accepted_upload(),
        "/status/1": status("completed"),
    }

    _, summary = load("--url", target.url, "--upload", folder)

    assert owner_tokens(target) == [None, None]
    assert summary["failed"] == 0


def test_with_unique_the_same_file_is_different_in_each_upload(target, load, folder):
    target.responses = {"/upload": accepted_upload(), "/status/1": status("completed")}

    load("--url", target.url, "--upload", folder / "photo 0.jpg", "-n", 3, "--unique")

    bodies = [
        body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n", 2)[0] for *_, body in target.requests if body
    ]
    assert len(set(bodies)) == 3


def test_failed_images_are_counted_by_their_error_codes(target, load, folder):
    error = {"code": "blocked_by_safety", "message": "…"}
    target.responses = {
        "/upload": accepted_upload(),
        "/status/1": status("failed", annotation_error=error),
    }

    process, summary = load("--url", target.url, "--upload", folder, "--fail-if", "errors>0")

    assert process.returncode == 1
    assert summary["errors"] == {"annotation: blocked_by_safety": 2}


def test_rejected_uploads_are_counted_by_their_error_codes(target, load, folder):
    refusal = {"results": [{"outcome": "rejected", "error": {"code": "file_too_large"}}]}
    target.responses = {"/upload": (422, json.dumps(refusal).encode())}

    _, summary = load("--url", target.url, "--upload", folder)

    assert summary["errors"] == {"rejected: file_too_large": 2}


def test_a_failed_image_without_an_error_code_is_counted_as_failed(target, load, folder):
    target.responses = {"/upload": accepted_upload(), "/status/1": status("failed")}

    _, summary = load("--url", target.url, "--upload", folder)

    assert (summary["requests"], summary["failed"]) == (2, 2)
    assert summary["errors"] == {"failed": 2}


@pytest.mark.parametrize(
    ("result", "error"),
    [
        ({"outcome": "rejected", "error": {"code": "[/]"}}, "rejected: [/]"),
        ({"outcome": "postponed", "error": {"code": "x"}}, "unexpected response to the upload"),
        ({"outcome": "accepted", "status_url": 7}, "unexpected response to the upload"),
    ],
)
def test_an_unexpected_response_to_an_upload_is_counted_and_the_run_continues(
    target, load, folder, result, error
):
    target.responses = {"/upload": (200, json.dumps({"results": [result]}).encode())}

    process, summary = load("--url", target.url, "--upload", folder)

    assert process.returncode == 1, process.stderr
    assert summary["errors"] == {error: 2}
    assert error in " ".join(process.stdout.split())


def test_an_image_that_never_completes_is_an_error(target, load, folder):
    target.responses = {"/upload": accepted_upload(), "/status/1": status("pending")}

    _, summary = load("--url", target.url, "--upload", folder, "--caption-timeout", "700ms")

    assert summary["errors"] == {"not complete after 0.7 s": 2}


def test_a_server_without_uploads_gives_an_unexpected_response(target, load, folder):
    process, summary = load("--url", target.url, "--upload", folder)

    assert summary["errors"] == {"unexpected response to the upload": 2}
    assert process.returncode == 1


def test_the_html_report_is_written(target, load, tmp_path):
    target.delay_seconds = 0.02

    load("--url", target.url, "-d", "2s", "-c", 2, "--html", tmp_path / "run.html")

    page = (tmp_path / "run.html").read_text()
    assert f"Load test of {target.url}/" in page
    assert page.count("<svg") == 3


@pytest.mark.parametrize("option", ["--duration", "--timeout", "--caption-timeout"])
@pytest.mark.parametrize("duration", ["0s", "0", "0.0ms", "-1s"])
def test_a_duration_that_is_not_positive_is_refused(target, option, duration):
    # In this process, because a new one would take most of the time of the test.
    result = CliRunner().invoke(main, ["--url", target.url, option, duration, "--rate", "5"])

    assert result.exit_code == 2
    assert "is too short" in result.stderr or "is not a duration" in result.stderr
    assert target.requests == []


def test_the_reports_name_the_command_and_say_whether_thresholds_held(target, load, tmp_path):
    page = tmp_path / "run.html"
    options = ("-n", 5, "-H", "X-Key: secret", "--fail-if", "errors>0", "--fail-if", "p50<9s")
    process, summary = load("--url", target.url, *options, "--html", page)

    assert process.returncode == 1
    assert "held errors>0: measured 0" in process.stdout
    assert "FAILED p50<9s: measured" in process.stdout
    assert [each["is_crossed"] for each in summary["thresholds"]] == [False, True]
    assert f"--url {target.url} -n 5 -H 'X-Key: …'" in summary["command"]
    written = page.read_text()
    assert "errors&gt;0" in written
    assert "secret" not in written + json.dumps(summary) + process.stdout


@pytest.mark.parametrize("warm_up", ["0s", "1s"])
def test_a_terminal_shows_the_rate_and_a_warm_up_only_if_there_is_one(target, warm_up):
    target.delay_seconds = 0.02
    options = ["-d", "3s", "-c", "2", "--warm-up", warm_up]
    terminal, program = pty.openpty()
    process = start_program(
        [sys.executable, ROOT / "load_tester.py", "--url", target.url, *options],
        stdout=program,
        env={**os.environ, "COLUMNS": "160", "TERM": "xterm"},
    )
    os.close(program)

    shown = b""
    with suppress(OSError):  # The terminal closes with the process.
        while part := os.read(terminal, 65536):
            shown += part
    os.close(terminal)

    assert process.wait(scaled(30)) == 0
    text = shown.decode()
    assert ("warming up" in text) == (warm_up == "1s")
    rates = [int(number) for number in re.findall(r"(\d+)/s, [\d,]+ completed", text)]
    assert max(rates) > 0
