"""Tests of which server programs are accepted as MySQL, and where the unpacked one is found."""

from pathlib import Path

import pytest

from tests.support.mysql_server import parse_version, parts_dir


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("mysqld  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)", (8, 4, 3)),
        ("/opt/my sql/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", (9, 7, 4)),
        ("mysqld  Ver 8.0.40-0ubuntu0.24.04.1 for Linux on x86_64 ((Ubuntu))", (8, 0, 40)),
        ("mysqld  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu on x86_64", None),
        ("command not found", None),
    ],
)
def test_the_version_of_mysql_is_parsed_and_mariadb_is_rejected(answer, version):
    assert parse_version(answer) == version


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"TEST_PARTS_DIR": "/parts", "XDG_CACHE_HOME": "/cache"}, Path("/parts")),
        ({"XDG_CACHE_HOME": "/cache"}, Path("/cache/image-annotation")),
        ({}, Path.home() / ".cache" / "image-annotation"),
    ],
)
def test_the_folder_is_the_one_that_the_installer_uses(env, folder):
    assert parts_dir(env) == folder
