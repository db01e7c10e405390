"""Environment variables of the deployment. boto3 reads the variables of AWS itself."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class DeploymentSettings:
    """Values that are too secret for a command line."""

    gemini_api_key: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the environment. White space around the key, for example a line end, is removed."""
        return cls(environment.get("GEMINI_API_KEY", "").strip() or None)
