"""Settings: required and optional variables, and errors without secret values."""

import pytest
from pydantic import ValidationError

from web_app.settings import Settings

SECRET = "hunter2-hunter2-hunter2"
REQUIRED = {
    "DATABASE_URL": f"mysql://app:{SECRET}@db/images",
    "FLASK_SECRET_KEY": SECRET,
    "S3_IMAGE_BUCKET": "images",
    "S3_THUMBNAIL_BUCKET": "thumbnails",
}
OPTIONAL = (
    "DB_HOST",
    "DB_PORT",
    "DB_NAME",
    "DB_USER",
    "DB_PASSWORD",
    "DB_SECRET_ARN",
    "MAX_UPLOAD_BYTES",
    "MAX_IMAGE_PIXELS",
    "PRESIGNED_URL_SECONDS",
    "SITE_NOTICE",
    "FLASK_SECRET_ARN",
    "FLASK_SECRET_KEY_FALLBACKS",
    "TRUSTED_PROXY_COUNT",
    "ALLOWED_HOSTS",
    "UPLOADS_PER_MINUTE",
    "CHANGES_PER_MINUTE",
    "READS_PER_MINUTE",
    "SIGN_IN_LOAD_BALANCER_ARN",
    "SIGN_IN_PUBLIC_KEYS_URL",
    "LOG_LEVEL",
    "THUMBNAIL_WIDTH",
    "THUMBNAIL_HEIGHT",
)


@pytest.fixture
def read_settings(monkeypatch):
    """Return a function that reads settings from the required variables and the given changes."""

    def read(**changes):
        for name in OPTIONAL:
            monkeypatch.delenv(name, raising=False)
        for name, value in {**REQUIRED, **changes}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        return Settings()

    return read


def test_the_required_variables_are_enough(read_settings):
    settings = read_settings()

    assert settings.flask_secret_key.get_secret_value() == SECRET
    assert (settings.s3_image_bucket, settings.s3_thumbnail_bucket) == ("images", "thumbnails")
    assert settings.max_upload_bytes == 20 * 1024 * 1024
    assert settings.site_notice is None


def test_the_secret_key_can_be_given_as_an_arn(read_settings):
    settings = read_settings(FLASK_SECRET_KEY=None, FLASK_SECRET_ARN="arn:aws:secretsmanager:x")

    assert settings.flask_secret_key is None
    assert settings.flask_secret_arn == "arn:aws:secretsmanager:x"


def test_without_a_secret_key_the_error_names_both_variables(read_settings):
    with pytest.raises(ValidationError, match="set FLASK_SECRET_KEY, or FLASK_SECRET_ARN"):
        read_settings(FLASK_SECRET_KEY=None)


def test_keys_of_a_rotation_are_separated_by_commas(read_settings):
    settings = read_settings(FLASK_SECRET_KEY_FALLBACKS=f" {SECRET}-1, {SECRET}-2 ,")

    keys = [key.get_secret_value() for key in settings.flask_secret_key_fallbacks]
    assert keys == [f"{SECRET}-1", f"{SECRET}-2"]
    assert read_settings(FLASK_SECRET_KEY_FALLBACKS="").flask_secret_key_fallbacks == ()


def test_a_short_key_of_a_rotation_is_refused_and_no_key_is_repeated(read_settings):
    with pytest.raises(ValidationError, match="each key needs at least 16") as error:
        read_settings(FLASK_SECRET_KEY_FALLBACKS=f"{SECRET}-1,too-short")

    assert SECRET not in str(error.value)
    assert "too-short" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        (None, ()),
        ("images.example.org", ("images.example.org",)),
        (" Images.example.org, .example.net ,", ("images.example.org", ".example.net")),
    ],
)
def test_allowed_hosts_are_separated_by_commas(read_settings, text, hosts):
    changes = {} if text is None else {"ALLOWED_HOSTS": text}

    assert read_settings(**changes).allowed_hosts == hosts


ARN = "arn:{}:elasticloadbalancing:{}:123456789012:loadbalancer/app/site/50dc6c495c0c9188"


@pytest.mark.parametrize(
    ("arn", "url", "keys_url"),
    [
        (
            ARN.format("aws", "eu-west-1"),
            None,
            "https://public-keys.auth.elb.eu-west-1.amazonaws.com",
        ),
        (ARN.format("aws-us-gov", "us-gov-west-1"), "https://keys.test/a/", "https://keys.test/a"),
    ],
)
def test_public_keys_are_read_from_the_region_of_the_load_balancer_or_the_given_url(
    read_settings, arn, url, keys_url
):
    changes = {} if url is None else {"SIGN_IN_PUBLIC_KEYS_URL": url}

    settings = read_settings(SIGN_IN_LOAD_BALANCER_ARN=arn, **changes)

    assert settings.public_keys_url() == keys_url


@pytest.mark.parametrize(
    "changes",
    [
        {"SIGN_IN_LOAD_BALANCER_ARN": "the-load-balancer"},
        {"SIGN_IN_LOAD_BALANCER_ARN": ARN.format("aws", "evil.com/")},
        {"SIGN_IN_PUBLIC_KEYS_URL": "http://keys.test"},
        {"SIGN_IN_PUBLIC_KEYS_URL": "http://127.0.0.1.evil.com"},
        {"SIGN_IN_PUBLIC_KEYS_URL": "file:///etc"},
        {"TRUSTED_PROXY_COUNT": "-1"},
        {"UPLOADS_PER_MINUTE": "many"},
    ],
)
def test_an_invalid_setting_for_sign_in_proxies_or_limits_is_named(read_settings, changes):
    with pytest.raises(ValidationError, match=next(iter(changes))):
        read_settings(**changes)


@pytest.mark.parametrize("name", ["FLASK_SECRET_KEY", "S3_IMAGE_BUCKET", "S3_THUMBNAIL_BUCKET"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_raises_an_error_that_names_it(read_settings, name, value):
    with pytest.raises(ValidationError) as error:
        read_settings(**{name: value})

    assert name in str(error.value).upper()


def test_without_a_database_the_error_names_both_ways_to_set_it(read_settings):
    with pytest.raises(ValidationError, match="DATABASE_URL, or DB_HOST and DB_USER"):
        read_settings(DATABASE_URL=None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLASK_SECRET_KEY", "too-short"),
        ("MAX_UPLOAD_BYTES", "-7777"),
        ("MAX_UPLOAD_BYTES", "20MB"),
        ("PRESIGNED_URL_SECONDS", "3601"),
        ("DB_PORT", "70000"),
    ],
)
def test_the_error_of_an_invalid_value_names_the_variable_but_not_the_value(
    read_settings, name, value
):
    with pytest.raises(ValidationError) as error:
        read_settings(**{name: value})

    text = str(error.value)
    assert name in text.upper()
    assert value not in text
    assert SECRET not in text


def test_no_secret_is_shown_when_settings_are_printed(read_settings):
    settings = read_settings(DB_PASSWORD=SECRET)

    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()}"


def test_database_url_takes_precedence_over_the_single_variables(read_settings):
    settings = read_settings(DB_HOST="elsewhere", DB_USER="me")

    assert settings.sqlalchemy_url().host == "db"
    assert settings.sqlalchemy_url().drivername == "mysql+pymysql"


def test_the_single_variables_make_a_database_url(read_settings):
    settings = read_settings(
        DATABASE_URL=None, DB_HOST="db", DB_USER="me", DB_PASSWORD="p@ss/w:rd", DB_NAME="images"
    )

    url = settings.sqlalchemy_url()
    assert (url.drivername, url.host, url.port) == ("mysql+pymysql", "db", 3306)
    assert (url.username, url.password, url.database) == ("me", "p@ss/w:rd", "images")


@pytest.mark.parametrize("url", [SECRET, f"mysql://app:{SECRET}@db:port/images", f"x://{SECRET}"])
def test_an_invalid_database_url_is_refused_without_repeating_it(read_settings, url):
    with pytest.raises(ValidationError) as error:
        read_settings(DATABASE_URL=url)

    assert SECRET not in str(error.value)
