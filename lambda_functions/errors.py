"""How work on an image can fail, and what each failure means for the row.

FunctionError
├── InvalidEventError        not an event of ours; nothing to record, dead-lettered
└── WorkError                has a `code` for programs and a sentence for the image's owner
    ├── PermanentError       trying again cannot help: failed
    ├── BudgetExhaustedError nothing more may be spent today: failed, retry by hand
    ├── TransientError       may pass by itself: pending, raised, delivered again
    │   └── BusyError        said to come back later: put off, asked for again by the sweep
    └── ConfigurationError   needs whoever runs the system: failed, alarm, retry by hand
"""


class FunctionError(Exception):
    """Root of this package's errors."""


class InvalidEventError(FunctionError):
    """The event is not one this system sends itself, or that S3 sends for its originals."""


class WorkError(FunctionError):
    """One attempt on one image failed. `str(error)` is a sentence fit for the image's owner."""

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
