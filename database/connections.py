"""Open connections to MySQL: verify the server, read the password, wait while it is busy."""

import json
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql

from database.errors import DatabaseBusyError, DatabaseUnavailableError

# https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
ACCESS_DENIED = 1045
# The server, all users together or this user have as many connections as they may have.
TOO_MANY_CONNECTIONS = frozenset({1040, 1203, 1226})
# The server offers no TLS, although it must be verified. A server in between could pretend that.
# https://dev.mysql.com/doc/mysql-errors/8.4/en/client-error-reference.html#error_cr_ssl_connection_error
_NO_TLS = 2026
# Random pauses between attempts to connect. With equal pauses, all processes would try again at the
# same time.
_BUSY_PAUSE_SECONDS = (0.1, 0.5)

FetchSecret = Callable[[str], str]  # Maps an ARN to the secret's string.


def verifying_context(ca_file: Path) -> ssl.SSLContext:
    """Return a TLS context that accepts a server only with a certificate of these authorities.

    The certificate must also name the host. The file is read once, because an engine keeps its
    context. `ssl.create_default_context` would also trust the authorities of the machine.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca_file)
    return context


@dataclass
class Connector:
    """Opens the connections of one engine.

    Attributes:
        secret_arn: the secret with user name and password; None if the URL has them.
        busy_seconds: how long an attempt may wait while the database has too many connections.
    """

    fetch_secret: FetchSecret
    secret_arn: str | None = None
    busy_seconds: float = 0
    _credentials: dict[str, str] = field(default_factory=dict, repr=False)

    def connect(self, *args: Any, **parameters: Any) -> "pymysql.Connection[Any]":
        """Open a connection.

        Raises:
            DatabaseBusyError: the database had too many connections until the end of the wait.
            DatabaseUnavailableError: the server could not be verified, or there is no password.
        """
        give_up_at = time.monotonic() + self.busy_seconds
        while True:
            try:
                return self._connect_with_credentials(args, parameters)
            except pymysql.err.OperationalError as error:
                is_refused = isinstance(error.__context__, ssl.SSLCertVerificationError)
                if is_refused or error.args[0] == _NO_TLS:
                    raise _not_trusted(error) from error
                if error.args[0] not in TOO_MANY_CONNECTIONS:
                    raise
                if time.monotonic() >= give_up_at:
                    raise DatabaseBusyError("the database has too many connections") from error
            time.sleep(random.uniform(*_BUSY_PAUSE_SECONDS))

    def _connect_with_credentials(
        self, args: tuple[Any, ...], parameters: dict[str, Any]
    ) -> "pymysql.Connection[Any]":
        """Use the secret's password; read it again when the server refuses it."""
        if self.secret_arn is None:
            return pymysql.connect(*args, **parameters)
        if self._credentials:
            try:
                return pymysql.connect(*args, **{**parameters, **self._credentials})
            except pymysql.err.OperationalError as error:
                if error.args[0] != ACCESS_DENIED:
                    raise
        # This is the first connection, or the password was changed since it was read.
        self._credentials = self._read_credentials(self.secret_arn)
        return pymysql.connect(*args, **{**parameters, **self._credentials})

    def _read_credentials(self, arn: str) -> dict[str, str]:
        try:
            secret = json.loads(self.fetch_secret(arn))
            return {"user": secret["username"], "password": secret["password"]}
        except Exception as error:  # Any error means that there is no password to connect with.
            raise DatabaseUnavailableError("the database's password could not be read") from error


def _not_trusted(error: pymysql.err.OperationalError) -> DatabaseUnavailableError:
    return DatabaseUnavailableError(
        "the database server is not trusted, so no password was sent. Its certificate must name "
        f"DB_HOST and be signed by an authority in DB_CA_FILE: {error.args[1]}"
    )
