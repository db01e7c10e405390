"""Engines, sessions and transactions for MySQL and SQLite."""

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy.exc
from sqlalchemy import URL, Engine, NullPool, QueuePool, create_engine, event
from sqlalchemy.orm import Session, sessionmaker

from database.connections import (
    ACCESS_DENIED,
    TOO_MANY_CONNECTIONS,
    Connector,
    FetchSecret,
    verifying_context,
)
from database.errors import DatabaseBusyError, DatabaseUnavailableError, QueryTooSlowError
from database.secret_store import fetch_secret
from database.settings import DatabaseSettings

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 30
# Shorter than the idle time-out of any load balancer and than the wait_timeout in the template.
POOL_RECYCLE_SECONDS = 280
# Connections are opened only when they are needed. Further requests of a process wait for one.
POOL_SIZE = 16
# The time that a function waits while the database has too many connections, which is half of the
# shortest time-out of a function.
FUNCTION_BUSY_SECONDS = 5
# SQLite has one write lock, which a transaction holds for a few milliseconds. A web request that
# waits for it keeps a connection of the pool.
SQLITE_LOCK_WAIT_SECONDS = 5
_SQLITE_POLL_SECONDS = (0.005, 0.02)

# https://dev.mysql.com/doc/refman/8.4/en/optimizer-hints.html#optimizer-hints-execution-time
_MYSQL_QUERY_TIMEOUT = 3024

# Errors that are transient, or that last until the server is repaired. Any other error is a defect
# of this application.
# https://dev.mysql.com/doc/mysql-errors/8.4/en/
_MYSQL_UNAVAILABLE = {
    *(2002, 2003, 2006, 2013, 2014, 2055),  # Cannot connect, or the connection was lost.
    *(1158, 1159, 1160, 1161),  # The connection was lost, as the server reports it.
    *TOO_MANY_CONNECTIONS,
    *(1129, 1135),  # Too many failed connections, or no thread for another one.
    ACCESS_DENIED,  # The password was changed since it was read.
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


def create_database_engine(
    settings: DatabaseSettings,
    *,
    pool_size: int = POOL_SIZE,
    busy_seconds: float = 0,
    fetch_secret: FetchSecret = fetch_secret,
    read_timeout_seconds: int = READ_TIMEOUT_SECONDS,
) -> Engine:
    """Create the engine for the configured database. It connects on first use.

    Args:
        pool_size: the most connections to MySQL at once. With 0, each transaction opens and closes
            its own.
        busy_seconds: how long to wait while MySQL has too many connections.
        fetch_secret: reads the secret that `DB_SECRET_ARN` names, if it is set.
        read_timeout_seconds: the time that MySQL may take for one statement.
    """
    url = settings.sqlalchemy_url()
    if url.get_backend_name() == "sqlite":
        return _create_sqlite_engine(url)
    engine = _create_mysql_engine(url, settings, pool_size, read_timeout_seconds)
    connector = Connector(fetch_secret, settings.db_secret_arn, busy_seconds)

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, cargs: Any, cparams: dict[str, Any]) -> Any:
        return connector.connect(*cargs, **cparams)

    return engine


def create_function_engine(settings: DatabaseSettings) -> Engine:
    """Create the engine of a function, which keeps no connection between its transactions.

    Lambda freezes an idle container with its connections, which the others would then lack.
    """
    return create_database_engine(settings, pool_size=0, busy_seconds=FUNCTION_BUSY_SECONDS)


def _create_mysql_engine(
    url: URL, settings: DatabaseSettings, pool_size: int, read_timeout_seconds: int
) -> Engine:
    connect_args: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "read_timeout": read_timeout_seconds,
        "write_timeout": READ_TIMEOUT_SECONDS,
        "init_command": "SET time_zone = '+00:00'",
    }
    # Without the file, PyMySQL encrypts if the server offers TLS, and does not verify the server.
    if settings.db_ca_file is not None:
        connect_args["ssl"] = verifying_context(settings.db_ca_file)
    pool: dict[str, Any] = {"poolclass": NullPool}
    if pool_size > 0:
        pool = {
            "pool_pre_ping": True,
            "pool_recycle": POOL_RECYCLE_SECONDS,
            "pool_size": pool_size,
            "max_overflow": 0,
        }
    return create_engine(
        url.update_query_dict({"charset": "utf8mb4"}),
        **pool,
        # Every transaction is short, and its updates are conditional. Without gap locks,
        # concurrent claims and uploads cannot deadlock.
        isolation_level="READ COMMITTED",
        hide_parameters=True,  # Errors are logged, but captions and owner ids must not be.
        connect_args=connect_args,
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


def create_session_factory(engine: Engine) -> sessionmaker[Session]:
    """Create a factory of sessions that keep their rows readable after the transaction."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def session_scope(session_factory: sessionmaker[Session]) -> Iterator[Session]:
    """Open a transaction: commit when the block returns, roll back when it raises.

    Raises:
        DatabaseBusyError: all connections are in use.
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
        raise DatabaseBusyError("all connections of this process are in use") from error
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
