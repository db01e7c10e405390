"""Connections and transactions, for each kind of database."""

import json
import select
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pymysql
import sqlalchemy.exc
from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.orm import Session, sessionmaker

from database.errors import DatabaseUnavailableError, QueryTooSlowError
from database.secret_store import fetch_secret
from database.settings import DatabaseSettings

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 30
# Below any load balancer's idle limit, and below the wait_timeout that the template gives MySQL.
POOL_RECYCLE_SECONDS = 280
# One for each thread of a web worker, so that a burst does not pay for a handshake each time. A
# function uses one, and connections are made only when needed.
POOL_SIZE = 16
# A connection is asked whether it is there after it was idle for longer. On a busy server that
# spares most requests a round trip; on an idle one, none is worth sparing.
MAX_UNASKED_SECONDS = 1.0
SQLITE_BUSY_TIMEOUT_SECONDS = 30

# https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html#error_er_access_denied_error
_MYSQL_ACCESS_DENIED = 1045

# https://dev.mysql.com/doc/refman/8.4/en/optimizer-hints.html#optimizer-hints-execution-time
_MYSQL_QUERY_TIMEOUT = 3024

# What passes by itself, or once somebody mends the server; everything else is a defect of ours.
# https://dev.mysql.com/doc/mysql-errors/8.4/en/
_MYSQL_UNAVAILABLE = {
    *(2002, 2003, 2006, 2013, 2014, 2055),  # Cannot connect, went away, lost.
    *(1158, 1159, 1160, 1161),  # The same, as the server noticed it.
    *(1040, 1129, 1135, 1203, 1226),  # Too many connections, or errors of them.
    _MYSQL_ACCESS_DENIED,  # While a password rotates.
    *(1205, 1213, 3572),  # Waited too long for a lock; deadlock.
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

_USED_AT = "used_at"  # When a connection was given back, by this machine's clock.
_IS_READING = "is_reading"

FetchSecret = Callable[[str], str]  # ARN → the secret's string


def create_database_engine(
    settings: DatabaseSettings,
    *,
    fetch_secret: FetchSecret = fetch_secret,
    read_timeout_seconds: int = READ_TIMEOUT_SECONDS,
) -> Engine:
    """An engine with the settings its kind of database needs. Nothing connects yet.

    Args:
        settings: where the database is.
        fetch_secret: reads the secret that `DB_SECRET_ARN` names, if it is set.
        read_timeout_seconds: how long MySQL may take over one statement.
    """
    url = settings.sqlalchemy_url()
    if url.get_backend_name() == "sqlite":
        return _create_sqlite_engine(url)
    engine = _create_mysql_engine(url, read_timeout_seconds)
    if settings.db_secret_arn is None:
        event.listen(
            engine, "do_connect", lambda _d, _r, cargs, cparams: _MySQLConnection(*cargs, **cparams)
        )
    else:
        _read_password_on_connect(engine, settings.db_secret_arn, fetch_secret)
    return engine


def _create_mysql_engine(url: URL, read_timeout_seconds: int) -> Engine:
    # PyMySQL encrypts whenever the server offers TLS, which RDS always does.
    engine = create_engine(
        url.update_query_dict({"charset": "utf8mb4"}),
        pool_recycle=POOL_RECYCLE_SECONDS,
        pool_size=POOL_SIZE,
        max_overflow=0,
        # Every transaction here is short and conditional on what it updates. Without gap locks,
        # concurrent claims and uploads cannot deadlock one another.
        isolation_level="READ COMMITTED",
        # What is answered without a transaction (`reading`) has none to take back.
        skip_autocommit_rollback=True,
        hide_parameters=True,  # Errors are logged; captions and owners are not.
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "read_timeout": read_timeout_seconds,
            "write_timeout": READ_TIMEOUT_SECONDS,
            "init_command": "SET time_zone = '+00:00'",
        },
    )

    @event.listens_for(engine, "checkin")
    def note_when(_connection: Any, record: Any) -> None:
        record.info[_USED_AT] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ask_whether_it_is_there(connection: Any, record: Any, _proxy: Any) -> None:
        if _USED_AT not in record.info:
            return  # It was made just now.
        idle_seconds = time.monotonic() - record.info[_USED_AT]
        if idle_seconds > MAX_UNASKED_SECONDS or _has_been_told(connection):
            try:
                connection.ping(reconnect=False)
            except pymysql.err.Error as error:
                raise sqlalchemy.exc.InvalidatePoolError from error

    @event.listens_for(engine, "begin")
    def choose_autocommit(connection: Connection) -> None:
        is_reading = connection.get_execution_options().get(_IS_READING, False)
        if connection.connection.driver_connection.get_autocommit() != is_reading:  # type: ignore[union-attr]
            connection.exec_driver_sql(f"SET autocommit = {is_reading:d}")

    return engine


class _MySQLConnection(pymysql.Connection):  # type: ignore[misc] # publishes no types
    """One that does not read the machine's list of authorities, which nothing would look into.

    The server's certificate is not checked; reading the list takes 30 ms and 0.9 MB each time.
    """

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:
        return super()._create_ssl_ctx(sslp) if sslp else _unchecked_tls()


@cache
def _unchecked_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _has_been_told(connection: Any) -> bool:
    """Something has come although nothing was asked: the server's farewell."""
    poll = select.poll()
    poll.register(connection._sock, select.POLLIN)
    return bool(poll.poll(0))


def _create_sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=POOL_SIZE,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # Write-ahead logging lets readers go on while one connection writes.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        # SQLite's own lower() knows the English alphabet only. Nothing stored depends on this.
        connection.create_function("casefold", 1, _casefold, deterministic=True)

    return engine


def _casefold(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _read_password_on_connect(engine: Engine, arn: str, fetch_secret: FetchSecret) -> None:
    """Give each new connection the secret's password, read again when the server refuses it."""
    password: str | None = None

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, cargs: Any, cparams: dict[str, Any]) -> Any:
        nonlocal password
        if password is not None:
            try:
                return _MySQLConnection(*cargs, **{**cparams, "password": password})
            except pymysql.err.OperationalError as error:
                if error.args[0] != _MYSQL_ACCESS_DENIED:
                    raise
        # First connection, or the password was rotated since it was read.
        try:
            password = json.loads(fetch_secret(arn))["password"]
        except Exception as error:  # Whatever the store of secrets raises, there is no connection.
            raise DatabaseUnavailableError("the database's password could not be read") from error
        return _MySQLConnection(*cargs, **{**cparams, "password": password})


def create_session_factory(engine: Engine) -> sessionmaker[Session]:
    """Sessions whose rows stay readable after their transaction has ended."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def session_scope(session_factory: sessionmaker[Session]) -> Iterator[Session]:
    """One transaction: committed when the block returns, rolled back when it raises.

    Raises:
        DatabaseUnavailableError: the database is away, or gave up on the transaction.
        QueryTooSlowError: it gave up on one question, which took too long.
    """
    with _translated_errors(), session_factory.begin() as session:
        yield session


@contextmanager
def reading(session_factory: sessionmaker[Session]) -> Iterator[Connection]:
    """Questions that change nothing, each answered by itself, as of when it is asked.

    Without a transaction, a question is one round trip.

    Raises:
        As `session_scope`.
    """
    engine: Engine = session_factory.kw["bind"]
    with _translated_errors(), engine.connect() as connection:
        yield connection.execution_options(**{_IS_READING: True})


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except sqlalchemy.exc.TimeoutError as error:  # No connection in the pool became free.
        raise DatabaseUnavailableError("no connection to the database was free") from error
    except sqlalchemy.exc.DBAPIError as error:
        if _code(error) == _MYSQL_QUERY_TIMEOUT:
            raise QueryTooSlowError("the database took too long over one question") from error
        if _is_unavailable(error):
            raise DatabaseUnavailableError("the database did not answer") from error
        raise


def _is_unavailable(error: sqlalchemy.exc.DBAPIError) -> bool:
    """Whether an error may pass by itself. Drivers file defects of ours under the same classes."""
    if error.connection_invalidated:
        return True
    code = _code(error)
    if isinstance(code, int):
        return code in _MYSQL_UNAVAILABLE
    return any(words in str(code) for words in _SQLITE_UNAVAILABLE)


def _code(error: sqlalchemy.exc.DBAPIError) -> object:
    """The first thing a driver says of an error: MySQL's number, or SQLite's sentence."""
    return error.orig.args[0] if error.orig is not None and error.orig.args else None
