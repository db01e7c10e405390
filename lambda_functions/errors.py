"""The errors of the functions, and what each one means for the row.

WorkError                has a `code` for programs and a sentence for the image's owner
├── PermanentError       a retry cannot help: failed
├── BudgetExhaustedError today's token budget is used up: failed, can be retried by hand
├── TransientError       may succeed later: pending, raised, Lambda delivers the event again
│   └── BusyError        a service is busy: postponed, the sweep requests it again
└── ConfigurationError   the operator must act: failed, alarm, can be retried by hand
"""


class WorkError(Exception):
    """A failed attempt at a job. `str(error)` is a sentence for the image's owner."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class PermanentError(WorkError):
    """A failure of this image that no retry can change."""


class BudgetExhaustedError(WorkError):
    """Today's token budget is used up. No request was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="budget_exhausted")


class TransientError(WorkError):
    """A service was unavailable or failed. Lambda delivers the event again."""


class BusyError(TransientError):
    """A service is busy, usually for longer than Lambda's own pauses between retries."""

    def __init__(self, message: str, *, code: str, retry_after_seconds: float | None) -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = retry_after_seconds


class ConfigurationError(WorkError):
    """A wrong configuration of the system: a refused key, a missing model, a denied access."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="configuration")
