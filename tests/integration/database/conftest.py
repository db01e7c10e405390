import pytest

from database.session import create_session_factory


@pytest.fixture(params=["sqlite", "mysql"])
def session_factory(request):
    """Create sessions on a migrated database, SQLite and then MySQL."""
    return create_session_factory(request.getfixturevalue(f"migrated_{request.param}_engine"))
