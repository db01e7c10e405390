"""What the web application reads from the environment. Only this module does."""

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
    """Sizes are in bytes, pixels and seconds, as their names say."""

    # Signs the owner cookie and the owner tokens: itself, or the secret that holds it. There is no
    # default: without either, nothing starts.
    flask_secret_key: SecretStr | None = Field(None, min_length=MIN_SECRET_CHARACTERS)
    flask_secret_arn: str | None = None
    s3_image_bucket: str
    s3_thumbnail_bucket: str
    max_upload_bytes: int = Field(20 * 1024 * 1024, ge=1024 * 1024, le=100 * 1024 * 1024)
    max_image_pixels: int = Field(100_000_000, ge=1_000_000, le=400_000_000)
    thumbnail_width: int = Field(400, ge=16, le=2048)
    thumbnail_height: int = Field(400, ge=16, le=2048)
    # A presigned URL dies with the credentials that signed it, whatever it says of itself, so it
    # is made at each reading and lives for minutes.
    presigned_url_seconds: int = Field(300, ge=10, le=3600)
    # The bus on which work is asked for again.
    event_bus_name: str = "default"
    site_notice: str | None = None  # A sentence for the top of every page.
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    # Proxies of ours between the clients and this application; none of them is believed unasked.
    trusted_proxy_count: int = Field(0, ge=0, le=10)
    # Names to answer to, with commas between them; ".example.org" is every name below it.
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    # Of one client, in each process; 0 is no limit. A page that sends a folder of photos, or shows
    # hundreds of images that change, stays far below.
    uploads_per_minute: int = Field(1200, ge=0, le=1_000_000)
    changes_per_minute: int = Field(600, ge=0, le=1_000_000)
    reads_per_minute: int = Field(6000, ge=0, le=1_000_000)
    # The load balancer at which people sign in; without one, everybody is whom their cookie names.
    sign_in_load_balancer_arn: str | None = None
    # Where its public keys are, by name.
    sign_in_public_keys_url: str | None = None

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(host.strip().lower() for host in value.split(",") if host.strip())
        return value

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
                "SIGN_IN_LOAD_BALANCER_ARN is not that of an application load balancer"
            )
        # A key that somebody else could put in place would prove nothing.
        if url is not None and not url.startswith(("https://", "http://127.0.0.1:")):
            raise ValueError("SIGN_IN_PUBLIC_KEYS_URL must begin with https://")
        return self

    def public_keys_url(self) -> str:
        """Where the load balancer's public keys are: a folder, without a slash at its end."""
        if self.sign_in_public_keys_url is not None:
            return self.sign_in_public_keys_url.rstrip("/")
        region = (self.sign_in_load_balancer_arn or "").split(":")[3]
        return f"https://public-keys.auth.elb.{region}.amazonaws.com"
