"""The schema that the migrations give, held against the models and against schema.sql."""

import re
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from database.migrations import migrate
from database.models import Base

SCHEMA_SQL = Path(__file__).parents[3] / "database" / "schema.sql"
HEADER = """\
-- What the migrations give on MySQL 8.4. Made from a real server by
--   python -m pytest tests/integration/database/test_schema.py --write-schema
-- and held to it by the same test; change the models and add a migration, then make it again.

"""


def test_migrating_twice_changes_nothing(database_url, make_engine):
    engine = make_engine(database_url)

    migrate(engine)
    migrate(engine)

    assert set(inspect(engine).get_table_names()) >= {"alembic_version", "images"}


def test_a_database_that_a_later_version_has_migrated_is_left_as_it_is(database_url, make_engine):
    engine = make_engine(database_url)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    migrate(engine)

    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def test_the_migrations_give_what_the_models_describe(database_url, make_engine):
    engine = make_engine(database_url)
    migrate(engine)

    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"compare_type": True, "include_object": _is_described_by_the_models},
        )
        differences = compare_metadata(context, Base.metadata)

    assert differences == []


def _is_described_by_the_models(_object, name, _kind, _reflected, _compare_to):
    # How words are indexed is each database's own affair; only its migration knows.
    return not name.startswith(("search_", "images_search"))


def test_schema_sql_is_what_the_migrations_give(mysql_url, make_engine, request):
    engine = make_engine(mysql_url)
    migrate(engine)
    with engine.connect() as connection:
        created = [
            connection.execute(text(f"SHOW CREATE TABLE {table.name}")).one()[1]
            for table in Base.metadata.sorted_tables
        ]

    schema = HEADER + re.sub(r" AUTO_INCREMENT=\d+", "", ";\n\n".join(created)) + ";\n"
    if request.config.getoption("--write-schema"):
        SCHEMA_SQL.write_text(schema)

    assert SCHEMA_SQL.read_text() == schema
