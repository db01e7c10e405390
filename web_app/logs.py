"""Configure logging as JSON lines on standard output, like the functions' logs."""

import hashlib
import logging
import sys

from flask import g, has_request_context
from pythonjsonlogger.json import JsonFormatter


class RequestIDFilter(logging.Filter):
    """Adds the id of the current request to each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the id, and keep the record."""
        if has_request_context() and "request_id" in g:
            record.request_id = g.request_id
        return True


def owner_hash(owner_id: str) -> str:
    """Return a short hash that stands for an owner in the logs, which must not hold the id."""
    return hashlib.sha256(owner_id.encode()).hexdigest()[:12]


def configure_logging(level: str) -> None:
    """Write each record, with its `extra` fields, as one line of JSON to standard output.

    JSON escapes line breaks, so a hostile file name cannot begin a new line of the log.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        JsonFormatter("{levelname}{name}{message}", style="{", timestamp="time")  # In UTC.
    )
    handler.addFilter(RequestIDFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
