"""What the files of this folder share. Each starts systems of its own and can run by itself."""

import os
from collections.abc import Iterator

import pytest

from tests.support import mysql_server


@pytest.fixture(scope="module")
def database_url_of_module(mysql_server_url: str) -> Iterator[str]:
    """An empty database on the real server, for all tests of a file."""
    with mysql_server.fresh_database(mysql_server_url) as url:
        yield url


@pytest.fixture(scope="module")
def mysql_of_module(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[mysql_server.RunningMySQL]:
    """A real server that this file may stop, kill and starve."""
    if mysql_server.find_mysqld() is None:
        if os.environ.get("REQUIRE_REAL_PARTS"):
            pytest.fail(mysql_server.MYSQL_MISSING)
        pytest.skip(mysql_server.MYSQL_MISSING)
    with mysql_server.own_mysql(tmp_path_factory.mktemp("own-mysql")) as server:
        yield server
