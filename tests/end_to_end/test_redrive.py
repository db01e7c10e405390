"""Redrive failed invocations of the local cloud with the deployment command."""

import re

from tests.support.factories import make_jpeg
from tests.support.local_system import wait_until
from tests.support.scripted_gemini import SPENDING_CAP, error


def redrive(system, *options):
    return system.run_deployment("redrive", "--queue", "failed-invocations", *options)


def test_a_failed_image_is_completed_by_a_redrive_after_its_cause_is_fixed(system, gemini):
    gemini.script += [error(500, "INTERNAL")] * 100
    (result,) = system.upload(("unlucky.jpg", make_jpeg()))
    failed = system.finished(result["id"])
    wait_until(lambda: "failed after 3 attempts" in system.output, seconds=60)

    listed = redrive(system, "--dry-run")
    after_dry_run = system.status(result["id"])
    gemini.script.clear()
    sent = redrive(system)
    wait_until(lambda: system.status(result["id"])["status"] == "completed", seconds=60)

    assert failed["annotation_status"] == after_dry_run["annotation_status"] == "failed"
    assert re.search(r"annotation of originals/\S+: RetriesExhausted after 3 attempts", listed)
    assert "Sent again: 1. Remaining in the queues: 0." in sent
    assert system.status(result["id"])["annotation"] == "A dog runs on a beach."
    assert "Sent again: 0. Remaining in the queues: 0." in redrive(system)


def test_a_job_that_failed_without_a_dead_letter_is_completed_by_a_redrive(system, gemini):
    gemini.script += [SPENDING_CAP, error(403, "PERMISSION_DENIED")]
    files = ("a.jpg", make_jpeg((90, 61))), ("b.jpg", make_jpeg((90, 62)))
    results = system.upload(*files)
    failed = [system.finished(result["id"]) for result in results]

    listed = redrive(system, "--failed", "--dry-run")
    sent = redrive(system, "--failed")
    wait_until(
        lambda: all(system.status(each["id"])["status"] == "completed" for each in results),
        seconds=60,
    )

    codes = {status["annotation_error"]["code"] for status in failed}
    assert codes == {"billing", "configuration"}
    assert "The sweep" not in listed
    assert "The sweep now requests up to 500 failed jobs" in sent
