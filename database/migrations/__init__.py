"""Migrate the schema to the current version.

Migrations expand the schema first and contract it in a later release, so that the running release
and the one being deployed both work with it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from database.image_words import add_missing_words
from database.reviews import add_missing_reviews
from database.session import create_session_factory, session_scope

# Long enough for the migration of another deploy to finish.
LOCK_TIMEOUT_SECONDS = 240
# A migration may rebuild a large table, and waiting for the lock is one statement too.
STATEMENT_TIMEOUT_SECONDS = 290
# The words and the reviews of images are added in batches for this long, in less than the time-out
# of the function. The sweep adds the rest.
MAX_WORDS_SECONDS = 200
WORDS_BATCH = 500


def migrate(engine: Engine) -> None:
    """Apply all migrations that the database does not have.

    It is safe to run this again, and on MySQL also at the same time. A SQLite database is migrated
    by the process that starts the others. The schema of a later release is left unchanged, so that
    this release can run on it after a roll-back. That works because a release only adds to the
    schema that the release before it uses.

    Raises:
        TimeoutError: another migration held the lock for too long.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with engine.connect() as connection, _only_migration(connection):
        if _is_newer(connection, config):
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _add_missing_rows(engine)


def _add_missing_rows(engine: Engine) -> None:
    """Add the words and the reviews of the images that have none, the newest first."""
    session_factory = create_session_factory(engine)
    ends_at = time.monotonic() + MAX_WORDS_SECONDS
    for add_missing in (add_missing_words, add_missing_reviews):
        oldest_id = None
        while time.monotonic() < ends_at:
            with session_scope(session_factory) as session:
                oldest_id = add_missing(session, before_id=oldest_id, limit=WORDS_BATCH)
            if oldest_id is None:
                break


def _is_newer(connection: Connection, config: Config) -> bool:
    """Return whether the database has a migration that this release does not know."""
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    applied = MigrationContext.configure(connection).get_current_heads()
    connection.commit()  # Each migration begins its own transaction.
    return not known.issuperset(applied)


@contextmanager
def _only_migration(connection: Connection) -> Iterator[None]:
    """Hold a lock during the migration. MySQL commits at each DDL, so a transaction is no lock."""
    if connection.dialect.name != "mysql":
        yield
        return
    acquired = connection.scalar(
        text("SELECT GET_LOCK('image_annotation_migrate', :seconds)"),
        {"seconds": LOCK_TIMEOUT_SECONDS},
    )
    # The lock belongs to the connection, and each migration begins its own transaction.
    connection.commit()
    if acquired != 1:
        raise TimeoutError("another migration is running and did not finish in time")
    try:
        yield
    finally:
        connection.execute(text("DO RELEASE_LOCK('image_annotation_migrate')"))
        connection.commit()
