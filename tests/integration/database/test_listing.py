"""Pages of images and the time limit of a search, on SQLite and on a real MySQL server."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import NullPool, create_engine, update

from database import full_text
from database.errors import QueryTooSlowError
from database.listing import (
    ImageFilter,
    Position,
    Sort,
    count_images,
    list_images,
    position_of,
)
from database.migrations import migrate
from database.models import Image, Status
from database.session import create_session_factory, session_scope
from tests.support.image_rows import add


def test_pages_are_ordered_from_newest_to_oldest_without_gaps(session_factory):
    ids = [add(session_factory)[0] for _ in range(5)]

    with session_scope(session_factory) as session:
        first = list_images(session, limit=2)
        second = list_images(session, limit=10, after=Position(first[-1].id))

    assert [image.id for image in [*first, *second]] == ids[::-1]


START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def ids(session_factory):
    """Add ten images, one each day. The order of changes is 0, 2, 4, 6, 8, 1, 3, 5, 7, 9."""
    added = [add(session_factory, owner_id=f"owner {n % 2}")[0] for n in range(10)]
    with session_scope(session_factory) as session:
        for number, image_id in enumerate(added):
            set_times(
                session,
                image_id,
                uploaded_at=START + timedelta(days=number),
                updated_at=START + timedelta(days=30 + number // 2 + number % 2 * 5),
            )
    return added


def set_times(session, image_id, **times):
    session.execute(update(Image).where(Image.id == image_id).values(times))


def read_all(session_factory, where, *, limit=3, is_reversed=False, after=None):
    found = []
    while True:
        with session_scope(session_factory) as session:
            page = list_images(
                session, limit=limit, after=after, where=where, is_reversed=is_reversed
            )
        found += [image.id for image in page]
        if len(page) < limit:
            return found
        after = position_of(page[-1], where)


BY_CHANGE = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]
ORDERS = {
    Sort.NEWEST: range(9, -1, -1),
    Sort.OLDEST: range(10),
    Sort.CHANGED: BY_CHANGE[::-1],
}


@pytest.mark.parametrize("sort", Sort)
@pytest.mark.parametrize("is_reversed", [False, True])
def test_pages_have_each_image_once_in_each_order_and_direction(
    session_factory, ids, sort, is_reversed
):
    found = read_all(session_factory, ImageFilter(sort=sort), is_reversed=is_reversed)

    expected = [ids[number] for number in ORDERS[sort]]
    assert found == (expected[::-1] if is_reversed else expected)


@pytest.mark.parametrize("sort", Sort)
def test_each_order_can_be_filtered_by_owner_status_and_time(session_factory, ids, sort):
    span = {"since": START + timedelta(days=2), "until": START + timedelta(days=6)}
    in_span = [2, 3, 4, 5]
    if sort is Sort.CHANGED:  # The times are those of changes.
        span = {name: at + timedelta(days=30) for name, at in span.items()}
        in_span = [4, 6, 8, 1]
    where = ImageFilter(sort=sort, owner_id="owner 0", status=Status.PENDING, **span)

    assert read_all(session_factory, ImageFilter(sort=sort, **span)) == [
        ids[number] for number in ORDERS[sort] if number in in_span
    ]
    assert read_all(session_factory, where) == [
        ids[number] for number in ORDERS[sort] if number in in_span and number % 2 == 0
    ]
    with session_scope(session_factory) as session:
        assert count_images(session, at_most=99, where=where) == sum(
            number % 2 == 0 for number in in_span
        )


@pytest.mark.parametrize("text", [None, "beach"])
def test_the_bounds_of_a_time_are_exact_although_ids_and_times_overlap(session_factory, ids, text):
    with session_scope(session_factory) as session:
        # Two servers insert at the same time, and the transaction of the first id is the later one.
        set_times(session, ids[4], uploaded_at=START + timedelta(days=5, seconds=30))
    since = START + timedelta(days=5, seconds=10)

    after = read_all(session_factory, ImageFilter(text, since=since))
    before = read_all(session_factory, ImageFilter(text, until=since))

    assert after == [*ids[:5:-1], ids[4]]
    assert before == [ids[5], *ids[3::-1]]


@pytest.mark.parametrize("sort", Sort)
def test_a_time_without_images_lists_none(session_factory, ids, sort):
    for span in ({"since": START + timedelta(days=99)}, {"until": START}):
        assert read_all(session_factory, ImageFilter(sort=sort, **span)) == []


def test_images_that_change_while_pages_are_read_are_not_listed_twice(session_factory, ids):
    where = ImageFilter(sort=Sort.CHANGED)
    with session_scope(session_factory) as session:
        first = list_images(session, limit=4, where=where)
        # One that was read, and one that was not.
        for image_id in (first[1].id, ids[0]):
            set_times(session, image_id, updated_at=START + timedelta(days=99))

    rest = read_all(session_factory, where, after=position_of(first[-1], where))

    assert rest == [ids[number] for number in BY_CHANGE[5:0:-1]]
    since = ImageFilter(sort=Sort.CHANGED, since=START + timedelta(days=98))
    assert set(read_all(session_factory, since)) == {first[1].id, ids[0]}


def test_images_with_the_same_time_of_change_are_listed_once(session_factory, ids):
    with session_scope(session_factory) as session:
        for image_id in ids:
            set_times(session, image_id, updated_at=START)

    assert read_all(session_factory, ImageFilter(sort=Sort.CHANGED)) == ids[::-1]


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
