"""The errors of the functions, and what each one means for the row.

WorkError                has a `code` for programs and a sentence for the image's owner
├── PermanentError       a retry cannot help: failed
├── BudgetExhaustedError today's token budget is used up: failed, can be retried by hand
├── QuotaExhaustedError  the account's quota or credit is used up: failed, alarm, retried by hand
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


class QuotaExhaustedError(WorkError):
    """The account's daily quota or credit at a service is used up. A retry soon cannot help."""


class TransientError(WorkError):
    """A service was unavailable or failed. Lambda delivers the event again."""


class BusyError(TransientError):
    """A service is busy, usually for longer than Lambda's own pauses between retries.

    Attributes:
        retry_after_seconds: the delay that the service asks for, of any length; None if it names
            none.
        reason: "requests" or "tokens" when a quota per minute is used up, "waiting" when no request
            was sent because of an earlier refusal, else "overloaded".
        quota_per_minute: the value of that quota; None if the service does not name it.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        retry_after_seconds: float | None,
        reason: str = "overloaded",
        quota_per_minute: int | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = retry_after_seconds
        self.reason = reason
        self.quota_per_minute = quota_per_minute


class ConfigurationError(WorkError):
    """A wrong configuration of the system: a refused key, a missing model, a denied access."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="configuration")
