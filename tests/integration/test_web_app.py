"""The web application under gunicorn, with SQLite or MySQL, and with S3 over HTTP."""

import hashlib
import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from database import object_keys
from database.errors import ImageNotFoundError
from database.images import get_image
from database.jobs import claim_job, record_failure
from database.migrations import migrate
from database.models import Image, Job, Status
from database.previews import record_derivatives
from database.session import create_database_engine, create_session_factory, session_scope
from database.settings import DatabaseSettings
from lambda_functions.attempt import JobContext, attempt, metrics
from lambda_functions.object_store import ObjectStore
from lambda_functions.thumbnail.handler import ThumbnailFunction
from local_cloud.template import Template
from tests.support import factories, mysql_server
from tests.support.programs import children, free_port, inherited_environment, start_program
from tests.support.time_limits import scaled
from web_app import VERSION

PROJECT = Path(__file__).parents[2]
SECRET_KEY = "a key that only the tests know"
METRICS_TOKEN = "the token of the operator"
JSON = {"Accept": "application/json"}
START_TIMEOUT_SECONDS = 60
MEBIBYTE = 1024 * 1024


@dataclass
class RunningWebApp:
    """A gunicorn that serves the application, and gates that cut it off from its services."""

    url: str
    process: psutil.Process
    log: Path
    session_factory: Any
    s3_gate: Any
    database_gate: Any  # None if the database is a file.

    def workers(self):
        return children(self.process)

    def row(self, image_id):
        with session_scope(self.session_factory) as session:
            return get_image(session, image_id)

    def wait_until(self, condition, timeout_seconds=START_TIMEOUT_SECONDS):
        deadline = time.monotonic() + scaled(timeout_seconds)
        while not condition():
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            assert self.process.is_running(), self.log.read_text()[-3000:]
            time.sleep(0.02)

    def responds(self, path="/health/ready"):
        try:
            return requests.get(self.url + path, timeout=scaled(30)).ok
        except (requests.ConnectionError, requests.Timeout):
            return False

    @contextmanager
    def away(self, gate):
        """Shut a gate during a block, then wait until the application is ready again."""
        gate.shut()
        try:
            yield
        finally:
            gate.open()
            self.wait_until(self.responds)


@contextmanager
def serve(database_url, s3_url, aws, folder, arguments, environment, application):
    """Start gunicorn, and kill it when the block ends."""
    port = free_port()
    log = folder / "web_app.log"
    with log.open("wb") as output:
        process = start_program(
            [
                *(sys.executable, "-m", "gunicorn", "--config", "web_app/gunicorn.conf.py"),
                *("--bind", f"127.0.0.1:{port}", *arguments, application),
            ],
            cwd=PROJECT,
            env={
                **inherited_environment(),
                **aws.environment,
                "AWS_ENDPOINT_URL": s3_url,
                "DATABASE_URL": database_url,
                "FLASK_SECRET_KEY": SECRET_KEY,
                "SITE_NOTICE": "These are only tests.",
                "METRICS_TOKEN": METRICS_TOKEN,
                "TMPDIR": str(folder),
                "PYTHONWARNINGS": "error",
                # All tests together upload more than a client may.
                "UPLOADS_PER_MINUTE": "0",
                **environment,
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid), log
    finally:
        kill_process_group(process)


@contextmanager
def run_web_app(
    database_url,
    aws,
    make_gate,
    folder,
    *,
    with_database_gate,
    arguments=(),
    application="web_app.wsgi:app",
    **environment,
):
    engine = create_database_engine(DatabaseSettings(database_url=database_url))
    migrate(engine)
    s3_gate, s3_url = make_gate(aws.endpoint_url)
    database_gate = None
    if with_database_gate:
        database_gate, database_url = make_gate(database_url)
    try:
        served = serve(database_url, s3_url, aws, folder, arguments, environment, application)
        with served as (url, process, log):
            sessions = create_session_factory(engine)
            web_app = RunningWebApp(url, process, log, sessions, s3_gate, database_gate)
            web_app.wait_until(web_app.responds)
            yield web_app
    finally:
        engine.dispose()


def kill_process_group(process):
    # A graceful stop would wait for keep-alive connections, and no open request matters here.
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="session")
def sqlite_web_app(aws, make_gate, tmp_path_factory):
    """Run the application on SQLite."""
    folder = tmp_path_factory.mktemp("web_app")
    url = f"sqlite:///{folder / 'images.sqlite3'}"
    with run_web_app(url, aws, make_gate, folder, with_database_gate=False) as web_app:
        yield web_app


@pytest.fixture(scope="session")
def mysql_web_app(aws, make_gate, tmp_path_factory, mysql_server_url):
    """Run the application on a MySQL server behind a gate."""
    folder = tmp_path_factory.mktemp("web_app")
    with (
        mysql_server.fresh_database(mysql_server_url) as url,
        run_web_app(url, aws, make_gate, folder, with_database_gate=True) as web_app,
    ):
        yield web_app


@pytest.fixture(scope="module")
def guarded_web_app(aws, make_gate, tmp_path_factory):
    """Run the application behind a proxy, with one worker, because each worker counts alone.

    Tests send requests from an address of their own, so that they do not share a limit.
    """
    folder = tmp_path_factory.mktemp("guarded")
    with run_web_app(
        f"sqlite:///{folder / 'images.sqlite3'}",
        aws,
        make_gate,
        folder,
        with_database_gate=False,
        arguments=("--workers", "1"),
        TRUSTED_PROXY_COUNT="1",
        ALLOWED_HOSTS="images.test",
        UPLOADS_PER_MINUTE="2",
        READS_PER_MINUTE="3",
    ) as web_app:
        yield web_app


@pytest.fixture
def address():
    """Return the address of a client that no other test uses."""
    return f"203.0.113.{next(_addresses)}"


_addresses = itertools.count(1)


@pytest.fixture(params=["sqlite", "mysql"])
def web_app(request):
    """Run the application on SQLite and then on MySQL."""
    return request.getfixturevalue(f"{request.param}_web_app")


@pytest.fixture
def browser():
    """Create a client with its own cookie jar, which is therefore its own owner."""
    with requests.Session() as session:
        yield session


_jpeg_numbers = iter(range(1_000_000))


def new_jpeg():
    """Make a JPEG that no test has sent before."""
    return factories.make_jpeg(comment=str(next(_jpeg_numbers)).encode())


def csrf_headers(web_app, browser):
    """Return the header that the application's scripts send."""
    if "owner" not in browser.cookies:
        return {}
    page = browser.get(web_app.url, timeout=scaled(30)).text
    return {"X-CSRFToken": re.search(r'name="csrf-token" content="([^"]+)"', page)[1]}


def send(web_app, browser, *files, **options):
    return browser.post(
        f"{web_app.url}/upload",
        files=[("image", file) for file in files],
        headers={**JSON, **csrf_headers(web_app, browser), **options.pop("headers", {})},
        timeout=scaled(60),
        **options,
    )


# Uploads, from the browser to S3


def test_an_upload_reaches_the_row_and_s3_byte_for_byte(web_app, browser, aws):
    content = new_jpeg()

    response = send(web_app, browser, ("Strand 🏖.jpg", content))

    [result] = response.json()["results"]
    row = web_app.row(result["id"])
    stored = aws.client("s3").get_object(
        Bucket=aws.image_bucket, Key=row.original_key, ChecksumMode="ENABLED"
    )
    assert response.status_code == 201
    assert (row.filename, row.status, row.width, row.height) == (
        "Strand 🏖.jpg",
        Status.PENDING,
        64,
        48,
    )
    assert stored["Body"].read() == content
    assert stored["ContentType"] == "image/jpeg"
    assert row.sha256 == hashlib.sha256(content).hexdigest()


def test_the_link_to_an_original_returns_its_bytes_and_content_type(web_app, browser):
    content = factories.make_encoded("WebP") + str(next(_jpeg_numbers)).encode()
    [result] = send(web_app, browser, ("photo.jpg", content)).json()["results"]
    status = browser.get(web_app.url + result["status_url"], timeout=scaled(30)).json()

    fetched = requests.get(status["original_url"], timeout=scaled(30))

    assert fetched.content == content
    assert fetched.headers["Content-Type"] == "image/webp"
    assert "X-Amz-Signature" in status["original_url"]


def test_a_stored_thumbnail_has_a_link_that_works(web_app, browser, aws):
    [result] = send(web_app, browser, ("a.jpg", new_jpeg())).json()["results"]
    key = f"thumbnails/{result['id']}.webp"
    thumbnail = factories.make_encoded("WebP")
    aws.client("s3").put_object(Bucket=aws.thumbnail_bucket, Key=key, Body=thumbnail)
    with session_scope(web_app.session_factory) as session:
        row = get_image(session, result["id"])
        row.thumbnail_key, row.thumbnail_status = key, Status.COMPLETED

    status = browser.get(web_app.url + result["status_url"], timeout=scaled(30)).json()

    fetched = requests.get(status["thumbnail_url"], timeout=scaled(30))
    assert status["thumbnail_status"] == "completed"
    assert fetched.content == thumbnail
    assert fetched.headers["Content-Type"] == "image/webp"


def test_an_upload_appears_in_the_gallery_and_its_times_are_in_utc_with_microseconds(
    web_app, browser
):
    name = f"{next(_jpeg_numbers)} <script>'🏖\".jpg"
    [result] = send(web_app, browser, (name, new_jpeg())).json()["results"]

    gallery = browser.get(f"{web_app.url}/gallery", timeout=scaled(30)).text
    status = browser.get(web_app.url + result["status_url"], timeout=scaled(30)).json()

    assert re.findall(r"/images/(\d+)", gallery)[0] == str(result["id"])
    assert "&lt;script&gt;&#39;🏖" in gallery
    assert "<script>" not in gallery
    assert "These are only tests." in gallery
    assert re.fullmatch(r"\d{4}(-\d\d){2}T(\d\d:){2}\d\d\.\d{6}Z", status["uploaded_at"])
    assert abs(time.time() - web_app.row(result["id"]).uploaded_at.timestamp()) < 60


def test_following_the_next_links_shows_each_of_60_images_once(web_app, browser):
    files = [(f"{number}.jpg", new_jpeg()) for number in range(60)]
    results = send(web_app, browser, *files).json()["results"]
    sent = [str(result["id"]) for result in results]
    seen, link = [], "/gallery"

    while link and len(seen) < 60:
        page = browser.get(web_app.url + link, timeout=scaled(30)).text
        shown = re.findall(r'card__link"\s+href="/images/(\d+)[?"]', page)
        seen += shown
        [link] = re.findall(r'rel="next"\s+href="([^"]+)"', page) or [None]
        assert len(shown) <= 24

    assert [result["outcome"] for result in results] == ["accepted"] * 60
    assert seen[:60] == sent[::-1]


def test_results_of_mixed_files_keep_the_order_of_the_files(web_app, browser):
    good = new_jpeg()

    response = send(
        web_app,
        browser,
        ("1.jpg", good),
        ("2.jpg", b"text"),
        ("3.jpg", factories.truncated(good)),
        ("4.jpg", good),
        ("5.jpg", b""),
        ("6.png", factories.make_bomb("PNG")),
        ("7.jpg", new_jpeg() + bytes(20 * MEBIBYTE)),
        ("8.jpg", new_jpeg()),
    )

    outcomes = [
        (result["filename"], result["outcome"], (result["error"] or {}).get("code"))
        for result in response.json()["results"]
    ]
    assert response.status_code == 201
    assert outcomes == [
        ("1.jpg", "accepted", None),
        ("2.jpg", "rejected", "unsupported_format"),
        ("3.jpg", "rejected", "invalid_image"),
        ("4.jpg", "duplicate", None),
        ("5.jpg", "rejected", "empty_file"),
        ("6.png", "rejected", "too_many_pixels"),
        ("7.jpg", "rejected", "too_large"),
        ("8.jpg", "accepted", None),
    ]


def test_many_concurrent_uploads_are_all_accepted(web_app, aws):
    contents = [new_jpeg() for _ in range(40)]

    def send_one(content):
        with requests.Session() as browser:
            return send(web_app, browser, ("a.jpg", content))

    with ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(send_one, contents))

    ids = [response.json()["results"][0]["id"] for response in responses]
    assert {response.status_code for response in responses} == {201}
    assert len(set(ids)) == 40
    assert [web_app.row(image_id).sha256 for image_id in ids] == [
        hashlib.sha256(content).hexdigest() for content in contents
    ]


def test_a_form_without_javascript_redirects_to_the_gallery_with_messages(web_app, browser):
    response = browser.post(
        f"{web_app.url}/upload",
        files=[("image", ("good.jpg", new_jpeg())), ("image", ("bad.jpg", b"text"))],
        headers={"Accept": "text/html,*/*;q=0.8"},
        timeout=scaled(30),
    )

    [redirect] = response.history
    assert (redirect.status_code, response.status_code) == (303, 200)
    assert response.url == f"{web_app.url}/gallery"
    assert "good.jpg: uploaded." in response.text
    assert "bad.jpg: We can’t read this kind of file" in response.text


# Owners


def test_owners_are_separate_and_identified_by_cookie_and_by_token(web_app, browser):
    content = new_jpeg()
    first = send(web_app, browser, ("a.jpg", content))
    bearer = {"Authorization": f"Bearer {first.json()['owner_token']}"}

    by_cookie = send(web_app, browser, ("a.jpg", content))
    with requests.Session() as program:
        by_token = send(web_app, program, ("a.jpg", content), headers=bearer)
    with requests.Session() as stranger:
        by_stranger = send(web_app, stranger, ("a.jpg", content))

    [known] = first.json()["results"]
    for response in (by_cookie, by_token):
        [result] = response.json()["results"]
        assert (result["outcome"], result["id"]) == ("duplicate", known["id"])
    assert by_stranger.json()["results"][0]["outcome"] == "accepted"


def send_and_hang_up(web_app, content, headers):
    """Send a whole upload and close the connection before the response."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
        + content
        + b"\r\n--x--\r\n"
    )
    lines = [
        "POST /upload HTTP/1.1",
        f"Host: {urlsplit(web_app.url).netloc}",
        "Content-Type: multipart/form-data; boundary=x",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in {**JSON, **headers}.items()),
    ]
    with socket.create_connection(
        urlsplit(web_app.url).netloc.split(":"), timeout=scaled(30)
    ) as sent:
        sent.sendall("\r\n".join([*lines, "", ""]).encode() + body)


def rows_with(web_app, content):
    with session_scope(web_app.session_factory) as session:
        sha256 = hashlib.sha256(content).hexdigest()
        return session.query(Image).filter(Image.sha256 == sha256).all()


def headers_of_a_browser(web_app, browser):
    """Return the headers with which the upload page of a new visitor sends its first file."""
    page = browser.get(web_app.url, timeout=scaled(30)).text
    token = re.search(r'name="csrf-token" content="([^"]+)"', page)[1]
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    return {"Cookie": cookies, "X-CSRFToken": token, "Sec-Fetch-Site": "same-origin"}


def headers_of_a_program(web_app, _browser):
    token = requests.post(f"{web_app.url}/api/owners", timeout=scaled(30)).json()["owner_token"]
    return {"Authorization": f"Bearer {token}"}


SENDERS = [headers_of_a_browser, headers_of_a_program]


@pytest.mark.parametrize("headers_of", SENDERS)
def test_an_image_whose_upload_got_no_answer_belongs_to_its_sender(web_app, browser, headers_of):
    content, headers = new_jpeg(), headers_of(web_app, browser)

    send_and_hang_up(web_app, content, headers)

    web_app.wait_until(lambda: rows_with(web_app, content))
    again = requests.post(
        f"{web_app.url}/upload",
        files=[("image", ("a.jpg", content))],
        headers={**JSON, **headers},
        timeout=scaled(60),
    )
    [row] = rows_with(web_app, content)
    [result] = again.json()["results"]
    assert (again.status_code, result["outcome"], result["id"]) == (201, "duplicate", row.id)
    assert "Set-Cookie" not in again.headers
    deleted = requests.delete(
        f"{web_app.url}/api/images/{row.id}", headers=headers, timeout=scaled(60)
    )
    assert deleted.status_code == 204


def test_the_same_bytes_sent_many_times_at_once_become_one_stored_image(web_app, browser, aws):
    headers = headers_of_a_program(web_app, browser)

    def send_one(content):
        return requests.post(
            f"{web_app.url}/upload",
            files=[("image", ("a.jpg", content))],
            headers={**JSON, **headers},
            timeout=scaled(60),
        ).json()["results"][0]

    for _ in range(5):
        content = new_jpeg()
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(send_one, [content] * 8))

        [row] = rows_with(web_app, content)
        assert {result["id"] for result in results} == {row.id}
        assert sorted(result["outcome"] for result in results) == ["accepted"] + ["duplicate"] * 7
        stored = aws.client("s3").get_object(Bucket=aws.image_bucket, Key=row.original_key)
        assert stored["Body"].read() == content


def test_a_form_of_another_site_is_refused_unread_and_the_connection_stays_usable(
    sqlite_web_app, browser
):
    content = new_jpeg() + bytes(5 * MEBIBYTE)

    response = browser.post(
        f"{sqlite_web_app.url}/upload",
        files=[("image", ("a.jpg", content))],
        headers={**JSON, "Origin": "http://evil.example"},
        timeout=scaled(60),
    )

    assert (response.status_code, response.json()["code"]) == (403, "cross_site_request")
    assert "Set-Cookie" not in response.headers
    assert rows_with(sqlite_web_app, content) == []
    assert browser.get(f"{sqlite_web_app.url}/health", timeout=scaled(30)).ok


def test_an_invalid_token_is_refused_and_the_connection_stays_usable(sqlite_web_app, browser):
    response = send(
        sqlite_web_app,
        browser,
        ("a.jpg", new_jpeg() + bytes(5 * MEBIBYTE)),
        headers={"Authorization": "Bearer nonsense"},
    )

    assert (response.status_code, response.json()["code"]) == (401, "invalid_owner_token")
    assert browser.get(f"{sqlite_web_app.url}/health", timeout=scaled(30)).ok


# Proxies, hosts, limits and logs


def from_load_balancer(address, **headers):
    """Return the headers of a request through a load balancer, with changes by the client."""
    return {
        "Host": "images.test",
        "X-Forwarded-For": address,
        "X-Forwarded-Proto": "https",
        **headers,
    }


def is_treated_as_https(response):
    cookies = response.headers["Set-Cookie"].lower()
    assert ("; secure" in cookies) == ("Strict-Transport-Security" in response.headers)
    return "; secure" in cookies


def test_x_forwarded_proto_is_used_only_behind_a_trusted_proxy(
    guarded_web_app, sqlite_web_app, browser, address
):
    behind_proxy = send(
        guarded_web_app, browser, ("a.jpg", new_jpeg()), headers=from_load_balancer(address)
    )
    by_http = requests.get(
        guarded_web_app.url,
        headers=from_load_balancer(address, **{"X-Forwarded-Proto": "http"}),
        timeout=scaled(30),
    )
    without_proxy = [
        requests.get(sqlite_web_app.url, headers={name: value}, timeout=scaled(30))
        for name, value in (
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Ssl", "on"),
            ("X-Forwarded-Protocol", "ssl"),
            ("X_Forwarded_Proto", "https"),
        )
    ]

    assert is_treated_as_https(behind_proxy)
    assert not any(is_treated_as_https(response) for response in (by_http, *without_proxy))


def test_a_client_cannot_avoid_its_limit_with_a_forged_x_forwarded_for(guarded_web_app, address):
    def ask(forwarded_for, **headers):
        return requests.get(
            f"{guarded_web_app.url}/api/images",
            headers=from_load_balancer(forwarded_for, **headers),
            timeout=scaled(30),
        ).status_code

    status_codes = [
        ask(address),
        ask(f"198.51.100.1, {address}"),
        ask(f"127.0.0.1, 10.0.0.1,{address}", **{"X-Real-IP": "10.0.0.2"}),
        ask(f"::1, unknown, {address}", Forwarded="for=10.0.0.3", X_Forwarded_For="1"),
    ]

    assert status_codes == [200, 200, 200, 429]
    assert ask(f"{address}, 198.51.100.2") == 200


def test_an_unknown_host_is_refused_except_for_health_checks(guarded_web_app, address):
    def ask(path, host):
        headers = {**from_load_balancer(address, Host=host), **JSON}
        return requests.get(guarded_web_app.url + path, headers=headers, timeout=scaled(30))

    refused = ask("/gallery", "evil.com")

    assert (refused.status_code, refused.json()["code"]) == (400, "host_not_allowed")
    assert ask("/gallery", "images.test").status_code == 200
    assert ask("/health", "10.0.3.17").status_code == 200
    assert ask("/health/ready", "10.0.3.17").status_code == 200


def test_an_upload_over_the_rate_limit_is_refused_unread_and_the_connection_stays_usable(
    guarded_web_app, browser, address
):
    large = new_jpeg() + bytes(18 * MEBIBYTE)
    headers = from_load_balancer(address)
    written_bytes = 0

    def watch():
        nonlocal written_bytes
        while not is_over.wait(0.005):
            [worker] = guarded_web_app.workers()
            written_bytes = max(written_bytes, worker.io_counters().write_bytes - before)

    for _ in range(2):
        requests.post(f"{guarded_web_app.url}/upload", headers=headers, timeout=scaled(30))
    [worker] = guarded_web_app.workers()
    before, is_over = worker.io_counters().write_bytes, threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    response = browser.post(
        f"{guarded_web_app.url}/upload",
        files=[("image", ("large.jpg", large)), ("image", ("larger.jpg", large))],
        headers={**headers, **JSON},
        timeout=scaled(30),
    )
    is_over.set()
    watcher.join()

    assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert written_bytes < MEBIBYTE
    assert browser.get(f"{guarded_web_app.url}/health", timeout=scaled(30)).ok


def test_client_input_cannot_start_a_log_line(sqlite_web_app):
    address = urlsplit(sqlite_web_app.url)
    forged = b'{"levelname": "ERROR", "message": "forged"}'
    before = len(sqlite_web_app.log.read_bytes())

    for request in (
        b"GET /\x1b[2J\r" + forged + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%0a" + forged.replace(b" ", b"") + b"%1b[31m HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\x1b[31m\r\nUser-Agent: \x1b[2J\xe2\x80\xa8x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\n" + forged + b"\r\n\r\n",
        b"\x1b[31m\n" + forged + b"\r\n\r\n",
    ):
        with socket.create_connection((address.hostname, address.port), 10) as connection:
            connection.sendall(request)
            connection.settimeout(5)
            assert connection.recv(100)
    with requests.Session() as browser:
        send(sqlite_web_app, browser, ("\x1b[2J\u2028\u0085forged.jpg", b"text"))

    written = sqlite_web_app.log.read_bytes()[before:]
    assert b"\x1b" not in written
    assert b"\r" not in written
    for line in written.decode().splitlines():
        assert line.isprintable()
        assert line.startswith(
            ("{", "[")
        )  # A record, or a line of gunicorn: it begins with [time].
        assert not line.startswith(forged.decode())
        if line.startswith("{"):
            assert json.loads(line)["message"] != "forged"


# Changes by owners, through S3, the bus and the functions


@pytest.fixture(scope="session")
def thumbnail_events(aws):
    """Create a queue behind the thumbnail function's rule and return a function that empties it."""
    template = Template.read(
        {"ImageBucketName": aws.image_bucket, "ThumbnailBucketName": aws.thumbnail_bucket}
    )
    [rule] = [r for r in template.event_rules() if r.function_id == "ThumbnailFunction"]
    sqs, events = aws.client("sqs"), aws.client("events")
    url = sqs.create_queue(QueueName="thumbnail-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    events.put_rule(Name="thumbnail", EventPattern=json.dumps(rule.event_pattern))
    events.put_targets(Rule="thumbnail", Targets=[{"Id": "queue", "Arn": arn["QueueArn"]}])

    def receive():
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in messages]

    yield receive
    sqs.close()
    events.close()


def fail_thumbnail(web_app, image_id):
    with session_scope(web_app.session_factory) as session:
        key = get_image(session, image_id).original_key
        claim = claim_job(session, Job.THUMBNAIL, key, lease_seconds=30, max_attempts=3)
        record_failure(session, claim, code="storage_unavailable", message="Away.")
    return key


def make_thumbnail(web_app, aws, event):
    """Run the thumbnail function for an event, as Lambda does."""
    originals = ObjectStore(aws.image_bucket, aws.client("s3"))
    context = JobContext(Job.THUMBNAIL, web_app.session_factory, originals.is_gone, 3)
    function = ThumbnailFunction(
        SimpleNamespace(thumbnail_width=40, thumbnail_height=30, max_image_pixels=10**6),
        context,
        originals,
        ObjectStore(aws.thumbnail_bucket, aws.client("s3")),
    )
    try:
        return attempt(
            context,
            event,
            work=partial(function.create_derivatives, deadline=time.monotonic() + 60),
            record=lambda session, claim, made: record_derivatives(
                session,
                claim,
                made.dominant_color,
                made.preview_size,
                small_width=made.small_width,
            ),
            remaining_ms=30_000,
        )
    finally:
        metrics.clear_metrics()


def test_a_retry_reaches_the_function_and_a_late_event_after_a_deletion_is_skipped(
    web_app, browser, aws, thumbnail_events
):
    photo = factories.make_jpeg((1300, 50))  # Large enough for a small preview.
    [result] = send(web_app, browser, ("a.jpg", photo)).json()["results"]
    key = fail_thumbnail(web_app, result["id"])
    thumbnail_events()
    image_url = f"{web_app.url}/api/images/{result['id']}"

    retried = browser.post(
        f"{image_url}/retry", headers=csrf_headers(web_app, browser), timeout=scaled(30)
    )

    [event] = thumbnail_events()
    assert retried.status_code == 202
    assert (event["source"], event["detail-type"]) == ("image-annotation", "Thumbnail Requested")
    assert event["detail"] == {"bucket": {"name": aws.image_bucket}, "object": {"key": key}}
    assert make_thumbnail(web_app, aws, event)["outcome"] == "completed"
    assert browser.get(image_url, timeout=scaled(30)).json()["thumbnail_status"] == "completed"

    s3 = aws.client("s3")
    objects = [
        (aws.image_bucket, key),
        *((aws.thumbnail_bucket, each) for each in object_keys.derivative_keys(key)),
    ]
    for bucket, each in objects:
        assert s3.head_object(Bucket=bucket, Key=each)
    with session_scope(web_app.session_factory) as session:
        get_image(session, result["id"]).annotation_status = Status.COMPLETED
    binned_url = image_url.replace("/api/images/", "/api/bin/")
    for url in (image_url, binned_url):
        deleted = browser.delete(url, headers=csrf_headers(web_app, browser), timeout=scaled(30))
        assert deleted.status_code == 204
    for bucket, each in objects:
        assert ObjectStore(bucket, s3).is_gone(each)
    assert make_thumbnail(web_app, aws, event)["outcome"] == "skipped"
    with session_scope(web_app.session_factory) as session:
        assert session.get(Image, result["id"]) is None


def test_an_event_for_an_original_without_a_row_raises_image_not_found(sqlite_web_app, aws):
    key = "originals/00000000-0000-0000-0000-000000000000.jpg"
    aws.client("s3").put_object(Bucket=aws.image_bucket, Key=key, Body=b"x")

    with pytest.raises(ImageNotFoundError):
        make_thumbnail(
            sqlite_web_app,
            aws,
            {"detail": {"bucket": {"name": aws.image_bucket}, "object": {"key": key}}},
        )


def test_a_retry_and_a_delete_are_accepted_while_bus_and_storage_are_unavailable(web_app, browser):
    results = [
        send(web_app, browser, ("a.jpg", new_jpeg())).json()["results"][0]["id"] for _ in range(2)
    ]
    for image_id in results:
        fail_thumbnail(web_app, image_id)
    headers = csrf_headers(web_app, browser)
    url = f"{web_app.url}/api/images"

    with web_app.away(web_app.s3_gate):  # The event bus is behind the same gate.
        retried = browser.post(f"{url}/{results[0]}/retry", headers=headers, timeout=scaled(60))
        deleted = browser.delete(f"{url}/{results[1]}", headers=headers, timeout=scaled(60))
        hidden = browser.get(f"{url}/{results[1]}", timeout=scaled(30))

    assert (retried.status_code, retried.json()["thumbnail_status"]) == (202, "pending")
    assert (deleted.status_code, hidden.status_code) == (204, 404)


def test_strangers_and_forged_forms_change_nothing(web_app, browser):
    [result] = send(web_app, browser, ("a.jpg", new_jpeg())).json()["results"]
    url = f"{web_app.url}/api/images/{result['id']}"

    forged = browser.delete(url, timeout=scaled(30))
    with requests.Session() as stranger:
        send(web_app, stranger, ("b.jpg", new_jpeg()))
        refused = stranger.delete(url, headers=csrf_headers(web_app, stranger), timeout=scaled(30))

    assert (forged.status_code, forged.json()["code"]) == (400, "csrf_failed")
    assert (refused.status_code, refused.json()["code"]) == (403, "not_owner")
    assert browser.get(url, timeout=scaled(30)).json()["is_mine"] is True


def test_every_worker_sends_the_same_etag(web_app, browser):
    [result] = send(web_app, browser, ("a.jpg", new_jpeg())).json()["results"]
    options = {"timeout": 10, "headers": {"Connection": "close"}}

    responses = [
        requests.get(f"{web_app.url}/api/images/{result['id']}", **options) for _ in range(12)
    ]

    # The signing window may end once during these requests, which changes the links.
    assert len({response.headers["ETag"] for response in responses}) <= 2
    etag = responses[-1].headers["ETag"]
    again = requests.get(
        f"{web_app.url}/api/images/{result['id']}",
        headers={"If-None-Match": etag},
        timeout=scaled(30),
    )
    assert again.status_code == 304


# Unusual requests


def post_raw(web_app, headers, body=b"", path="/upload"):
    """Send a request with exactly the given headers."""
    connection = http.client.HTTPConnection(urlsplit(web_app.url).netloc, timeout=scaled(30))
    try:
        connection.putrequest("POST", path)
        for name, value in {**JSON, **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return response, json.loads(response.read())
    finally:
        connection.close()


def test_a_body_with_a_too_large_content_length_is_refused_before_it_is_sent(sqlite_web_app):
    response, body = post_raw(
        sqlite_web_app,
        {
            "Content-Type": "multipart/form-data; boundary=x",
            "Content-Length": str(3 * 1024 * MEBIBYTE),
        },
    )

    assert (response.status, body["code"]) == (413, "request_too_large")
    assert response.headers["Cache-Control"] == "no-store"


def test_a_chunked_body_is_accepted(sqlite_web_app):
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    body = head + new_jpeg() + b"\r\n--x--\r\n"

    response, answer = post_raw(
        sqlite_web_app,
        {"Content-Type": "multipart/form-data; boundary=x", "Transfer-Encoding": "chunked"},
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
    )

    assert response.status == 201
    assert answer["results"][0]["outcome"] == "accepted"


def test_a_json_body_in_chunks_without_a_type_is_refused(sqlite_web_app, browser):
    headers = headers_of_a_program(sqlite_web_app, browser)
    [result] = send(sqlite_web_app, browser, ("a.jpg", new_jpeg()), headers=headers).json()[
        "results"
    ]

    response, answer = post_raw(
        sqlite_web_app,
        {**headers, "Transfer-Encoding": "chunked"},
        b'13\r\n{"regenerate":true}\r\n0\r\n\r\n',
        path=f"/api/images/{result['id']}/retry",
    )

    assert (response.status, answer["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=x", "image/jpeg"]
)
def test_a_body_that_is_not_a_form_is_refused(sqlite_web_app, content_type):
    body = new_jpeg()

    response, answer = post_raw(
        sqlite_web_app, {"Content-Type": content_type, "Content-Length": str(len(body))}, body
    )

    assert response.status == 400
    assert answer["code"] in ("malformed_form", "no_file")


def test_large_uploads_are_not_held_in_memory(sqlite_web_app):
    """Send 10 files at once, 190 MB together. A thread may hold buffers, but not a whole file."""
    jpeg = new_jpeg()
    contents = [jpeg + bytes([number]) * (19 * MEBIBYTE) for number in range(10)]

    def send_one(content):
        with requests.Session() as browser:
            return send(sqlite_web_app, browser, ("large.jpg", content))

    def resident_bytes():
        return sum(worker.memory_info().rss for worker in sqlite_web_app.workers())

    # First import every module and fill every pool.
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(send_one, [new_jpeg() for _ in range(32)]))
    before, peak, is_over = resident_bytes(), 0, threading.Event()

    def watch():
        nonlocal peak
        while not is_over.wait(0.01):
            peak = max(peak, resident_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(10) as pool:
        responses = list(pool.map(send_one, contents))
    is_over.set()
    watcher.join()

    assert [response.status_code for response in responses] == [201] * 10
    assert peak - before < 96 * MEBIBYTE


# Outages


def test_an_outage_of_the_storage_is_reported_and_recorded_and_ends(web_app, browser):
    content = new_jpeg()
    with web_app.away(web_app.s3_gate):
        refused = send(web_app, browser, ("a.jpg", content))
        ready = browser.get(f"{web_app.url}/health/ready", timeout=scaled(60))
        alive = browser.get(f"{web_app.url}/health", timeout=scaled(30))
        gallery = browser.get(f"{web_app.url}/gallery", timeout=scaled(30))

    [result] = refused.json()["results"]
    failed = re.findall(r'card__link"\s+href="/images/(\d+)"', gallery.text)[0]
    status = browser.get(f"{web_app.url}/api/image_status/{failed}", timeout=scaled(30)).json()
    again = send(web_app, browser, ("a.jpg", content))
    assert (refused.status_code, result["error"]["code"]) == (502, "upload_failed")
    assert (alive.status_code, gallery.status_code) == (200, 200)
    assert ready.status_code == 503
    assert ready.json()["dependencies"] == {
        "database": "ok",
        "image_bucket": "unavailable",
        "thumbnail_bucket": "unavailable",
    }
    assert (status["annotation_status"], status["thumbnail_status"]) == ("failed", "failed")
    assert status["annotation_error"]["code"] == status["thumbnail_error"]["code"]
    assert status["thumbnail_error"]["code"] == "upload_failed"
    assert again.json()["results"][0]["outcome"] == "accepted"


def test_an_outage_of_the_database_gives_503_and_ends(mysql_web_app, browser):
    url = mysql_web_app.url
    with mysql_web_app.away(mysql_web_app.database_gate):
        upload = send(mysql_web_app, browser, ("a.jpg", new_jpeg()))
        page = browser.get(f"{url}/gallery", headers={"Accept": "text/html"}, timeout=scaled(30))
        status = browser.get(f"{url}/api/image_status/1", timeout=scaled(30))
        ready = browser.get(f"{url}/health/ready", timeout=scaled(30))
        alive = browser.get(f"{url}/health", timeout=scaled(30))

    for response in (upload, page, status, ready):
        assert response.status_code == 503
        assert response.headers["Retry-After"]
        assert response.headers["Cache-Control"] == "no-store"
    assert upload.json()["code"] == status.json()["code"] == "database_unavailable"
    assert "text/html" in page.headers["Content-Type"]
    assert "Try again" in page.text
    assert ready.json()["dependencies"] == {
        "database": "unavailable",
        "image_bucket": "ok",
        "thumbnail_bucket": "ok",
    }
    assert (alive.status_code, alive.json()) == (200, {"status": "ok", "version": VERSION})
    assert send(mysql_web_app, browser, ("a.jpg", new_jpeg())).status_code == 201


# Logs and start


def test_logs_are_json_without_links_keys_and_passwords(web_app, browser):
    send(web_app, browser, ("a\nb.jpg", b"text"), ("good.jpg", new_jpeg()))

    lines = web_app.log.read_text().splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    assert "rejected an upload" in {record["message"] for record in records}
    for secret in ("X-Amz-Signature", SECRET_KEY, "a secret key of the tests"):
        assert secret not in web_app.log.read_text()


def test_no_worker_warned_or_died(web_app):
    log = web_app.log.read_text()

    assert "unexpected error" not in log
    assert "Warning" not in log
    assert log.count("Booting worker") == len(web_app.workers())


def test_static_files_of_a_killed_process_are_removed_by_the_next_one(guarded_web_app):
    [worker] = guarded_web_app.workers()
    folder = guarded_web_app.log.parent
    hostile = folder / f"image-annotation-static-{10**30}-x"
    hostile.mkdir()

    worker.kill()

    def has_new_copies_only():
        processes = {str(child.pid) for child in guarded_web_app.workers()}
        copies = folder.glob("image-annotation-static-*")
        return {copy.name.split("-")[3] for copy in copies} == processes - {str(worker.pid)}

    guarded_web_app.wait_until(has_new_copies_only)
    guarded_web_app.wait_until(lambda: guarded_web_app.responds("/health"))


def test_without_a_secret_key_gunicorn_refuses_to_start_and_names_the_variables(aws):
    started = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--check-config", "web_app.wsgi:app"],
        cwd=PROJECT,
        env={**aws.environment, "DATABASE_URL": "mysql://app:hunter2@db/images"},
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )

    assert started.returncode != 0
    assert "set FLASK_SECRET_KEY, or FLASK_SECRET_ARN" in started.stderr
    assert "hunter2" not in started.stderr + started.stdout


# Starts the application once for each line of input, in one process: the imports take most of the
# time of a start.
_READ_SECRET_KEYS = """
import json, os, runpy, sys, traceback

for line in sys.stdin:
    os.environ["FLASK_SECRET_ARN"] = line.strip()
    try:
        app = runpy.run_module("web_app.wsgi")["app"]
        answer = [app.secret_key, *app.config["SECRET_KEY_FALLBACKS"]]
    except Exception:
        answer = traceback.format_exc()
    print("answer:", json.dumps(answer), flush=True)
"""


@pytest.fixture(scope="module")
def read_secret_keys(aws):
    """Return a function that starts the application with a secret.

    It returns the key and the keys of a rotation, or the traceback of a start that failed.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _READ_SECRET_KEYS],
        cwd=PROJECT,
        env={**aws.environment, "DATABASE_URL": "sqlite://"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def read(arn):
        process.stdin.write(f"{arn}\n")
        process.stdin.flush()
        for line in process.stdout:
            if line.startswith("answer: "):
                return json.loads(line.removeprefix("answer: "))
        raise AssertionError("the process has ended")

    yield read
    process.communicate(timeout=scaled(60))


def test_the_secret_key_is_read_from_secrets_manager(aws, read_secret_keys):
    secrets = aws.client("secretsmanager")
    arn = secrets.create_secret(Name="flask", SecretString="a key out of the store")["ARN"]
    short = secrets.create_secret(Name="flask-short", SecretString="too-short")["ARN"]
    secrets.close()

    assert read_secret_keys(arn) == ["a key out of the store"]
    refused = read_secret_keys(short)
    assert "FLASK_SECRET_ARN names is too short" in refused
    assert "too-short" not in refused
    assert "ResourceNotFoundException" in read_secret_keys(f"{arn[:-6]}absent")


def test_the_keys_of_a_rotation_are_read_from_secrets_manager(aws, read_secret_keys):
    """Rotate in the two steps of deployment/README.md."""
    secrets = aws.client("secretsmanager")
    first = secrets.create_secret(Name="flask-rotated", SecretString="the first key of the store")
    arn = first["ARN"]

    before = read_secret_keys(arn)
    second = secrets.put_secret_value(
        SecretId=arn, SecretString="the second key of the store", VersionStages=["AWSPENDING"]
    )
    announced = read_secret_keys(arn)
    secrets.update_secret_version_stage(
        SecretId=arn,
        VersionStage="AWSCURRENT",
        MoveToVersionId=second["VersionId"],
        RemoveFromVersionId=first["VersionId"],
    )
    rotated = read_secret_keys(arn)
    secrets.close()

    assert before == ["the first key of the store"]
    assert announced == ["the first key of the store", "the second key of the store"]
    assert rotated[0] == "the second key of the store"
    assert "the first key of the store" in rotated


def test_each_process_reports_the_requests_of_all_processes(sqlite_web_app):
    assert len(sqlite_web_app.workers()) >= 2
    url = sqlite_web_app.url
    counted = re.compile(
        r'^image_annotation_requests_total{method="GET",route="/usage",status="200"} (\S+)', re.M
    )

    def report():
        # Each request opens a connection of its own, so that any of the processes answers.
        headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
        response = requests.get(f"{url}/metrics", headers=headers, timeout=scaled(30))
        assert response.status_code == 200
        found = counted.search(response.text)
        return float(found[1]) if found else 0

    before = report()
    for _ in range(20):
        assert requests.get(f"{url}/usage", timeout=scaled(30)).ok

    assert {report() for _ in range(20)} == {before + 20}
