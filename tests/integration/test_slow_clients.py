"""Clients that connect, send or read slowly, against a real gunicorn."""

import re
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from tests.integration.test_web_app import JSON, new_jpeg, run_web_app
from tests.support.slow_connections import KINDS, slow_connections
from tests.support.time_limits import scaled
from web_app.middleware import slow_clients
from web_app.routes.schemas import MAX_EXPORTED_IDS

CONNECTIONS = 1000
# Bounds a failure: without the limits no request is answered while the connections are open.
TIMEOUT_SECONDS = 25


@pytest.fixture(scope="module")
def web_app(aws, make_gate, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slow_clients")
    url = f"sqlite:///{folder / 'images.sqlite3'}"
    with run_web_app(url, aws, make_gate, folder, with_database_gate=False) as web_app:
        yield web_app


@pytest.fixture(scope="module")
def impatient_web_app(aws, make_gate, tmp_path_factory):
    folder = tmp_path_factory.mktemp("impatient")
    uploads = folder / "uploads"
    uploads.mkdir()
    with run_web_app(
        f"sqlite:///{folder / 'images.sqlite3'}",
        aws,
        make_gate,
        folder,
        with_database_gate=False,
        arguments=("--workers", "1"),
        application="tests.support.impatient_web_app:app",
        TMPDIR=str(uploads),
    ) as web_app:
        yield web_app


def upload(web_app):
    files = {"image": ("photo.jpg", new_jpeg())}
    return requests.post(web_app.url + "/upload", files=files, headers=JSON, timeout=scaled(60))


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_slow_connections_do_not_stop_health_checks_and_pages(web_app, kind):
    with slow_connections(web_app.url, kind, CONNECTIONS) as connections:
        for _ in range(3):
            connections.trickle()
            for path in ("/health", "/gallery", "/api/images"):
                response = requests.get(web_app.url + path, timeout=TIMEOUT_SECONDS)
                assert response.status_code == 200


def test_uploads_go_on_after_a_thousand_slow_ones_were_closed(web_app):
    with slow_connections(web_app.url, "slow uploads", CONNECTIONS):
        pass

    # The client gets 429 until the server has noticed that the others are gone.
    wait_until(lambda: upload(web_app).status_code == 201)


def status_line(connection):
    """Read the first line of a response."""
    connection.settimeout(TIMEOUT_SECONDS)
    return connection.recv(200).split(b"\r\n")[0]


@pytest.mark.parametrize("kind", ["slow uploads", "slow JSON bodies"])
def test_a_body_that_is_sent_too_slowly_gets_408(impatient_web_app, kind):
    with slow_connections(impatient_web_app.url, kind, 1) as connections:
        [connection] = connections.sockets

        assert status_line(connection) == b"HTTP/1.1 408 REQUEST TIMEOUT"


def test_a_slow_body_leaves_no_file_and_no_turn_behind(impatient_web_app):
    with slow_connections(
        impatient_web_app.url, "slow uploads", slow_clients.UPLOADS_PER_CLIENT
    ) as connections:
        assert {status_line(each) for each in connections.sockets} == {
            b"HTTP/1.1 408 REQUEST TIMEOUT"
        }

    assert upload(impatient_web_app).status_code == 201
    [worker] = impatient_web_app.workers()
    files = [file.path for file in worker.open_files() if "/uploads/" in file.path]
    assert [path for path in files if "image-annotation-metrics-" not in path] == []


def test_a_client_with_too_many_slow_uploads_gets_429_and_no_other_client_waits(
    impatient_web_app,
):
    at_once = slow_clients.UPLOADS_PER_CLIENT
    with slow_connections(impatient_web_app.url, "slow uploads", at_once + 1) as connections:
        # All but one are received. The last one waits for its turn, in vain.
        lines = {connection: status_line(connection) for connection in connections.sockets}

    assert sorted(lines.values()) == [
        *([b"HTTP/1.1 408 REQUEST TIMEOUT"] * at_once),
        b"HTTP/1.1 429 TOO MANY REQUESTS",
    ]


def test_a_burst_of_uploads_of_one_client_waits_and_is_accepted(web_app):
    burst = 4 * slow_clients.UPLOADS_PER_CLIENT
    with ThreadPoolExecutor(burst) as executor:
        responses = list(executor.map(lambda _: upload(web_app), range(burst)))

    assert {response.status_code for response in responses} == {201}


def test_a_connection_that_does_not_read_its_responses_is_closed(impatient_web_app):
    page = requests.get(impatient_web_app.url, timeout=scaled(30)).text
    stylesheet = re.search(r'href="(/static/[^"]+\.css)"', page)[1]
    address = urlsplit(impatient_web_app.url)
    request = f"GET {stylesheet} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect((address.hostname, address.port))
        # Together far more than the kernel buffers for a connection.
        connection.sendall(request * 500)

        wait_until(lambda: not has_connection(impatient_web_app, connection))


def has_connection(web_app, connection):
    """Return whether a process of the server has the other end of a connection."""
    _, port = connection.getsockname()
    remote_ports = [
        each.raddr.port
        for process in web_app.workers()
        for each in process.net_connections("tcp")
        if each.raddr and each.status == psutil.CONN_ESTABLISHED
    ]
    return port in remote_ports


def wait_until(condition):
    deadline = time.monotonic() + scaled(60)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextmanager
def sending(web_app, data, connections):
    """Send data on several connections, and read the responses. Yield how many are still busy.

    The end of the block closes them, because no test needs the rest of the responses.
    """
    address = urlsplit(web_app.url)
    busy = [True] * connections

    def send_and_read(number):
        connection = opened[number]
        threading.Thread(target=send_all, args=(connection,), daemon=True).start()
        with suppress(ConnectionResetError):  # Requests after the last response were not read.
            while connection.recv(65536):
                pass
        busy[number] = False

    def send_all(connection):
        with suppress(OSError):
            connection.sendall(data)

    with ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection((address.hostname, address.port)))
            for _ in range(connections)
        ]
        threads = [threading.Thread(target=send_and_read, args=(n,)) for n in range(connections)]
        for thread in threads:
            thread.start()
        yield lambda: sum(busy)
        for connection in opened:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def as_request(web_app, first_line, *lines):
    host = f"Host: {urlsplit(web_app.url).netloc}"
    return "\r\n".join((first_line, host, *lines, "", "")).encode()


def in_tiny_chunks(count):
    return b"1\r\nx\r\n" * count + b"0\r\n\r\n"


CHUNKED = ("Transfer-Encoding: chunked",)
FORM = "Content-Type: multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("first_line", "lines", "body", "times"),
    [
        ("GET /health HTTP/1.1", (), b"", 1000),
        ("GET /api/images HTTP/1.1", (), b"", 300),
        ("POST /upload HTTP/1.1", (FORM, *CHUNKED), in_tiny_chunks(200_000), 1),
        ("POST /nowhere HTTP/1.1", CHUNKED, in_tiny_chunks(200_000), 1),
    ],
    ids=["many requests at once", "many reads at once", "tiny chunks", "unread tiny chunks"],
)
def test_a_health_check_does_not_wait_until_busy_connections_are_done(
    impatient_web_app, first_line, lines, body, times
):
    request = as_request(impatient_web_app, first_line, *lines) + body
    last = as_request(impatient_web_app, "GET /health HTTP/1.1", "Connection: close")
    with sending(impatient_web_app, request * times + last, 4) as busy:
        requests.get(impatient_web_app.url + "/health", timeout=scaled(60)).raise_for_status()

        # Without turns, the check is answered after the last connection.
        assert busy() > 0


def test_a_health_check_does_not_wait_for_all_connections_of_a_burst(impatient_web_app):
    with slow_connections(impatient_web_app.url, "unread responses", 300) as connections:
        requests.get(impatient_web_app.url + "/health", timeout=scaled(60)).raise_for_status()

        answered, _, _ = select.select(connections.sockets, [], [], 0)
        assert len(answered) < 300


def test_a_client_reads_the_response_to_a_body_that_nobody_reads(web_app):
    response = requests.post(web_app.url + "/nowhere", data=b"x" * 20_000_000, timeout=scaled(60))

    assert response.status_code == 404


def test_an_export_can_name_as_many_images_as_its_document_says(web_app):
    ids = "%2C".join(["123456789"] * MAX_EXPORTED_IDS)  # As browsers encode commas.

    response = requests.get(f"{web_app.url}/api/export?format=csv&ids={ids}", timeout=scaled(60))

    assert response.status_code == 200


def test_error_responses_of_gunicorn_have_security_headers(web_app):
    address = urlsplit(web_app.url)
    broken = {
        b"GET / HTTP/1.1\r\nHost: a\r\nHost : b\r\n\r\n": b"400",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n": b"414",
        b"GET / HTTP/1.1\r\n" + b"X-Many: a\r\n" * 200 + b"\r\n": b"431",
    }
    for request, status in broken.items():
        with socket.create_connection(
            (address.hostname, address.port), timeout=scaled(30)
        ) as connection:
            connection.sendall(request)
            response = b"".join(iter(lambda: connection.recv(4096), b""))

        assert response.startswith(b"HTTP/1.1 " + status)
        assert b"\r\nX-Content-Type-Options: nosniff\r\n" in response
        assert b"\r\nContent-Security-Policy: default-src 'none'; frame-anc" in response
