"""Fixtures and hooks for all tests."""

import gc
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.loaders import JSONFileLoader, Loader
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import FileSystemBytecodeCache
from pytest_mock import MockerFixture
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.routing import Rule
from werkzeug.serving import make_server
from whitenoise import WhiteNoise, base
from xdist.scheduler import LoadFileScheduling

from database.migrations import migrate
from database.models import Image
from database.session import create_database_engine, create_session_factory, session_scope
from database.settings import DatabaseSettings
from tests.support import mysql_server, programs, time_limits
from tests.support.clients import asking_for_html
from tests.support.fakes import FakeEventBus, FakeObjectStore
from web_app.app import create_app
from web_app.settings import Settings

MakeEngine = Callable[[str], Engine]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-schema", action="store_true", help="write database/schema.sql from a real MySQL"
    )


# The files of each group run one after the other. Those of the first group share a browser and a
# system. Those of the second one share a system, or wait most of the time: two of them at once
# would leave a processor idle.
_GROUPS = {
    "browser": ("tests/browser/",),
    "waiting": (
        *(
            f"tests/end_to_end/test_{name}.py"
            for name in ("backfill", "generated_client", "local_system", "redrive", "smoke")
        ),
        *(f"tests/faults/test_{name}.py" for name in ("database", "events")),
        "tests/unit/web_app/test_slow_responses.py",
    ),
}


class _ByFile(LoadFileScheduling):
    """Distributes tests by file, and the files of each group together."""

    # No public option groups by file and also joins some files. The schedulers of pytest-xdist
    # override this method for their own grouping too.
    def _split_scope(self, nodeid: str) -> str:
        for group, starts in _GROUPS.items():
            if nodeid.startswith(starts):
                return group
        return str(super()._split_scope(nodeid))


# These tests wait most of the time too. They start after the others that wait, beside the unit
# tests, which need a processor all the time.
_BEFORE_UNIT_TESTS = "tests/faults/test_processes.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        if item.nodeid.startswith(_BEFORE_UNIT_TESTS):
            return 1
        return 2 if item.nodeid.startswith(("tests/unit/", "tests/verify/")) else 0

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return _ByFile(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture
def unused_tcp_port() -> int:
    """Return a local port on which nothing listens."""
    return programs.free_port()


@pytest.fixture(scope="session")
def mysql_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Provide the URL of a real MySQL server, started once for the whole run."""
    if not mysql_server.mysql_is_available():
        if os.environ.get("REQUIRE_REAL_PARTS"):
            pytest.fail(mysql_server.MYSQL_MISSING)
        pytest.skip(mysql_server.MYSQL_MISSING)
    with mysql_server.running_mysql(tmp_path_factory.mktemp("mysql")) as url:
        yield url


_MYSQL_TESTS = pytest.StashKey[int]()


def _count_mysql_tests(config: pytest.Config, tests: int) -> None:
    config.stash[_MYSQL_TESTS] = config.stash.get(_MYSQL_TESTS, 0) + tests


_LEFT_PROCESSES = pytest.StashKey[list[str]]()
_SHARED_MYSQL = pytest.StashKey[ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # Until all tests are imported. Collections take a third of that time.
    programs.accept_ctrl_c()
    programs.adopt_orphans()
    # The workers of pytest-xdist inherit this variable.
    if time_limits.VARIABLE not in os.environ:
        os.environ[time_limits.VARIABLE] = str(time_limits.measure_factor())
    _read_service_descriptions_once()
    # Without a CA file, PyMySQL reads all authorities of the machine for each connection, which
    # takes 20 ms of processor time. No test connects to a server that one of them signed.
    os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("support") / "no_authority.pem")
    if config.getoption("numprocesses", None) and mysql_server.mysql_is_available():
        _start_shared_mysql(config)


def _start_shared_mysql(config: pytest.Config) -> None:
    """Start one server for all workers of pytest-xdist, which inherit the variable.

    A server for each of four workers took ten seconds of processor time more.
    """
    opened = config.stash[_SHARED_MYSQL] = ExitStack()
    folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
    os.environ["TEST_MYSQL_URL"] = opened.enter_context(mysql_server.running_mysql(folder))


def _read_service_descriptions_once() -> None:
    """Keep the descriptions of AWS's services, which every session would read again.

    That took a sixth of the processor time of the tests that use them.
    """
    read, list_services = cache(JSONFileLoader().load_file), Loader.list_available_services
    listed: dict[tuple[Any, ...], list[str]] = {}

    def list_once(loader: Loader, type_name: str) -> list[str]:
        key = (*loader.search_paths, type_name)
        if key not in listed:
            listed[key] = list_services(loader, type_name)
        return listed[key]

    JSONFileLoader.load_file = lambda _, path: read(path)  # type: ignore[method-assign]
    Loader.list_available_services = list_once  # type: ignore[method-assign]


def pytest_collection_finish() -> None:
    # Modules and tests stay until the end of the run. To look through them for garbage again and
    # again takes a seventh of the processor time of the unit tests.
    gc.collect()
    gc.freeze()
    gc.enable()
    # Each application consists of thousands of objects, and Python would look for garbage after
    # every 700 of them.
    gc.set_threshold(20_000)


# Last, when the fixtures are closed and the workers of pytest-xdist have ended.
@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    # A worker of pytest-xdist sends its count to the controller, which looks for its processes.
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["mysql_tests"] = session.config.stash.get(_MYSQL_TESTS, 0)
        return
    if _SHARED_MYSQL in session.config.stash:
        session.config.stash[_SHARED_MYSQL].close()
    left = programs.left_processes()
    session.config.stash[_LEFT_PROCESSES] = [programs.describe(process) for process in left]
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _count_mysql_tests(node.config, getattr(node, "workeroutput", {}).get("mysql_tests", 0))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    terminalreporter.write_line(
        f"{config.stash.get(_MYSQL_TESTS, 0)} of these tests ran on a real MySQL server."
    )
    if os.environ[time_limits.VARIABLE] != "1.0":
        terminalreporter.write_line(
            f"Time limits were multiplied by {os.environ[time_limits.VARIABLE]},"
            " because this machine is slow or busy."
        )
    for process in config.stash.get(_LEFT_PROCESSES, []):
        terminalreporter.write_line(f"ERROR: a test left this process running: {process}")


@pytest.fixture
def mysql_url(mysql_server_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Provide the URL of a new empty database on the real server."""
    _count_mysql_tests(request.config, 1)
    with mysql_server.fresh_database(mysql_server_url) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a database file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'images.sqlite3'}"


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrate a database file for tests to copy, which is faster than a migration for each."""
    path = tmp_path_factory.mktemp("migrated") / "images.sqlite3"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def sqlite_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Provide an engine on the file that `migrated_sqlite_url` replaces for each test.

    An engine compiles each kind of statement only once. The compilation takes much longer than the
    execution in a test.
    """
    path = tmp_path_factory.mktemp("shared") / "images.sqlite3"
    engine = create_database_engine(DatabaseSettings(database_url=f"sqlite:///{path}"))

    @event.listens_for(engine, "connect")
    def do_not_wait_for_the_disk(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    yield engine
    engine.dispose()


@pytest.fixture
def migrated_sqlite_url(migrated_file: Path, sqlite_engine: Engine) -> str:
    """Return the URL of a migrated database file without rows."""
    path = Path(str(sqlite_engine.url.database))
    # A thread of an earlier test may still use its files, or have opened a connection after the end
    # of that test. This test gets new files and new connections.
    sqlite_engine.dispose()
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copy(migrated_file, path)
    return str(sqlite_engine.url)


@pytest.fixture
def migrated_sqlite_engine(migrated_sqlite_url: str, sqlite_engine: Engine) -> Engine:
    """Return an engine on a migrated database file without rows.

    It shares the connections and the compiled statements of other tests, but not their listeners.
    """
    return sqlite_engine.execution_options()


@pytest.fixture(scope="session")
def mysql_engine(mysql_server_url: str) -> Iterator[Engine]:
    """Provide an engine on a migrated database that tests use one after the other."""
    with mysql_server.fresh_database(mysql_server_url) as url:
        engine = create_database_engine(DatabaseSettings(database_url=url))
        migrate(engine)
        yield engine
        engine.dispose()


@pytest.fixture
def migrated_mysql_engine(mysql_engine: Engine, request: pytest.FixtureRequest) -> Engine:
    """Return an engine on a migrated database without rows on the real server.

    It shares the connections and the compiled statements of other tests, but not their listeners.
    """
    _count_mysql_tests(request.config, 1)
    mysql_server.delete_rows(mysql_engine, besides="alembic_version")
    return mysql_engine.execution_options()


@pytest.fixture
def migrated_mysql_url(migrated_mysql_engine: Engine) -> str:
    """Return the URL of a migrated database without rows on the real server."""
    return migrated_mysql_engine.url.render_as_string(hide_password=False)


def _migrate(url: str) -> None:
    engine = create_database_engine(DatabaseSettings(database_url=url))
    migrate(engine)
    engine.dispose()


@pytest.fixture
def make_engine() -> Iterator[MakeEngine]:
    """Return a function that makes an engine as the application does."""
    engines: list[Engine] = []

    def make(url: str) -> Engine:
        engines.append(create_database_engine(DatabaseSettings(database_url=url)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


@pytest.fixture(params=["sqlite", "mysql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Run the test with each kind of database."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def session_factory(migrated_sqlite_engine: Engine) -> sessionmaker[Session]:
    """Return sessions on a migrated SQLite database, the faster kind."""
    return create_session_factory(migrated_sqlite_engine)


@pytest.fixture
def read_rows(session_factory: sessionmaker[Session]) -> Callable[[], list[Image]]:
    """Return a function that reads all rows, oldest first."""

    def read() -> list[Image]:
        with session_scope(session_factory) as session:
            return session.query(Image).order_by(Image.id).all()

    return read


@pytest.fixture(scope="session")
def settings() -> Settings:
    """Return settings of the web application. Database and storage are passed separately.

    They are read once, because that takes as long as a short test.
    """
    return Settings(
        database_url="sqlite://",
        flask_secret_key="a secret key for the tests",
        s3_image_bucket="images",
        s3_thumbnail_bucket="thumbnails",
        # A test with generated values may send more uploads than one client may in a minute.
        uploads_per_minute=0,
    )


@pytest.fixture
def object_store() -> FakeObjectStore:
    """Return a fake of the web application's object store."""
    return FakeObjectStore()


@pytest.fixture
def event_bus() -> FakeEventBus:
    """Return a fake of the web application's event bus."""
    return FakeEventBus()


_compiled_rules: dict[tuple[Any, ...], dict[str, Any]] = {}


class _SharedRule(Rule):
    """A rule of URLs that is compiled once in a process, because all applications have the same."""

    def compile(self) -> None:
        key = (self.rule, self.host, self.subdomain, self.merge_slashes, repr(self.defaults))
        if key not in _compiled_rules:
            before = dict(vars(self))
            super().compile()
            made = {n: value for n, value in vars(self).items() if before.get(n) is not value}
            _compiled_rules[key] = {**made, "arguments": self.arguments}
        vars(self).update(_compiled_rules[key])


@pytest.fixture(scope="session", autouse=True)
def shared_parts_of_applications() -> Iterator[None]:
    """Build the parts once that are the same in every application of a process.

    They are the rules of URLs, and the list and the headers of static files. Together they take
    most of the time of `create_app`, which most tests call.
    """
    read_static_file = WhiteNoise.get_static_file
    static_files: dict[Any, Any] = {}
    scan = base.scantree

    def read_once(white_noise: WhiteNoise, path: str, url: str, stat_cache: Any = None) -> Any:
        if (path, url) not in static_files:
            static_files[path, url] = read_static_file(white_noise, path, url, stat_cache)
        return static_files[path, url]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flask, "url_rule_class", _SharedRule)
        patch.setattr(WhiteNoise, "get_static_file", read_once)
        patch.setattr(base, "scantree", cache(lambda folder: list(scan(folder))))
        yield


@pytest.fixture(scope="session")
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """Return a cache of templates, so that not every test compiles them again."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


@pytest.fixture
def app(
    settings: Settings,
    object_store: FakeObjectStore,
    event_bus: FakeEventBus,
    session_factory: sessionmaker[Session],
    compiled_templates: FileSystemBytecodeCache,
) -> Flask:
    """Return the web application with fakes."""
    app = create_app(
        settings,
        object_store=object_store,
        event_bus=event_bus,
        session_factory=session_factory,
    )
    app.jinja_env.bytecode_cache = compiled_templates
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a client that asks for HTML, keeps its cookies and does not follow redirects."""
    return asking_for_html(app)


@pytest.fixture
def live_url(app: Flask, mocker: MockerFixture) -> Iterator[str]:
    """Serve the web application with fakes on a local port."""
    mocker.patch.object(logging.getLogger("werkzeug"), "level", logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()
