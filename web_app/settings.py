"""What the web application reads from the environment. Only this module does."""

from pydantic import Field, SecretStr

from database.settings import DatabaseSettings


class Settings(DatabaseSettings):
    """Sizes are in bytes, pixels and seconds, as their names say."""

    # Signs the owner cookie and the owner tokens. There is no default: without it, nothing starts.
    flask_secret_key: SecretStr = Field(min_length=16)
    s3_image_bucket: str
    s3_thumbnail_bucket: str
    max_upload_bytes: int = Field(20 * 1024 * 1024, gt=0)
    max_image_pixels: int = Field(100_000_000, gt=0)
    thumbnail_width: int = Field(400, ge=16, le=4096)
    thumbnail_height: int = Field(400, ge=16, le=4096)
    # A presigned URL dies with the credentials that signed it, whatever it says of itself, so it
    # is made at each reading and lives for minutes.
    presigned_url_seconds: int = Field(300, ge=10, le=3600)
    # The bus on which work is asked for again.
    event_bus_name: str = "default"
    site_notice: str | None = None  # A sentence for the top of every page.
    log_level: str = "INFO"
