"""Expand first, contract a release later: the schema serves the version that is being replaced."""

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, Table, func, insert, select, update

import database.migrations
from database.jobs import claim_job, record_thumbnail
from database.listing import list_images
from database.migrations import migrate
from database.models import Job, Status
from database.session import create_session_factory, session_scope

CONFIG = Config()
CONFIG.set_main_option("script_location", str(Path(database.migrations.__file__).parent))


SCRIPT = ScriptDirectory.from_config(CONFIG)
EARLIER = [script.revision for script in SCRIPT.walk_revisions()][:0:-1]


def migrate_to(engine, revision):
    with engine.connect() as connection:
        CONFIG.attributes["connection"] = connection
        command.upgrade(CONFIG, revision)


def test_the_version_before_the_newest_migration_still_writes_and_reads(database_url, make_engine):
    engine = make_engine(database_url)
    migrate_to(engine, EARLIER[-1])
    # What the older version knows of the table, and nothing of what comes now.
    images = Table("images", MetaData(), autoload_with=engine)
    older = {
        column.name: f"{column.name[:20]}"
        for column in images.columns
        if not column.nullable and column.name != "id" and column.type.python_type is str
    } | {
        column.name: 1
        for column in images.columns
        if not column.nullable and column.name != "id" and column.type.python_type is int
    }
    for job in Job:
        older |= {f"{job}_status": "pending", f"{job}_requested_at": func.now()}
    older |= {"uploaded_at": func.now(), "updated_at": func.now()}
    older["original_key"] = "originals/00000000-0000-4000-8000-000000000001.jpg"

    migrate(engine)
    with engine.begin() as connection:
        connection.execute(insert(images).values(older))
        claimed = connection.execute(
            update(images)
            .where(images.c.original_key == older["original_key"])
            .values(annotation_attempts=images.c.annotation_attempts + 1)
        ).rowcount
        connection.execute(
            update(images).values(annotation_status="completed", annotation="By the older version.")
        )
        row = connection.execute(select(images)).one()

    assert claimed == 1
    assert row.annotation == "By the older version."
    # And the newer version goes on with what the older one wrote.
    with session_scope(create_session_factory(engine)) as session:
        (image,) = list_images(session, limit=2)
        claim = claim_job(
            session, Job.THUMBNAIL, image.original_key, lease_seconds=60, max_attempts=9
        )
        assert record_thumbnail(session, claim, "#102030")
        session.refresh(image)
        assert image.status is Status.COMPLETED


@pytest.mark.parametrize("revision", EARLIER)
def test_a_migration_keeps_what_is_there(database_url, make_engine, revision):
    engine = make_engine(database_url)
    migrate_to(engine, revision)
    tables = MetaData()
    tables.reflect(engine, only=["images"])
    before = {column.name for column in tables.tables["images"].columns}

    migrate(engine)

    after = MetaData()
    after.reflect(engine, only=["images"])
    # A column that the version still running reads may go only in the release after it.
    assert before <= {column.name for column in after.tables["images"].columns}
