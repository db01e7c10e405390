"""Tests of the whole local system, started by its command and used over HTTP."""

import html
import io
import json
import signal
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from PIL import Image

from tests.support.factories import FORMAT_NAMES, make_encoded, make_jpeg, make_photo, truncated
from tests.support.local_system import ROOT, LocalSystem, environment, wait_until
from tests.support.scripted_gemini import Reply, error
from tests.support.time_limits import scaled

RED, GREEN, BLUE, YELLOW = (230, 25, 25), (25, 180, 25), (25, 25, 230), (230, 210, 50)
SIZE = (640, 480)
ORIENTATIONS = range(1, 9)


@pytest.fixture(scope="module")
def recognising_system(tmp_path_factory):
    """Run a system without a key. Its recogniser takes a second of processor time for an image."""
    running = LocalSystem(tmp_path_factory.mktemp("local") / "state", LOCAL_RECOGNISER="on")
    running.start()
    yield running
    end(running)


def end(running):
    """Stop a system by SIGTERM. Other tests stop it by Ctrl-C and by kill -9."""
    assert running.stop() == 0
    assert running.orphans() == []


@pytest.fixture(scope="module")
def module_killed_system(session_gemini, tmp_path_factory):
    running = LocalSystem(
        tmp_path_factory.mktemp("killed") / "state",
        GEMINI_API_KEY="the-key",
        GOOGLE_GEMINI_BASE_URL=session_gemini.url,
        # An event of a killed function is delivered again after this time.
        LOCAL_FUNCTION_TIMEOUT_SECONDS=str(round(scaled(12))),
    )
    yield running
    if running.processes():
        running.stop()
    assert running.orphans() == []


@pytest.fixture
def killed_system(module_killed_system, gemini):
    """Run a system that the tests may kill and stop. They use different images."""
    if not module_killed_system.processes():
        module_killed_system.start()
    return module_killed_system


def thumbnail_of(status):
    response = requests.get(status["thumbnail_url"], timeout=scaled(30))
    assert response.headers["Content-Type"] == "image/webp"
    image = Image.open(io.BytesIO(response.content))
    assert image.format == "WEBP"
    return image


def assert_upright(thumbnail):
    """Assert that the quadrants have the colours and the places of the factory's image."""
    width, height = thumbnail.size
    rgb = thumbnail.convert("RGB")
    corners = {
        (width // 8, height // 8): 0,
        (width - width // 8, height // 8): 1,
        (width // 8, height - height // 8): 2,
        (width - width // 8, height - height // 8): 3,
    }
    expected = Image.open(io.BytesIO(make_encoded("PNG", SIZE))).convert("RGB")
    quadrants = [expected.getpixel(place) for place in [(40, 40), (600, 40), (40, 440), (600, 440)]]
    for place, quadrant in corners.items():
        distance = max(
            abs(a - b) for a, b in zip(rgb.getpixel(place), quadrants[quadrant], strict=True)
        )
        assert distance < 40, (place, rgb.getpixel(place), quadrants[quadrant])


def test_only_the_user_can_read_the_files_of_a_run(recognising_system):
    (result,) = recognising_system.upload(("private.png", make_encoded("PNG", SIZE)))
    recognising_system.finished(result["id"])

    files = [recognising_system.state_dir, *recognising_system.state_dir.rglob("*")]

    names = {path.name for path in files}
    assert {"images.sqlite3", "aws_config", "web.log", "objects", "headers"} <= names
    assert [path for path in files if path.stat().st_mode & 0o077] == []


def test_a_page_on_another_domain_cannot_use_the_web_application(system):
    hosts = [f"evil.example:{system.port}", f"127.0.0.1.evil.example:{system.port}"]
    own = [f"127.0.0.1:{system.port}", f"localhost:{system.port}", f"[::1]:{system.port}"]

    def status(host):
        url = f"{system.url}/api/images"
        return requests.get(url, headers={"Host": host}, timeout=scaled(30)).status_code

    assert [status(host) for host in hosts] == [400, 400]
    assert [status(host) for host in own] == [200, 200, 200]


@pytest.fixture(scope="module")
def results(system):
    """Upload an image of each format and orientation together, and return the results."""
    formats = [(f"photo.{name}", make_encoded(name, SIZE)) for name in FORMAT_NAMES]
    photos = [(f"orientation-{n}.jpg", make_jpeg(SIZE, orientation=n)) for n in ORIENTATIONS]
    uploaded = system.upload(*formats, *photos)
    return dict(zip([*FORMAT_NAMES, *ORIENTATIONS], uploaded, strict=True))


@pytest.mark.parametrize("format_name", FORMAT_NAMES)
def test_an_image_of_each_format_gets_a_caption_and_an_upright_thumbnail(
    system, results, format_name
):
    result = results[format_name]

    status = system.finished(result["id"], seconds=60)

    assert result["outcome"] == "accepted"
    assert (status["annotation_status"], status["thumbnail_status"]) == ("completed", "completed")
    assert (status["width"], status["height"]) == SIZE
    assert status["annotation"]
    assert status["alt_text"]
    assert status["tags"]
    thumbnail = thumbnail_of(status)
    assert thumbnail.size == (400, 400)
    assert_upright(thumbnail)


def test_the_load_tester_uploads_images_and_waits_for_their_captions(system, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(make_jpeg((160, 120)))
    options = ["--upload", tmp_path / "photo.jpg", "--unique", "-n", "4", "-c", "2"]
    options += ["--json", tmp_path / "run.json", "--fail-if", "errors>0"]

    completed = subprocess.run(
        [sys.executable, ROOT / "load_tester.py", "--url", system.url, *options],
        capture_output=True,
        text=True,
        timeout=scaled(90),
    )

    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert json.loads((tmp_path / "run.json").read_text())["requests"] == 4


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_photo_of_each_orientation_gets_an_upright_thumbnail(system, results, orientation):
    status = system.finished(results[orientation]["id"], seconds=60)

    assert status["status"] == "completed"
    assert (status["width"], status["height"]) == SIZE
    assert_upright(thumbnail_of(status))


def test_the_original_is_downloaded_byte_for_byte(system):
    original = make_jpeg((200, 150))
    (result,) = system.upload(("mine.jpg", original))

    response = requests.get(system.status(result["id"])["original_url"], timeout=scaled(30))

    assert response.content == original
    assert response.headers["Content-Type"] == "image/jpeg"


def test_the_gallery_shows_the_caption_as_text_and_the_alt_text_as_alt(recognising_system):
    (result,) = recognising_system.upload(("a <b>.jpg", make_jpeg((321, 200))))
    status = recognising_system.finished(result["id"])

    page = requests.get(f"{recognising_system.url}/gallery", timeout=scaled(30)).text

    assert f">{html.escape(status['annotation'])}<" in page
    assert f'alt="{html.escape(status["alt_text"])}"' in page
    assert "a &lt;b&gt;.jpg" in page
    assert "on this computer" in page


def test_the_sample_photos_get_captions_that_name_what_they_show(recognising_system):
    session = requests.Session()

    response = session.post(f"{recognising_system.url}/samples", timeout=scaled(30))

    assert response.url == f"{recognising_system.url}/gallery"
    listed = session.get(f"{recognising_system.url}/api/images", timeout=scaled(30)).json()
    found = {
        image["filename"]: recognising_system.finished(image["id"])
        for image in listed["images"]
        if image["is_mine"]
    }
    nouns = {"coffee.jpg": "espresso", "cat.jpg": "cat", "photographer.jpg": "person"}
    assert {name: nouns[name] in image["annotation"] for name, image in found.items()} == (
        dict.fromkeys(nouns, True)
    )
    assert {image["annotation_model"] for image in found.values()} == {"local-recogniser-1"}


def test_an_upload_without_javascript_redirects_to_the_gallery_with_a_message_for_each_file(system):
    session = requests.Session()

    response = session.post(
        f"{system.url}/upload",
        files=[
            ("image", ("good.jpg", make_jpeg((90, 60)))),
            ("image", ("bad.jpg", b"not an image at all")),
        ],
        headers={"Accept": "text/html"},
        timeout=scaled(30),
    )

    assert [step.status_code for step in response.history] == [303]
    assert response.url == f"{system.url}/gallery"
    assert "good.jpg: uploaded." in response.text
    assert "bad.jpg: " in response.text


def test_an_image_that_fails_to_decode_fails_as_invalid_image(system):
    whole = bytearray(make_jpeg((800, 600)))
    # A table marker in the middle of the pixels. The header is still valid.
    whole[len(whole) // 2 : len(whole) // 2 + 2] = b"\xff\xc4"
    (result,) = system.upload(("damaged.jpg", bytes(whole)))
    if result["outcome"] == "rejected":
        assert result["error"]["code"] == "invalid_image"
        return

    status = system.finished(result["id"])

    for job in ("annotation", "thumbnail"):
        if status[f"{job}_status"] == "failed":
            assert status[f"{job}_error"]["code"] == "invalid_image"


def test_a_truncated_photo_is_rejected_and_the_other_file_is_accepted(system):
    results = system.upload(
        ("cut.jpg", truncated(make_jpeg((800, 600)))), ("whole.jpg", make_jpeg((801, 600)))
    )

    assert [result["outcome"] for result in results] == ["rejected", "accepted"]
    assert results[0]["error"]["code"] == "invalid_image"


def test_each_completed_job_is_a_line_on_the_console(system):
    (result,) = system.upload(("line.jpg", make_jpeg((77, 50))))
    system.finished(result["id"])
    key = system.status(result["id"])["original_url"].split("/")[-1].split("-")[0]

    wait_until(
        lambda: (
            sum(key in line and "completed" in line for line in system.output.splitlines()) == 2
        ),
        seconds=20,
    )


def test_the_web_application_has_the_configured_number_of_processes(system):
    launchers = system.processes_of("launcher.py")

    found = [each for each in system.processes_of("gunicorn") if each not in launchers]

    # The parent, and one that serves: LOCAL_WEB_PROCESSES is 1 in these tests.
    assert len(found) == 2


def test_a_port_in_use_is_reported_in_one_sentence(tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        completed = subprocess.run(
            [sys.executable, "-m", "local_cloud"],
            cwd=ROOT,
            env=environment(tmp_path / "state", port, {}),
            capture_output=True,
            text=True,
            timeout=scaled(30),
        )

    assert completed.returncode == 1
    assert f"Another program uses port {port}" in completed.stdout + completed.stderr
    assert "Traceback" not in completed.stderr


def test_repeated_and_reordered_events_cause_one_request_to_gemini_for_each_image(
    scripted_system, gemini
):
    system = scripted_system
    results = system.upload(*[(f"{n}.jpg", make_jpeg((100 + n, 80))) for n in range(4)])
    keys = [
        "originals/" + system.status(result["id"])["original_url"].split("?")[0].split("/")[-1]
        for result in results
    ]
    events = system.client("events")

    for detail_type in ("Object Created", "Annotation Requested", "Thumbnail Requested") * 2:
        events.put_events(
            Entries=[
                {
                    "Source": "image-annotation",
                    "DetailType": detail_type,
                    "Detail": json.dumps(
                        {"bucket": {"name": "image-annotation-originals"}, "object": {"key": key}}
                    ),
                }
                for key in reversed(keys)
            ]
        )

    for result in results:
        status = system.finished(result["id"])
        assert status["status"] == "completed"
        assert status["annotation"] == "A dog runs on a beach."
    assert_queues_become_empty(system)
    assert len(gemini.requests) == len(results)


def test_the_same_bytes_sent_a_hundred_times_at_once_are_one_image_with_one_request_to_gemini(
    scripted_system, gemini
):
    system = scripted_system
    owner = requests.post(f"{system.url}/api/owners", timeout=scaled(30)).json()["owner_token"]
    photo = ("same.jpg", make_jpeg((301, 203)))

    def send(_):
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {owner}"
        return system.upload(photo, session=session)[0]

    with ThreadPoolExecutor(100) as pool:
        results = list(pool.map(send, range(100)))

    assert Counter(result["outcome"] for result in results) == {"accepted": 1, "duplicate": 99}
    (image_id,) = {result["id"] for result in results}
    assert system.finished(image_id)["status"] == "completed"
    assert_queues_become_empty(system)
    assert len(gemini.requests) == 1


def test_a_multipart_upload_of_an_original_is_processed_once(scripted_system, gemini):
    system = scripted_system
    (result,) = system.upload(("parts.jpg", make_jpeg((300, 200))))
    system.finished(result["id"])
    s3 = system.client("s3")
    key = "originals/" + system.status(result["id"])["original_url"].split("?")[0].split("/")[-1]
    target = {"Bucket": "image-annotation-originals", "Key": key}

    # S3 sends an event for a multipart upload too. The emulator sends it twice.
    upload_id = s3.create_multipart_upload(**target)["UploadId"]
    part = s3.upload_part(**target, UploadId=upload_id, PartNumber=1, Body=make_jpeg((300, 200)))
    s3.complete_multipart_upload(
        **target,
        UploadId=upload_id,
        MultipartUpload={"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]},
    )

    assert_queues_become_empty(system)
    assert len(gemini.requests) == 1
    assert system.status(result["id"])["status"] == "completed"


def assert_queues_become_empty(system):
    """Assert that every event is processed and that there is no dead letter."""
    sqs = system.client("sqs")

    def waiting():
        return sum(
            int(count)
            for url in sqs.list_queues()["QueueUrls"]
            for count in sqs.get_queue_attributes(
                QueueUrl=url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            )["Attributes"].values()
        )

    wait_until(lambda: waiting() == 0, seconds=40)


def test_a_caption_is_completed_after_gemini_was_busy_and_failed_once(killed_system, gemini):
    _, body = error(429, "RESOURCE_EXHAUSTED")
    gemini.script += [Reply(body, 429, {"Retry-After": "1"}), error(500, "INTERNAL")]
    system = killed_system

    (result,) = system.upload(("later.jpg", make_jpeg((71, 48))))
    wait_until(lambda: len(gemini.requests) == 1, seconds=40)
    assert system.status(result["id"])["annotation_status"] == "pending"
    # After the 429 the sweep requests the job again, at its second run or a minute later. After
    # the 500 the local queue delivers the event again.
    status = system.finished(result["id"], seconds=100)

    assert status["status"] == "completed"
    assert status["annotation_error"] is None
    assert len(gemini.requests) == 3


def test_a_refused_key_fails_the_job_at_once_and_is_not_retried(scripted_system, gemini):
    gemini.script += [error(403, "PERMISSION_DENIED")]

    (result,) = scripted_system.upload(("nokey.jpg", make_jpeg((65, 48))))
    status = scripted_system.finished(result["id"])

    assert (status["annotation_status"], status["thumbnail_status"]) == ("failed", "completed")
    assert status["annotation_error"]["code"] == "configuration"
    assert len(gemini.requests) == 1


def test_a_job_is_completed_after_its_function_was_killed(killed_system, gemini):
    gemini.hold()
    system = killed_system
    (result,) = system.upload(("killed.jpg", make_jpeg((72, 48))))
    wait_until(lambda: len(gemini.requests) == 1, seconds=40)

    victims = system.processes_of("awslambdaric", "annotation")
    for victim in victims:
        victim.kill()
    gemini.release()
    status = system.finished(result["id"], seconds=80)

    assert victims
    assert status["status"] == "completed"
    assert status["annotation"] == "A dog runs on a beach."
    assert len(gemini.requests) == 2


def test_every_killed_process_is_restarted(killed_system):
    system = killed_system
    for words in (("gunicorn",), ("aws_server",), ("awslambdaric",)):
        found = system.processes_of(*words)
        assert found, words
        for process in found:
            process.kill()

    def upload_succeeds():
        try:
            (result,) = system.upload(("again.jpg", make_jpeg((64, 64))))
            return result["outcome"] == "accepted" and system.finished(result["id"])
        except (requests.RequestException, ValueError):
            return False

    wait_until(lambda: bool(upload_succeeds()), seconds=60)


def test_images_survive_ctrl_c_and_a_restart(killed_system, gemini):
    system = killed_system
    (result,) = system.upload(("kept.jpg", make_jpeg(SIZE)))
    before = system.finished(result["id"])

    assert system.signal(signal.SIGINT) == 0
    assert system.orphans() == []
    system.start()

    after = system.status(result["id"])
    assert after["annotation"] == before["annotation"]
    assert_upright(thumbnail_of(after))
    assert len(gemini.requests) == 1


def test_an_acknowledged_upload_is_completed_after_a_kill_of_the_whole_system(
    killed_system, gemini
):
    gemini.hold()
    system = killed_system
    (result,) = system.upload(("survivor.jpg", make_jpeg((73, 48))))
    wait_until(lambda: len(gemini.requests) == 1, seconds=40)

    assert system.signal(signal.SIGKILL) == -signal.SIGKILL
    assert system.orphans() == []
    gemini.release()
    system.start()

    status = system.finished(result["id"], seconds=90)
    assert status["thumbnail_status"] == "completed"
    assert status["annotation_status"] == "completed", status["annotation_error"]


def test_no_secret_is_printed_or_logged(scripted_system, gemini):
    system = scripted_system
    (result,) = system.upload(("secret.jpg", make_jpeg((66, 48))))
    system.finished(result["id"])
    secret = (system.state_dir / "flask_secret_key").read_text().strip()

    output = system.output + "".join(
        path.read_text(errors="replace") for path in system.state_dir.glob("logs/*")
    )

    assert secret not in output
    assert "the-key" not in output
    assert "X-Amz-Signature" not in output
    assert (system.state_dir / "flask_secret_key").stat().st_mode & 0o077 == 0


def test_a_photo_of_twelve_megapixels_is_completed(system):
    buffer = io.BytesIO()
    make_photo((4000, 3000)).save(buffer, "JPEG", quality=90)
    (result,) = system.upload(("phone.jpg", buffer.getvalue()))

    status = system.finished(result["id"])

    assert status["status"] == "completed"
    assert thumbnail_of(status).size == (400, 400)
