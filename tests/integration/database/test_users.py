"""The database users that the migration creates, on a real MySQL server."""

import pytest
import sqlalchemy.exc
from sqlalchemy import make_url, select, text

from database.errors import DatabaseBusyError
from database.images import add_image
from database.jobs import claim_job, record_failure
from database.migrations import migrate
from database.migrations.users import (
    RESERVED_CONNECTIONS,
    ConnectionLimits,
    User,
    update_users,
)
from database.models import Image, Job
from database.session import create_database_engine, create_session_factory, session_scope
from database.settings import DatabaseSettings
from tests.support import mysql_server
from tests.support.image_rows import new_image

WEB = User("image_annotation_web", "a'\"%\\b-password")
FUNCTIONS = User("image_annotation_functions", "another-password")
DATABASE = "image_annotation"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Start a server with a master user like that of RDS."""
    if mysql_server.find_mysqld() is None:
        pytest.skip(mysql_server.MYSQL_MISSING)
    with mysql_server.own_mysql(tmp_path_factory.mktemp("server")) as server:
        server.execute_as_root("CREATE USER 'master'@'%' IDENTIFIED BY 'master-password'")
        # RDS grants its master user these and others, but never all.
        server.execute_as_root(
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, REFERENCES, INDEX, ALTER,"
            " SHOW DATABASES, CREATE USER ON *.* TO 'master'@'%' WITH GRANT OPTION"
        )
        server.execute_as_root(f"CREATE DATABASE {DATABASE}")
        server.execute_as_root("CREATE DATABASE imageXannotation")
        yield server


@pytest.fixture
def sign_in(server):
    """Return a function that makes the engine of a user."""
    engines = []

    def make(user):
        settings = DatabaseSettings(
            database_url=None,
            db_host="127.0.0.1",
            db_port=make_url(server.url).port,
            db_name=DATABASE,
            db_user=user.name,
            db_password=user.password,
        )
        engines.append(create_database_engine(settings))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


@pytest.fixture
def master(sign_in):
    engine = sign_in(User("master", "master-password"))
    migrate(engine)
    return engine


def error_number(caught):
    return caught.value.orig.args[0]


def test_the_users_may_read_and_write_rows(master, sign_in):
    update_users(master, web=WEB, functions=FUNCTIONS)

    web = create_session_factory(sign_in(WEB))
    functions = create_session_factory(sign_in(FUNCTIONS))
    new = new_image()
    with session_scope(web) as session:
        add_image(session, new)
    with session_scope(functions) as session:
        claim = claim_job(session, Job.THUMBNAIL, new.original_key, lease_seconds=9, max_attempts=3)
    with session_scope(functions) as session:
        assert record_failure(session, claim, code="x", message="y")
    with session_scope(web) as session:
        assert session.scalars(select(Image.thumbnail_error_code)).all() == ["x"]
        session.execute(text("DELETE FROM images"))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE t (id INT)",
        "ALTER TABLE images ADD COLUMN extra INT",
        "DROP TABLE images",
        "CREATE USER other",
        "SELECT * FROM mysql.user",
        # The underscore of the name of the database matches no other character.
        "CREATE TABLE imageXannotation.t (id INT)",
        "SELECT * FROM imageXannotation.t",
        "SET GLOBAL max_connections = 1",
        "SELECT 'x' INTO OUTFILE '/tmp/x'",
    ],
)
def test_the_users_may_do_nothing_else(statement, master, sign_in):
    update_users(master, web=WEB, functions=FUNCTIONS)

    for user in (WEB, FUNCTIONS):
        with (
            pytest.raises(sqlalchemy.exc.DBAPIError) as caught,
            sign_in(user).connect() as connection,
        ):
            connection.exec_driver_sql(statement.replace("%", "%%"))
        # Access denied, in the words for a database, a table, a right or a file.
        assert error_number(caught) in (1044, 1142, 1227, 1045)


def test_the_next_migration_gives_a_user_its_new_password(master, sign_in):
    update_users(master, web=WEB, functions=FUNCTIONS)
    changed = User(WEB.name, "changed")

    for _ in range(2):
        update_users(master, web=changed, functions=FUNCTIONS)
        with sign_in(changed).connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1

    with pytest.raises(sqlalchemy.exc.OperationalError), sign_in(WEB).connect():
        pass


def test_a_deleted_user_is_created_again(master, sign_in, server):
    update_users(master, web=WEB, functions=FUNCTIONS)
    server.execute_as_root(f"DROP USER '{FUNCTIONS.name}'")

    update_users(master, web=WEB, functions=FUNCTIONS)

    with sign_in(FUNCTIONS).connect() as connection:
        assert connection.scalar(text("SELECT COUNT(*) FROM images")) == 0


def test_mysql_keeps_the_limits_of_both_users_whatever_the_programs_do(master, sign_in, server):
    server.execute_as_root(f"SET GLOBAL max_connections = {RESERVED_CONNECTIONS + 9}")
    try:
        limits = update_users(master, web=WEB, functions=FUNCTIONS)
        assert (limits.web, limits.functions) == (6, 3)

        opened = []
        for user, limit in ((WEB, limits.web), (FUNCTIONS, limits.functions)):
            engine = sign_in(user)
            opened += [engine.connect() for _ in range(limit)]
            with pytest.raises(DatabaseBusyError), engine.connect():
                pass
        with master.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        for connection in opened:
            connection.close()
    finally:
        server.execute_as_root("SET GLOBAL max_connections = 151")


def test_the_limits_follow_the_size_of_the_server(master, server):
    server.execute_as_root("SET GLOBAL max_connections = 600")
    try:
        assert update_users(master, web=WEB, functions=FUNCTIONS) == ConnectionLimits(389, 195)
    finally:
        server.execute_as_root("SET GLOBAL max_connections = 151")


@pytest.mark.parametrize("max_connections", [19, 60, 140, 600, 5000])
def test_the_limits_together_leave_the_reserved_connections_free(max_connections):
    limits = ConnectionLimits.of(max_connections)

    assert limits.web + limits.functions == max_connections - RESERVED_CONNECTIONS
    assert min(limits.web, limits.functions) >= 1


def test_a_server_with_too_few_connections_is_refused():
    with pytest.raises(ValueError, match="Increase max_connections to 19 or more"):
        ConnectionLimits.of(16)


def test_the_password_of_a_user_is_not_printed():
    assert "password" not in repr(WEB)
