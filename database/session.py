"""Connections and transactions, for each kind of database."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
import sqlalchemy.exc
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.orm import Session, sessionmaker

from database.errors import DatabaseUnavailableError
from database.settings import DatabaseSettings

CONNECT_TIMEOUT_SECONDS = 5
# Below any load balancer's idle limit; MySQL's own wait_timeout is eight hours.
POOL_RECYCLE_SECONDS = 280
# One for each thread of a web worker, so that a burst does not pay for a handshake each time. A
# function uses one, and connections are made only when needed.
POOL_SIZE = 16
SQLITE_BUSY_TIMEOUT_SECONDS = 30

# https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html#error_er_access_denied_error
_MYSQL_ACCESS_DENIED = 1045

FetchSecret = Callable[[str], str]  # ARN → the secret's string


def create_database_engine(
    settings: DatabaseSettings, fetch_secret: FetchSecret | None = None
) -> Engine:
    """An engine with the settings its kind of database needs. Nothing connects yet.

    Args:
        settings: where the database is.
        fetch_secret: reads a secret by ARN; needed only when `DB_SECRET_ARN` is set.
    """
    url = settings.sqlalchemy_url()
    if url.get_backend_name() == "sqlite":
        return _create_sqlite_engine(url)
    engine = _create_mysql_engine(url)
    if settings.db_secret_arn is not None:
        if fetch_secret is None:
            raise ValueError("DB_SECRET_ARN is set, and nothing was given to read it with")
        _read_password_on_connect(engine, settings.db_secret_arn, fetch_secret)
    return engine


def _create_mysql_engine(url: URL) -> Engine:
    # PyMySQL encrypts whenever the server offers TLS, which RDS always does.
    return create_engine(
        url.update_query_dict({"charset": "utf8mb4"}),
        pool_pre_ping=True,
        pool_recycle=POOL_RECYCLE_SECONDS,
        pool_size=POOL_SIZE,
        max_overflow=0,
        # Every transaction here is short and conditional on what it updates. Without gap locks,
        # concurrent claims and uploads cannot deadlock one another.
        isolation_level="READ COMMITTED",
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "read_timeout": 30,
            "write_timeout": 30,
            "init_command": "SET time_zone = '+00:00'",
        },
    )


def _create_sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # Write-ahead logging lets readers go on while one connection writes.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    return engine


def _read_password_on_connect(engine: Engine, arn: str, fetch_secret: FetchSecret) -> None:
    """Give each new connection the secret's password, read again when the server refuses it."""
    password: str | None = None

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _record: Any, cargs: Any, cparams: dict[str, Any]) -> Any:
        nonlocal password
        if password is not None:
            try:
                return dialect.connect(*cargs, **{**cparams, "password": password})
            except pymysql.err.OperationalError as error:
                if error.args[0] != _MYSQL_ACCESS_DENIED:
                    raise
        # First connection, or the password was rotated since it was read.
        password = json.loads(fetch_secret(arn))["password"]
        return dialect.connect(*cargs, **{**cparams, "password": password})


def create_session_factory(engine: Engine) -> sessionmaker[Session]:
    """Sessions whose rows stay readable after their transaction has ended."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def session_scope(session_factory: sessionmaker[Session]) -> Iterator[Session]:
    """One transaction: committed when the block returns, rolled back when it raises.

    Raises:
        DatabaseUnavailableError: the database is away, or gave up on the transaction.
    """
    try:
        with session_factory.begin() as session:
            yield session
    except (
        sqlalchemy.exc.OperationalError,
        sqlalchemy.exc.InterfaceError,
        sqlalchemy.exc.TimeoutError,  # No connection in the pool became free.
    ) as error:
        raise DatabaseUnavailableError("the database did not answer") from error
