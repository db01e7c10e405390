"""Environment variables of the deployment. boto3 reads the variables of AWS itself."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class DeploymentSettings:
    """Values that are too secret for a command line.

    Attributes:
        gemini_api_key: the key that `up` stores.
        smoke_cookie: the cookies of a signed-in browser, for the smoke test.
    """

    gemini_api_key: str | None = field(default=None, repr=False)
    smoke_cookie: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the environment. White space around a value, for example a line end, is removed."""
        names = ("GEMINI_API_KEY", "SMOKE_COOKIE")
        return cls(*(environment.get(name, "").strip() or None for name in names))
