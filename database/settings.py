"""The settings of the database connection, read from the environment."""

from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError


class DatabaseSettings(BaseSettings):
    """Either `DATABASE_URL`, or `DB_HOST` and the other `DB_` variables.

    The password is `DB_PASSWORD`, or it is read from the secret `DB_SECRET_ARN` for each new
    connection, because RDS rotates the password every seven days.
    """

    # Validation errors must not repeat the value, because it may contain a password.
    model_config = SettingsConfigDict(
        frozen=True,
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

    @model_validator(mode="after")
    def _names_a_database(self) -> Self:
        if self.database_url is None and (self.db_host is None or self.db_user is None):
            raise ValueError("set DATABASE_URL, or DB_HOST and DB_USER")
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
