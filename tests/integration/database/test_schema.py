"""Compare the migrated schema with the models and with schema.sql."""

import re
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from database.migrations import migrate
from database.models import Base

SCHEMA_SQL = Path(__file__).parents[3] / "database" / "schema.sql"
HEADER = """\
-- The schema after all migrations, as MySQL 8.4 shows it. Do not edit it. After a change of the
-- models and a new migration, write it again (the same test compares it with a real server):
--   python -m pytest tests/integration/database/test_schema.py --write-schema

"""


def test_migrating_twice_changes_nothing(session_factory):
    engine = session_factory.kw["bind"]  # Its database was migrated before.

    migrate(engine)

    assert set(inspect(engine).get_table_names()) >= {"alembic_version", "images"}


def test_a_database_with_a_newer_schema_is_left_unchanged(database_url, make_engine):
    engine = make_engine(database_url)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    migrate(engine)

    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def test_the_migrated_schema_agrees_with_the_models(session_factory):
    with session_factory.kw["bind"].connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"compare_type": True, "include_object": _is_in_the_models},
        )
        differences = compare_metadata(context, Base.metadata)

    assert differences == []


def _is_in_the_models(_object, name, _kind, _reflected, _compare_to):
    # The models do not describe the full-text indexes, because each database needs its own.
    return not name.startswith(("search_", "images_search", "image_words_index"))


def test_schema_sql_agrees_with_the_migrated_schema(migrated_mysql_engine, request):
    with migrated_mysql_engine.connect() as connection:
        created = [
            connection.execute(text(f"SHOW CREATE TABLE {table.name}")).one()[1]
            for table in Base.metadata.sorted_tables
        ]

    schema = HEADER + re.sub(r" AUTO_INCREMENT=\d+", "", ";\n\n".join(created)) + ";\n"
    if request.config.getoption("--write-schema"):
        SCHEMA_SQL.write_text(schema)

    assert SCHEMA_SQL.read_text() == schema
