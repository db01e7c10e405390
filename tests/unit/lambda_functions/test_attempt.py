import json

import pytest

from database import repository
from database.errors import DatabaseUnavailableError, ImageNotFoundError
from database.models import Half, Status
from database.session import session_scope
from imaging.errors import InvalidImageError
from lambda_functions.attempt import attempt, metrics
from lambda_functions.errors import ConfigurationError, PermanentError, TransientError
from lambda_functions.events import OriginalReady


@pytest.fixture(autouse=True)
def _no_metrics_left():
    yield
    metrics.clear_metrics()


@pytest.fixture
def run(session_factory):
    """Runs one attempt at the thumbnail of a key; `work` counts how often it really ran."""

    def run(key, work=None, half=Half.THUMBNAIL, max_attempts=3):
        def complete(claim):
            run.worked.append(claim)
            if work is not None:
                work(claim)
            return lambda session, held: repository.record_thumbnail(
                session, held, dominant_color="#010203"
            )

        return attempt(
            half,
            OriginalReady("bucket", key),
            complete,
            session_factory=session_factory,
            is_gone=lambda key: run.is_gone,
            remaining_ms=29_500,
            max_attempts=max_attempts,
        )

    run.worked, run.is_gone = [], False
    return run


def fail_with(error):
    def work(_claim):
        raise error

    return work


def test_work_that_succeeds_completes_its_half(run, add_image, read_image):
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
    assert len(run.worked) == 1


def test_a_delivery_that_comes_while_another_works_does_no_work(run, add_image):
    _, key = add_image()
    nested = []

    run(key, work=lambda _claim: nested.append(run(key)))

    assert nested[0]["outcome"] == "skipped"
    assert len(run.worked) == 1


def test_the_claim_outlasts_the_function_by_a_little(run, add_image, read_image):
    image_id, key = add_image()
    leases = []

    def note(claim):
        image = read_image(image_id)
        leases.append((claim.claimed_until - image.updated_at).total_seconds())

    run(key, work=note)

    assert leases[0] == pytest.approx(35, abs=1)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermanentError("Refused.", code="blocked_by_safety"), "blocked_by_safety"),
        (ConfigurationError("The key was refused."), "configuration"),
        (InvalidImageError("The image is damaged."), "invalid_image"),
    ],
)
def test_what_trying_again_cannot_mend_is_failed_and_not_raised(
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


def test_what_may_pass_is_written_down_raised_and_tried_again(run, add_image, read_image):
    image_id, key = add_image()

    with pytest.raises(TransientError):
        run(key, work=fail_with(TransientError("Busy.", code="storage_unavailable")))

    image = read_image(image_id)
    assert (image.thumbnail_status, image.thumbnail_attempts) == (Status.PENDING, 1)
    assert image.thumbnail_error_code == "storage_unavailable"
    assert run(key)["outcome"] == "completed"
    assert read_image(image_id).thumbnail_error_code is None


def test_the_last_attempt_fails_the_half_and_still_raises(run, add_image, read_image):
    image_id, key = add_image()

    for _ in range(3):
        with pytest.raises(TransientError):
            run(key, work=fail_with(TransientError("Busy.", code="model_busy")))

    image = read_image(image_id)
    assert (image.thumbnail_status, image.thumbnail_attempts) == (Status.FAILED, 3)
    assert image.thumbnail_error_code == "model_busy"
    assert run(key)["outcome"] == "skipped"


def test_an_error_nobody_foresaw_reaches_the_row_without_its_inside(run, add_image, read_image):
    image_id, key = add_image()

    with pytest.raises(ZeroDivisionError):
        run(key, work=fail_with(ZeroDivisionError("secret detail")), max_attempts=1)

    image = read_image(image_id)
    assert (image.thumbnail_status, image.thumbnail_error_code) == (Status.FAILED, "internal_error")
    assert "secret" not in image.thumbnail_error_message


def test_an_event_that_overtook_its_row_raises(run):
    with pytest.raises(ImageNotFoundError):
        run("originals/00000000-0000-0000-0000-000000000000.jpg")


def test_a_result_that_comes_after_its_claim_ran_out_is_dropped(
    run, add_image, read_image, session_factory
):
    image_id, key = add_image()

    def lose_the_claim(_claim):
        with session_scope(session_factory) as session:
            repository.get_image(session, image_id).thumbnail_claimed_until = None

    outcome = run(key, work=lose_the_claim)

    assert outcome["outcome"] == "skipped"
    assert read_image(image_id).thumbnail_status is Status.PENDING


def test_a_database_that_is_away_raises_before_any_work(run, add_image, session_factory, mocker):
    _, key = add_image()
    mocker.patch.object(
        repository, "claim_half", side_effect=DatabaseUnavailableError("the database is away")
    )

    with pytest.raises(DatabaseUnavailableError):
        run(key)

    assert run.worked == []


def test_each_outcome_is_one_metric(run, add_image):
    _, key = add_image()
    with pytest.raises(TransientError):
        run(key, work=fail_with(TransientError("Busy.", code="model_busy")))
    run(key)

    emitted = json.dumps(metrics.serialize_metric_set())

    assert '"ImageAnnotation"' in emitted
    assert "TransientFailure" in emitted
    assert "Completed" in emitted


def test_a_database_that_blinks_does_not_cost_a_result(run, add_image, read_image, mocker):
    image_id, key = add_image()
    mocker.patch("lambda_functions.attempt.RECORD_PAUSES_SECONDS", (0, 0))
    really_record = repository.record_thumbnail
    blinks = [DatabaseUnavailableError("away"), DatabaseUnavailableError("away")]

    def record_after_blinks(*arguments, **keywords):
        if blinks:
            raise blinks.pop()
        return really_record(*arguments, **keywords)

    mocker.patch.object(repository, "record_thumbnail", record_after_blinks)

    outcome = run(key)

    assert outcome["outcome"] == "completed"
    assert len(run.worked) == 1
    assert read_image(image_id).thumbnail_status is Status.COMPLETED


def test_a_result_that_cannot_be_written_gives_its_half_back(run, add_image, read_image, mocker):
    image_id, key = add_image()
    mocker.patch.object(repository, "record_thumbnail", side_effect=ZeroDivisionError)

    with pytest.raises(ZeroDivisionError):
        run(key)

    image = read_image(image_id)
    assert (image.thumbnail_status, image.thumbnail_error_code) == (
        Status.PENDING,
        "internal_error",
    )
    assert image.thumbnail_claimed_until is None


def test_a_failure_that_comes_after_its_claim_ran_out_is_dropped(
    run, add_image, read_image, session_factory
):
    image_id, key = add_image()

    def lose_the_claim_and_fail(_claim):
        with session_scope(session_factory) as session:
            repository.get_image(session, image_id).thumbnail_claimed_until = None
        raise PermanentError("Refused.", code="blocked_by_safety")

    assert run(key, work=lose_the_claim_and_fail)["outcome"] == "skipped"
    assert read_image(image_id).thumbnail_status is Status.PENDING


def test_an_event_for_an_image_that_is_being_deleted_is_skipped(run, add_image, session_factory):
    image_id, key = add_image()
    with session_scope(session_factory) as session:
        repository.mark_deleting(session, image_id)

    assert run(key)["outcome"] == "skipped"
    assert run.worked == []


def test_an_event_for_an_image_that_was_deleted_is_skipped(run):
    run.is_gone = True

    assert run("originals/00000000-0000-0000-0000-000000000000.jpg")["outcome"] == "skipped"


def test_a_deletion_in_the_middle_of_the_work_drops_its_result(run, add_image, session_factory):
    image_id, key = add_image()

    def delete_meanwhile(_claim):
        with session_scope(session_factory) as session:
            repository.mark_deleting(session, image_id)

    run(key, delete_meanwhile)

    assert run(key)["outcome"] == "skipped"
    with pytest.raises(ImageNotFoundError), session_scope(session_factory) as session:
        repository.get_image(session, image_id)
