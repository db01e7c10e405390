"""Engines, sessions and transactions for MySQL and SQLite."""

import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
import sqlalchemy.exc
from sqlalchemy import URL, Engine, QueuePool, create_engine, event
from sqlalchemy.orm import Session, sessionmaker

from database.errors import DatabaseUnavailableError, QueryTooSlowError
from database.secret_store import fetch_secret
from database.settings import DatabaseSettings

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 30
# Shorter than the idle time-out of any load balancer and than the wait_timeout in the template.
POOL_RECYCLE_SECONDS = 280
# For each web process: further requests wait for a connection. A function uses one. Connections are
# opened only when they are needed.
POOL_SIZE = 16
# SQLite has one write lock, which a transaction holds for a few milliseconds. A web request that
# waits for it keeps a connection of the pool.
SQLITE_LOCK_WAIT_SECONDS = 5
_SQLITE_POLL_SECONDS = (0.005, 0.02)

# https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html#error_er_access_denied_error
_MYSQL_ACCESS_DENIED = 1045

# https://dev.mysql.com/doc/refman/8.4/en/optimizer-hints.html#optimizer-hints-execution-time
_MYSQL_QUERY_TIMEOUT = 3024

# Errors that are transient, or that last until the server is repaired. Any other error is a defect
# of this application.
# https://dev.mysql.com/doc/mysql-errors/8.4/en/
_MYSQL_UNAVAILABLE = {
    *(2002, 2003, 2006, 2013, 2014, 2055),  # Cannot connect, or the connection was lost.
    *(1158, 1159, 1160, 1161),  # The connection was lost, as the server reports it.
    *(1040, 1129, 1135, 1203, 1226),  # Too many connections, or too many failed ones.
    _MYSQL_ACCESS_DENIED,  # The password was rotated since it was read.
    *(1205, 1213, 3572),  # Lock wait time-out, or deadlock.
    *(1053, 1077, 1079, 1317, 1927, 3032, 3168, 3169, 4031),  # Shutting down, offline, killed.
    _MYSQL_QUERY_TIMEOUT,
    *(1021, 1026, 1030, 1037, 1038, 1041, 1114),  # Out of disk, table space or memory.
    *(1290, 1792, 1836),  # Read-only after a failover.
}
_SQLITE_UNAVAILABLE = (
    "database is locked",
    "database table is locked",
    "disk is full",
    "disk I/O error",
    "readonly database",
    "unable to open database file",
)

FetchSecret = Callable[[str], str]  # Maps an ARN to the secret's string.


def create_database_engine(
    settings: DatabaseSettings,
    *,
    fetch_secret: FetchSecret = fetch_secret,
    read_timeout_seconds: int = READ_TIMEOUT_SECONDS,
) -> Engine:
    """Create the engine for the configured database. It connects on first use.

    Args:
        fetch_secret: reads the secret that `DB_SECRET_ARN` names, if it is set.
        read_timeout_seconds: the time that MySQL may take for one statement.
    """
    url = settings.sqlalchemy_url()
    if url.get_backend_name() == "sqlite":
        return _create_sqlite_engine(url)
    engine = _create_mysql_engine(url, read_timeout_seconds)
    if settings.db_secret_arn is not None:
        _read_password_on_connect(engine, settings.db_secret_arn, fetch_secret)
    return engine


def _create_mysql_engine(url: URL, read_timeout_seconds: int) -> Engine:
    # PyMySQL encrypts whenever the server offers TLS, which RDS always does.
    return create_engine(
        url.update_query_dict({"charset": "utf8mb4"}),
        pool_pre_ping=True,
        pool_recycle=POOL_RECYCLE_SECONDS,
        pool_size=POOL_SIZE,
        max_overflow=0,
        # Every transaction is short, and its updates are conditional. Without gap locks,
        # concurrent claims and uploads cannot deadlock.
        isolation_level="READ COMMITTED",
        hide_parameters=True,  # Errors are logged, but captions and owner ids must not be.
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "read_timeout": read_timeout_seconds,
            "write_timeout": READ_TIMEOUT_SECONDS,
            "init_command": "SET time_zone = '+00:00'",
        },
    )


def _create_sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=POOL_SIZE,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"timeout": SQLITE_LOCK_WAIT_SECONDS},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # Write-ahead logging lets readers continue while one connection writes.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA busy_timeout = 0")  # `wait_for_lock` waits instead.

    @event.listens_for(engine, "do_execute")
    def wait_for_lock(cursor: Any, statement: str, parameters: Any, _context: Any) -> bool:
        """Execute a statement. Wait in Python, because SQLite's own wait would stop all greenlets.

        A failed statement did nothing, so it can be repeated.
        """
        ends_at = time.monotonic() + SQLITE_LOCK_WAIT_SECONDS
        while True:
            try:
                cursor.execute(statement, parameters)
                return True
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > ends_at:
                    raise
            time.sleep(random.uniform(*_SQLITE_POLL_SECONDS))

    return engine


def _read_password_on_connect(engine: Engine, arn: str, fetch_secret: FetchSecret) -> None:
    """Use the secret's password for new connections; read it again when the server refuses it."""
    password: str | None = None

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, cargs: Any, cparams: dict[str, Any]) -> Any:
        nonlocal password
        if password is not None:
            try:
                return pymysql.connect(*cargs, **{**cparams, "password": password})
            except pymysql.err.OperationalError as error:
                if error.args[0] != _MYSQL_ACCESS_DENIED:
                    raise
        # This is the first connection, or the password was rotated since it was read.
        try:
            password = json.loads(fetch_secret(arn))["password"]
        except Exception as error:  # Any error means that there is no password to connect with.
            raise DatabaseUnavailableError("the database's password could not be read") from error
        return pymysql.connect(*cargs, **{**cparams, "password": password})


def create_session_factory(engine: Engine) -> sessionmaker[Session]:
    """Create a factory of sessions that keep their rows readable after the transaction."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def session_scope(session_factory: sessionmaker[Session]) -> Iterator[Session]:
    """Open a transaction: commit when the block returns, roll back when it raises.

    Raises:
        DatabaseUnavailableError: the database did not answer or aborted the transaction.
        QueryTooSlowError: the database aborted a query that took too long.
    """
    with _translated_errors(), session_factory.begin() as session:
        yield session


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except sqlalchemy.exc.TimeoutError as error:  # All connections of the pool stayed in use.
        raise DatabaseUnavailableError("all connections to the database are in use") from error
    except sqlalchemy.exc.DBAPIError as error:
        if _code(error) == _MYSQL_QUERY_TIMEOUT:
            raise QueryTooSlowError("a query took too long") from error
        if _is_unavailable(error):
            raise DatabaseUnavailableError("the database did not answer") from error
        raise


def _is_unavailable(error: sqlalchemy.exc.DBAPIError) -> bool:
    """Return whether a later attempt may succeed. Drivers use the same classes for our defects."""
    if error.connection_invalidated:
        return True
    code = _code(error)
    if isinstance(code, int):
        return code in _MYSQL_UNAVAILABLE
    return any(message in str(code) for message in _SQLITE_UNAVAILABLE)


def _code(error: sqlalchemy.exc.DBAPIError) -> object:
    """Return the driver's own code: MySQL's error number or SQLite's message."""
    return error.orig.args[0] if error.orig is not None and error.orig.args else None
