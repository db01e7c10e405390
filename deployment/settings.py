"""What the deployment reads from the environment. AWS's own variables its client reads itself."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class DeploymentSettings:
    """What is too secret for a command line."""

    gemini_api_key: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the environment."""
        return cls(environment.get("GEMINI_API_KEY") or None)
