import pytest

from database.migrations import migrate
from database.session import create_session_factory


@pytest.fixture
def session_factory(database_url, make_engine):
    """Sessions on a migrated database of each kind."""
    engine = make_engine(database_url)
    migrate(engine)
    return create_session_factory(engine)
