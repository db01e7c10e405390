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

    assert inspect(engine).get_table_names() == ["alembic_version", "images"]


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
    # MySQL alone has the full-text index and the column it gathers; only MySQL's migration knows.
    return name not in ("search_text", "images_search")


def test_schema_sql_is_what_the_migrations_give(mysql_url, make_engine, request):
    engine = make_engine(mysql_url)
    migrate(engine)
    with engine.connect() as connection:
        created = connection.execute(text("SHOW CREATE TABLE images")).one()[1]

    schema = HEADER + re.sub(r" AUTO_INCREMENT=\d+", "", created) + ";\n"
    if request.config.getoption("--write-schema"):
        SCHEMA_SQL.write_text(schema)

    assert SCHEMA_SQL.read_text() == schema


def test_the_full_text_index_finds_words_of_every_searched_column(mysql_url, make_engine):
    engine = make_engine(mysql_url)
    migrate(engine)
    with engine.begin() as connection:
        for name, annotation, tags in [
            ("harbour.jpg", None, None),
            ("1.jpg", "A lighthouse at dusk.", None),
            ("2.jpg", None, '["seagull", "pier"]'),
        ]:
            connection.execute(
                text(
                    "INSERT INTO images (filename, original_key, content_type, size_bytes, width,"
                    " height, sha256, owner_id, annotation, tags, annotation_status,"
                    " annotation_attempts, annotation_requested_at, thumbnail_status,"
                    " thumbnail_attempts, thumbnail_requested_at, uploaded_at, updated_at) VALUES"
                    " (:name, :name, '', 0, 0, 0, '', '', :annotation, :tags, 'pending', 0,"
                    " NOW(6), 'pending', 0, NOW(6), NOW(6), NOW(6))"
                ),
                {"name": name, "annotation": annotation, "tags": tags},
            )

    with engine.connect() as connection:
        found = {
            word: connection.scalars(
                text("SELECT filename FROM images WHERE MATCH(search_text) AGAINST (:word)"),
                {"word": word},
            ).all()
            for word in ("harbour", "lighthouse", "seagull")
        }

    assert found == {"harbour": ["harbour.jpg"], "lighthouse": ["1.jpg"], "seagull": ["2.jpg"]}
