"""Migrations must keep the schema usable for the version that is being replaced.

Columns are added in one release and removed in a later one.
"""

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, Table, func, insert, inspect, select, text, update

import database.migrations
from database.jobs import claim_job, record_thumbnail
from database.listing import list_images
from database.migrations import migrate
from database.models import AnnotationSource, Job, Preview, Status
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


def test_the_author_of_each_text_is_derived_from_the_one_author_of_all(database_url, make_engine):
    engine = make_engine(database_url)
    migrate_to(engine, "0009")
    texts = {"annotation": "Caption", "alt_text": "Alt", "tags": '["tag"]'}
    models = {f"generated_{field}": value for field, value in texts.items()}
    with engine.begin() as connection:
        for id_, edit in enumerate(
            ({"annotation": "caption"}, {"alt_text": None}, {"tags": '["Tag"]'}), start=1
        ):
            _insert_image(connection, id_, {**texts, **models, **edit}, "human")
        _insert_image(connection, 4, {"tags": '["tag"]'}, "human")
        _insert_image(connection, 5, {**texts, **models}, "model")

    migrate(engine)

    with session_scope(create_session_factory(engine)) as session:
        sources = {image.id: image.sources for image in list_images(session, limit=9)}
    model, human = AnnotationSource.MODEL, AnnotationSource.HUMAN
    assert sources == {
        1: {"annotation": human, "alt_text": model, "tags": model},
        2: {"annotation": model, "alt_text": human, "tags": model},
        3: {"annotation": model, "alt_text": model, "tags": human},
        4: {"annotation": None, "alt_text": None, "tags": human},
        5: {"annotation": model, "alt_text": model, "tags": model},
    }


@pytest.mark.parametrize(("language", "tag"), [(None, "en"), ("german", "de"), ("klingon", None)])
def test_earlier_captions_get_the_language_of_the_site(database_url, make_engine, language, tag):
    engine = make_engine(database_url)
    migrate_to(engine, "0014")
    with engine.begin() as connection:
        _insert_image(connection, 1, {"generated_annotation": "Ein Hund"}, "model")
        _insert_image(connection, 2, {"annotation": "Written by a person"}, "human")
        if language is not None:
            row = {"language": language}
            connection.execute(text("INSERT INTO caption_language VALUES (1, :language)"), row)

    migrate(engine)

    with session_scope(create_session_factory(engine)) as session:
        languages = {image.id: image.language for image in list_images(session, limit=9)}
    assert languages == {1: tag, 2: None}


def test_the_version_before_small_previews_leaves_them_true(database_url, make_engine):
    engine = make_engine(database_url)
    migrate_to(engine, "0020")
    older = Table("previews", MetaData(), autoload_with=engine)  # Without the new column.
    with engine.begin() as connection:
        for id_ in (1, 2):
            _insert_image(connection, id_, {}, "model")
        connection.execute(insert(older).values(image_id=1, width=2048, height=10))

    migrate(engine)
    factory = create_session_factory(engine)
    with session_scope(factory) as session:
        before = {image.id: image.preview and image.preview.small_width for image in _all(session)}
        session.merge(Preview(image_id=1, width=2048, height=10, small_width=1024))
    with engine.begin() as connection:
        connection.execute(update(older).values(width=2016, height=9))
        connection.execute(insert(older).values(image_id=2, width=2048, height=10))

    with session_scope(factory) as session:
        after = {
            image.id: (image.preview.width, image.preview.small_width) for image in _all(session)
        }
    assert before == {1: None, 2: None}
    assert after == {1: (2016, 1024), 2: (2048, None)}


def _all(session):
    return list_images(session, limit=9)


def _insert_image(connection, id_, texts, source):
    columns = {
        "id": id_,
        "filename": "a.jpg",
        "original_key": f"originals/{id_}.jpg",
        "content_type": "image/jpeg",
        "size_bytes": 1,
        "width": 1,
        "height": 1,
        "sha256": "a",
        "owner_id": "me",
        "annotation_source": source,
        **texts,
    }
    for job in Job:
        columns |= {f"{job}_status": "completed", f"{job}_attempts": 1}
    names = ", ".join(columns)
    values = ", ".join(f":{name}" for name in columns)
    times = ("annotation_requested_at", "thumbnail_requested_at", "uploaded_at", "updated_at")
    connection.execute(
        text(
            f"INSERT INTO images ({names}, {', '.join(times)})"
            f" VALUES ({values}, {', '.join(['CURRENT_TIMESTAMP'] * 4)})"
        ),
        columns,
    )


def test_a_migration_removes_no_column(database_url, make_engine):
    engine = make_engine(database_url)
    before = {}
    for revision in EARLIER:
        migrate_to(engine, revision)
        before[revision] = _columns_of_images(engine)

    migrate(engine)

    after = _columns_of_images(engine)
    assert len(before) == len(EARLIER) > 0
    # The version that is still running reads these columns. Only a later release may remove them.
    for revision, columns in before.items():
        assert columns <= after, revision


def _columns_of_images(engine):
    return {column["name"] for column in inspect(engine).get_columns("images")}
