"""How work on an image can fail, and what each failure means for the row.

WorkError                has a `code` for programs and a sentence for the image's owner
├── PermanentError       a retry cannot help: failed
├── BudgetExhaustedError today's token budget is used up: failed, can be retried by hand
├── TransientError       may succeed later: pending, raised, Lambda delivers the event again
│   └── BusyError        a service asked for a later retry: postponed, the sweep requests it again
└── ConfigurationError   the operator must act: failed, alarm, can be retried by hand
"""


class WorkError(Exception):
    """One attempt at one job failed. `str(error)` is a sentence for the image's owner."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class PermanentError(WorkError):
    """This image cannot be processed, however often it is tried."""


class BudgetExhaustedError(WorkError):
    """What may be spent in a day is spent. Nothing was asked of anybody."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="budget_exhausted")


class TransientError(WorkError):
    """Something was away or busy. The platform delivers the event again."""


class BusyError(TransientError):
    """Something asked to be left alone for a while: longer than the platform's own pauses."""

    def __init__(self, message: str, *, code: str, retry_after_seconds: float | None) -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = retry_after_seconds


class ConfigurationError(WorkError):
    """The system itself is set up wrongly: a refused key, a missing model, a denied access."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="configuration")
