"""Uploads: validation, the order of row and object, and the results of failures."""

import contextlib
import hashlib
import sqlite3
import time
import unicodedata

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from database.deletion import mark_deleting
from database.images import add_image
from database.jobs import claim_job, record_upload_failed
from database.models import Image, Job, Status
from database.session import session_scope
from tests.support import factories
from tests.support.fakes import StoredObject
from web_app.errors import StorageUnavailableError
from web_app.services.uploads import (
    MAX_FILENAME_CHARACTERS,
    SPOOL_BYTES,
    BoundedFile,
    Upload,
    UploadService,
    clean_filename,
)

JPEG = factories.make_jpeg()


def bounded(content, max_bytes=10_000_000):
    file = BoundedFile(max_bytes)
    for start in range(0, len(content), 65536):
        file.write(content[start : start + 65536])
    return file


@pytest.fixture
def upload():
    """Return a function that makes uploads; their files are closed after the test."""
    with contextlib.ExitStack() as files:

        def make(content=JPEG, filename="beach.jpg"):
            return Upload(filename, files.enter_context(bounded(content)))

        yield make


def distinct_jpeg(number):
    return factories.make_jpeg((16 + number, 16))


@pytest.fixture
def upload_service(session_factory, object_store):
    return UploadService(
        session_factory,
        object_store,
        max_upload_bytes=10_000_000,
        max_image_pixels=1_000_000,
        key_secret="k",
    )


class BreakableSessionFactory:
    """Real sessions until `is_away` is set. Then every transaction fails to connect."""

    def __init__(self, session_factory):
        self._session_factory = session_factory
        self.is_away = False

    def begin(self):
        if self.is_away:
            return self._fail()
        return self._session_factory.begin()

    @contextlib.contextmanager
    def _fail(self):
        raise OperationalError("connect", {}, sqlite3.OperationalError("database is locked"))
        yield


# Files while they are received


@pytest.mark.parametrize("size", [0, 1, SPOOL_BYTES, SPOOL_BYTES + 1, 3 * SPOOL_BYTES])
def test_a_file_is_measured_and_hashed_while_it_is_written(size):
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    with bounded(content) as file:
        file.seek(0)
        kept = file.read()

    assert kept == content
    assert (file.size_bytes, file.is_too_large) == (size, False)
    assert file.sha256 == hashlib.sha256(content).digest()


def test_a_file_over_the_limit_is_measured_to_its_end_but_not_kept():
    with bounded(bytes(1_000_000), max_bytes=100_000) as file:
        file.seek(0)
        kept = file.read()

    assert file.is_too_large
    assert file.size_bytes == 1_000_000
    assert len(kept) <= 100_000


def test_a_file_of_exactly_the_limit_is_not_too_large():
    with bounded(bytes(100_000), max_bytes=100_000) as file:
        assert not file.is_too_large


# File names


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("beach.jpg", "beach.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Pictures\\beach.jpg", "beach.jpg"),
        ("/", "unnamed"),
        ("", "unnamed"),
        ("  ", "unnamed"),
        ("a\r\nSet-Cookie: x=y.jpg", "aSet-Cookie: x=y.jpg"),
        ("a\u2028b\u2029c\x85d.jpg", "abcd.jpg"),
        ("a\0b.jpg", "ab.jpg"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("\u2066a\u2069\ufeff.jpg", "a.jpg"),
        ("broken \ud83d.jpg", "broken .jpg"),
        ("<script>alert('1')<\u2215script>.jpg", "<script>alert('1')<\u2215script>.jpg"),
        ("quotes \" ' `.jpg", "quotes \" ' `.jpg"),
        ("👩\u200d🚀 ❤\ufe0f.jpg", "👩\u200d🚀 ❤\ufe0f.jpg"),
        ("cafe\u0301.jpg", "caf\u00e9.jpg"),
        ("Фото на пляже.jpg", "Фото на пляже.jpg"),
    ],
)
def test_a_file_name_becomes_harmless_text(sent, kept):
    assert clean_filename(sent) == kept


def test_a_long_file_name_is_cut_and_keeps_its_extension():
    name = clean_filename("🏖" * 300 + ".jpeg")

    assert len(name) == MAX_FILENAME_CHARACTERS
    assert name.endswith("🏖.jpeg")


def test_a_very_long_extension_is_cut():
    name = clean_filename("a." + "b" * 300)

    assert name == "a." + "b" * 253


@given(st.text(st.characters(codec=None), max_size=400))
def test_every_file_name_becomes_short_text_without_control_characters(sent):
    name = clean_filename(sent)

    assert 0 < len(name) <= MAX_FILENAME_CHARACTERS
    name.encode()
    assert "/" not in name
    assert not {unicodedata.category(character) for character in name} & {"Cc", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param("a" * 254 + " " + "b" * 100, id="cut at a space"),
        pytest.param("e\u200b\u0301.jpg", id="a letter kept from its accent"),
    ],
)
def test_cleaning_a_clean_file_name_changes_nothing(sent):
    name = clean_filename(sent)

    assert clean_filename(name) == name


# Accepting


def test_an_accepted_image_has_a_pending_row_and_an_object_with_its_bytes(
    upload_service, object_store, read_rows, upload
):
    [result] = upload_service.accept_all([upload(filename="My beach 🏖.JPEG")], owner_id="me")

    [row] = read_rows()
    assert (result.outcome, result.image_id, result.error) == ("accepted", row.id, None)
    assert (row.annotation_status, row.thumbnail_status) == (Status.PENDING, Status.PENDING)
    assert (row.filename, row.owner_id) == ("My beach 🏖.JPEG", "me")
    assert (row.width, row.height, row.size_bytes) == (64, 48, len(JPEG))
    assert row.sha256 == hashlib.sha256(JPEG).hexdigest()
    assert object_store.objects[row.original_key].body == JPEG
    assert object_store.objects[row.original_key].content_type == "image/jpeg"


@pytest.mark.parametrize("format_name", factories.FORMAT_NAMES)
def test_every_format_is_stored_with_its_own_extension_and_content_type(
    upload_service, object_store, read_rows, format_name, upload
):
    # The file name has another extension, to show that only the bytes decide.
    [result] = upload_service.accept_all(
        [upload(factories.make_encoded(format_name), "x.exe")], owner_id="me"
    )

    [row] = read_rows()
    expected = {"JPEG": "jpg"}.get(format_name, format_name.lower())
    assert result.outcome == "accepted"
    assert row.original_key.endswith(f".{expected}")
    assert object_store.objects[row.original_key].content_type == f"image/{format_name.lower()}"


def test_the_row_has_the_size_of_a_rotated_photo_as_it_is_shown(upload_service, read_rows, upload):
    upload_service.accept_all([upload(factories.make_jpeg((30, 40), orientation=6))], owner_id="me")

    assert [(row.width, row.height) for row in read_rows()] == [(30, 40)]


def test_the_row_is_committed_before_the_object_is_put(
    upload_service, object_store, read_rows, upload
):
    seen = []
    object_store.before_put = lambda key, body: seen.extend(
        (row.original_key == key, row.status) for row in read_rows()
    )

    upload_service.accept_all([upload()], owner_id="me")

    assert seen == [(True, Status.PENDING)]


def test_the_same_bytes_from_the_same_owner_are_a_duplicate_of_the_first_image(
    upload_service, object_store, upload
):
    [first] = upload_service.accept_all([upload(filename="a.jpg")], owner_id="me")

    [second] = upload_service.accept_all([upload(filename="b.jpg")], owner_id="me")

    assert (second.outcome, second.image_id) == ("duplicate", first.image_id)
    assert second.filename == "b.jpg"
    assert len(object_store.objects) == 1


def test_the_same_bytes_twice_in_one_upload_are_stored_once(upload_service, object_store, upload):
    first, second = upload_service.accept_all([upload(), upload()], owner_id="me")

    assert (first.outcome, second.outcome) == ("accepted", "duplicate")
    assert second.image_id == first.image_id
    assert len(object_store.objects) == 1


def test_the_same_bytes_from_another_owner_are_another_image(upload_service, object_store, upload):
    [mine] = upload_service.accept_all([upload()], owner_id="me")
    [theirs] = upload_service.accept_all([upload()], owner_id="them")

    assert theirs.outcome == "accepted"
    assert theirs.image_id != mine.image_id
    assert len(object_store.objects) == 2


# Refusing


def test_results_keep_the_order_of_the_files_and_a_rejected_file_does_not_affect_the_others(
    upload_service, upload
):
    results = upload_service.accept_all(
        [
            upload(distinct_jpeg(1), "1.jpg"),
            upload(b"plain text", "2.jpg"),
            upload(distinct_jpeg(3), "3.jpg"),
            upload(b"", "4.jpg"),
            upload(distinct_jpeg(1), "5.jpg"),
        ],
        owner_id="me",
    )

    assert [(result.filename, result.outcome) for result in results] == [
        ("1.jpg", "accepted"),
        ("2.jpg", "rejected"),
        ("3.jpg", "accepted"),
        ("4.jpg", "rejected"),
        ("5.jpg", "duplicate"),
    ]


def test_the_last_of_101_files_is_rejected_as_one_too_many(upload_service, read_rows, upload):
    results = upload_service.accept_all(
        (upload(distinct_jpeg(number)) for number in range(101)), owner_id="me"
    )

    assert [result.outcome for result in results] == ["accepted"] * 100 + ["rejected"]
    assert (results[-1].error.code, results[-1].error.http_status) == ("too_many_files", 413)
    assert len(read_rows()) == 100


def test_the_error_of_a_file_over_the_limit_states_the_limit(upload_service, upload):
    [result] = upload_service.accept_all([upload(JPEG + bytes(10_000_000))], owner_id="me")

    assert (result.error.code, result.error.http_status) == ("too_large", 413)
    assert "9.5 MB" in str(result.error)


def test_a_rejected_file_leaves_neither_a_row_nor_an_object(
    upload_service, object_store, read_rows, upload
):
    upload_service.accept_all([upload(b"text"), upload(factories.truncated(JPEG))], owner_id="me")

    assert read_rows() == []
    assert object_store.objects == {}


# Outages


def test_when_storing_fails_both_jobs_fail_and_the_result_is_rejected(
    upload_service, object_store, read_rows, upload
):
    object_store.is_away = True

    [result] = upload_service.accept_all([upload()], owner_id="me")

    [row] = read_rows()
    assert (result.outcome, result.error.code, result.error.http_status) == (
        "rejected",
        "upload_failed",
        502,
    )
    assert "Try again" in str(result.error)
    assert (row.annotation_status, row.thumbnail_status) == (Status.FAILED, Status.FAILED)
    assert (row.annotation_error_code, row.thumbnail_error_code) == ("upload_failed",) * 2
    assert row.annotation_error_message == row.thumbnail_error_message == str(result.error)


def test_an_image_that_could_not_be_stored_can_be_uploaded_again(
    upload_service, object_store, upload
):
    object_store.is_away = True
    upload_service.accept_all([upload()], owner_id="me")
    object_store.is_away = False

    [second] = upload_service.accept_all([upload()], owner_id="me")

    assert second.outcome == "accepted"


def test_after_two_server_errors_the_remaining_files_are_rejected_at_once(
    upload_service, object_store, read_rows, upload
):
    tried = []
    object_store.before_put = lambda key, body: tried.append(key)
    object_store.is_away = True

    results = upload_service.accept_all(
        [upload(distinct_jpeg(number)) for number in range(5)], owner_id="me"
    )

    assert [result.error.code for result in results] == ["upload_failed"] * 5
    assert len(tried) == len(read_rows()) == 2


def test_a_failed_put_rejects_only_its_own_file(upload_service, object_store, upload):
    contents = [distinct_jpeg(number) for number in range(3)]

    def refuse_the_second(key, body):
        if body == contents[1]:
            raise StorageUnavailableError

    object_store.before_put = refuse_the_second

    results = upload_service.accept_all([upload(content) for content in contents], owner_id="me")

    assert [result.outcome for result in results] == ["accepted", "rejected", "accepted"]
    assert {stored.body for stored in object_store.objects.values()} == {contents[0], contents[2]}


def test_without_a_database_nothing_is_stored_and_the_result_is_rejected(
    upload_service, object_store, unavailable_session_factory, upload
):
    upload_service = UploadService(
        unavailable_session_factory,
        object_store,
        max_upload_bytes=10_000_000,
        max_image_pixels=1_000_000,
        key_secret="k",
    )

    results = upload_service.accept_all([upload(), upload(b"text")], owner_id="me")

    assert [(result.error.code, result.error.http_status) for result in results] == [
        ("database_unavailable", 503),
        ("unsupported_format", 415),
    ]
    assert "Try again" in str(results[0].error)
    assert object_store.objects == {}


def test_an_outage_after_the_row_was_added_still_gives_a_rejected_result(
    session_factory, object_store, read_rows, upload
):
    failing_sessions = BreakableSessionFactory(session_factory)
    upload_service = UploadService(
        failing_sessions,
        object_store,
        max_upload_bytes=10_000_000,
        max_image_pixels=1_000_000,
        key_secret="k",
    )

    def make_all_unavailable(key, body):
        failing_sessions.is_away = object_store.is_away = True

    object_store.before_put = make_all_unavailable

    [result] = upload_service.accept_all([upload()], owner_id="me")

    assert result.error.code == "upload_failed"
    # The sweep marks the image as failed after its deadline.
    assert [row.status for row in read_rows()] == [Status.PENDING]


def test_a_second_upload_stores_the_original_of_one_that_was_cut_off(
    upload_service, object_store, read_rows, upload
):
    [first] = upload_service.accept_all([upload()], owner_id="me")
    object_store.objects.clear()  # As if the process had died between the row and the put.

    [second] = upload_service.accept_all([upload()], owner_id="me")

    [row] = read_rows()
    assert (second.outcome, second.image_id) == ("duplicate", first.image_id)
    assert object_store.objects[row.original_key].body == JPEG


def test_a_second_upload_is_accepted_when_the_first_failed_without_its_original(
    upload_service, object_store, session_factory, read_rows, upload
):
    upload_service.accept_all([upload()], owner_id="me")
    object_store.objects.clear()
    with session_scope(session_factory) as session:
        [row] = session.query(Image).all()
        row.annotation_status = row.thumbnail_status = Status.FAILED
        row.annotation_error_code = row.thumbnail_error_code = "timed_out"

    [second] = upload_service.accept_all([upload()], owner_id="me")

    assert second.outcome == "accepted"
    assert len({row.original_key for row in read_rows()}) == 2


@pytest.mark.parametrize("is_stored", [True, False])
def test_the_same_bytes_sent_twice_at_once_become_one_image(
    upload_service, object_store, read_rows, upload, is_stored
):
    """Send the second upload while the first has added its row, or stores its original."""
    results = []

    def send_again(key, body):
        object_store.before_put = lambda key, body: None
        if is_stored:
            object_store.objects[key] = StoredObject(body, "image/jpeg")
        results.extend(upload_service.accept_all([upload()], owner_id="me"))

    object_store.before_put = send_again

    results += upload_service.accept_all([upload()], owner_id="me")

    [row] = read_rows()
    assert {result.image_id for result in results} == {row.id}
    assert sorted(result.outcome for result in results) == ["accepted", "duplicate"]
    assert list(object_store.objects) == [row.original_key]


def test_an_upload_whose_put_fails_is_accepted_if_another_request_stored_the_same_bytes(
    upload_service, object_store, read_rows, upload
):
    results = []

    def let_another_upload_succeed(key, body):
        object_store.before_put = lambda key, body: None
        results.extend(upload_service.accept_all([upload()], owner_id="me"))
        raise StorageUnavailableError

    object_store.before_put = let_another_upload_succeed

    results += upload_service.accept_all([upload()], owner_id="me")

    [row] = read_rows()
    assert [result.outcome for result in results] == ["duplicate", "accepted"]
    assert row.status is Status.PENDING


def test_a_duplicate_is_not_acknowledged_if_the_first_upload_failed_in_the_meantime(
    upload_service, object_store, session_factory, read_rows, upload
):
    upload_service.accept_all([upload()], owner_id="me")
    object_store.objects.clear()

    def let_the_first_upload_fail(key, body):
        with session_scope(session_factory) as session:
            assert record_upload_failed(session, read_rows()[0].id, "It failed.")

    object_store.before_put = let_the_first_upload_fail

    [result] = upload_service.accept_all([upload()], owner_id="me")
    object_store.before_put = lambda key, body: None
    [again] = upload_service.accept_all([upload()], owner_id="me")

    assert result.error.code == "upload_failed"
    assert again.outcome == "accepted"


def test_two_requests_that_find_no_duplicate_add_one_row(
    upload_service, object_store, read_rows, upload, mocker
):
    """Let a second upload run between the first one's search and its insert."""
    results = []

    def send_again_and_add(session, new, options):
        mocker.stop(patched)
        results.extend(upload_service.accept_all([upload()], owner_id="me"))
        return add_image(session, new, options)

    patched = mocker.patch("web_app.services.uploads.add_image", side_effect=send_again_and_add)

    results += upload_service.accept_all([upload()], owner_id="me")

    [row] = read_rows()
    assert {result.image_id for result in results} == {row.id}
    assert [result.outcome for result in results] == ["accepted", "duplicate"]


def test_an_image_can_be_uploaded_again_after_it_was_deleted(
    upload_service, session_factory, read_rows, upload
):
    [first] = upload_service.accept_all([upload()], owner_id="me")
    with session_scope(session_factory) as session:
        mark_deleting(session, first.image_id)

    [second] = upload_service.accept_all([upload()], owner_id="me")

    assert second.outcome == "accepted"
    assert len({row.original_key for row in read_rows()}) == 2


@pytest.mark.parametrize("answers", [True, False])
def test_after_a_failed_put_a_claim_counts_only_if_s3_does_not_say_that_the_original_is_missing(
    upload_service, object_store, session_factory, read_rows, upload, mocker, answers
):
    def claim_before_the_response(key, body):
        # By the event of S3, or by an event of the sweep.
        with session_scope(session_factory) as session:
            claim_job(session, Job.ANNOTATION, key, lease_seconds=30, max_attempts=3)
        raise StorageUnavailableError

    object_store.before_put = claim_before_the_response
    if not answers:
        mocker.patch.object(object_store, "has_original", side_effect=StorageUnavailableError)

    [result] = upload_service.accept_all([upload()], owner_id="me")

    [row] = read_rows()
    assert result.outcome == ("rejected" if answers else "accepted")
    assert row.annotation_status is (Status.FAILED if answers else Status.PENDING)


def test_an_unexpected_error_rejects_only_its_own_file(upload_service, object_store, upload):
    def break_the_first(key, body):
        if body == distinct_jpeg(0):
            raise ZeroDivisionError

    object_store.before_put = break_the_first

    results = upload_service.accept_all([upload(distinct_jpeg(n)) for n in range(2)], owner_id="me")

    assert [result.outcome for result in results] == ["rejected", "accepted"]
    assert results[0].error.code == "upload_failed"


def test_no_bytes_of_a_file_over_the_limit_are_kept():
    with BoundedFile(10) as file:
        for _ in range(3):
            file.write(b"12345")

        assert file.is_too_large
        assert file.size_bytes == 15
        file.seek(0)
        assert file.read() == b""


def count_turns_during(work, monkeypatch):
    """Return how often another request of the same process could run during a function."""
    monkeypatch.setattr(time, "sleep", gevent.sleep)
    turns = 0
    working = gevent.spawn(work)
    while not working.ready():
        gevent.sleep(0)
        turns += 1
    working.get()
    return turns


def test_other_requests_run_while_a_file_is_received(monkeypatch):
    def receive():
        with BoundedFile(1000) as file:
            for _ in range(10):
                file.write(b"x" * 50)

    assert count_turns_during(receive, monkeypatch) >= 10


def test_other_requests_run_between_the_files_of_an_upload(upload_service, upload, monkeypatch):
    files = [upload(b"not an image", f"{number}.jpg") for number in range(10)]

    turns = count_turns_during(
        lambda: upload_service.accept_all(files, owner_id="owner"), monkeypatch
    )

    assert turns >= 10
