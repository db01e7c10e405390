"""Configure logging as JSON lines on standard output, like the functions' logs."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter


def configure_logging(level: str) -> None:
    """Write each record, with its `extra` fields, as one line of JSON to standard output.

    JSON escapes line breaks, so a hostile file name cannot begin a new line of the log.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        JsonFormatter("{levelname}{name}{message}", style="{", timestamp="time")  # In UTC.
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
