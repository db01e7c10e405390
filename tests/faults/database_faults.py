"""Faults of a real MySQL server: outages, crashes, deadlocks, a full disk and others."""

import json
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer
from sqlalchemy import Engine, NullPool, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from tests.faults.faulty_system import FaultySystem, faulty_system
from tests.faults.http_faults import held_until
from tests.support import mysql_server
from tests.support.local_system import wait_until
from tests.support.mysql_server import RunningMySQL

_DISK_FULL = 1021  # ER_DISK_FULL
# MySQL renews its list of transactions only if nobody has read it for 0.1 s.
# https://dev.mysql.com/doc/refman/8.4/en/innodb-information-schema-internal-data.html
_POLL_SECONDS = 0.2
_CHANGES = 20  # More changes than a waiting claim has made; see `deadlock`.


@dataclass
class FaultyDatabase:
    """A server, a database on it, and the secret with its password."""

    server: RunningMySQL
    name: str
    user: str
    secret_arn: str
    secrets_url: str
    _secrets_client: Any
    passwords: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The variables for the system, with the password in a secret as in a deployment."""
        url = make_url(self.server.url)
        return {
            "DB_HOST": str(url.host),
            "DB_PORT": str(url.port),
            "DB_NAME": self.name,
            "DB_USER": self.user,
            "DB_SECRET_ARN": self.secret_arn,
            "FAULTS_SECRETS_URL": self.secrets_url,
        }

    def freeze(self, seconds: float) -> None:
        """Stop answering but keep the connections open, as when a disk hangs."""
        assert self.server.pid is not None
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(self.server.pid, signal.SIGCONT)

    def restart(self, seconds: float) -> None:
        """Shut down in an orderly way, and start again after some time."""
        self.server.stop()
        time.sleep(seconds)
        self.server.start()

    def crash(self, seconds: float) -> None:
        """Kill the server, and start it after some time, so that it recovers from its logs."""
        self.server.kill()
        time.sleep(seconds)
        self.server.start()

    def kill_connections(self, seconds: float) -> int:
        """Kill every connection repeatedly, and return how many were killed."""
        ends_at, killed = time.monotonic() + seconds, 0
        while time.monotonic() < ends_at:
            for (connection_id,) in self._as_root(
                f"SELECT id FROM information_schema.processlist WHERE user = '{self.user}'"
            ):
                with suppress(DBAPIError):  # The connection has been closed meanwhile.
                    self._as_root(f"KILL {connection_id}")
                    killed += 1
            time.sleep(0.05)
        return killed

    def rotate_password(self, seconds: float = 0) -> None:
        """Change the password, update the secret after some time, and kill the connections."""
        self.passwords.append(secrets.token_urlsafe(16))
        account = f"'{self.user}'@'127.0.0.1'"
        self._as_root(f"ALTER USER {account} IDENTIFIED BY '{self.passwords[-1]}'")
        time.sleep(seconds)
        self._secrets_client.put_secret_value(
            SecretId=self.secret_arn, SecretString=_secret_of(self.user, self.passwords[-1])
        )
        self.kill_connections(0.2)

    def fill_disk(self, seconds: float) -> None:
        """Make every write fail with the error of a full disk for some time."""
        for event in ("INSERT", "UPDATE"):
            self._in_database(
                f"CREATE TRIGGER full_{event} BEFORE {event} ON images FOR EACH ROW"
                f" SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {_DISK_FULL},"
                " MESSAGE_TEXT = 'Disk full'"
            )
        time.sleep(seconds)
        for event in ("INSERT", "UPDATE"):
            self._in_database(f"DROP TRIGGER full_{event}")

    def refuse_writes(self, seconds: float) -> None:
        """Make the server read-only for some time, as after a failover to another server."""
        self._as_root("SET GLOBAL super_read_only = ON")
        time.sleep(seconds)
        self._as_root("SET GLOBAL super_read_only = OFF")
        self._as_root("SET GLOBAL read_only = OFF")

    def deadlock(self, system: FaultySystem, number: int) -> bool:
        """Upload an image, and cause a deadlock between this connection and a function's claim.

        Returns:
            Whether the server rolled back the function's transaction.
        """
        self._as_root("SET GLOBAL innodb_monitor_enable = 'lock_deadlocks'")
        engine = create_engine(
            self.server.root_url.set(database=self.name), isolation_level="READ COMMITTED"
        )
        # The row exists before its original, and so before the event and the claim.
        is_locked = threading.Event()
        system.s3.faults[number, "PUT original"].append(held_until(is_locked))
        with ThreadPoolExecutor(1) as client_thread:
            sent = client_thread.submit(system.send_until_accepted, number)
            try:
                return self._deadlock_with_claim(engine, number, is_locked)
            finally:
                is_locked.set()
                engine.dispose()
                sent.result()

    def _deadlock_with_claim(self, engine: Engine, number: int, is_locked: threading.Event) -> bool:
        filename = f"number-{number}.jpg"
        wait_until(lambda: self._find(engine, filename) is not None, seconds=30)
        image_id, key = self._find(engine, filename)
        before = self._deadlocks()
        with engine.connect() as connection:
            # This locks the row first and the index entry of its key last, and a claim locks them
            # in the other order. The server rolls back the transaction with fewer changes, and a
            # waiting claim has changed nothing yet.
            for shade in range(_CHANGES):
                connection.execute(
                    text("UPDATE images SET dominant_color = :color WHERE id = :id"),
                    {"id": image_id, "color": f"#{shade:06x}"},
                )
            is_locked.set()
            wait_until(lambda: self._is_claim_waiting(key), seconds=30, every_seconds=_POLL_SECONDS)
            connection.execute(
                text("SELECT id FROM images WHERE original_key = :key FOR UPDATE"),
                {"key": key},
            )
            connection.rollback()
        return self._deadlocks() > before

    @staticmethod
    def _find(engine: Engine, filename: str) -> Any:
        with engine.connect() as connection:
            return connection.execute(
                text("SELECT id, original_key FROM images WHERE filename = :name"),
                {"name": filename},
            ).first()

    def _is_claim_waiting(self, key: str) -> bool:
        # The two claims of another image may wait for each other at the same time.
        waiting = self._as_root(
            "SELECT trx_query FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        )
        return any("_attempts=" in str(query) and key in str(query) for (query,) in waiting)

    def _deadlocks(self) -> int:
        counted = self._as_root(
            "SELECT count FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'"
        )
        return int(counted[0][0])

    @cached_property
    def _root_engine(self) -> Engine:
        # A connection for each statement, because the server may have ended every older one.
        return create_engine(self.server.root_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def _as_root(self, sql: str) -> Any:
        # Without this option, a % in a statement would be a placeholder.
        with self._root_engine.connect().execution_options(no_parameters=True) as connection:
            result = connection.exec_driver_sql(sql)
            return result.fetchall() if result.returns_rows else []

    def _in_database(self, sql: str) -> None:
        engine = create_engine(self.server.root_url.set(database=self.name))
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(sql)
        finally:
            engine.dispose()


@contextmanager
def faulty_database(server: RunningMySQL) -> Iterator[FaultyDatabase]:
    """Create a database on a server, and run a Secrets Manager emulator with its password."""
    url = make_url(mysql_server.create_database(server.url))
    secrets_manager = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    secrets_manager.start()
    host, port = secrets_manager.get_host_and_port()
    try:
        client = boto3.client(
            "secretsmanager",
            endpoint_url=f"http://{host}:{port}",
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        password = str(url.password)
        arn = client.create_secret(
            Name=str(url.database), SecretString=_secret_of(str(url.username), password)
        )["ARN"]
        yield FaultyDatabase(
            server,
            str(url.database),
            str(url.username),
            arn,
            f"http://{host}:{port}",
            client,
            [password],
        )
    finally:
        secrets_manager.stop()


@contextmanager
def system_with_database(
    database: FaultyDatabase, folder: Path, **environment: str
) -> Iterator[FaultySystem]:
    """Run a system with this database until the end of the block."""
    with faulty_system(folder, **database.environment, **environment) as system:
        system.database_url = database.server.root_url.set(database=database.name).render_as_string(
            hide_password=False
        )
        # The same list is shared, because each rotation adds a password.
        system.secrets = database.passwords
        database.passwords.append(system.gemini.key)
        yield system


def _secret_of(user: str, password: str) -> str:
    return json.dumps({"username": user, "password": password})
