"""The schema's history, and the one way to bring a database up to date.

Migrations expand first and contract in a later release, so that the version still running and
the version being deployed both work on the schema in between.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

# Long enough for a migration that another deploy is running to finish.
LOCK_TIMEOUT_SECONDS = 240
# A migration may rebuild a large table; the lock, too, is waited for within one statement.
STATEMENT_TIMEOUT_SECONDS = 290


def migrate(engine: Engine) -> None:
    """Apply every migration the database has not seen. Running it twice is safe, and on MySQL also
    at once; an embedded database is migrated by the one process that starts the others.

    A database that a later version has migrated is left as it is: a deploy that is taken back
    runs this version again, and it works on the schema that has only grown.

    Raises:
        TimeoutError: another migration has held the lock for too long.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with engine.connect() as connection, _only_migration(connection):
        if _is_newer(connection, config):
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _is_newer(connection: Connection, config: Config) -> bool:
    """Whether the database has seen a migration that this version does not have."""
    ours = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    applied = MigrationContext.configure(connection).get_current_heads()
    connection.commit()  # Nothing was changed; the migrations begin their own transactions.
    return not ours.issuperset(applied)


@contextmanager
def _only_migration(connection: Connection) -> Iterator[None]:
    """Let one migration run at a time. MySQL commits at every DDL, so a transaction cannot."""
    if connection.dialect.name != "mysql":
        yield
        return
    got = connection.scalar(
        text("SELECT GET_LOCK('image_annotation_migrate', :seconds)"),
        {"seconds": LOCK_TIMEOUT_SECONDS},
    )
    connection.commit()  # The lock is the connection's; the migrations begin their own.
    if got != 1:
        raise TimeoutError("another migration is running and did not finish in time")
    try:
        yield
    finally:
        connection.execute(text("DO RELEASE_LOCK('image_annotation_migrate')"))
        connection.commit()
