import pytest

from database.session import create_session_factory


@pytest.fixture(params=["sqlite", "mysql"])
def session_factory(request, make_engine):
    """Create sessions on a migrated database, SQLite and then MySQL."""
    url = request.getfixturevalue(f"migrated_{request.param}_url")
    return create_session_factory(make_engine(url))
