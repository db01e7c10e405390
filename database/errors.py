"""The errors of this package, and whether a retry can help.

DatabaseError
├── ImageNotFoundError          no such row; retry, because an event may arrive before its row
├── ImageExistsError            a row has this object key; look for it
├── InvalidObjectKeyError       not a key that this system writes; do not retry
├── InvalidEventError           the event names no original; do not retry
└── DatabaseUnavailableError    unreachable, overloaded or deadlocked; retry
    ├── DatabaseBusyError       all connections are in use; wait and retry
    └── QueryTooSlowError       the query took too long; narrow the search
"""


class DatabaseError(Exception):
    """The base class of this package's errors."""


class ImageNotFoundError(DatabaseError):
    """No row has this id or object key. Retry, because an event may arrive before its row."""


class ImageExistsError(DatabaseError):
    """A row with this object key exists. Another request added it just now."""


class InvalidObjectKeyError(DatabaseError):
    """The key does not have the form `originals/<uuid>.<ext>`. Do not retry."""


class InvalidEventError(DatabaseError):
    """The event is neither this system's nor one of S3 for an original. Do not retry."""


class DatabaseUnavailableError(DatabaseError):
    """The database did not answer, is overloaded or found a deadlock. A retry may succeed."""


class DatabaseBusyError(DatabaseUnavailableError):
    """All connections are in use. Nothing was changed, and a retry soon may succeed."""


class QueryTooSlowError(DatabaseUnavailableError):
    """The database aborted a query that took too long. Narrow the search."""
