"""Tests that the engine which most tests share gives each of them a database of its own."""

import pytest
from sqlalchemy import text


@pytest.fixture
def late_connection(sqlite_engine):
    """Read from the database after the end of a test, as a thread of it may do."""
    yield
    with sqlite_engine.connect() as connection:
        connection.execute(text("SELECT COUNT(*) FROM sqlite_master"))


@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_connection_after_the_end_of_a_test_does_not_change_the_next_one(
    late_connection, migrated_sqlite_engine, turn
):
    with migrated_sqlite_engine.connect() as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM images")).scalar() == 0
