"""A real MySQL server for the tests, which they can start, stop and kill.

The first of these that exists is used:

1. ``TEST_MYSQL_URL``: a running server, whose account may create databases called ``test_...``.
2. A ``mysqld`` on PATH, of version 8.4 or later. MariaDB is not accepted.
3. The server that ``make mysql`` unpacks.

The server has MySQL's defaults wherever the application could notice a difference (strict SQL mode,
TLS, caching_sha2_password). One exception is the time zone, which is far from UTC, so that code
without explicit UTC is wrong by hours. For speed, the data are not safe against a crash of the
machine.
"""

import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, NullPool, create_engine, make_url

from tests.support.time_limits import scaled

MIN_VERSION = (8, 4)
SERVER_TIME_ZONE = "+05:30"
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 30.0

MYSQL_MISSING = "The real-MySQL suite did not run: no MySQL server here. Enable it with: make mysql"

_FIXED_OPTIONS = (
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    f"--default-time-zone={SERVER_TIME_ZONE}",
    "--mysqlx=OFF",
    "--secure-file-priv=NULL",
    "--pid-file=mysqld.pid",
    # By default, DDL waits for an open transaction for a year.
    "--lock-wait-timeout=10",
    # Another program may hold the port for a moment while the server is down.
    "--port-open-timeout=10",
    # These options are for speed. With flush-log=2 a commit reaches the operating system, so it
    # survives a killed server; with 0 it would not.
    "--skip-log-bin",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-flush-method=nosync",
    "--skip-innodb-doublewrite",
    "--innodb-redo-log-capacity=32M",
    "--innodb-buffer-pool-size=64M",
    "--performance-schema=OFF",
)

# `read` returns when the process of the tests ends for any reason, because its end of the pipe is
# closed. PR_SET_PDEATHSIG would end the server with the thread that started it. $1 is the process
# id of the server, $2 the folder of its socket.
_WATCHDOG = 'read -r _; kill -9 "$1"; rm -f "$2"/mysql.sock*; rmdir "$2"'


class MySQLStartError(RuntimeError):
    """The server did not start. The message contains the end of its log."""


def parts_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the unpacked MySQL, which install_mysql.sh uses too."""
    if env.get("TEST_PARTS_DIR"):
        return Path(env["TEST_PARTS_DIR"])
    cache = env.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "image-annotation"


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Return the version from the output of ``mysqld --version``, or None if it is not MySQL."""
    found = re.search(r"\bVer (\d+)\.(\d+)\.(\d+)", text)
    if found is None or "MariaDB" in text:
        return None
    return int(found[1]), int(found[2]), int(found[3])


def find_mysqld() -> Path | None:
    """Return the server program, or None if there is none of at least MIN_VERSION."""
    on_path = shutil.which("mysqld")
    unpacked = parts_dir() / "mysql" / "mysqld"
    candidates = [Path(on_path)] if on_path else []
    for program in [*candidates, unpacked]:
        version = _version_of(program)
        if version is not None and version >= MIN_VERSION:
            return program
    return None


def mysql_is_available() -> bool:
    """Return whether running_mysql() would find a server."""
    return bool(os.environ.get("TEST_MYSQL_URL")) or find_mysqld() is not None


@contextmanager
def running_mysql(directory: Path) -> Iterator[str]:
    """Provide a server to create databases on, from TEST_MYSQL_URL or newly started.

    Args:
        directory: an empty or absent folder for the data of a new server.
    Returns:
        The server's URL, without a database.
    Raises:
        MySQLStartError: the server did not start.
        FileNotFoundError: there is no server program. The message is MYSQL_MISSING.
    """
    given = os.environ.get("TEST_MYSQL_URL")
    if given:
        yield _text(make_url(given).set(database=""))
        return
    with own_mysql(directory) as server:
        yield server.url


@contextmanager
def own_mysql(directory: Path) -> Iterator["RunningMySQL"]:
    """Start a new server that a test may stop and kill; see running_mysql() for the rest."""
    program = find_mysqld()
    if program is None:
        raise FileNotFoundError(MYSQL_MISSING)
    server = RunningMySQL(program, directory)
    try:
        server.start()
        yield server
    finally:
        server.close()


def create_database(server_url: str) -> str:
    """Create an empty database with a random name and the server's defaults.

    Returns:
        The URL of the new database.
    """
    url = make_url(server_url).set(database=f"test_{secrets.token_hex(8)}")
    _execute(make_url(server_url), f"CREATE DATABASE `{url.database}`")
    return _text(url)


def drop_database(database_url: str) -> None:
    """Drop a database, and wait at most 10 s for its open transactions."""
    url = make_url(database_url)
    _execute(url.set(database=""), "SET lock_wait_timeout = 10", f"DROP DATABASE `{url.database}`")


def delete_rows(engine: Engine, *, besides: str) -> None:
    """Empty every table of a database except one. The automatic ids of rows continue.

    Creating a new database with the same tables takes a hundred times as long.
    """
    with engine.begin() as connection:
        tables = connection.exec_driver_sql(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
        ).scalars()
        for table in tables.all():
            if table != besides:
                connection.exec_driver_sql(f"DELETE FROM `{table}`")


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """Create an empty database, yield its URL and drop it afterwards."""
    url = create_database(server_url)
    try:
        yield url
    finally:
        drop_database(url)


class RunningMySQL:
    """A mysqld with its own data folder. A restart keeps the port, the account and the data.

    The account has all rights in databases called ``test_...``, and no other rights.
    """

    def __init__(self, program: Path, directory: Path) -> None:
        """Prepare the data folder, or reuse the data of an earlier server.

        Call start() next, and close() at the end.
        """
        self._program = program
        self._data = directory.resolve() / "data"
        self._log = directory.resolve() / "mysqld.log"
        # The path of a socket is limited to about 100 characters, and the folder of a test may have
        # a longer one.
        self._socket_dir = Path(tempfile.mkdtemp(prefix="mysql-"))
        self._socket_path = self._socket_dir / "mysql.sock"
        self._port = _free_port()
        self._password = secrets.token_urlsafe(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._has_account = False
        directory.mkdir(parents=True, exist_ok=True)
        if not self._data.exists():
            shutil.copytree(_initialised_data(program), self._data)

    @property
    def url(self) -> str:
        """The application's URL with its password, without a database."""
        return _text(
            URL.create("mysql+pymysql", "app", self._password, "127.0.0.1", self._port, "")
        )

    @property
    def server_version(self) -> str:
        """The version as the server reports it, for example ``9.7.4-2``."""
        return str(self.execute_as_root("SELECT VERSION()")[0][0])

    @property
    def log(self) -> str:
        """The server's log so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def pid(self) -> int | None:
        """The process id, for example to send SIGSTOP to, or None when the server is down."""
        return None if self._process is None else self._process.pid

    def start(self, *options: str) -> None:
        """Start on the same port and data, and return when the server answers.

        Args:
            options: further options of mysqld, for this start only.
        Raises:
            MySQLStartError: the server ended, or did not answer in time. It is not running.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.kill()  # The watchdog remains after a server that crashed.
        self._process = subprocess.Popen(
            [
                *_command(self._program),
                *_FIXED_OPTIONS,
                f"--datadir={self._data}",
                f"--port={self._port}",
                f"--socket={self._socket_path}",
                f"--log-error={self._log}",
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C in a terminal reaches the whole process group, but only the fixture may stop
            # the server.
            start_new_session=True,
        )
        self._watchdog = subprocess.Popen(
            ["sh", "-c", _WATCHDOG, "watchdog", str(self._process.pid), str(self._socket_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait_until_it_answers()
            self._create_account()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Shut down by SIGTERM, if the server is running."""
        if self._process is None:
            return
        self._process.terminate()
        # A process that is stopped by SIGSTOP handles SIGTERM only after SIGCONT.
        self._process.send_signal(signal.SIGCONT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(scaled(STOP_TIMEOUT_SECONDS))
        self.kill()

    def kill(self) -> None:
        """Kill the server, as in a crash, if it is running."""
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.wait()
            if self._watchdog.stdin is not None:
                self._watchdog.stdin.close()
            self._watchdog = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End the server, but keep its data and log for the analysis of a failure."""
        self.kill()  # An orderly shutdown takes 1.5 s, and the data are not used again.
        shutil.rmtree(self._socket_dir, ignore_errors=True)

    def execute_as_root(self, sql: str) -> Sequence[Any]:
        """Run one statement over the socket, with all rights.

        Returns:
            The rows; empty if the statement returns none.
        """
        return _execute(self.root_url, sql)

    @property
    def root_url(self) -> URL:
        """The root account's URL over the socket, without a database. It needs no network."""
        return URL.create(
            "mysql+pymysql",
            "root",
            host="localhost",
            query={"unix_socket": str(self._socket_path)},
        )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + scaled(START_TIMEOUT_SECONDS)
        while self._process is not None and self._process.poll() is None:
            # PyMySQL leaks a Unix socket when the server does not answer, so this probe comes
            # first.
            with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
                probe.connect(str(self._socket_path))
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        raise MySQLStartError(f"mysqld did not start; its log ends with:\n{self.log[-3000:]}")

    def _create_account(self) -> None:
        if self._has_account:
            return
        account = "'app'@'127.0.0.1'"
        _execute(
            self.root_url,
            f"CREATE USER IF NOT EXISTS {account}",
            f"ALTER USER {account} IDENTIFIED WITH caching_sha2_password BY '{self._password}'",
            rf"GRANT ALL PRIVILEGES ON `test\_%`.* TO {account}",
        )
        self._has_account = True


def _version_of(program: Path) -> tuple[int, int, int] | None:
    with suppress(OSError, subprocess.SubprocessError):
        result = subprocess.run(
            [program, "--no-defaults", "--version"],
            check=True,
            capture_output=True,
            text=True,
            timeout=scaled(30),
        )
        return parse_version(result.stdout)
    return None


def _command(program: Path) -> list[str]:
    # mysqld accepts --no-defaults only as the first option, and refuses root without --user.
    as_root = ["--user=root"] if os.geteuid() == 0 else []
    return [str(program), "--no-defaults", *as_root]


def _initialised_data(program: Path) -> Path:
    """Return the data folder of an empty server, created once for each version.

    A copy of it is ready 3 s sooner than a newly initialised folder.
    """
    version = _version_of(program)
    assert version is not None  # find_mysqld() read it too.
    finished = parts_dir() / f"mysql-data-{'.'.join(map(str, version))}"
    if finished.is_dir():
        return finished
    finished.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=finished.parent, prefix="mysql-data.unfinished.") as work:
        data = Path(work) / "data"
        result = subprocess.run(
            [
                *_command(program),
                *_FIXED_OPTIONS,
                "--initialize-insecure",
                f"--datadir={data}",
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        if result.returncode != 0:
            raise MySQLStartError(f"mysqld could not initialise:\n{result.stderr[-3000:]}")
        # Another process may have finished first; then its folder is used.
        with suppress(OSError):
            data.rename(finished)
    return finished


def _free_port() -> int:
    """Return a free port below the range for outgoing connections, so that it stays free."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _execute(url: URL, *statements: str) -> Sequence[Any]:
    """Run statements on a new connection, and return the rows of the last one."""
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    # Without this option, a % in a statement would be a placeholder.
    with engine.connect().execution_options(no_parameters=True) as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement)
        return result.fetchall() if result.returns_rows else []
