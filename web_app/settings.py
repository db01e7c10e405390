"""The settings of the web application. Only this module reads the environment."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from database.settings import DatabaseSettings

MIN_SECRET_CHARACTERS = 16
_LOAD_BALANCER_ARN = re.compile(
    r"arn:aws[a-z-]*:elasticloadbalancing:([a-z0-9-]+):\d{12}:loadbalancer/app/[\w-]+/[0-9a-f]+"
)


class Settings(DatabaseSettings):
    """The settings of the web application; the units are in the names."""

    # The key that signs owner cookies and owner tokens, or the secret that contains it. There is no
    # default: without one of the two, the application does not start.
    flask_secret_key: SecretStr | None = Field(None, min_length=MIN_SECRET_CHARACTERS)
    flask_secret_arn: str | None = None
    # Keys of an earlier or a later rotation, separated by commas. What they signed stays valid.
    flask_secret_key_fallbacks: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    # The most database connections of each web process. Further requests wait for one. The limit of
    # the database user must allow this for all processes of all servers together.
    db_pool_size: int = Field(8, ge=1, le=64)
    s3_image_bucket: str
    s3_thumbnail_bucket: str
    max_upload_bytes: int = Field(20 * 1024 * 1024, ge=1024 * 1024, le=100 * 1024 * 1024)
    max_image_pixels: int = Field(100_000_000, ge=1_000_000, le=400_000_000)
    thumbnail_width: int = Field(400, ge=16, le=2048)
    thumbnail_height: int = Field(400, ge=16, le=2048)
    # A presigned URL expires with the credentials that signed it, even before its own expiry time,
    # so URLs are signed when they are needed and expire within minutes.
    presigned_url_seconds: int = Field(300, ge=10, le=3600)
    # The viewers who may open originals, which may contain a location and the camera's data. The
    # others get the preview.
    originals_visible_to: Literal["owner", "everyone"] = "owner"
    # An image stays in its owner's bin for this many days before it is deleted.
    trash_days: int = Field(30, ge=1, le=365)
    # The event bus on which the retry of a job is requested.
    event_bus_name: str = "default"
    site_notice: str | None = None  # A sentence for the top of every page.
    # Switches /metrics on, and is the bearer token that it needs.
    metrics_token: SecretStr | None = Field(None, min_length=MIN_SECRET_CHARACTERS)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    # The number of trusted proxies between the clients and this application.
    trusted_proxy_count: int = Field(0, ge=0, le=10)
    # The accepted host names, separated by commas; ".example.org" includes all its subdomains.
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    # For each client and process; 0 means no limit. The first one counts uploaded files and images
    # for which captions are requested again. The upload page waits when it reaches the limit.
    uploads_per_minute: int = Field(120, ge=0, le=1_000_000)
    changes_per_minute: int = Field(600, ge=0, le=1_000_000)
    reads_per_minute: int = Field(6000, ge=0, le=1_000_000)
    # The tokens for all captions of a day, which the functions enforce. The upload page names it.
    gemini_daily_token_budget: int = Field(10_000_000, ge=0, le=10_000_000_000)
    # The load balancer that signs users in. Without one, the owner cookie identifies the owner.
    sign_in_load_balancer_arn: str | None = None
    # The address of its public keys.
    sign_in_public_keys_url: str | None = None

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(host.strip().lower() for host in value.split(",") if host.strip())
        return value

    @field_validator("flask_secret_key_fallbacks", mode="before")
    @classmethod
    def _split_keys(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(SecretStr(key.strip()) for key in value.split(",") if key.strip())
        return value

    @field_validator("flask_secret_key_fallbacks")
    @classmethod
    def _are_long_enough(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key) < MIN_SECRET_CHARACTERS for key in keys):
            raise ValueError(
                f"each key needs at least {MIN_SECRET_CHARACTERS} characters, and none a comma"
            )
        return keys

    @model_validator(mode="after")
    def _has_a_secret(self) -> Self:
        if self.flask_secret_key is None and self.flask_secret_arn is None:
            raise ValueError("set FLASK_SECRET_KEY, or FLASK_SECRET_ARN")
        return self

    @model_validator(mode="after")
    def _knows_its_load_balancer(self) -> Self:
        arn, url = self.sign_in_load_balancer_arn, self.sign_in_public_keys_url
        if arn is not None and not _LOAD_BALANCER_ARN.fullmatch(arn):
            raise ValueError(
                "SIGN_IN_LOAD_BALANCER_ARN is not the ARN of an application load balancer"
            )
        # Without HTTPS, an attacker could replace the key.
        if url is not None and not url.startswith(("https://", "http://127.0.0.1:")):
            raise ValueError("SIGN_IN_PUBLIC_KEYS_URL must begin with https://")
        return self

    def public_keys_url(self) -> str:
        """Return the address of the load balancer's public keys, without a slash at the end."""
        if self.sign_in_public_keys_url is not None:
            return self.sign_in_public_keys_url.rstrip("/")
        region = (self.sign_in_load_balancer_arn or "").split(":")[3]
        return f"https://public-keys.auth.elb.{region}.amazonaws.com"
