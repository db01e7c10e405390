"""Connections, transactions and translated errors, on SQLite and on a real MySQL server."""

import json
import sqlite3
import threading

import pytest
from sqlalchemy import func, make_url, select, text
from sqlalchemy.exc import DBAPIError

import database.session
from database.errors import DatabaseUnavailableError, QueryTooSlowError
from database.images import add_image
from database.migrations import migrate
from database.models import Image
from database.session import (
    POOL_SIZE,
    create_database_engine,
    create_session_factory,
    session_scope,
)
from database.settings import DatabaseSettings
from tests.support import mysql_server
from tests.support.image_rows import add, new_image


def test_mysql_connections_are_in_utc_in_utf8mb4_and_encrypted(mysql_url, make_engine):
    with make_engine(mysql_url).connect() as connection:
        time_zone, characters, isolation = connection.execute(
            text("SELECT @@time_zone, @@character_set_connection, @@transaction_isolation")
        ).one()
        cipher = connection.execute(text("SHOW STATUS LIKE 'Ssl_cipher'")).one()[1]

    assert (time_zone, characters, isolation) == ("+00:00", "utf8mb4", "READ-COMMITTED")
    assert cipher


def test_sqlite_connections_use_write_ahead_logging_and_no_wait_in_c(sqlite_url, make_engine):
    with make_engine(sqlite_url).connect() as connection:
        pragmas = [
            connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        ]

    assert pragmas == ["wal", 1, 0]


@pytest.fixture
def locked_sqlite(sqlite_url, make_engine):
    """Return a session factory, and a connection that holds the write lock of its database."""
    engine = make_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE words (word TEXT)"))
    holder = sqlite3.connect(
        make_url(sqlite_url).database, isolation_level=None, check_same_thread=False
    )
    holder.execute("BEGIN IMMEDIATE")
    yield create_session_factory(engine), holder
    holder.close()


def insert_word(factory):
    with session_scope(factory) as session:
        session.execute(text("INSERT INTO words VALUES ('a')"))


def count_words(factory):
    with session_scope(factory) as session:
        return session.scalar(text("SELECT COUNT(*) FROM words"))


def test_a_write_waits_for_a_short_lock_of_sqlite(locked_sqlite, monkeypatch):
    factory, holder = locked_sqlite
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            holder.execute("COMMIT")

    monkeypatch.setattr(database.session.time, "sleep", pause)
    insert_word(factory)

    assert count_words(factory) == 1
    assert len(pauses) == 3


def test_a_write_ends_after_a_wait_and_reads_go_on_while_sqlite_is_locked(
    locked_sqlite, monkeypatch
):
    factory, _holder = locked_sqlite
    monkeypatch.setattr(database.session, "SQLITE_LOCK_WAIT_SECONDS", 0.1)

    with pytest.raises(DatabaseUnavailableError):
        insert_word(factory)

    assert count_words(factory) == 0


@pytest.fixture
def own_server(tmp_path):
    """Start a MySQL server for one test, so that the test may change global settings."""
    if not mysql_server.mysql_is_available() or mysql_server.find_mysqld() is None:
        pytest.skip(mysql_server.MYSQL_MISSING)
    with mysql_server.own_mysql(tmp_path) as server:
        yield server


def test_a_rotated_password_is_read_again_when_the_server_refuses_the_old_one(own_server):
    server = own_server
    url = make_url(server.url)
    secret = {"password": url.password}
    reads = []

    def fetch_secret(arn):
        reads.append(arn)
        return json.dumps({"username": url.username, **secret})

    engine = create_database_engine(
        DatabaseSettings(
            database_url=None,
            db_host=url.host,
            db_port=url.port,
            db_name="information_schema",
            db_user=url.username,
            db_secret_arn="arn:secret",
        ),
        fetch_secret=fetch_secret,
    )
    try:
        for _ in range(2):
            with engine.connect() as connection:
                assert connection.scalar(text("SELECT 1")) == 1
            engine.dispose()
        assert reads == ["arn:secret"]

        secret["password"] = "rotated-7-days-later"
        server.execute_as_root(
            f"ALTER USER '{url.username}'@'127.0.0.1' IDENTIFIED BY '{secret['password']}'"
        )
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        assert len(reads) == 2
    finally:
        engine.dispose()


def test_an_exhausted_pool_raises_database_unavailable(mysql_url, make_engine):
    engine = make_engine(mysql_url)
    engine.pool._timeout = 0.1  # The length of the wait is not tested.
    factory = create_session_factory(engine)
    connections = [engine.connect() for _ in range(POOL_SIZE)]

    with pytest.raises(DatabaseUnavailableError), session_scope(factory) as session:
        session.execute(text("SELECT 1"))

    for connection in connections:
        connection.close()


def test_migrations_that_start_together_all_succeed(mysql_url, make_engine):
    errors = []

    def run():
        try:
            migrate(make_engine(mysql_url))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []


@pytest.fixture
def mysql_factory(mysql_url, make_engine):
    engine = make_engine(mysql_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (id INT PRIMARY KEY, n INT)"))
        connection.execute(text("INSERT INTO t VALUES (1, 0), (2, 0)"))
    return create_session_factory(engine)


def lock(session, row):
    session.execute(text(f"UPDATE t SET n = n + 1 WHERE id = {row}"))


def mysql_error_number(caught):
    """Return MySQL's error number."""
    return caught.value.__cause__.orig.args[0]


def test_of_two_deadlocked_transactions_one_raises_and_the_other_succeeds(mysql_factory):
    both_locked, error_numbers = threading.Barrier(2), []

    def cross(first, second):
        try:
            with session_scope(mysql_factory) as session:
                lock(session, first)
                both_locked.wait(10)
                lock(session, second)
        except DatabaseUnavailableError as error:
            error_numbers.append(error.__cause__.orig.args[0])

    threads = [threading.Thread(target=cross, args=order) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert error_numbers == [1213]
    with session_scope(mysql_factory) as session:
        assert session.execute(text("SELECT n FROM t")).scalars().all() == [1, 1]


def test_a_lock_wait_timeout_raises_database_unavailable(mysql_factory):
    with session_scope(mysql_factory) as holder:
        lock(holder, 1)
        with (
            pytest.raises(DatabaseUnavailableError) as caught,
            session_scope(mysql_factory) as session,
        ):
            session.execute(text("SET SESSION innodb_lock_wait_timeout = 1"))
            lock(session, 1)

    assert mysql_error_number(caught) == 1205


def kill(session_factory, what, connection_id):
    with session_scope(session_factory) as session:
        session.execute(text(f"KILL {what} {connection_id}"))


def test_a_transaction_on_a_killed_connection_is_rolled_back_and_the_next_one_works(mysql_factory):
    with pytest.raises(DatabaseUnavailableError), session_scope(mysql_factory) as session:
        lock(session, 1)
        kill(mysql_factory, "CONNECTION", session.scalar(text("SELECT CONNECTION_ID()")))
        lock(session, 2)

    with session_scope(mysql_factory) as session:
        assert session.execute(text("SELECT n FROM t")).scalars().all() == [0, 0]


def test_a_killed_query_raises_database_unavailable(mysql_factory):
    with session_scope(mysql_factory) as session:
        victim = session.scalar(text("SELECT CONNECTION_ID()"))
        killer = threading.Timer(0.5, kill, (mysql_factory, "QUERY", victim))
        killer.start()
        with pytest.raises(DatabaseUnavailableError) as caught, session_scope(mysql_factory):
            try:
                session.execute(
                    text(
                        "SELECT COUNT(*) FROM information_schema.columns a,"
                        " information_schema.columns b, information_schema.columns c"
                    )
                )
            finally:
                killer.join()

    assert mysql_error_number(caught) == 1317


def test_a_full_table_raises_database_unavailable(mysql_factory):
    with pytest.raises(DatabaseUnavailableError) as caught, session_scope(mysql_factory) as session:
        session.execute(text("SET SESSION max_heap_table_size = 16384"))
        session.execute(text("CREATE TEMPORARY TABLE full_one (c CHAR(255)) ENGINE = MEMORY"))
        for _ in range(100):
            session.execute(text("INSERT INTO full_one VALUES ('x')"))

    assert mysql_error_number(caught) == 1114


def test_a_query_over_its_time_limit_raises_query_too_slow(mysql_factory):
    with pytest.raises(QueryTooSlowError), session_scope(mysql_factory) as session:
        session.execute(
            text(
                "SELECT /*+ MAX_EXECUTION_TIME(100) */ COUNT(*) FROM information_schema.columns a,"
                " information_schema.columns b, information_schema.columns c"
            )
        )


def test_a_read_only_server_raises_database_unavailable(own_server, make_engine):
    own_server.execute_as_root("CREATE DATABASE test_failover")
    engine = make_engine(
        make_url(own_server.url).set(database="test_failover").render_as_string(hide_password=False)
    )
    factory = create_session_factory(engine)
    with session_scope(factory) as session:
        session.execute(text("CREATE TABLE t (id INT PRIMARY KEY)"))
    own_server.execute_as_root("SET GLOBAL read_only = ON")

    with pytest.raises(DatabaseUnavailableError) as caught, session_scope(factory) as session:
        session.execute(text("INSERT INTO t VALUES (1)"))
    assert mysql_error_number(caught) in (1290, 1836)

    own_server.execute_as_root("SET GLOBAL read_only = OFF")
    with session_scope(factory) as session:
        session.execute(text("INSERT INTO t VALUES (1)"))


def test_idle_connections_that_the_server_closed_are_replaced(mysql_factory):
    with session_scope(mysql_factory) as session:
        thread_id = session.scalar(text("SELECT CONNECTION_ID()"))
    with mysql_factory.kw["bind"].connect() as first, mysql_factory.kw["bind"].connect() as second:
        idle_ids = [each.scalar(text("SELECT CONNECTION_ID()")) for each in (first, second)]
    with session_scope(mysql_factory) as session:
        in_use = session.scalar(text("SELECT CONNECTION_ID()"))
        for each in {thread_id, *idle_ids} - {in_use}:
            session.execute(text(f"KILL {each}"))

    with session_scope(mysql_factory) as first, session_scope(mysql_factory) as second:
        assert first.scalar(text("SELECT 1")) == 1
        assert second.scalar(text("SELECT 1")) == 1


def test_connections_are_encrypted(mysql_factory):
    with session_scope(mysql_factory) as session:
        assert session.execute(text("SHOW STATUS LIKE 'Ssl_cipher'")).one()[1]


def test_a_transaction_that_raises_is_rolled_back(session_factory):
    with pytest.raises(ZeroDivisionError), session_scope(session_factory) as session:
        add_image(session, new_image())
        raise ZeroDivisionError

    with session_scope(session_factory) as session:
        assert session.scalar(select(func.count()).select_from(Image)) == 0


def test_an_invalid_statement_is_not_reported_as_database_unavailable(session_factory):
    add(session_factory)

    for statement in ("UPDATE images SET annotation_status = 'done'", "SELECT nothing FROM images"):
        with pytest.raises(DBAPIError), session_scope(session_factory) as session:
            session.execute(text(statement))


def test_an_unreachable_database_raises_database_unavailable(make_engine, unused_tcp_port):
    factory = create_session_factory(make_engine(f"mysql://a:b@127.0.0.1:{unused_tcp_port}/x"))

    with pytest.raises(DatabaseUnavailableError), session_scope(factory) as session:
        session.execute(text("SELECT 1"))
