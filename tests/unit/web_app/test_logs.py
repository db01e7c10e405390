"""Logs are one line of JSON for each record, whatever is in it."""

import json
import logging

import pytest

from web_app.logs import configure_logging


@pytest.fixture
def logger():
    """A logger, on a root that is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield logging.getLogger("web_app.test")
    root.handlers[:], root.level = handlers, level


def test_a_record_is_one_line_with_its_extra_fields(logger, capsys):
    configure_logging("info")

    logger.info("rejected an upload", extra={"upload_filename": "a\n{}\u2028🏖.jpg"})

    [line] = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert record["message"] == "rejected an upload"
    assert record["upload_filename"] == "a\n{}\u2028🏖.jpg"
    assert (record["levelname"], record["name"]) == ("INFO", "web_app.test")
    assert record["time"]


def test_a_traceback_stays_on_the_line_of_its_record(logger, capsys):
    configure_logging("error")

    try:
        raise RuntimeError("first\nsecond")
    except RuntimeError:
        logger.exception("failed")

    [line] = capsys.readouterr().out.splitlines()
    assert "second" in json.loads(line)["exc_info"]


def test_what_is_below_the_level_is_not_written(logger, capsys):
    configure_logging("WARNING")

    logger.info("nothing")

    assert capsys.readouterr().out == ""
