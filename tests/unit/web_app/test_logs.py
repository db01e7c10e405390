"""Each log record is one line of JSON, even with hostile text."""

import json
import logging
import re

import pytest

from web_app.logs import configure_logging


@pytest.fixture
def logger():
    """Return a logger, and restore the root logger's handlers and level afterwards."""
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


@pytest.mark.parametrize(
    "hostile",
    [
        'a\n{"levelname": "ERROR", "message": "forged"}',
        "a\r\nforged",
        "\x1b[2J\x1b[31mforged",
        "\x9b31mforged",
        "a\u2028forged\u2029\x85\x0b\x0c\x1c\x1d\x1e",
        "\u202egpj.exe",
        "\0\x07\x08",
        "\ud800",
    ],
)
def test_hostile_text_cannot_start_a_log_line_or_send_terminal_codes(logger, capsys, hostile):
    configure_logging("info")

    logger.info("rejected %s", hostile, extra={"upload_filename": hostile})

    output = capsys.readouterr().out
    assert re.fullmatch(r"[\x20-\x7e]+\n", output)
    assert json.loads(output)["upload_filename"] == hostile


def test_a_traceback_stays_on_the_line_of_its_record(logger, capsys):
    configure_logging("error")

    try:
        raise RuntimeError("first\nsecond")
    except RuntimeError:
        logger.exception("failed")

    [line] = capsys.readouterr().out.splitlines()
    assert "second" in json.loads(line)["exc_info"]


def test_records_below_the_log_level_are_not_written(logger, capsys):
    configure_logging("WARNING")

    logger.info("nothing")

    assert capsys.readouterr().out == ""
