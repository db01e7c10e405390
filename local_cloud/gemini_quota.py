"""The quota of requests per minute of the Gemini emulator.

The minutes are those of the clock, and a refusal names the limit and the time until the next
minute. https://ai.google.dev/gemini-api/docs/rate-limits
"""

import math
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from local_cloud.gemini_rules import GeminiError

_MINUTE_SECONDS: Final = 60
_METRIC: Final = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
_QUOTA_ID: Final = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"


class MinuteQuota:
    """Counts requests, and refuses those that exceed the quota of the minute.

    Attributes:
        answered: the requests that were accepted.
        refused: the requests that were refused.
    """

    def __init__(self, requests_per_minute: int, clock: Callable[[], float] = time.time) -> None:
        self._limit = requests_per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = 0
        self._used = 0
        self.answered = 0
        self.refused = 0

    def use(self) -> None:
        """Count one request.

        Raises:
            GeminiError: the quota of this minute is used up.
        """
        now = self._clock()
        with self._lock:
            if int(now // _MINUTE_SECONDS) != self._minute:
                self._minute, self._used = int(now // _MINUTE_SECONDS), 0
            if self._used >= self._limit:
                self.refused += 1
                raise self._refusal(_MINUTE_SECONDS - now % _MINUTE_SECONDS)
            self._used += 1
            self.answered += 1

    def _refusal(self, seconds_left: float) -> GeminiError:
        message = (
            "You exceeded your current quota, please check your plan and billing details. "
            f"* Quota exceeded for metric: {_METRIC}, limit: {self._limit}\n"
            f"Please retry in {seconds_left:.9f}s."
        )
        violation = {
            "quotaMetric": _METRIC,
            "quotaId": _QUOTA_ID,
            "quotaDimensions": {"location": "global", "model": "local-emulator"},
            "quotaValue": str(self._limit),
        }
        kind = "type.googleapis.com/google.rpc."
        details: list[dict[str, Any]] = [
            {"@type": f"{kind}QuotaFailure", "violations": [violation]},
            {"@type": f"{kind}RetryInfo", "retryDelay": f"{math.ceil(seconds_left)}s"},
        ]
        return GeminiError(message, 429, "RESOURCE_EXHAUSTED", details)
