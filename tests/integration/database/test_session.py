"""What each kind of connection is set to, on real servers."""

import json
import threading

import pytest
from sqlalchemy import make_url, text

from database.errors import DatabaseUnavailableError
from database.migrations import migrate
from database.session import (
    POOL_SIZE,
    create_database_engine,
    create_session_factory,
    session_scope,
)
from database.settings import DatabaseSettings
from tests import mysql_server


def test_mysql_connections_are_in_utc_in_utf8mb4_and_encrypted(mysql_url, make_engine):
    with make_engine(mysql_url).connect() as connection:
        time_zone, characters, isolation = connection.execute(
            text("SELECT @@time_zone, @@character_set_connection, @@transaction_isolation")
        ).one()
        cipher = connection.execute(text("SHOW STATUS LIKE 'Ssl_cipher'")).one()[1]

    assert (time_zone, characters, isolation) == ("+00:00", "utf8mb4", "READ-COMMITTED")
    assert cipher


def test_sqlite_connections_write_ahead_and_wait_for_one_another(sqlite_url, make_engine):
    with make_engine(sqlite_url).connect() as connection:
        pragmas = [
            connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        ]

    assert pragmas == ["wal", 1, 30_000]


@pytest.fixture
def rotating_password(tmp_path):
    """A server of its own, whose account's password can be changed as RDS rotates one."""
    if not mysql_server.mysql_is_available() or mysql_server.find_mysqld() is None:
        pytest.skip(mysql_server.MYSQL_MISSING)
    with mysql_server.own_mysql(tmp_path) as server:
        yield server


def test_a_rotated_password_is_read_again_when_the_server_refuses_the_old_one(rotating_password):
    server = rotating_password
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
        fetch_secret,
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


def test_a_secret_without_a_way_to_read_it_is_refused_at_the_start():
    settings = DatabaseSettings(database_url=None, db_host="h", db_user="u", db_secret_arn="arn:x")

    with pytest.raises(ValueError, match="DB_SECRET_ARN"):
        create_database_engine(settings)


def test_a_full_pool_is_the_same_error_as_a_database_that_is_away(mysql_url, make_engine):
    engine = make_engine(mysql_url)
    engine.pool._timeout = 0.1  # the wait itself is not what is tested
    factory = create_session_factory(engine)
    held = [engine.connect() for _ in range(POOL_SIZE)]

    with pytest.raises(DatabaseUnavailableError), session_scope(factory) as session:
        session.execute(text("SELECT 1"))

    for connection in held:
        connection.close()


def test_migrations_that_start_together_run_one_after_the_other(mysql_url, make_engine):
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
