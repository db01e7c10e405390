"""Fixtures of the fault tests. Each file starts its own systems."""

import os
from collections.abc import Iterator

import pytest

from tests.support import mysql_server


@pytest.fixture(scope="module")
def database_url_of_module(mysql_server_url: str) -> Iterator[str]:
    """Create an empty database on the real server for all tests of a file."""
    with mysql_server.fresh_database(mysql_server_url) as url:
        yield url


@pytest.fixture(scope="module")
def mysql_of_module(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[mysql_server.RunningMySQL]:
    """Start a real server that the tests of a file may stop and kill."""
    if mysql_server.find_mysqld() is None:
        if os.environ.get("REQUIRE_REAL_PARTS"):
            pytest.fail(mysql_server.MYSQL_MISSING)
        pytest.skip(mysql_server.MYSQL_MISSING)
    with mysql_server.own_mysql(tmp_path_factory.mktemp("own-mysql")) as server:
        yield server
