"""Pages of images and the time limit of a search, on SQLite and on a real MySQL server."""

import pytest
from sqlalchemy import NullPool, create_engine

from database import full_text
from database.errors import QueryTooSlowError
from database.listing import ImageFilter, count_images, list_images
from database.migrations import migrate
from database.models import Status
from database.session import create_session_factory, session_scope
from tests.support.image_rows import add


def test_pages_are_ordered_from_newest_to_oldest_without_gaps(session_factory):
    ids = [add(session_factory)[0] for _ in range(5)]

    with session_scope(session_factory) as session:
        first = list_images(session, limit=2)
        second = list_images(session, limit=10, before_id=first[-1].id)

    assert [image.id for image in [*first, *second]] == ids[::-1]


def test_a_search_that_takes_too_long_raises_query_too_slow(make_engine, mysql_url, mocker):
    engine = make_engine(mysql_url)
    migrate(engine)
    factory = create_session_factory(engine)
    mocker.patch.object(full_text, "MAX_SEARCH_SECONDS", 0.1)
    words = ImageFilter(text="dog on a beach")
    status = ImageFilter(status=Status.COMPLETED)

    # Every query waits for this lock, however fast the machine is.
    with create_engine(mysql_url, poolclass=NullPool).connect() as locking:
        locking.exec_driver_sql("LOCK TABLES images WRITE")
        for where in (words, status):
            with pytest.raises(QueryTooSlowError), session_scope(factory) as session:
                count_images(session, at_most=9, where=where)
            with pytest.raises(QueryTooSlowError), session_scope(factory) as session:
                list_images(session, limit=9, where=where)
