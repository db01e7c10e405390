"""What can go wrong between the application and its rows.

DatabaseError
├── ImageNotFoundError          no such row; an event may have overtaken it: try again
├── InvalidObjectKeyError       not a key this system writes; trying again won't help
├── InvalidEventError           the event names no original; trying again won't help
└── DatabaseUnavailableError    away, overloaded or deadlocked; try again
    └── QueryTooSlowError       this question took too long; ask for less
"""


class DatabaseError(Exception):
    """Root of this package's errors."""


class ImageNotFoundError(DatabaseError):
    """There is no row for this id or object key."""


class InvalidObjectKeyError(DatabaseError):
    """The key does not have the form `originals/<uuid>.<ext>`."""


class InvalidEventError(DatabaseError):
    """The event is neither one that this system sends nor one that S3 sends for an original."""


class DatabaseUnavailableError(DatabaseError):
    """The database did not answer, or gave up on the transaction. Trying again may succeed."""


class QueryTooSlowError(DatabaseUnavailableError):
    """The database gave up on a question that took longer than it may."""
