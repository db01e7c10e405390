"""The settings of the functions. Only this module reads the environment."""

import os
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from database.settings import DatabaseSettings

# One namespace for all functions of an environment. The dimension `service` distinguishes the
# functions. Two environments of one account must not share it, because the alarms of one would
# react to the other.
METRICS_NAMESPACE = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "ImageAnnotation")


class WorkSettings(DatabaseSettings):
    """The settings of both functions that process originals."""

    s3_image_bucket: str
    max_image_pixels: int = Field(100_000_000, ge=1_000_000, le=400_000_000)
    max_attempts: int = Field(3, ge=1, le=3)


class AnnotationSettings(WorkSettings):
    """The settings of the annotation function. An API key or a secret with it is required."""

    gemini_api_key: SecretStr | None = None
    gemini_secret_arn: str | None = None
    gemini_model_name: str = Field(
        "gemini-3.5-flash-lite", pattern=r"^(models/)?[a-z0-9][a-z0-9.-]{0,99}$"
    )
    gemini_prompt: str | None = None
    gemini_media_resolution: Literal["", "low", "medium", "high"] = ""
    caption_language: str = Field("English", pattern=r"^\S.{0,39}$")
    # Tags with commas between them, each of at most 50 characters.
    tag_vocabulary: str = Field("", max_length=1000, pattern=r"^[^,]{0,50}(,[^,]{0,50})*$")
    gemini_daily_token_budget: int = Field(10_000_000, ge=0, le=10_000_000_000)  # 0 for no limit.
    # 0 for the limit that Gemini names when it refuses a request.
    gemini_requests_per_minute: int = Field(0, ge=0, le=100_000)

    @model_validator(mode="after")
    def _require_api_key(self) -> Self:
        if self.gemini_api_key is None and self.gemini_secret_arn is None:
            raise ValueError("set GEMINI_API_KEY or GEMINI_SECRET_ARN")
        return self


class ThumbnailSettings(WorkSettings):
    """The settings of the thumbnail function. Sizes are in pixels."""

    s3_thumbnail_bucket: str
    thumbnail_width: int = Field(400, ge=16, le=2048)
    thumbnail_height: int = Field(400, ge=16, le=2048)


class SweepSettings(DatabaseSettings):
    """The settings of the sweep."""

    s3_image_bucket: str
    s3_thumbnail_bucket: str
    event_bus_name: str = "default"
    gemini_requests_per_minute: int = Field(0, ge=0, le=100_000)
    processing_deadline_seconds: int = Field(900, ge=60, le=21_600)


class MigrateSettings(DatabaseSettings):
    """The settings of the migration, which signs in as the master user.

    The secrets hold the names and the passwords that the migration gives to the users of the web
    servers and of the functions. Without secrets, it creates no users.
    """

    db_web_secret_arn: str | None = None
    db_functions_secret_arn: str | None = None

    @model_validator(mode="after")
    def _names_both_users(self) -> Self:
        if (self.db_web_secret_arn is None) != (self.db_functions_secret_arn is None):
            raise ValueError("set both DB_WEB_SECRET_ARN and DB_FUNCTIONS_SECRET_ARN, or neither")
        return self
