"""Fixtures used everywhere."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from database.migrations import migrate
from database.session import create_database_engine, create_session_factory
from database.settings import DatabaseSettings
from tests import mysql_server
from tests.fakes import FakeEventBus, FakeObjectStore
from web_app import create_app
from web_app.settings import Settings

MakeEngine = Callable[[str], Engine]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-schema", action="store_true", help="write database/schema.sql from a real MySQL"
    )


@pytest.fixture
def unused_tcp_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def mysql_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MySQL server, started once for the whole run."""
    if not mysql_server.mysql_is_available():
        if os.environ.get("REQUIRE_REAL_PARTS"):
            pytest.fail(mysql_server.MYSQL_MISSING)
        pytest.skip(mysql_server.MYSQL_MISSING)
    with mysql_server.running_mysql(tmp_path_factory.mktemp("mysql")) as url:
        yield url


_MYSQL_TESTS = pytest.StashKey[int]()


def _count_mysql_tests(config: pytest.Config, tests: int) -> None:
    config.stash[_MYSQL_TESTS] = config.stash.get(_MYSQL_TESTS, 0) + tests


def pytest_sessionfinish(session: pytest.Session) -> None:
    # One of several processes tells the one that sums up.
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["mysql_tests"] = session.config.stash.get(_MYSQL_TESTS, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _count_mysql_tests(node.config, getattr(node, "workeroutput", {}).get("mysql_tests", 0))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    terminalreporter.write_line(
        f"{config.stash.get(_MYSQL_TESTS, 0)} of these tests ran on a real MySQL server."
    )


@pytest.fixture
def mysql_url(mysql_server_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of its own on the real server."""
    _count_mysql_tests(request.config, 1)
    with mysql_server.fresh_database(mysql_server_url) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A database file that is not there yet."""
    return f"sqlite:///{tmp_path / 'images.sqlite3'}"


@pytest.fixture
def make_engine() -> Iterator[MakeEngine]:
    """Makes engines as the application does, and closes their connections at the end."""
    engines: list[Engine] = []

    def make(url: str) -> Engine:
        engines.append(create_database_engine(DatabaseSettings(database_url=url)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


@pytest.fixture(params=["sqlite", "mysql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Each kind of database in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def session_factory(sqlite_url: str, make_engine: MakeEngine) -> sessionmaker[Session]:
    """Sessions on a migrated SQLite database: the fast kind."""
    engine = make_engine(sqlite_url)
    migrate(engine)
    return create_session_factory(engine)


@pytest.fixture
def settings() -> Settings:
    """Settings of the web application; the database and the storage are given to it apart."""
    return Settings(
        database_url="sqlite://",
        flask_secret_key="a key that only the tests know",
        s3_image_bucket="images",
        s3_thumbnail_bucket="thumbnails",
    )


@pytest.fixture
def object_store() -> FakeObjectStore:
    """The web application's storage, in memory."""
    return FakeObjectStore()


@pytest.fixture
def event_bus() -> FakeEventBus:
    """The web application's bus, in memory."""
    return FakeEventBus()


@pytest.fixture
def app(
    settings: Settings,
    object_store: FakeObjectStore,
    event_bus: FakeEventBus,
    session_factory: sessionmaker[Session],
) -> Flask:
    """The web application on fakes."""
    return create_app(
        settings,
        object_store=object_store,
        event_bus=event_bus,
        session_factory=session_factory,
    )


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser that keeps its cookies and follows no redirects."""
    return app.test_client()
