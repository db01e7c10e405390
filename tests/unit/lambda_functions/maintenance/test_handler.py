import io
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from sqlalchemy import inspect, text

from database import caption_service, object_keys
from database.bin import move_to_bin
from database.deletion import mark_deleting
from database.export_progress import add_export
from database.jobs import claim_job, record_failure, record_postponement
from database.listing import ImageFilter, list_images
from database.models import Job, Status
from database.session import session_scope
from lambda_functions.errors import TransientError
from lambda_functions.maintenance import custom_resource, handler
from lambda_functions.maintenance.handler import SweepFunction


class FakeEventBus:
    def __init__(self):
        self.published = []

    def publish(self, jobs):
        self.published += jobs
        return len(jobs)


class FakeBucket:
    def __init__(self):
        self.deleted, self.is_unavailable = [], False

    def delete(self, key):
        if self.is_unavailable:
            raise TransientError("The image storage did not answer.", code="storage_unavailable")
        self.deleted.append(key)


@pytest.fixture
def sweep(session_factory):
    settings = SimpleNamespace(
        processing_deadline_seconds=900,
        gemini_requests_per_minute=0,
        s3_image_bucket="originals-bucket",
    )
    return SweepFunction(settings, session_factory, FakeEventBus(), FakeBucket(), FakeBucket())


def set_age(session_factory, key, column, seconds):
    with session_scope(session_factory) as session:
        session.execute(
            text(
                f"UPDATE images SET {column} = strftime('%Y-%m-%d %H:%M:%f000', 'now',"
                " :offset) WHERE original_key = :key"
            ),
            {"offset": f"-{seconds} seconds", "key": key},
        )


def test_an_overdue_job_fails_as_timed_out(sweep, add_image, read_image, session_factory):
    image_id, key = add_image()
    set_age(session_factory, key, "annotation_requested_at", 901)

    counts = sweep.sweep()

    image = read_image(image_id)
    assert counts == {"timed_out": 1, "requested_again": 0, "deleted": 0}
    assert (image.annotation_status, image.annotation_error_code) == (Status.FAILED, "timed_out")
    assert image.thumbnail_status is Status.PENDING


def test_a_sweep_writes_missing_words_of_images(sweep, add_image, session_factory):
    image_id, _key = add_image()
    with session_scope(session_factory) as session:
        session.execute(text("DELETE FROM image_words"))

    sweep.sweep()

    with session_scope(session_factory) as session:
        found = list_images(session, limit=9, where=ImageFilter(text="photo jpg"))
    assert [image.id for image in found] == [image_id]


def test_each_overdue_job_is_logged_with_image_and_reason(
    sweep, add_image, session_factory, mocker
):
    image_id, key = add_image()
    set_age(session_factory, key, "annotation_requested_at", 901)
    warning = mocker.spy(handler.logger, "warning")

    sweep.sweep()

    (call,) = warning.call_args_list
    facts = call.kwargs["extra"]
    assert (facts["image_id"], facts["object_key"], facts["job"]) == (image_id, key, "annotation")
    assert (facts["code"], facts["reason"][-1]) == ("timed_out", ".")


def test_both_jobs_of_an_image_whose_events_were_lost_are_requested_again(
    sweep, add_image, read_image, session_factory
):
    image_id, key = add_image()
    add_image()
    set_age(session_factory, key, "updated_at", 301)

    counts = sweep.sweep()

    assert counts == {"timed_out": 0, "requested_again": 2, "deleted": 0}
    assert sweep.event_bus.published == [(Job.ANNOTATION, key), (Job.THUMBNAIL, key)]
    assert read_image(image_id).status is Status.PENDING
    assert sweep.sweep()["requested_again"] == 0


def claim_annotation(session_factory, key, seconds):
    """Leave a claim that is not released, as after a postponement or a killed function."""
    with session_scope(session_factory) as session:
        claim_job(session, Job.ANNOTATION, key, lease_seconds=seconds, max_attempts=3)


def test_a_job_is_requested_again_when_its_postponement_or_lease_has_ended(
    sweep, add_image, read_image, session_factory
):
    image_id, key = add_image()
    _, later_key = add_image()
    claim_annotation(session_factory, key, seconds=0)
    claim_annotation(session_factory, later_key, seconds=60)
    time.sleep(0.02)

    first, second = sweep.sweep(), sweep.sweep()

    assert [first["requested_again"], second["requested_again"]] == [1, 0]
    assert sweep.event_bus.published == [(Job.ANNOTATION, key)]
    assert read_image(image_id).annotation_claimed_until is None


def test_a_job_postponed_past_its_deadline_fails_as_timed_out(
    sweep, add_image, read_image, session_factory
):
    image_id, key = add_image()
    claim_annotation(session_factory, key, seconds=0)
    set_age(session_factory, key, "annotation_requested_at", 901)
    time.sleep(0.02)

    assert sweep.sweep()["timed_out"] == 1
    assert read_image(image_id).annotation_error_code == "timed_out"


def test_a_redrive_requests_failed_jobs_again(
    lambda_context, mocker, sweep, add_image, read_image, session_factory
):
    mocker.patch.object(handler, "_sweep_function", return_value=sweep)
    image_id, key = add_image()
    with session_scope(session_factory) as session:
        claim = claim_job(session, Job.ANNOTATION, key, lease_seconds=60, max_attempts=3)
        record_failure(session, claim, code="configuration", message="The key was refused.")
    event = {"detail-type": "Redrive Requested", "detail": {"environment": "dev"}}

    counts = [handler.sweep(event, lambda_context)["requested_again"] for _ in range(2)]

    assert counts == [1, 0]
    assert sweep.event_bus.published == [(Job.ANNOTATION, key)]
    assert read_image(image_id).annotation_status is Status.PENDING


def postpone(session_factory, key, seconds=0):
    with session_scope(session_factory) as session:
        claim = claim_job(session, Job.ANNOTATION, key, lease_seconds=60, max_attempts=3)
        record_postponement(session, claim, code="model_busy", message="Busy.", seconds=seconds)


def test_a_job_that_waits_for_the_captioning_service_is_requested_again_after_its_deadline(
    sweep, add_image, read_image, session_factory
):
    image_id, key = add_image()
    with session_scope(session_factory) as session:
        caption_service.record_refusal(session, reason="Busy.", pause_seconds=None)
    postpone(session_factory, key)
    set_age(session_factory, key, "annotation_requested_at", 7200)
    time.sleep(0.02)

    counts = sweep.sweep()

    assert (counts["timed_out"], counts["requested_again"]) == (0, 1)
    assert read_image(image_id).annotation_status is Status.PENDING


def test_no_job_that_waits_is_requested_during_a_pause(sweep, add_image, session_factory):
    _, key = add_image()
    with session_scope(session_factory) as session:
        caption_service.record_refusal(session, reason="Busy.", pause_seconds=60)
    postpone(session_factory, key)
    time.sleep(0.02)

    assert sweep.sweep()["requested_again"] == 0


def test_the_sweep_logs_while_captions_wait(
    sweep, add_image, session_factory, lambda_context, mocker
):
    mocker.patch.object(handler, "_sweep_function", return_value=sweep)
    stream = io.StringIO()
    mocker.patch.object(handler.logger.registered_handler, "stream", stream)
    _, key = add_image()

    handler.sweep({}, lambda_context)
    with session_scope(session_factory) as session:
        caption_service.record_refusal(session, reason="Busy.", pause_seconds=None)
    postpone(session_factory, key, seconds=60)
    handler.sweep({}, lambda_context)
    with session_scope(session_factory) as session:
        caption_service.record_refusal(session, reason="Busy.", pause_seconds=60)
    handler.sweep({}, lambda_context)

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    first, second, third = [line.get("captions") for line in lines if line["message"] == "swept"]
    assert (first, second) == (None, "1 captions wait. Busy.")
    assert re.fullmatch(r"Captions wait until \d\d:\d\d UTC\. Busy\.", third)


def test_the_scheduled_event_runs_the_sweep(lambda_context, mocker, sweep):
    mocker.patch.object(handler, "_sweep_function", return_value=sweep)

    assert handler.sweep({}, lambda_context) == {
        "timed_out": 0,
        "requested_again": 0,
        "deleted": 0,
    }


@pytest.fixture
def interrupt_deletion(add_image, session_factory):
    """Return a function that adds an image with an interrupted deletion and returns its key."""

    def interrupt():
        image_id, key = add_image()
        with session_scope(session_factory) as session:
            mark_deleting(session, image_id)
        set_age(session_factory, key, "deleting_at", 181)
        return key

    return interrupt


def count_rows(session_factory):
    with session_scope(session_factory) as session:
        return session.scalar(text("SELECT COUNT(*) FROM images"))


def test_an_interrupted_deletion_is_finished(sweep, interrupt_deletion, session_factory):
    key = interrupt_deletion()

    counts = sweep.sweep()

    assert counts == {"timed_out": 0, "requested_again": 0, "deleted": 1}
    assert sweep.originals.deleted == [key]
    assert sweep.thumbnails.deleted == [
        object_keys.thumbnail_key(key),
        object_keys.preview_key(key),
        object_keys.small_preview_key(key),
    ]
    assert count_rows(session_factory) == 0


def test_the_progress_of_old_exports_is_deleted(sweep, session_factory):
    with session_scope(session_factory) as session:
        for name in ("old", "new"):
            add_export(session, "me", name, images=1)
        session.execute(
            text("UPDATE exports SET changed_at = '2026-01-01' WHERE export_id = 'old'")
        )

    sweep.sweep()

    with session_scope(session_factory) as session:
        assert session.scalars(text("SELECT export_id FROM exports")).all() == ["new"]


def test_a_row_stays_until_all_objects_can_be_deleted(sweep, interrupt_deletion, session_factory):
    interrupt_deletion()
    interrupt_deletion()
    sweep.thumbnails.is_unavailable = True

    assert sweep.sweep()["deleted"] == 0
    assert (len(sweep.originals.deleted), count_rows(session_factory)) == (1, 2)

    sweep.thumbnails.is_unavailable = False
    assert sweep.sweep()["deleted"] == 2


def test_an_image_in_the_bin_is_deleted_with_its_objects_when_its_time_is_over(
    sweep, add_image, session_factory
):
    image_id, key = add_image()
    with session_scope(session_factory) as session:
        move_to_bin(session, [image_id], days=1)
    assert sweep.sweep() == {"timed_out": 0, "requested_again": 0, "deleted": 0}
    assert sweep.originals.deleted == []

    set_age(session_factory, key, "deleting_at", 181)

    assert sweep.sweep()["deleted"] == 1
    assert sweep.originals.deleted == [key]
    assert count_rows(session_factory) == 0


def test_a_recent_deletion_is_left_to_the_process_that_began_it(sweep, add_image, session_factory):
    image_id, _key = add_image()
    with session_scope(session_factory) as session:
        mark_deleting(session, image_id)

    assert sweep.sweep()["deleted"] == 0
    assert sweep.originals.deleted == []


def test_an_event_with_idle_seconds_0_requests_every_waiting_job_again(
    sweep, add_image, lambda_context, mocker
):
    add_image()
    time.sleep(0.01)
    mocker.patch.object(handler, "_sweep_function", return_value=sweep)

    assert handler.sweep({"idle_seconds": 0}, lambda_context)["requested_again"] == 2


def test_migrate_creates_the_schema_in_an_empty_database(
    sqlite_url, make_engine, monkeypatch, lambda_context
):
    monkeypatch.setenv("DATABASE_URL", sqlite_url)

    outcome = handler.migrate({"action": "migrate"}, lambda_context)

    assert outcome == {"outcome": "migrated"}
    assert "images" in inspect(make_engine(sqlite_url)).get_table_names()


@pytest.fixture
def cloudformation(mocker):
    """Run a server for the presigned URL that takes CloudFormation's responses."""
    mocker.patch.object(custom_resource, "RETRY_PAUSES_SECONDS", (0, 0, 0))
    server = ThreadingHTTPServer(("127.0.0.1", 0), ResponseHandler)
    server.responses, server.statuses = [], []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class ResponseHandler(BaseHTTPRequestHandler):
    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == 200:
            self.server.responses.append(
                (self.path, self.headers["Content-Type"], json.loads(body))
            )
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def request_of(cloudformation, request_type, **fields):
    return {
        "RequestType": request_type,
        "ResponseURL": f"http://127.0.0.1:{cloudformation.server_port}/response?X-Amz-Signature=abc",
        "StackId": "arn:aws:cloudformation:us-east-1:111122223333:stack/dev-03/1",
        "RequestId": "request-1",
        "LogicalResourceId": "Migration",
        "ResourceType": "Custom::Migration",
        "ResourceProperties": {"ImageUri": "…@sha256:…"},
        **fields,
    }


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_a_request_from_cloudformation_migrates_and_reports_success(
    request_type, cloudformation, sqlite_url, make_engine, monkeypatch, lambda_context
):
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    request = request_of(cloudformation, request_type)

    handler.migrate(request, lambda_context)

    assert "images" in inspect(make_engine(sqlite_url)).get_table_names()
    [(path, content_type, response)] = cloudformation.responses
    assert path == "/response?X-Amz-Signature=abc"
    assert content_type == ""
    assert response == {
        "Status": "SUCCESS",
        "Reason": "",
        "PhysicalResourceId": "database-schema",
        "StackId": request["StackId"],
        "RequestId": "request-1",
        "LogicalResourceId": "Migration",
    }


def test_a_failed_migration_is_reported_to_cloudformation_with_its_reason(
    cloudformation, unused_tcp_port, monkeypatch, lambda_context
):
    monkeypatch.setenv("DATABASE_URL", f"mysql://me:secret@127.0.0.1:{unused_tcp_port}/images")

    outcome = handler.migrate(request_of(cloudformation, "Update"), lambda_context)

    [(_path, _type, response)] = cloudformation.responses
    assert outcome == {"outcome": "failed"}
    assert response["Status"] == "FAILED"
    assert "could not be migrated. OperationalError" in response["Reason"]
    assert "Can't connect" in response["Reason"]
    assert "secret" not in response["Reason"]


def test_missing_settings_are_reported_to_cloudformation(
    cloudformation, monkeypatch, lambda_context
):
    monkeypatch.delenv("DATABASE_URL", raising=False)

    handler.migrate(request_of(cloudformation, "Create"), lambda_context)

    [(_path, _type, response)] = cloudformation.responses
    assert response["Status"] == "FAILED"
    assert "DATABASE_URL" in response["Reason"]


def test_a_long_reason_is_cut_to_the_limit_of_cloudformation(cloudformation):
    custom_resource.fail(request_of(cloudformation, "Create"), "🖼" * 5000)

    [(_path, _type, response)] = cloudformation.responses
    assert response["Reason"] == "🖼" * custom_resource.MAX_REASON_CHARACTERS
    assert len(json.dumps(response, ensure_ascii=False).encode()) <= 4096


def test_deleting_the_stack_needs_no_database(cloudformation, monkeypatch, lambda_context):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    request = request_of(cloudformation, "Delete", PhysicalResourceId="made-long-ago")

    handler.migrate(request, lambda_context)

    [(_path, _type, response)] = cloudformation.responses
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", "made-long-ago")


def test_a_response_that_fails_to_arrive_is_sent_again(cloudformation, lambda_context):
    cloudformation.statuses = [503, 500]

    handler.migrate(request_of(cloudformation, "Delete"), lambda_context)

    assert len(cloudformation.responses) == 1


def test_a_response_that_never_arrives_raises_so_that_lambda_retries(
    cloudformation, lambda_context
):
    cloudformation.statuses = [403] * 4

    with pytest.raises(OSError, match="403"):
        handler.migrate(request_of(cloudformation, "Delete"), lambda_context)

    assert cloudformation.responses == []
