"""Migrations must keep the schema usable for the version that is being replaced.

Columns are added in one release and removed in a later one.
"""

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


def test_code_from_before_the_newest_migration_can_still_write_and_read(database_url, make_engine):
    engine = make_engine(database_url)
    migrate_to(engine, EARLIER[-1])
    # Reflect the older schema, so that the statements below do not know the newest columns.
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
    # The newer version continues with the row that the older one wrote.
    with session_scope(create_session_factory(engine)) as session:
        (image,) = list_images(session, limit=2)
        claim = claim_job(
            session, Job.THUMBNAIL, image.original_key, lease_seconds=60, max_attempts=9
        )
        assert record_thumbnail(session, claim, "#102030")
        session.refresh(image)
        assert image.status is Status.COMPLETED


@pytest.mark.parametrize("revision", EARLIER)
def test_a_migration_removes_no_column(database_url, make_engine, revision):
    engine = make_engine(database_url)
    migrate_to(engine, revision)
    tables = MetaData()
    tables.reflect(engine, only=["images"])
    before = {column.name for column in tables.tables["images"].columns}

    migrate(engine)

    after = MetaData()
    after.reflect(engine, only=["images"])
    # The version that is still running reads these columns. Only a later release may remove them.
    assert before <= {column.name for column in after.tables["images"].columns}
