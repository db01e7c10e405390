import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from sqlalchemy import inspect, text

from database import object_keys
from database.deletion import mark_deleting
from database.events import OriginalReady
from database.jobs import claim_job
from database.models import Job, Status
from database.session import session_scope
from lambda_functions.errors import TransientError
from lambda_functions.maintenance import custom_resource, handler
from lambda_functions.maintenance.handler import SweepFunction


class FakeEventBus:
    def __init__(self):
        self.requested = []

    def request(self, wanted):
        requests = list(wanted)
        self.requested += requests
        return len(requests)


class FakeBucket:
    def __init__(self):
        self.deleted, self.is_away = [], False

    def delete(self, key):
        if self.is_away:
            raise TransientError("The image storage did not answer.", code="storage_unavailable")
        self.deleted.append(key)


@pytest.fixture
def sweep(session_factory):
    settings = SimpleNamespace(processing_deadline_seconds=900, s3_image_bucket="originals-bucket")
    return SweepFunction(settings, session_factory, FakeEventBus(), FakeBucket(), FakeBucket())


def age(session_factory, key, column, seconds):
    with session_scope(session_factory) as session:
        session.execute(
            text(
                f"UPDATE images SET {column} = strftime('%Y-%m-%d %H:%M:%f000', 'now',"
                " :offset) WHERE original_key = :key"
            ),
            {"offset": f"-{seconds} seconds", "key": key},
        )


def test_what_is_past_its_deadline_is_failed(sweep, add_image, read_image, session_factory):
    image_id, key = add_image()
    age(session_factory, key, "annotation_requested_at", 901)

    counts = sweep.sweep()

    image = read_image(image_id)
    assert counts == {"timed_out": 1, "requested_again": 0, "deleted": 0}
    assert (image.annotation_status, image.annotation_error_code) == (Status.FAILED, "timed_out")
    assert image.thumbnail_status is Status.PENDING


def test_the_log_names_each_image_that_is_given_up_and_why(
    sweep, add_image, session_factory, mocker
):
    image_id, key = add_image()
    age(session_factory, key, "annotation_requested_at", 901)
    told = mocker.spy(handler.logger, "warning")

    sweep.sweep()

    (call,) = told.call_args_list
    facts = call.kwargs["extra"]
    assert (facts["image_id"], facts["object_key"], facts["job"]) == (image_id, key, "annotation")
    assert (facts["code"], facts["reason"][-1]) == ("timed_out", ".")


def test_both_halves_that_lost_their_events_are_asked_for_again(
    sweep, add_image, read_image, session_factory
):
    image_id, key = add_image()
    add_image()
    age(session_factory, key, "updated_at", 301)

    counts = sweep.sweep()

    original = OriginalReady("originals-bucket", key)
    assert counts == {"timed_out": 0, "requested_again": 2, "deleted": 0}
    assert sweep.event_bus.requested == [(Job.ANNOTATION, original), (Job.THUMBNAIL, original)]
    assert read_image(image_id).status is Status.PENDING
    assert sweep.sweep()["requested_again"] == 0


def held_until(session_factory, key, seconds):
    """Leaves a half as a function does that was told to come back later, or died."""
    with session_scope(session_factory) as session:
        claim_job(session, Job.ANNOTATION, key, lease_seconds=seconds, max_attempts=3)


def test_what_was_put_off_or_whose_function_died_is_asked_for_once_its_time_has_come(
    sweep, add_image, read_image, session_factory
):
    image_id, key = add_image()
    _, later_key = add_image()
    held_until(session_factory, key, seconds=0)
    held_until(session_factory, later_key, seconds=60)
    time.sleep(0.02)

    first, second = sweep.sweep(), sweep.sweep()

    assert [first["requested_again"], second["requested_again"]] == [1, 0]
    assert sweep.event_bus.requested == [(Job.ANNOTATION, OriginalReady("originals-bucket", key))]
    assert read_image(image_id).annotation_claimed_until is None


def test_what_was_put_off_past_its_deadline_is_failed(
    sweep, add_image, read_image, session_factory
):
    image_id, key = add_image()
    held_until(session_factory, key, seconds=0)
    age(session_factory, key, "annotation_requested_at", 901)
    time.sleep(0.02)

    assert sweep.sweep()["timed_out"] == 1
    assert read_image(image_id).annotation_error_code == "timed_out"


def test_the_schedule_sweeps(lambda_context, mocker, sweep):
    mocker.patch.object(handler, "_sweep_function", return_value=sweep)

    assert handler.sweep({}, lambda_context) == {
        "timed_out": 0,
        "requested_again": 0,
        "deleted": 0,
    }


@pytest.fixture
def delete_half(add_image, session_factory):
    """Adds an image that its owner deleted a while ago, and that is still there."""

    def delete():
        image_id, key = add_image()
        with session_scope(session_factory) as session:
            mark_deleting(session, image_id)
        age(session_factory, key, "deleting_at", 181)
        return key

    return delete


def count_rows(session_factory):
    with session_scope(session_factory) as session:
        return session.scalar(text("SELECT COUNT(*) FROM images"))


def test_a_delete_that_stopped_half_way_is_finished(sweep, delete_half, session_factory):
    key = delete_half()

    counts = sweep.sweep()

    assert counts == {"timed_out": 0, "requested_again": 0, "deleted": 1}
    assert sweep.originals.deleted == [key]
    assert sweep.thumbnails.deleted == [object_keys.thumbnail_key(key)]
    assert count_rows(session_factory) == 0


def test_while_a_bucket_is_away_the_row_stays_to_be_finished_later(
    sweep, delete_half, session_factory
):
    delete_half()
    delete_half()
    sweep.thumbnails.is_away = True

    assert sweep.sweep()["deleted"] == 0
    assert (len(sweep.originals.deleted), count_rows(session_factory)) == (1, 2)

    sweep.thumbnails.is_away = False
    assert sweep.sweep()["deleted"] == 2


def test_what_was_just_deleted_is_left_to_whoever_still_works_on_it(
    sweep, add_image, session_factory
):
    image_id, _key = add_image()
    with session_scope(session_factory) as session:
        mark_deleting(session, image_id)

    assert sweep.sweep()["deleted"] == 0
    assert sweep.originals.deleted == []


def test_all_that_waits_is_asked_for_again_when_its_events_are_known_to_be_lost(
    sweep, add_image, lambda_context, mocker
):
    add_image()
    time.sleep(0.01)
    mocker.patch.object(handler, "_sweep_function", return_value=sweep)

    assert handler.sweep({"idle_seconds": 0}, lambda_context)["requested_again"] == 2


def test_migrate_brings_an_empty_database_up_to_date(
    sqlite_url, make_engine, monkeypatch, lambda_context
):
    monkeypatch.setenv("DATABASE_URL", sqlite_url)

    outcome = handler.migrate({"action": "migrate"}, lambda_context)

    assert outcome == {"outcome": "migrated"}
    assert "images" in inspect(make_engine(sqlite_url)).get_table_names()


@pytest.fixture
def cloudformation(mocker):
    """Takes answers over HTTP, as the address does that CloudFormation signs."""
    mocker.patch.object(custom_resource, "ANSWER_PAUSES_SECONDS", (0, 0, 0))
    server = ThreadingHTTPServer(("127.0.0.1", 0), AnswerHandler)
    server.answers, server.statuses = [], []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class AnswerHandler(BaseHTTPRequestHandler):
    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == 200:
            self.server.answers.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def request_of(cloudformation, request_type, **fields):
    return {
        "RequestType": request_type,
        "ResponseURL": f"http://127.0.0.1:{cloudformation.server_port}/answer?X-Amz-Signature=abc",
        "StackId": "arn:aws:cloudformation:us-east-1:111122223333:stack/dev-03/1",
        "RequestId": "request-1",
        "LogicalResourceId": "Migration",
        "ResourceType": "Custom::Migration",
        "ResourceProperties": {"ImageUri": "…@sha256:…"},
        **fields,
    }


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_cloudformation_has_the_database_migrated_and_is_told(
    request_type, cloudformation, sqlite_url, make_engine, monkeypatch, lambda_context
):
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    request = request_of(cloudformation, request_type)

    handler.migrate(request, lambda_context)

    assert "images" in inspect(make_engine(sqlite_url)).get_table_names()
    [(path, content_type, answer)] = cloudformation.answers
    assert path == "/answer?X-Amz-Signature=abc"
    assert content_type == ""
    assert answer == {
        "Status": "SUCCESS",
        "Reason": "",
        "PhysicalResourceId": "database-schema",
        "StackId": request["StackId"],
        "RequestId": "request-1",
        "LogicalResourceId": "Migration",
    }


def test_cloudformation_is_told_why_a_migration_failed(
    cloudformation, unused_tcp_port, monkeypatch, lambda_context
):
    monkeypatch.setenv("DATABASE_URL", f"mysql://me:secret@127.0.0.1:{unused_tcp_port}/images")

    outcome = handler.migrate(request_of(cloudformation, "Update"), lambda_context)

    [(_path, _type, answer)] = cloudformation.answers
    assert outcome == {"outcome": "failed"}
    assert answer["Status"] == "FAILED"
    assert "could not be migrated. OperationalError" in answer["Reason"]
    assert "Can't connect" in answer["Reason"]
    assert "secret" not in answer["Reason"]


def test_settings_that_name_no_database_are_a_reason_too(
    cloudformation, monkeypatch, lambda_context
):
    monkeypatch.delenv("DATABASE_URL", raising=False)

    handler.migrate(request_of(cloudformation, "Create"), lambda_context)

    [(_path, _type, answer)] = cloudformation.answers
    assert answer["Status"] == "FAILED"
    assert "DATABASE_URL" in answer["Reason"]


def test_a_long_reason_is_cut_to_what_cloudformation_takes(cloudformation):
    custom_resource.fail(request_of(cloudformation, "Create"), "🖼" * 5000)

    [(_path, _type, answer)] = cloudformation.answers
    assert answer["Reason"] == "🖼" * custom_resource.MAX_REASON_CHARACTERS
    assert len(json.dumps(answer, ensure_ascii=False).encode()) <= 4096


def test_deleting_the_stack_leaves_the_database_alone_and_needs_none(
    cloudformation, monkeypatch, lambda_context
):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    request = request_of(cloudformation, "Delete", PhysicalResourceId="made-long-ago")

    handler.migrate(request, lambda_context)

    [(_path, _type, answer)] = cloudformation.answers
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", "made-long-ago")


def test_an_answer_that_does_not_arrive_is_sent_again(cloudformation, lambda_context):
    cloudformation.statuses = [503, 500]

    handler.migrate(request_of(cloudformation, "Delete"), lambda_context)

    assert len(cloudformation.answers) == 1


def test_an_answer_that_never_arrives_is_an_error_so_that_lambda_runs_the_function_again(
    cloudformation, lambda_context
):
    cloudformation.statuses = [403] * 4

    with pytest.raises(OSError, match="403"):
        handler.migrate(request_of(cloudformation, "Delete"), lambda_context)

    assert cloudformation.answers == []
