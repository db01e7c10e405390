"""A real MySQL server for the tests: found, started, stopped, killed and started again.

Where the server comes from, in this order:

1. ``TEST_MYSQL_URL``: a running server, whose account may create databases called ``test_...``.
2. A ``mysqld`` on PATH, of version 8.4 or later. MariaDB is another database and does not count.
3. The one that ``make mysql`` unpacks.

The server's settings are MySQL's own where the application could notice (strict SQL mode, TLS,
caching_sha2_password), apart from its time zone, which is far from UTC on purpose: code that
forgets to ask for UTC is wrong by hours here. Only safety against a crash of the whole machine was
traded for speed.
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

from sqlalchemy import URL, NullPool, create_engine, make_url

OLDEST_VERSION = (8, 4)
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
    # DDL behind an open transaction would otherwise wait for a year.
    "--lock-wait-timeout=10",
    # Another program may hold the port for a moment while the server is down.
    "--port-open-timeout=10",
    # Fast. With 2 a commit reaches the operating system, and so outlives a killed server, as with
    # 0 it would not.
    "--skip-log-bin",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-flush-method=nosync",
    "--skip-innodb-doublewrite",
    "--innodb-redo-log-capacity=32M",
    "--innodb-buffer-pool-size=64M",
    "--performance-schema=OFF",
)

# Reading ends when the tests' process does, however it ends. (PR_SET_PDEATHSIG would end the server
# together with the thread that started it.) $1 is the server, $2 the folder of its socket.
_WATCHDOG = 'read -r _; kill -9 "$1"; rm -f "$2"/mysql.sock*; rmdir "$2"'


class MySQLStartError(RuntimeError):
    """The server did not start; the message holds the end of its log."""


def parts_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the unpacked MySQL; install_mysql.sh uses the same one."""
    if env.get("TEST_PARTS_DIR"):
        return Path(env["TEST_PARTS_DIR"])
    cache = env.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "image-annotation"


def parse_version(text: str) -> tuple[int, int, int] | None:
    """The version in what ``mysqld --version`` prints, or None when that is not MySQL's."""
    found = re.search(r"\bVer (\d+)\.(\d+)\.(\d+)", text)
    if found is None or "MariaDB" in text:
        return None
    return int(found[1]), int(found[2]), int(found[3])


def find_mysqld() -> Path | None:
    """The server program to run, or None when there is none of at least OLDEST_VERSION."""
    on_path = shutil.which("mysqld")
    unpacked = parts_dir() / "mysql" / "mysqld"
    candidates = [Path(on_path)] if on_path else []
    for program in [*candidates, unpacked]:
        version = _version_of(program)
        if version is not None and version >= OLDEST_VERSION:
            return program
    return None


def mysql_is_available() -> bool:
    """Whether running_mysql() will find a server."""
    return bool(os.environ.get("TEST_MYSQL_URL")) or find_mysqld() is not None


@contextmanager
def running_mysql(directory: Path) -> Iterator[str]:
    """A server to create databases on: the one TEST_MYSQL_URL names, or else one of our own.

    Args:
        directory: an empty or absent folder, for the data of a server of our own.
    Returns:
        Its URL, without a database.
    Raises:
        MySQLStartError: it did not start.
        FileNotFoundError: there is no server; the message is MYSQL_MISSING.
    """
    given = os.environ.get("TEST_MYSQL_URL")
    if given:
        yield _text(make_url(given).set(database=""))
        return
    with own_mysql(directory) as server:
        yield server.url


@contextmanager
def own_mysql(directory: Path) -> Iterator["RunningMySQL"]:
    """A server that a test may stop, kill and starve; see running_mysql() for the rest."""
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
    """Create an empty database under a random name, with the server's own defaults.

    Returns:
        The URL of the new database.
    """
    url = make_url(server_url).set(database=f"test_{secrets.token_hex(8)}")
    _execute(make_url(server_url), f"CREATE DATABASE `{url.database}`")
    return _text(url)


def drop_database(database_url: str) -> None:
    """Drop what create_database() made. Waits at most 10 s for transactions left open in it."""
    url = make_url(database_url)
    _execute(url.set(database=""), "SET lock_wait_timeout = 10", f"DROP DATABASE `{url.database}`")


def delete_rows(database_url: str, *, besides: str) -> None:
    """Empty every table of a database but one. Numbers that MySQL gives to rows go on.

    Making another database with the same tables takes a hundred times as long.
    """
    url = make_url(database_url)
    tables = _execute(
        url, "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
    )
    _execute(url, *(f"DELETE FROM `{table}`" for (table,) in tables if table != besides))


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """The URL of a new, empty database that is dropped afterwards."""
    url = create_database(server_url)
    try:
        yield url
    finally:
        drop_database(url)


class RunningMySQL:
    """One mysqld with its own data folder. Port, account and data outlive a stop or a kill.

    Its account may do everything in databases called ``test_...``, and nothing elsewhere.
    """

    def __init__(self, program: Path, directory: Path) -> None:
        """Prepare the data folder, or take up what an earlier server left there; start() comes
        next, and close() last."""
        self._program = program
        self._data = directory.resolve() / "data"
        self._log = directory.resolve() / "mysqld.log"
        # A socket's path may have about 100 characters, which a test's own folder soon exceeds.
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
        """The application's URL, without a database, password included."""
        return _text(
            URL.create("mysql+pymysql", "app", self._password, "127.0.0.1", self._port, "")
        )

    @property
    def server_version(self) -> str:
        """As the server says it: ``9.7.4-2`` or the like."""
        return str(self.execute_as_root("SELECT VERSION()")[0][0])

    @property
    def log(self) -> str:
        """What the server has logged so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def pid(self) -> int | None:
        """The process to send signals to, SIGSTOP for one, or None when the server is down."""
        return None if self._process is None else self._process.pid

    def start(self, *options: str) -> None:
        """Start on the same port and data, and return when the server answers.

        Args:
            options: further options of mysqld, for this start only.
        Raises:
            MySQLStartError: the server ended or stayed silent; it is not running.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.kill()  # Clears up after a server that ended by itself.
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
            # Ctrl-C in a terminal reaches the whole group; this server is its fixture's to stop.
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
        """Shut down in order, as SIGTERM does. Does nothing when the server is down."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.send_signal(signal.SIGCONT)  # A stopped process would not see the other.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End at once, as a crash of the server does. Does nothing when the server is down."""
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
        """End the server for good. Its data and log stay, for whoever looks into a failure."""
        self.kill()  # Nobody reads these data again, and an orderly end takes 1.5 s.
        shutil.rmtree(self._socket_dir, ignore_errors=True)

    def execute_as_root(self, sql: str) -> Sequence[Any]:
        """Run one statement over the socket, with every right.

        Returns:
            The rows, or nothing when the statement returns none.
        """
        return _execute(self.root_url, sql)

    @property
    def root_url(self) -> URL:
        """Every right, over the socket, without a database; also while the network is away."""
        return URL.create(
            "mysql+pymysql",
            "root",
            host="localhost",
            query={"unix_socket": str(self._socket_path)},
        )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while self._process is not None and self._process.poll() is None:
            # PyMySQL leaves a Unix socket open when nobody answers, so a plain one asks first.
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
        answer = subprocess.run(
            [program, "--no-defaults", "--version"],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return parse_version(answer.stdout)
    return None


def _command(program: Path) -> list[str]:
    # mysqld reads --no-defaults in the first place only, and refuses root without --user.
    as_root = ["--user=root"] if os.geteuid() == 0 else []
    return [str(program), "--no-defaults", *as_root]


def _initialised_data(program: Path) -> Path:
    """An empty server's data folder, made once for each version: a copy starts 3 s sooner."""
    version = _version_of(program)
    assert version is not None  # find_mysqld() read it too.
    finished = parts_dir() / f"mysql-data-{'.'.join(map(str, version))}"
    if finished.is_dir():
        return finished
    finished.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=finished.parent, prefix="mysql-data.unfinished.") as work:
        data = Path(work) / "data"
        made = subprocess.run(
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
        if made.returncode != 0:
            raise MySQLStartError(f"mysqld could not initialise:\n{made.stderr[-3000:]}")
        # Another process may have finished first; then its folder does as well.
        with suppress(OSError):
            data.rename(finished)
    return finished


def _free_port() -> int:
    """A port below those that systems give to outgoing connections, so that it stays free."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _execute(url: URL, *statements: str) -> Sequence[Any]:
    """Run statements on a connection of their own; the rows of the last one, if it has any."""
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    # Without parameters a % in a statement is a %.
    with engine.connect().execution_options(no_parameters=True) as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement)
        return result.fetchall() if result.returns_rows else []
