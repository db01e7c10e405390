"""Logs as lines of JSON on standard output, like those of the functions."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter


def configure_logging(level: str) -> None:
    """Send every record, its `extra` fields included, to standard output as one line of JSON.

    JSON also keeps a hostile file name from starting a line of its own.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        JsonFormatter("{levelname}{name}{message}", style="{", timestamp="time")  # In UTC.
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
