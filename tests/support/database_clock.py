"""The clock of a database in tests."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, event


def set_database_clock(engine: Engine, now: Callable[[], float]) -> None:
    """Let a database tell another time.

    Args:
        engine: of MySQL or SQLite, before its first connection.
        now: returns the seconds since 1970.
    """
    if engine.dialect.name == "mysql":

        @event.listens_for(engine, "begin")
        def set_timestamp(connection: Any) -> None:
            connection.exec_driver_sql(f"SET TIMESTAMP = {now():.6f}")

        return

    def strftime(form: str, instant: str, offset: str) -> str:
        assert (form, instant) == ("%Y-%m-%d %H:%M:%f000", "now")
        moment = datetime.fromtimestamp(now() + float(offset.split()[0]), UTC)
        return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}000"

    @event.listens_for(engine, "connect")
    def replace_strftime(connection: Any, _record: Any) -> None:
        connection.create_function("strftime", 3, strftime)
        # Do not wait for the disk, on which the simulated time does not depend.
        connection.execute("PRAGMA synchronous = OFF")
