import sys
import time
from contextlib import suppress

import pytest
from sqlalchemy import text

from database.deletion import mark_deleting
from database.errors import (
    DatabaseBusyError,
    DatabaseUnavailableError,
    ImageNotFoundError,
    InvalidEventError,
)
from database.images import get_image
from database.jobs import claim_job, record_thumbnail
from database.models import Job, Status
from database.session import session_scope
from imaging.errors import InvalidImageError
from lambda_functions import errors
from lambda_functions.attempt import (
    FAILURE_METRICS,
    MAX_POSTPONE_SECONDS,
    JobContext,
    attempt,
    logger,
    metrics,
)
from lambda_functions.errors import (
    BudgetExhaustedError,
    BusyError,
    ConfigurationError,
    PermanentError,
    QuotaExhaustedError,
    TransientError,
)


@pytest.fixture(autouse=True)
def _clear_metrics():
    yield
    metrics.clear_metrics()


def make_event(key, **flags):
    return {
        "source": "image-annotation",
        "detail-type": "Thumbnail Requested",
        "detail": {"bucket": {"name": "bucket"}, "object": {"key": key}, **flags},
    }


@pytest.fixture
def run(session_factory):
    """Return a function that runs one attempt at a job. `run.claims` holds the claims worked on."""

    def run(
        key,
        work=None,
        job=Job.THUMBNAIL,
        max_attempts=3,
        remaining_ms=29_500,
        **flags,
    ):
        def complete(claim):
            run.claims.append(claim)
            if work is not None:
                work(claim)
            return "#010203"

        return attempt(
            JobContext(job, session_factory, lambda key: run.is_gone, max_attempts),
            make_event(key, **flags),
            work=complete,
            # The name is looked up at each call, so that a test can patch it.
            record=lambda session, claim, color: record_thumbnail(session, claim, color),
            remaining_ms=remaining_ms,
        )

    run.claims, run.is_gone = [], False
    return run


def fail_with(error):
    def work(_claim):
        raise error

    return work


def test_successful_work_completes_its_job_and_not_the_other(run, add_image, read_image):
    image_id, key = add_image()

    outcome = run(key)

    assert outcome == {"outcome": "completed", "image_id": image_id, "error": None}
    assert read_image(image_id).thumbnail_status is Status.COMPLETED
    assert read_image(image_id).annotation_status is Status.PENDING


def test_a_second_delivery_does_no_work(run, add_image):
    _, key = add_image()
    run(key)

    outcome = run(key)

    assert outcome["outcome"] == "skipped"
    assert len(run.claims) == 1


def test_a_delivery_during_another_attempt_does_no_work(run, add_image):
    _, key = add_image()
    nested = []

    run(key, work=lambda _claim: nested.append(run(key)))

    assert nested[0]["outcome"] == "skipped"
    assert len(run.claims) == 1


def test_the_lease_outlasts_the_function_by_five_seconds(run, add_image, read_image):
    image_id, key = add_image()
    leases = []

    def record_lease(claim):
        image = read_image(image_id)
        leases.append((claim.claimed_until - image.updated_at).total_seconds())

    run(key, work=record_lease)

    assert leases[0] == pytest.approx(35, abs=1)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermanentError("Refused.", code="blocked_by_safety"), "blocked_by_safety"),
        (ConfigurationError("The key was refused."), "configuration"),
        (InvalidImageError("The image is damaged."), "invalid_image"),
        (BudgetExhaustedError("Try it again after midnight UTC."), "budget_exhausted"),
    ],
)
def test_an_error_that_a_retry_cannot_help_fails_the_job_and_is_not_raised(
    run, add_image, read_image, error, code
):
    image_id, key = add_image()

    outcome = run(key, work=fail_with(error))

    image = read_image(image_id)
    assert outcome == {
        "outcome": "failed",
        "image_id": image_id,
        "error": {"code": code, "message": str(error)},
    }
    assert (image.thumbnail_status, image.thumbnail_error_code) == (Status.FAILED, code)
    assert image.thumbnail_error_message == str(error)


def test_a_transient_error_is_recorded_and_raised_and_the_next_attempt_runs(
    run, add_image, read_image
):
    image_id, key = add_image()

    with pytest.raises(TransientError):
        run(key, work=fail_with(TransientError("Busy.", code="storage_unavailable")))

    image = read_image(image_id)
    assert (image.thumbnail_status, image.thumbnail_attempts) == (Status.PENDING, 1)
    assert image.thumbnail_error_code == "storage_unavailable"
    assert run(key)["outcome"] == "completed"
    assert read_image(image_id).thumbnail_error_code is None


def test_a_transient_error_of_the_last_attempt_fails_the_job_and_is_raised(
    run, add_image, read_image
):
    image_id, key = add_image()

    for _ in range(3):
        with pytest.raises(TransientError):
            run(key, work=fail_with(TransientError("Busy.", code="model_busy")))

    image = read_image(image_id)
    assert (image.thumbnail_status, image.thumbnail_attempts) == (Status.FAILED, 3)
    assert image.thumbnail_error_code == "model_busy"
    assert run(key)["outcome"] == "skipped"


def test_an_unforeseen_error_is_recorded_without_its_message(run, add_image, read_image):
    image_id, key = add_image()

    with pytest.raises(ZeroDivisionError):
        run(key, work=fail_with(ZeroDivisionError("secret detail")), max_attempts=1)

    image = read_image(image_id)
    assert (image.thumbnail_status, image.thumbnail_error_code) == (Status.FAILED, "internal_error")
    assert "secret" not in image.thumbnail_error_message


def test_an_event_without_a_row_raises(run):
    with pytest.raises(ImageNotFoundError):
        run("originals/00000000-0000-0000-0000-000000000000.jpg")


def test_a_result_after_the_claim_was_lost_is_dropped(run, add_image, read_image, session_factory):
    image_id, key = add_image()

    def lose_the_claim(_claim):
        with session_scope(session_factory) as session:
            get_image(session, image_id).thumbnail_claimed_until = None

    outcome = run(key, work=lose_the_claim)

    assert outcome["outcome"] == "skipped"
    assert read_image(image_id).thumbnail_status is Status.PENDING


def test_an_unavailable_database_raises_before_any_work(run, add_image, session_factory, mocker):
    _, key = add_image()
    mocker.patch(
        "lambda_functions.attempt.claim_job",
        side_effect=DatabaseUnavailableError("the database is unavailable"),
    )

    with pytest.raises(DatabaseUnavailableError):
        run(key)

    assert run.claims == []


def busy(retry_after_seconds=None):
    return BusyError("Busy.", code="model_busy", retry_after_seconds=retry_after_seconds)


def lease_seconds(image):
    return (image.thumbnail_claimed_until - image.updated_at).total_seconds()


@pytest.mark.parametrize(
    ("requested_seconds", "least", "most"),
    [(None, 60, 75), (7, 7, 9), (0, 1, 2), (-5, 1, 2), (86_400, 300, 375)],
)
def test_a_busy_service_postpones_the_job_for_its_retry_delay(
    run, add_image, read_image, requested_seconds, least, most
):
    image_id, key = add_image()

    outcome = run(key, work=fail_with(busy(requested_seconds)))

    image = read_image(image_id)
    error = {"code": "model_busy", "message": "Busy."}
    assert outcome == {"outcome": "postponed", "image_id": image_id, "error": error}
    assert (image.thumbnail_status, image.thumbnail_attempts) == (Status.PENDING, 0)
    assert image.thumbnail_error_code == "model_busy"
    assert least - 0.5 <= lease_seconds(image) <= most + 0.5
    assert most <= MAX_POSTPONE_SECONDS * 1.25
    assert run(key)["outcome"] == "skipped"
    assert len(run.claims) == 1


def test_jobs_postponed_together_return_at_different_times(run, add_image, read_image):
    ids = []
    for _ in range(8):
        image_id, key = add_image()
        run(key, work=fail_with(busy(200)))
        ids.append(image_id)

    assert len({round(lease_seconds(read_image(image_id))) for image_id in ids}) > 2


def test_postponements_do_not_count_as_attempts(run, add_image, read_image, session_factory):
    image_id, key = add_image()

    for _ in range(5):
        assert run(key, work=fail_with(busy()))["outcome"] == "postponed"
        with session_scope(session_factory) as session:
            session.execute(text("UPDATE images SET thumbnail_claimed_until = '2020-01-01'"))

    assert run(key)["outcome"] == "completed"
    assert read_image(image_id).thumbnail_error_code is None


def test_a_database_error_during_the_work_is_recorded_as_database_unavailable(
    run, add_image, read_image
):
    image_id, key = add_image()

    with pytest.raises(DatabaseUnavailableError):
        run(key, work=fail_with(DatabaseUnavailableError("the database did not answer")))

    image = read_image(image_id)
    assert (image.thumbnail_status, image.thumbnail_error_code) == (
        Status.PENDING,
        "database_unavailable",
    )


def test_a_busy_database_during_the_work_costs_no_attempt_and_lambda_retries(
    run, add_image, read_image
):
    image_id, key = add_image()
    busy_database = DatabaseBusyError("the database has too many connections")

    for _ in range(5):
        with pytest.raises(DatabaseBusyError):
            run(key, work=fail_with(busy_database), max_attempts=2)

    image = read_image(image_id)
    assert (image.thumbnail_status, image.thumbnail_attempts) == (Status.PENDING, 0)
    assert image.thumbnail_error_message == "The database was busy. Try it again."
    assert run(key, max_attempts=2)["outcome"] == "completed"


def fail(run, key, error, max_attempts=1):
    with suppress(TransientError):
        run(key, work=fail_with(error), max_attempts=max_attempts)


@pytest.mark.parametrize(
    "error",
    [
        TransientError("Unavailable.", code="storage_unavailable"),
        ConfigurationError("The key was refused."),
        BudgetExhaustedError("Try it again after midnight UTC."),
        QuotaExhaustedError("No credit.", code="billing"),
        QuotaExhaustedError("Used up.", code="quota_exhausted"),
    ],
)
def test_a_redrive_retries_a_job_whose_cause_may_be_gone(run, add_image, read_image, error):
    image_id, key = add_image()
    fail(run, key, error)
    assert read_image(image_id).thumbnail_status is Status.FAILED
    assert run(key)["outcome"] == "skipped"

    assert run(key, redrive=True)["outcome"] == "completed"

    image = read_image(image_id)
    assert (image.thumbnail_status, image.thumbnail_attempts) == (Status.COMPLETED, 1)


@pytest.mark.parametrize(
    "error",
    [
        PermanentError("Refused.", code="blocked_by_safety"),
        PermanentError("No caption.", code="caption_rejected"),
        InvalidImageError("The image is damaged."),
    ],
)
def test_a_redrive_skips_a_permanent_failure(run, add_image, read_image, error):
    image_id, key = add_image()
    fail(run, key, error)
    attempts = len(run.claims)

    assert run(key, redrive=True)["outcome"] == "skipped"

    assert read_image(image_id).thumbnail_status is Status.FAILED
    assert len(run.claims) == attempts


def test_a_redrive_delivered_twice_does_the_work_once(run, add_image):
    _, key = add_image()
    fail(run, key, TransientError("Unavailable.", code="storage_unavailable"))
    run.claims.clear()
    nested = []

    run(key, work=lambda _claim: nested.append(run(key, redrive=True)), redrive=True)
    again = run(key, redrive=True)

    assert [nested[0]["outcome"], again["outcome"]] == ["skipped", "skipped"]
    assert len(run.claims) == 1


def test_a_job_whose_attempts_were_all_killed_fails_and_the_failure_is_logged(
    run, add_image, session_factory, mocker
):
    image_id, key = add_image()
    for _ in range(3):
        with session_scope(session_factory) as session:
            claim_job(session, Job.THUMBNAIL, key, lease_seconds=0, max_attempts=3)
        time.sleep(0.02)
    warning = mocker.spy(logger, "warning")

    outcome = run(key)

    assert (outcome["outcome"], outcome["error"]["code"]) == ("failed", "attempts_exhausted")
    facts = warning.call_args.kwargs["extra"]
    assert (facts["image_id"], facts["object_key"]) == (image_id, key)
    assert facts["code"] == "attempts_exhausted"
    assert run(key)["outcome"] == "skipped"


def test_a_redrive_resets_the_attempts_of_a_killed_job(run, add_image, session_factory):
    _, key = add_image()
    for _ in range(3):
        with session_scope(session_factory) as session:
            claim_job(session, Job.THUMBNAIL, key, lease_seconds=0, max_attempts=3)
        time.sleep(0.02)

    assert run(key, redrive=True)["outcome"] == "completed"


def emitted_metrics():
    return [
        (name, emitted["job"])
        for emitted in [metrics.serialize_metric_set()]
        for name in FAILURE_METRICS.values()
        if name in emitted
    ]


@pytest.mark.parametrize(
    ("error", "metric"),
    [
        (PermanentError("Refused.", code="blocked_by_safety"), "PermanentFailure"),
        (InvalidImageError("Damaged."), "PermanentFailure"),
        (ConfigurationError("The key was refused."), "ConfigurationFailure"),
        (BudgetExhaustedError("Used up."), "BudgetExhausted"),
        (QuotaExhaustedError("Used up.", code="billing"), "QuotaExhausted"),
        (busy(), "Postponed"),
        (TransientError("Unavailable.", code="storage_unavailable"), "TransientFailure"),
        (DatabaseUnavailableError("unavailable"), "DatabaseUnavailable"),
        (ZeroDivisionError("unforeseen"), "InternalError"),
    ],
)
def test_each_failure_is_counted_by_one_metric_and_logged_in_one_line(
    run, add_image, read_log, error, metric
):
    image_id, key = add_image()
    error.__cause__ = OSError("the connection was reset")

    try:
        run(key, work=fail_with(error))
    except Exception as raised:
        assert raised is error

    _, lines = read_log()
    (failure,) = [line for line in lines if "cause" in line]
    assert set(emitted_metrics()) == {(metric, "thumbnail")}
    assert (failure["image_id"], failure["object_key"]) == (image_id, key)
    assert failure["cause"].endswith("← OSError: the connection was reset")
    assert failure["code"] and failure["reason"]
    assert ("exception" in failure) == (metric == "InternalError")


@pytest.mark.parametrize(
    ("event", "kind", "metric"),
    [
        ({"detail": {}}, InvalidEventError, "InvalidEvent"),
        (
            make_event("originals/00000000-0000-0000-0000-000000000000.jpg"),
            ImageNotFoundError,
            "MissingRow",
        ),
    ],
)
def test_failures_before_the_claim_are_logged_and_counted(
    session_factory, read_log, event, kind, metric
):
    with pytest.raises(kind):
        attempt(
            JobContext(Job.THUMBNAIL, session_factory, lambda key: False, max_attempts=3),
            event,
            work=lambda claim: "#010203",
            record=record_thumbnail,
            remaining_ms=30_000,
        )

    assert set(emitted_metrics()) == {(metric, "thumbnail")}
    assert kind.__name__ in read_log()[1][-1]["cause"]


def test_every_class_of_failure_has_a_metric():
    classes = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.WorkError)
    } - {errors.WorkError}

    assert classes <= set(FAILURE_METRICS)


def test_a_completed_job_is_counted(run, add_image):
    _, key = add_image()

    run(key)

    emitted = metrics.serialize_metric_set()
    assert emitted["Completed"] == [1.0]
    assert emitted["job"] == "thumbnail"


def test_a_result_is_recorded_after_a_short_outage_of_the_database(
    run, add_image, read_image, mocker
):
    image_id, key = add_image()
    mocker.patch("lambda_functions.attempt.RECORD_PAUSES_SECONDS", (0, 0))
    original_record = record_thumbnail
    outages = [DatabaseUnavailableError("unavailable"), DatabaseUnavailableError("unavailable")]

    def record_after_outages(*arguments, **keywords):
        if outages:
            raise outages.pop()
        return original_record(*arguments, **keywords)

    mocker.patch.object(sys.modules[__name__], "record_thumbnail", record_after_outages)

    outcome = run(key)

    assert outcome["outcome"] == "completed"
    assert len(run.claims) == 1
    assert read_image(image_id).thumbnail_status is Status.COMPLETED


def test_recording_stops_before_the_lambda_time_out_if_the_database_stays_unavailable(
    run, add_image, read_log, mocker
):
    _, key = add_image()
    mocker.patch("lambda_functions.attempt.time.sleep")
    record = mocker.patch.object(
        sys.modules[__name__],
        "record_thumbnail",
        side_effect=DatabaseUnavailableError("unavailable"),
    )

    with pytest.raises(DatabaseUnavailableError):
        run(key)
    assert record.call_count == 6

    record.reset_mock()
    with pytest.raises(DatabaseUnavailableError):
        run(add_image()[1], remaining_ms=2_000)
    assert record.call_count == 2
    assert set(emitted_metrics()) == {("DatabaseUnavailable", "thumbnail")}
    assert read_log()[1][-1]["message"] == "the outcome could not be recorded"


def test_an_unforeseen_error_while_recording_releases_the_job(run, add_image, read_image, mocker):
    image_id, key = add_image()
    mocker.patch.object(sys.modules[__name__], "record_thumbnail", side_effect=ZeroDivisionError)

    with pytest.raises(ZeroDivisionError):
        run(key)

    image = read_image(image_id)
    assert (image.thumbnail_status, image.thumbnail_error_code) == (
        Status.PENDING,
        "internal_error",
    )
    assert image.thumbnail_claimed_until is None


def test_a_failure_after_the_claim_was_lost_is_dropped(run, add_image, read_image, session_factory):
    image_id, key = add_image()

    def lose_the_claim_and_fail(_claim):
        with session_scope(session_factory) as session:
            get_image(session, image_id).thumbnail_claimed_until = None
        raise PermanentError("Refused.", code="blocked_by_safety")

    assert run(key, work=lose_the_claim_and_fail)["outcome"] == "skipped"
    assert read_image(image_id).thumbnail_status is Status.PENDING


def test_an_event_for_an_image_that_is_being_deleted_is_skipped(run, add_image, session_factory):
    image_id, key = add_image()
    with session_scope(session_factory) as session:
        mark_deleting(session, image_id)

    assert run(key)["outcome"] == "skipped"
    assert run.claims == []


def test_an_event_for_an_image_that_was_deleted_is_skipped(run):
    run.is_gone = True

    assert run("originals/00000000-0000-0000-0000-000000000000.jpg")["outcome"] == "skipped"


def test_a_deletion_during_the_work_drops_its_result(run, add_image, session_factory):
    image_id, key = add_image()

    def delete_image(_claim):
        with session_scope(session_factory) as session:
            mark_deleting(session, image_id)

    run(key, delete_image)

    assert run(key)["outcome"] == "skipped"
    with pytest.raises(ImageNotFoundError), session_scope(session_factory) as session:
        get_image(session, image_id)


def test_a_backfill_makes_the_derivatives_of_a_completed_image_again(run, add_image, read_image):
    image_id, key = add_image()
    run(key)
    statuses = []

    outcome = run(
        key,
        work=lambda _claim: statuses.append(read_image(image_id).thumbnail_status),
        backfill=True,
    )

    assert outcome["outcome"] == "completed"
    assert statuses == [Status.COMPLETED]
    assert read_image(image_id).thumbnail_status is Status.COMPLETED


def test_a_backfill_does_the_work_of_a_pending_job(run, add_image, read_image):
    image_id, key = add_image()

    assert run(key, backfill=True)["outcome"] == "completed"
    assert read_image(image_id).thumbnail_status is Status.COMPLETED


def test_a_backfill_never_annotates_an_image_again(run, add_image, session_factory):
    _, key = add_image()
    run(key)
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET annotation_status = 'completed'"))
    metrics.clear_metrics()

    assert run(key, job=Job.ANNOTATION, backfill=True)["outcome"] == "skipped"


@pytest.mark.parametrize(
    ("error", "is_raised"),
    [
        (InvalidImageError("The image is damaged."), False),
        (ConfigurationError("The storage refused access."), False),
        (TransientError("The storage is busy.", code="storage_unavailable"), True),
        (RuntimeError("a defect"), True),
    ],
)
def test_a_backfill_that_fails_leaves_the_image_completed(
    run, add_image, read_image, error, is_raised
):
    image_id, key = add_image()
    run(key)

    if is_raised:
        with pytest.raises(type(error)):
            run(key, work=fail_with(error), backfill=True)
    else:
        assert run(key, work=fail_with(error), backfill=True)["outcome"] == "failed"

    image = read_image(image_id)
    assert (image.thumbnail_status, image.thumbnail_error_code) == (Status.COMPLETED, None)
    assert run(key, backfill=True)["outcome"] == "completed"
