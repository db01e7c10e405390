import pytest

from local_cloud.setting_values import SettingError
from local_cloud.settings import Settings
from local_cloud.template import Template

VISION = {"LOCAL_VISION_URL": "http://127.0.0.1:11434/v1", "LOCAL_VISION_MODEL": "qwen3-vl:8b"}
IMPORTS = {"ImageBucketName": "a-bucket", "ThumbnailBucketName": "b-bucket"}


@pytest.fixture
def annotation():
    return Template.read(IMPORTS).functions["AnnotationFunction"]


def test_no_program_receives_credentials_or_addresses_of_a_real_account(tmp_path, annotation):
    real = {
        "AWS_PROFILE": "work",
        "AWS_SESSION_TOKEN": "token",
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "AWS_SECRET_ACCESS_KEY": "real",
        "AWS_ENDPOINT_URL_S3": "https://s3.example",
        "DB_SECRET_ARN": "arn:aws:secretsmanager:eu-west-1:1:secret:a",
        "GEMINI_SECRET_ARN": "arn:aws:secretsmanager:eu-west-1:1:secret:b",
    }
    settings = Settings.read(real, tmp_path)

    for environment in (
        settings.web_environment("key"),
        settings.function_environment(annotation),
        settings.aws_server_environment(tmp_path),
    ):
        assert not set(real.values()) & set(environment.values())
        assert "AWS_PROFILE" not in environment
        assert environment["AWS_ENDPOINT_URL"] == settings.aws_url
        assert environment["AWS_ACCESS_KEY_ID"] == settings.access_key.id
        assert environment["AWS_SECRET_ACCESS_KEY"] == settings.access_key.secret
        assert "127.0.0.1" in environment["NO_PROXY"].split(",")


def test_each_run_has_its_own_access_key_which_is_not_displayed(tmp_path):
    first, second = (Settings.read({}, tmp_path) for _ in range(2))

    assert first.access_key.id.startswith("AKIA")
    assert len(first.access_key.id) == 20
    assert len(first.access_key.secret) == 40
    assert first.access_key.id != second.access_key.id
    assert first.access_key.secret != second.access_key.secret
    assert first.access_key.secret not in repr(first)


@pytest.mark.parametrize(
    ("variables", "allowed"),
    [
        ({}, "127.0.0.1,localhost,[::1]"),
        ({"HOST": "0.0.0.0"}, "127.0.0.1,localhost,[::1]"),
        ({"HOST": "::"}, "127.0.0.1,localhost,[::1]"),
        ({"HOST": "192.0.2.7"}, "127.0.0.1,localhost,[::1],192.0.2.7"),
        ({"HOST": "fe80::7"}, "127.0.0.1,localhost,[::1],[fe80::7]"),
        ({"ALLOWED_HOSTS": "images.example"}, "images.example"),
    ],
)
def test_the_web_application_accepts_only_host_names_of_this_machine(tmp_path, variables, allowed):
    settings = Settings.read(variables, tmp_path)

    assert settings.web_environment("key")["ALLOWED_HOSTS"] == allowed


def test_a_function_receives_only_the_variables_of_its_template(tmp_path, annotation):
    settings = Settings.read({"PATH": "/bin", "SOMETHING": "else", "LOG_LEVEL": "DEBUG"}, tmp_path)

    environment = settings.function_environment(annotation)

    assert "SOMETHING" not in environment
    assert "THUMBNAIL_WIDTH" not in environment
    assert "DB_HOST" not in environment
    assert environment["PATH"] == "/bin"
    assert environment["LOG_LEVEL"] == "DEBUG"
    assert environment["CAPTION_LANGUAGE"] == "English"
    assert environment["S3_IMAGE_BUCKET"] == "image-annotation-originals"
    assert environment["DATABASE_URL"] == f"sqlite:///{tmp_path}/.local/images.sqlite3"


def test_without_a_key_captions_come_from_the_emulator_and_pages_have_a_notice(
    tmp_path, annotation
):
    settings = Settings.read(
        {"GEMINI_MODEL_NAME": "gemini-x", "CAPTION_LANGUAGE": "Japanese"}, tmp_path
    )

    environment = settings.function_environment(annotation)

    assert environment["GEMINI_API_KEY"] == "local"
    assert environment["CAPTION_LANGUAGE"] == "English"
    assert environment["GEMINI_MODEL_NAME"] == "local-recogniser-1"
    assert environment["GOOGLE_GEMINI_BASE_URL"].startswith("http://127.0.0.1:")
    assert "on this computer" in settings.web_environment("key")["SITE_NOTICE"]


def test_a_vision_model_has_its_own_time_out_language_and_deadline(tmp_path, annotation):
    settings = Settings.read({**VISION, "CAPTION_LANGUAGE": "Japanese"}, tmp_path)

    environment = settings.function_environment(annotation)

    assert environment["GEMINI_MODEL_NAME"] == "local-vision-qwen3-vl-8b"
    assert environment["CAPTION_LANGUAGE"] == "Japanese"
    assert settings.timeout_seconds(annotation) == 300
    other = Settings.read({**VISION, "LOCAL_VISION_TIMEOUT_SECONDS": "600"}, tmp_path)
    assert other.timeout_seconds(annotation) == 600


def test_images_wait_longer_for_a_vision_model(tmp_path):
    sweep = Template.read(IMPORTS).functions["SweepFunction"]
    name = "PROCESSING_DEADLINE_SECONDS"

    slow = Settings.read(VISION, tmp_path).function_environment(sweep)
    chosen = Settings.read({**VISION, name: "300"}, tmp_path).function_environment(sweep)

    assert (slow[name], chosen[name]) == ("21600", "300")


def test_a_key_for_gemini_comes_before_a_vision_model(tmp_path, annotation):
    settings = Settings.read({**VISION, "GEMINI_API_KEY": "real-key"}, tmp_path)

    environment = settings.function_environment(annotation)

    assert environment["GEMINI_MODEL_NAME"] == "gemini-3.5-flash-lite"
    assert settings.timeout_seconds(annotation) == annotation.timeout_seconds
    assert settings.web_environment("key")["SITE_NOTICE"] == ""


def test_only_the_emulator_has_no_daily_limit_of_tokens(tmp_path, annotation):
    name = "GEMINI_DAILY_TOKEN_BUDGET"
    emulator = Settings.read({}, tmp_path)
    chosen = Settings.read({name: "9000"}, tmp_path)
    gemini = Settings.read({"GEMINI_API_KEY": "real-key"}, tmp_path)

    for settings, budget in ((emulator, "0"), (chosen, "9000")):
        assert settings.function_environment(annotation)[name] == budget
        assert settings.web_environment("key")[name] == budget
    assert int(gemini.function_environment(annotation)[name]) > 0
    assert name not in gemini.web_environment("key")  # The default of the application.


def test_with_a_key_captions_come_from_the_model_of_the_template(tmp_path, annotation):
    settings = Settings.read({"GEMINI_API_KEY": "real-key"}, tmp_path)

    environment = settings.function_environment(annotation)

    assert environment["GEMINI_API_KEY"] == "real-key"
    assert environment["GEMINI_MODEL_NAME"] == "gemini-3.5-flash-lite"
    assert "GOOGLE_GEMINI_BASE_URL" not in environment
    assert settings.web_environment("key")["SITE_NOTICE"] == ""
    assert "real-key" not in settings.web_environment("key").values()
    assert "real-key" not in repr(settings)


def test_the_environment_takes_precedence_over_the_env_file(tmp_path):
    (tmp_path / ".env").write_text("PORT=8001\nHOST=127.0.0.2\n")

    settings = Settings.read({"PORT": "8002"}, tmp_path)

    assert (settings.host, settings.port) == ("127.0.0.2", 8002)


def test_a_given_database_is_used_and_displayed_without_its_password(tmp_path, annotation):
    url = "mysql+pymysql://me:secret@db.example:3306/images"
    settings = Settings.read({"DATABASE_URL": url}, tmp_path)

    assert settings.function_environment(annotation)["DATABASE_URL"] == url
    assert settings.web_environment("key")["DATABASE_URL"] == url
    assert settings.database == "mysql+pymysql://db.example:3306/images"


def test_database_settings_in_parts_are_passed_on_in_parts(tmp_path, annotation):
    parts = {"DB_HOST": "db.example", "DB_USER": "me", "DB_PASSWORD": "secret", "DB_NAME": "images"}
    settings = Settings.read(parts, tmp_path)

    for environment in (settings.web_environment("key"), settings.function_environment(annotation)):
        assert parts.items() <= environment.items()
        assert "DATABASE_URL" not in environment


@pytest.mark.parametrize("port", ["eight", "70000", "-1"])
def test_an_invalid_port_is_rejected_by_name(tmp_path, port):
    with pytest.raises(SettingError, match="PORT must be a number from 0 to 65535"):
        Settings.read({"PORT": port}, tmp_path)


@pytest.mark.parametrize(
    ("variables", "minimum"),
    [
        ({}, 11),
        ({"GEMINI_API_KEY": "a-key"}, 18),
        ({"GEMINI_API_KEY": "a-key", "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:1"}, 11),
    ],
)
def test_a_time_out_that_leaves_no_time_for_a_caption_is_refused(tmp_path, variables, minimum):
    name = "LOCAL_FUNCTION_TIMEOUT_SECONDS"

    read = Settings.read({**variables, name: str(minimum)}, tmp_path)

    assert read.function_timeout_seconds == minimum
    with pytest.raises(SettingError, match=f"{name} must be a number from {minimum} to 900"):
        Settings.read({**variables, name: str(minimum - 1)}, tmp_path)
