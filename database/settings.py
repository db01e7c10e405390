"""The settings of the database connection, read from the environment."""

from typing import Self

from pydantic import Field, FilePath, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError


class DatabaseSettings(BaseSettings):
    """Either `DATABASE_URL`, or `DB_HOST` and the other `DB_` variables.

    User and password are `DB_USER` and `DB_PASSWORD`, or they are in the secret `DB_SECRET_ARN`. It
    is read when the first connection is opened, and again when the server refuses the password,
    because passwords are rotated.
    """

    # Validation errors must not repeat the value, because it may contain a password.
    model_config = SettingsConfigDict(
        frozen=True,
        # A function uses one of several classes of settings. The others are not built.
        defer_build=True,
        hide_input_in_errors=True,
        env_ignore_empty=True,
        # Errors name the variable as it is written in the environment.
        alias_generator=str.upper,
        populate_by_name=True,
    )

    database_url: SecretStr | None = None
    db_host: str | None = None
    db_port: int = Field(3306, ge=1, le=65535)
    db_name: str = "image_annotation"
    db_user: str | None = None
    db_password: SecretStr | None = None
    db_secret_arn: str | None = None
    # Certificates of the authorities that may sign the server's certificate, which must name
    # DB_HOST. Without the file, the server is not verified.
    db_ca_file: FilePath | None = None

    @model_validator(mode="after")
    def _names_a_database(self) -> Self:
        has_user = self.db_user is not None or self.db_secret_arn is not None
        if self.database_url is None and (self.db_host is None or not has_user):
            raise ValueError("set DATABASE_URL, or DB_HOST and DB_USER or DB_SECRET_ARN")
        try:
            driver = self.sqlalchemy_url().drivername
        except (ArgumentError, ValueError):
            raise ValueError("DATABASE_URL is not a database URL") from None
        if driver not in ("sqlite", "mysql+pymysql"):
            raise ValueError("DATABASE_URL must begin with mysql:// or sqlite://")
        return self

    def sqlalchemy_url(self) -> URL:
        """Return the database URL, with the password if the environment has it."""
        if self.database_url is not None:
            url = make_url(self.database_url.get_secret_value())
            # `mysql://` alone selects a driver that needs a C library.
            return url.set(drivername="mysql+pymysql") if url.drivername == "mysql" else url
        return URL.create(
            "mysql+pymysql",
            username=self.db_user,
            password=self.db_password.get_secret_value() if self.db_password else None,
            host=self.db_host,
            port=self.db_port,
            database=self.db_name,
        )
