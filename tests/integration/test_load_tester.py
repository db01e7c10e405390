"""The load tester as its user runs it: a process of its own against real servers."""

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.factories import make_jpeg

ROOT = Path(__file__).parents[2]


class Target:
    """A server whose answers a test decides on, and what it was asked."""

    def __init__(self):
        self.requests = []
        self.delay_seconds = 0
        self.status = 200
        self.stalled = threading.Event()
        self.stalled.set()
        self.answers = {}
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

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            target.requests.append((self.command, self.path, dict(self.headers), body))
            target.stalled.wait()
            time.sleep(target.delay_seconds)
            status, answer = target.answers.get(self.path, (target.status, b"hello"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = answer

        def log_message(self, *arguments):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request, client_address):
            pass  # A client that goes away in the middle is what some tests are about.

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


@pytest.fixture
def load(tmp_path):
    """Runs the load tester; returns the process's end and the summary it wrote."""

    def load(*arguments):
        summary = tmp_path / "summary.json"
        ended = subprocess.run(
            [sys.executable, ROOT / "load_tester.py", "--json", summary, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
        )
        return ended, json.loads(summary.read_text()) if summary.exists() else None

    return load


def test_as_published_it_sends_just_so_many_requests(target, load):
    ended, summary = load("--url", target.url, "--num-requests", 200, "--concurrency", 10)

    assert ended.returncode == 0, ended.stderr
    assert len(target.requests) == 200
    assert (summary["requests"], summary["failed"]) == (200, 0)
    assert summary["status_codes"] == {"200": 200}
    assert summary["received_bytes"] == 200 * len(b"hello")
    assert target.connections <= 10 + 1  # One more looked whether anybody is there.


def test_several_processes_share_the_requests(target, load):
    ended, summary = load("--url", target.url, "-n", 101, "-c", 5, "--processes", 3)

    assert ended.returncode == 0, ended.stderr
    assert len(target.requests) == summary["requests"] == 101


def test_without_keep_alive_each_request_has_a_connection_of_its_own(target, load):
    load("--url", target.url, "-n", 20, "-c", 2, "--no-keep-alive")

    assert target.connections == 20 + 1


def test_method_headers_and_body_arrive_as_given(target, load, tmp_path):
    (tmp_path / "body").write_bytes(b"\x00\xff")

    load("--url", f"{target.url}/a?b=c", "-n", 1, "-m", "put", "-H", "X-Test: 1", "-b", "@body")

    method, path, headers, body = target.requests[0]
    assert (method, path, body) == ("PUT", "/a?b=c", b"\x00\xff")
    assert headers["X-Test"] == "1"


def test_a_known_delay_is_what_it_measures(target, load):
    target.delay_seconds = 0.1

    _, summary = load("--url", target.url, "-n", 100, "-c", 5)

    assert summary["latency"]["min"] >= 100
    assert summary["latency"]["p50"] == pytest.approx(100, rel=0.25)


def test_warm_up_is_sent_and_not_measured(target, load):
    _, summary = load("--url", target.url, "-n", 10, "-c", 1, "--warm-up", "500ms")

    assert summary["requests"] == 10
    assert len(target.requests) > 10


def test_a_server_that_stalls_shows_in_every_request_it_kept_waiting(target, load):
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

    # A hundred requests were to begin in that second; they waited half a second on average.
    waited = sum(bucket["count"] for bucket in summary["distribution"] if bucket["above"] > 200)
    assert 50 <= waited <= 150
    assert summary["unsent"] == 0
    assert summary["requests"] == pytest.approx(300, abs=3)


def test_requests_for_which_no_connection_came_free_are_errors(target, load):
    target.delay_seconds = 0.5

    ended, summary = load(
        "--url", target.url, "--rate", 50, "-c", 2, "-d", "2s", "--fail-if", "errors>0"
    )

    assert ended.returncode == 1
    assert summary["unsent"] > 80
    assert "never sent" in ended.stdout


def test_refusals_are_counted_by_status(target, load):
    target.status = 503

    ended, summary = load("--url", target.url, "-n", 7, "--fail-if", "errors>1%")

    assert ended.returncode == 1
    assert summary["errors"] == {"HTTP 503": 7}
    assert "errors>1%: measured 100.00%" in ended.stdout


def test_a_request_that_takes_too_long_is_given_up_and_its_time_counts(target, load):
    target.stalled.clear()

    ended, summary = load("--url", target.url, "-n", 2, "-c", 2, "--timeout", "300ms")

    assert ended.returncode == 0, ended.stderr
    assert summary["errors"] == {"timed out": 2}
    assert summary["latency"]["min"] >= 300


def test_redirects_are_not_followed(target, load):
    target.status = 302

    ended, summary = load("--url", target.url, "-n", 3)

    assert len(target.requests) == 3
    assert summary["failed"] == 0
    assert "not followed" in ended.stdout


def test_ctrl_c_prints_what_was_measured_so_far(target, tmp_path):
    process = subprocess.Popen(
        [sys.executable, ROOT / "load_tester.py", "--url", target.url, "-d", "60s"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while len(target.requests) < 50:
        time.sleep(0.05)

    os.killpg(process.pid, signal.SIGINT)  # As a terminal sends it: to every process.
    stdout, stderr = process.communicate(timeout=20)

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
def test_an_address_where_nobody_is_ends_it_in_one_sentence(load, url, sentence):
    ended, summary = load("--url", url)

    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
    assert summary is None


@pytest.fixture
def tls(tmp_path):
    """A server's side of TLS, with a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def test_a_certificate_nobody_vouches_for_is_refused_unless_asked_to_accept_it(load, tls):
    with serving(tls) as target:
        refused, _ = load("--url", target.url)
        accepted, summary = load("--url", target.url, "-n", 5, "--insecure")

    assert refused.returncode == 2
    assert "is not trusted" in refused.stderr
    assert accepted.returncode == 0, accepted.stderr
    assert summary["status_codes"] == {"200": 5}


def test_a_server_that_speaks_no_tls_is_named(target, load):
    ended, _ = load("--url", target.url.replace("http://", "https://"))

    assert ended.returncode == 2
    assert "does not support TLS" in ended.stderr


@pytest.fixture
def folder(tmp_path):
    """Two images to upload, and a file that hides."""
    made = tmp_path / "images"
    made.mkdir()
    for index in range(2):
        (made / f"photo {index}.jpg").write_bytes(make_jpeg((8, 8 + index)))
    (made / ".hidden").write_bytes(b"")
    return made


def taken(status_url="http://somewhere.else.invalid/status/1"):
    result = {"outcome": "accepted", "status_url": status_url, "error": None}
    return (201, json.dumps({"results": [result]}).encode())


def status(word, **errors):
    jobs = {"annotation_error": None, "thumbnail_error": None}
    return (200, json.dumps({"status": word, **jobs, **errors}).encode())


def test_an_upload_is_followed_until_it_is_captioned_and_nobody_else_is_asked(target, load, folder):
    target.answers = {"/upload": taken(), "/status/1": status("completed")}

    ended, summary = load("--url", target.url, "--upload", folder)

    assert ended.returncode == 0, ended.stderr
    assert (summary["requests"], summary["failed"]) == (2, 0)
    uploads = [body for method, path, _, body in target.requests if path == "/upload"]
    assert {name for body in uploads for name in (b"photo 0.jpg", b"photo 1.jpg") if name in body}
    assert summary["latency"]["p50"] >= summary["upload_latency"]["p50"]
    assert "image complete" in ended.stdout


def test_the_same_file_becomes_another_each_time_when_asked(target, load, folder):
    target.answers = {"/upload": taken(), "/status/1": status("completed")}

    load("--url", target.url, "--upload", folder / "photo 0.jpg", "-n", 3, "--unique")

    bodies = [
        body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n", 2)[0] for *_, body in target.requests if body
    ]
    assert len(set(bodies)) == 3


def test_images_that_fail_are_counted_by_their_codes(target, load, folder):
    error = {"code": "blocked_by_safety", "message": "…"}
    target.answers = {"/upload": taken(), "/status/1": status("failed", annotation_error=error)}

    ended, summary = load("--url", target.url, "--upload", folder, "--fail-if", "errors>0")

    assert ended.returncode == 1
    assert summary["errors"] == {"annotation: blocked_by_safety": 2}


def test_uploads_that_are_refused_are_counted_by_their_codes(target, load, folder):
    refusal = {"results": [{"outcome": "rejected", "error": {"code": "file_too_large"}}]}
    target.answers = {"/upload": (422, json.dumps(refusal).encode())}

    _, summary = load("--url", target.url, "--upload", folder)

    assert summary["errors"] == {"rejected: file_too_large": 2}


def test_a_failure_without_a_code_is_a_failure_all_the_same(target, load, folder):
    target.answers = {"/upload": taken(), "/status/1": status("failed")}

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
def test_a_strange_answer_to_an_upload_is_counted_and_the_run_goes_on(
    target, load, folder, result, error
):
    target.answers = {"/upload": (200, json.dumps({"results": [result]}).encode())}

    ended, summary = load("--url", target.url, "--upload", folder)

    assert ended.returncode == 0, ended.stderr
    assert summary["errors"] == {error: 2}
    assert error in " ".join(ended.stdout.split())


def test_an_image_that_never_ends_is_given_up(target, load, folder):
    target.answers = {"/upload": taken(), "/status/1": status("pending")}

    _, summary = load("--url", target.url, "--upload", folder, "--caption-timeout", "700ms")

    assert summary["errors"] == {"not complete after 0.7 s": 2}


def test_a_server_that_knows_no_uploads_is_told_apart(target, load, folder):
    ended, summary = load("--url", target.url, "--upload", folder)

    assert summary["errors"] == {"unexpected response to the upload": 2}
    assert ended.returncode == 0


def test_the_page_of_a_run_is_written(target, load, tmp_path):
    load("--url", target.url, "-d", "2s", "-c", 2, "--html", tmp_path / "run.html")

    page = (tmp_path / "run.html").read_text()
    assert f"Load test of {target.url}/" in page
    assert page.count("<svg") == 3
