"""Connections to a MySQL server that is verified, that has no free connection, or both."""

import re
import ssl
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import make_url, text

import database.connections
import database.session
from database.connections import verifying_context
from database.errors import DatabaseBusyError, DatabaseUnavailableError
from database.session import (
    create_database_engine,
    create_function_engine,
    create_session_factory,
    session_scope,
)
from database.settings import DatabaseSettings
from tests.support import mysql_server
from tests.support.certificates import Authority

RDS_ROOTS = Path(database.session.__file__).parent / "rds_roots.pem"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "test-authority")


@pytest.fixture(scope="module")
def server(authority, tmp_path_factory):
    """Start a MySQL server that proves that its name is `localhost`."""
    if mysql_server.find_mysqld() is None:
        pytest.skip(mysql_server.MYSQL_MISSING)
    files = authority.sign("localhost")
    with mysql_server.own_mysql(tmp_path_factory.mktemp("server")) as server:
        server.stop()
        server.start(f"--ssl-cert={files.certificate}", f"--ssl-key={files.key}")
        yield server


@pytest.fixture
def connect(server):
    """Return a function that signs in under a name of the server, and returns the TLS cipher."""
    engines = []

    def sign_in(host="localhost", ca_file=None):
        url = make_url(server.url)
        settings = DatabaseSettings(
            database_url=None,
            db_host=host,
            db_port=url.port,
            db_name="information_schema",
            db_user=url.username,
            db_password=url.password,
            db_ca_file=ca_file,
        )
        engines.append(create_database_engine(settings))
        with engines[-1].connect() as connection:
            return connection.execute(text("SHOW STATUS LIKE 'Ssl_cipher'")).one()[1]

    yield sign_in
    for engine in engines:
        engine.dispose()


def test_a_server_with_a_certificate_of_the_authority_is_trusted(connect, authority):
    assert connect(ca_file=authority.file)


def test_a_server_under_another_name_than_its_certificate_is_refused(connect, authority):
    with pytest.raises(DatabaseUnavailableError, match="must name DB_HOST") as caught:
        connect("127.0.0.1", ca_file=authority.file)

    assert "is not valid for" in str(caught.value)


def test_a_server_with_a_certificate_of_another_authority_is_refused(connect, tmp_path):
    other = Authority(tmp_path, "other-authority")

    with pytest.raises(DatabaseUnavailableError, match="signed by an authority in DB_CA_FILE"):
        connect(ca_file=other.file)
    with pytest.raises(DatabaseUnavailableError, match="no password was sent"):
        connect(ca_file=RDS_ROOTS)


def test_a_server_without_tls_is_refused_if_it_must_be_verified(authority, tmp_path):
    if mysql_server.find_mysqld() is None:
        pytest.skip(mysql_server.MYSQL_MISSING)
    with mysql_server.own_mysql(tmp_path) as server:
        server.stop()
        server.start("--tls-version=")
        url = make_url(server.url)
        settings = DatabaseSettings(
            database_url=f"mysql://{url.username}:{url.password}@localhost:{url.port}/x",
            db_ca_file=authority.file,
        )
        factory = create_session_factory(create_database_engine(settings))

        with (
            pytest.raises(DatabaseUnavailableError) as caught,
            session_scope(factory) as session,
        ):
            session.execute(text("SELECT 1"))
    assert "doesn't support it" in str(caught.value)


def test_without_a_file_of_authorities_connections_are_encrypted_but_not_verified(connect):
    assert connect("127.0.0.1")


def test_a_file_of_authorities_that_does_not_exist_is_refused_at_the_start(tmp_path):
    with pytest.raises(ValueError, match=r"(?i)db_ca_file"):
        DatabaseSettings(database_url="sqlite://", db_ca_file=tmp_path / "absent.pem")


def test_the_authorities_of_a_context_are_only_those_of_its_file(authority):
    context = verifying_context(authority.file)

    assert len(context.get_ca_certs()) == 1
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def rds_roots():
    return x509.load_pem_x509_certificates(RDS_ROOTS.read_bytes())


def test_the_file_of_rds_holds_roots_of_amazon_that_sign_themselves():
    names = set()
    for root in rds_roots():
        root.verify_directly_issued_by(root)
        [organization] = root.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
        [name] = root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        assert organization.value == "Amazon Web Services, Inc."
        assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert re.fullmatch(
            r"Amazon RDS [a-z]+(-[a-z]+)+-\d Root CA (RSA2048|RSA4096|ECC384) G1", name.value
        )
        names.add(name.value)

    assert len(names) == len(rds_roots())
    # RDS signs with RSA2048 unless another authority is chosen.
    assert {"eu-west-1", "eu-central-1", "us-east-1", "us-west-2"} <= {
        name.split()[2] for name in names if "RSA2048" in name
    }
    assert re.findall(r"^# (Amazon RDS .+)$", RDS_ROOTS.read_text(), re.MULTILINE) == sorted(names)


def test_no_root_of_rds_expires_within_two_years():
    now = datetime.now(UTC)

    assert min(root.not_valid_after_utc for root in rds_roots()).year >= now.year + 2


# ---- Too many connections -----------------------------------------------------------------------


@pytest.fixture
def busy_user(server):
    """Return the URL of a user that may have one connection at once."""
    password = make_url(server.url).password
    server.execute_as_root(
        f"CREATE USER IF NOT EXISTS 'one'@'%' IDENTIFIED BY '{password}'"
        " WITH MAX_USER_CONNECTIONS 1"
    )
    return make_url(server.url).set(username="one", database="information_schema")


@pytest.fixture
def make_busy_engine(busy_user):
    engines = []

    def make(create=create_database_engine, **options):
        url = busy_user.render_as_string(hide_password=False)
        engines.append(create(DatabaseSettings(database_url=url), **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


def read(engine):
    with session_scope(create_session_factory(engine)) as session:
        return session.scalar(text("SELECT 1"))


def test_a_user_without_a_free_connection_raises_database_busy(make_busy_engine):
    with make_busy_engine().connect(), pytest.raises(DatabaseBusyError) as caught:
        read(make_busy_engine())

    assert caught.value.__cause__.args[0] == 1226


def test_a_server_without_a_free_connection_raises_database_busy(
    make_busy_engine, make_engine, server
):
    other = make_url(server.url).set(database="information_schema")
    server.execute_as_root("SET GLOBAL max_connections = 1")
    try:
        with (
            make_engine(other.render_as_string(hide_password=False)).connect(),
            pytest.raises(DatabaseBusyError) as caught,
        ):
            read(make_busy_engine())
    finally:
        server.execute_as_root("SET GLOBAL max_connections = 151")

    assert caught.value.__cause__.args[0] == 1040


def test_a_function_waits_for_a_free_connection(make_busy_engine, monkeypatch):
    pauses = []
    holder = make_busy_engine().connect()

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            holder.invalidate()

    monkeypatch.setattr(database.connections.time, "sleep", pause)
    monkeypatch.setattr(database.session, "FUNCTION_BUSY_SECONDS", 60)

    assert read(make_busy_engine(create_function_engine)) == 1
    assert len(set(pauses)) >= 3, "the pauses are random"
    holder.close()


def test_a_wait_for_a_connection_ends(make_busy_engine, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(database.connections.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(
        database.connections.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds)
    )

    with make_busy_engine().connect(), pytest.raises(DatabaseBusyError):
        read(make_busy_engine(busy_seconds=5))

    assert 1005 <= now[0] < 1006


def test_a_function_keeps_no_connection_between_transactions(make_busy_engine, server):
    engine = make_busy_engine(create_function_engine)

    assert [read(engine), read(engine)] == [1, 1]

    assert read(make_busy_engine()) == 1


def test_functions_that_share_few_connections_all_get_one(make_busy_engine):
    engines = [make_busy_engine(create_function_engine) for _ in range(8)]
    results = []

    def work(engine):
        for _ in range(3):
            results.append(read(engine))
            time.sleep(0.01)

    threads = [threading.Thread(target=work, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == [1] * 24
