"""Compare every setting in all places that must agree.

A setting is read in a `settings.py`, passed on by an entry point, listed in `.env.example` and,
where an operator may choose it, a parameter and a variable of a CloudFormation template. The
messages name the file to edit.
"""

import re
from collections.abc import Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from types import MethodType, SimpleNamespace
from typing import Any, Literal, get_args, get_origin
from uuid import uuid4

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from database.settings import DatabaseSettings
from deployment.template_files import load_template
from lambda_functions.annotation import handler as annotation_handler
from lambda_functions.maintenance import handler as maintenance_handler
from lambda_functions.settings import (
    AnnotationSettings,
    MigrateSettings,
    SweepSettings,
    ThumbnailSettings,
)
from lambda_functions.thumbnail import handler as thumbnail_handler
from lambda_functions.thumbnail.derivatives import Derivatives
from local_cloud.captions.settings import DEFAULT_RECOGNISER
from local_cloud.settings import Settings as LocalSettings
from local_cloud.template import Template
from web_app.settings import Settings as WebSettings

ROOT = Path(__file__).parents[2]
ENV_EXAMPLE = ".env.example"
FUNCTIONS_STACK = "deployment/03-lambda-stack.yaml"
WEB_STACK = "deployment/04-ec2-alb-asg-stack.yaml"

# Each settings class, the file that reads it, the template with its parameters, and the folders
# with the code that uses it.
COMPONENTS = {
    "annotation": (
        AnnotationSettings,
        "lambda_functions/settings.py",
        FUNCTIONS_STACK,
        ["lambda_functions/annotation"],
    ),
    "thumbnail": (
        ThumbnailSettings,
        "lambda_functions/settings.py",
        FUNCTIONS_STACK,
        ["lambda_functions/thumbnail"],
    ),
    "sweep": (
        SweepSettings,
        "lambda_functions/settings.py",
        FUNCTIONS_STACK,
        ["lambda_functions/maintenance"],
    ),
    "migrate": (
        MigrateSettings,
        "lambda_functions/settings.py",
        FUNCTIONS_STACK,
        ["lambda_functions/maintenance"],
    ),
    "web": (WebSettings, "web_app/settings.py", WEB_STACK, ["web_app"]),
}
# Settings that the code uses through a method of their class.
USED_THROUGH = {"sign_in_public_keys_url": "public_keys_url"}


def fields_of(settings_class: type[DatabaseSettings]) -> dict[str, FieldInfo]:
    """Return the settings of one component without those of the database."""
    return {
        name: field
        for name, field in settings_class.model_fields.items()
        if name not in DatabaseSettings.model_fields
    }


def as_text(value: Any) -> str:
    """Return a default as a template or an environment file writes it; empty for none."""
    return "" if value in (None, (), PydanticUndefined) else str(value)


# ---- Read and used ------------------------------------------------------------------------------


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_setting_that_is_read_is_used(component):
    settings_class, settings_file, _, folders = COMPONENTS[component]
    entry_point = "web_app/app.py" if component == "web" else f"{folders[0]}/handler.py"
    source = "\n".join(
        path.read_text()
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".html") and path.name != "settings.py"
    )

    unused = [
        name.upper()
        for name in fields_of(settings_class)
        if not re.search(rf"\bsettings\.{USED_THROUGH.get(name, name)}\b", source)
    ]

    assert not unused, (
        f"{settings_file} reads them, but nothing uses them: pass them on in {entry_point}"
    )


def test_every_part_of_the_address_of_the_database_is_used():
    settings = DatabaseSettings(
        database_url=None,
        db_host="unusual-host",
        db_port=3307,
        db_name="unusual_name",
        db_user="unusual-user",
        db_password="unusual-password",
    )

    address = settings.sqlalchemy_url().render_as_string(hide_password=False)

    assert address == (
        "mysql+pymysql://unusual-user:unusual-password@unusual-host:3307/unusual_name"
    )


UNUSUAL_VALUES = {
    "S3_IMAGE_BUCKET": "unusual-originals",
    "S3_THUMBNAIL_BUCKET": "unusual-thumbnails",
    "MAX_IMAGE_PIXELS": "1234567",
    "MAX_ATTEMPTS": "2",
    "GEMINI_API_KEY": "unusual-key",
    "GEMINI_SECRET_ARN": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:unusual",
    "GEMINI_MODEL_NAME": "gemini-unusual",
    "GEMINI_MEDIA_RESOLUTION": "low",
    "GEMINI_PROMPT": "Describe it unusually.",
    "CAPTION_LANGUAGE": "Breton",
    "TAG_VOCABULARY": "unusual",
    "GEMINI_DAILY_TOKEN_BUDGET": "7654321",
    "GEMINI_REQUESTS_PER_MINUTE": "77777",
    "THUMBNAIL_WIDTH": "123",
    "THUMBNAIL_HEIGHT": "77",
    "EVENT_BUS_NAME": "unusual-bus",
    "PROCESSING_DEADLINE_SECONDS": "4321",
}


class FakeStore:
    """An object store that only knows its bucket."""

    def __init__(self, bucket: str, *, image_bucket: str | None = None) -> None:
        self.bucket, self.image_bucket = bucket, image_bucket

    def is_gone(self, key: str) -> bool:
        raise NotImplementedError

    def get(self, key: str) -> BytesIO:
        return BytesIO(b"\xff\xd8\xff")

    def put(self, key: str, data: bytes, *, content_type: str) -> None:
        """Accept anything."""


@pytest.fixture
def unusual(monkeypatch):
    """Set every variable of the functions to a value that is not its default."""
    for name, value in {**UNUSUAL_VALUES, "DATABASE_URL": "sqlite://"}.items():
        monkeypatch.setenv(name, value)
    for module in (annotation_handler, thumbnail_handler, maintenance_handler):
        monkeypatch.setattr(module, "ObjectStore", FakeStore)


@pytest.mark.parametrize("component", ["annotation", "thumbnail", "sweep"])
def test_the_wiring_tests_use_no_default(component, unusual):
    settings_class, *_ = COMPONENTS[component]
    settings = settings_class()

    usual = [
        name.upper()
        for name, field in fields_of(settings_class).items()
        if getattr(settings, name) == field.default
    ]

    assert not usual, "give them another value in UNUSUAL_VALUES of this file"


def reachable_values(*roots: Any) -> set[str]:
    """Return as text every plain value that these objects hold, except in a settings object."""
    found: set[str] = set()
    seen: list[Any] = []
    waiting = list(roots)
    while waiting:
        value = waiting.pop()
        if isinstance(value, str | int):
            found.add(str(value))
        elif not any(value is each for each in seen):
            seen.append(value)
            waiting.extend(_parts_of(value))
    return found


def _parts_of(value: Any) -> list[Any]:
    if isinstance(value, DatabaseSettings):
        return []
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, MethodType):
        return [value.__self__]
    is_ours = type(value).__module__.startswith("lambda_functions.")
    return list(vars(value).values()) if is_ours or isinstance(value, FakeStore) else []


def calls_of_attempt(module: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Run the handler of a function; return what it passes to `attempt`."""
    passed: list[Any] = []
    monkeypatch.setattr(module, "attempt", lambda *args, **kwargs: passed.extend([*args, kwargs]))
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 50_000)
    handler_without_decorators = module.handler.__wrapped__.__wrapped__
    module._function.cache_clear()
    try:
        handler_without_decorators({}, context)
    finally:
        module._function.cache_clear()
    return passed


def missing_settings(settings_class: type[DatabaseSettings], values: set[str]) -> list[str]:
    settings = settings_class()
    return [
        name.upper()
        for name in fields_of(settings_class)
        if str(getattr(settings, name)) not in values
    ]


def calls_of_make_derivatives(monkeypatch) -> list[dict[str, Any]]:
    """Return the list to which the arguments for each original are added, without decoding one."""
    calls: list[dict[str, Any]] = []

    def make_derivatives(_original: Any, **arguments: Any) -> Derivatives:
        calls.append(arguments)
        return Derivatives(b"", b"", (1, 1), b"", None, "#ffffff")

    monkeypatch.setattr(thumbnail_handler, "make_derivatives", make_derivatives)
    monkeypatch.setattr(thumbnail_handler, "run_isolated", lambda work, **_: work())
    return calls


def test_the_annotation_function_passes_every_setting_on(unusual, monkeypatch):
    passed = calls_of_attempt(annotation_handler, monkeypatch)

    missing = missing_settings(AnnotationSettings, reachable_values(*passed))

    # The key is read from the settings when Gemini is called.
    missing = [name for name in missing if name not in ("GEMINI_API_KEY", "GEMINI_SECRET_ARN")]
    assert not missing, "pass them on in lambda_functions/annotation/handler.py"


def test_the_thumbnail_function_passes_every_setting_on(unusual, monkeypatch):
    made = calls_of_make_derivatives(monkeypatch)
    passed = calls_of_attempt(thumbnail_handler, monkeypatch)
    work = next(each for each in (*passed, passed[-1].get("work")) if isinstance(each, partial))
    function = work.func.__self__

    work(SimpleNamespace(original_key=f"originals/{uuid4()}.jpg"))

    values = reachable_values(*passed, made, function)
    missing = missing_settings(ThumbnailSettings, values)
    assert not missing, "pass them on in lambda_functions/thumbnail/handler.py"


def test_the_sweep_passes_every_setting_on(unusual, monkeypatch):
    monkeypatch.setattr(maintenance_handler, "EventBus", FakeStore)
    maintenance_handler._sweep_function.cache_clear()
    function = maintenance_handler._sweep_function()
    maintenance_handler._sweep_function.cache_clear()

    missing = missing_settings(SweepSettings, reachable_values(function))

    # These are read from the settings at each sweep.
    read_later = ("GEMINI_REQUESTS_PER_MINUTE", "PROCESSING_DEADLINE_SECONDS")
    missing = [name for name in missing if name not in read_later]
    assert not missing, "pass them on in lambda_functions/maintenance/handler.py"


def test_the_annotation_function_holds_each_setting_under_its_own_name(unusual, monkeypatch):
    context, _, keywords = calls_of_attempt(annotation_handler, monkeypatch)
    annotator = keywords["work"].func.__self__
    captioner = annotator.captioner

    held = {
        "S3_IMAGE_BUCKET": annotator.originals.bucket,
        "MAX_IMAGE_PIXELS": annotator.max_image_pixels,
        "MAX_ATTEMPTS": context.max_attempts,
        "GEMINI_MODEL_NAME": captioner._model_name,
        "GEMINI_MEDIA_RESOLUTION": captioner.resolution,
        "GEMINI_PROMPT": captioner.prompt,
        "CAPTION_LANGUAGE": captioner.language,
        "TAG_VOCABULARY": ", ".join(captioner.allowed_tags),
        "GEMINI_DAILY_TOKEN_BUDGET": annotator.daily_token_budget,
        "GEMINI_REQUESTS_PER_MINUTE": annotator.requests_per_minute,
    }

    # The key is read from the settings when Gemini is called.
    expected = names_of(AnnotationSettings) - {"GEMINI_API_KEY", "GEMINI_SECRET_ARN"}
    assert held.keys() == expected, "name the place of each setting in this test"
    assert differences_from_unusual(held) == {}, "lambda_functions/annotation/handler.py"


def test_the_thumbnail_function_holds_each_setting_under_its_own_name(unusual, monkeypatch):
    made = calls_of_make_derivatives(monkeypatch)
    context, _, keywords = calls_of_attempt(thumbnail_handler, monkeypatch)
    function = keywords["work"].func.__self__

    keywords["work"](SimpleNamespace(original_key=f"originals/{uuid4()}.jpg"))

    width, height = made[0]["thumbnail_size"]
    held = {
        "S3_IMAGE_BUCKET": function.originals.bucket,
        "S3_THUMBNAIL_BUCKET": function.thumbnails.bucket,
        "MAX_IMAGE_PIXELS": made[0]["max_pixels"],
        "MAX_ATTEMPTS": context.max_attempts,
        "THUMBNAIL_WIDTH": width,
        "THUMBNAIL_HEIGHT": height,
    }
    assert held.keys() == names_of(ThumbnailSettings), "name the place of each setting in this test"
    assert differences_from_unusual(held) == {}, "lambda_functions/thumbnail/handler.py"


def names_of(settings_class: type[DatabaseSettings]) -> set[str]:
    return {name.upper() for name in fields_of(settings_class)}


def differences_from_unusual(held: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are held with another value than the environment has."""
    return {name: value for name, value in held.items() if str(value) != UNUSUAL_VALUES[name]}


# ---- .env.example -------------------------------------------------------------------------------


def env_example() -> dict[str, str]:
    text = (ROOT / ENV_EXAMPLE).read_text()
    return dict(re.findall(r"^([A-Z][A-Z0-9_]*)=(.*)$", text, re.MULTILINE))


def local_defaults() -> dict[str, str]:
    """Return the variables of a local run with their defaults."""
    settings = LocalSettings.read({}, ROOT / "docs")  # A folder without a `.env`.
    captions = settings.caption_settings
    return {
        "HOST": settings.host,
        "PORT": str(settings.port),
        "LOCAL_STATE_DIR": settings.state_dir.name,
        "LOCAL_WEB_PROCESSES": str(settings.web_processes),
        "LOCAL_PROCESSES_PER_FUNCTION": str(settings.processes_per_function),
        "LOCAL_RETRY_SECONDS": str(settings.retry_seconds),
        "LOCAL_FUNCTION_TIMEOUT_SECONDS": as_text(settings.function_timeout_seconds),
        "LOCAL_VISION_URL": captions.vision_url,
        "LOCAL_VISION_MODEL": captions.vision_model,
        "LOCAL_VISION_TIMEOUT_SECONDS": str(captions.vision_timeout_seconds),
        "LOCAL_RECOGNISER": DEFAULT_RECOGNISER,
    }


def code_defaults() -> dict[str, str]:
    return {
        name.upper(): as_text(field.default)
        for settings_class, *_ in COMPONENTS.values()
        for name, field in settings_class.model_fields.items()
    }


def test_every_local_variable_is_in_this_test():
    sources = [path.read_text() for path in (ROOT / "local_cloud").rglob("settings.py")]

    read = set(re.findall(r'"((?:LOCAL_[A-Z_]+|HOST|PORT))"', "\n".join(sources)))

    assert read == local_defaults().keys(), "edit local_defaults in this file"


def test_env_example_lists_every_variable_and_no_other():
    read = code_defaults().keys() | local_defaults().keys()

    assert sorted(read - env_example().keys()) == [], f"add them to {ENV_EXAMPLE}"
    assert sorted(env_example().keys() - read) == [], (
        f"no settings.py reads them: delete from {ENV_EXAMPLE}"
    )


def test_env_example_has_the_defaults_of_the_code():
    defaults = {**code_defaults(), **local_defaults()}

    differences = {
        name: f"{ENV_EXAMPLE} says {listed!r}, the code {defaults[name]!r}"
        for name, listed in env_example().items()
        if listed != defaults.get(name, listed)
    }

    assert not differences


def test_components_that_share_a_setting_share_its_default_and_bounds():
    definitions: dict[str, dict[str, Any]] = {}
    for component, (settings_class, *_) in COMPONENTS.items():
        for name, field in fields_of(settings_class).items():
            definitions.setdefault(name, {})[component] = (field.default, bounds_of(field))

    different = {
        name.upper(): by_component
        for name, by_component in definitions.items()
        if any(each != next(iter(by_component.values())) for each in by_component.values())
    }

    assert not different, "web_app/settings.py and lambda_functions/settings.py differ"


# ---- Templates ----------------------------------------------------------------------------------


def parameters_of(template_file: str) -> dict[str, dict[str, Any]]:
    """Return the parameters of a template by the name of the setting they are for."""
    parameters = load_template(ROOT / template_file)["Parameters"]
    return {setting_name(name): parameter for name, parameter in parameters.items()}


def setting_name(parameter_name: str) -> str:
    """Return `max_attempts` for `MaxAttempts`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", parameter_name).lower()


def bounds_of(field: FieldInfo) -> dict[str, Any]:
    """Return the bounds of a setting under the names that a template uses."""
    if get_origin(field.annotation) is Literal:
        return {"AllowedValues": set(get_args(field.annotation))}
    words = {"ge": "MinValue", "le": "MaxValue"}
    return {
        word: getattr(constraint, bound)
        for constraint in field.metadata
        for bound, word in words.items()
        if hasattr(constraint, bound)
    }


def allowed_by(parameter: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bounds of a parameter; a list of consecutive numbers is a range."""
    values = parameter.get("AllowedValues")
    if values is not None and parameter["Type"] == "Number":
        assert values == list(range(values[0], values[-1] + 1))
        return {"MinValue": values[0], "MaxValue": values[-1]}
    if values is not None:
        return {"AllowedValues": set(values)}
    return {key: parameter[key] for key in ("MinValue", "MaxValue") if key in parameter}


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_template_and_the_code_have_the_same_defaults(component):
    settings_class, settings_file, template_file, _ = COMPONENTS[component]
    parameters = parameters_of(template_file)
    shared = parameters.keys() & fields_of(settings_class).keys()

    differences = {}
    for name in shared:
        in_template = str(parameters[name].get("Default", ""))
        in_code = as_text(settings_class.model_fields[name].default)
        if in_template != in_code:
            differences[name.upper()] = (
                f"{template_file}: {in_template}; {settings_file}: {in_code}"
            )

    assert shared or component in ("sweep", "migrate")
    assert not differences


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_template_and_the_code_have_the_same_bounds(component):
    settings_class, settings_file, template_file, _ = COMPONENTS[component]
    parameters = parameters_of(template_file)
    shared = parameters.keys() & fields_of(settings_class).keys()

    differences = {}
    for name in shared:
        in_template = allowed_by(parameters[name])
        in_code = bounds_of(settings_class.model_fields[name])
        if in_template != in_code:
            differences[name.upper()] = (
                f"{template_file}: {in_template}; {settings_file}: {in_code}"
            )

    assert not differences


@pytest.mark.parametrize(
    ("function_id", "settings_class"),
    [
        ("AnnotationFunction", AnnotationSettings),
        ("ThumbnailFunction", ThumbnailSettings),
        ("SweepFunction", SweepSettings),
        ("MigrateFunction", MigrateSettings),
    ],
)
def test_a_template_sets_the_variables_its_function_reads_and_no_other(function_id, settings_class):
    template = Template.read({"ImageBucketName": "originals", "ThumbnailBucketName": "thumbnails"})
    # A deployed function reads user, password and key from Secrets Manager. Its image has the file.
    only_elsewhere = {"DATABASE_URL", "DB_USER", "DB_PASSWORD", "DB_CA_FILE", "GEMINI_API_KEY"}
    read_by_powertools = {"LOG_LEVEL", "POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_SERVICE_NAME"}

    read = {name.upper() for name in settings_class.model_fields} - only_elsewhere
    given = template.functions[function_id].variables - read_by_powertools

    assert sorted(read - given) == [], (
        f"add them to the Variables of {function_id} in {FUNCTIONS_STACK}"
    )
    assert sorted(given - read) == [], (
        f"lambda_functions/settings.py does not read these of {function_id}"
    )


@pytest.mark.parametrize("template_file", [FUNCTIONS_STACK, WEB_STACK])
def test_a_variable_holds_the_parameter_of_its_own_name(template_file):
    """`THUMBNAIL_WIDTH: !Ref ThumbnailHeight` would pass every other test."""
    settings = {name for cls, *_ in COMPONENTS.values() for name in fields_of(cls)}
    parameters = parameters_of(template_file)
    crossed = {
        variable: name
        for variable, name in re.findall(
            r"^ +([A-Z][A-Z0-9_]+)[:=] ?!?(?:Ref )?\$?\{?([A-Z]\w+)\}?$",
            (ROOT / template_file).read_text(),
            re.MULTILINE,
        )
        if variable.lower() in settings
        and setting_name(name) in parameters
        and setting_name(name) != variable.lower()
    }

    assert not crossed, f"variables in {template_file} hold another parameter"


@pytest.mark.parametrize("template_file", [FUNCTIONS_STACK, WEB_STACK])
def test_a_parameter_named_like_a_setting_is_held_by_its_variable(template_file):
    """A parameter that no variable refers to has no effect."""
    settings = {
        name
        for cls, _, its_template, _ in COMPONENTS.values()
        for name in fields_of(cls)
        if its_template == template_file
    }
    parameters = load_template(ROOT / template_file)["Parameters"]
    text = (ROOT / template_file).read_text()

    without_effect = [
        name
        for name in parameters
        if setting_name(name) in settings and not refers_to(text, setting_name(name).upper(), name)
    ]

    assert not without_effect, f"let a variable in {template_file} refer to them"


def refers_to(template: str, variable: str, parameter: str) -> bool:
    """Return whether a variable is set to a parameter, directly or through a name of `Fn::Sub`."""
    values = re.findall(rf"^ +{variable}[:=] ?(.+)$", template, re.MULTILINE)
    for value in values:
        for name in re.findall(r"\w+", value):
            definition = re.search(rf"^ +{name}: (!.+)$", template, re.MULTILINE)
            if name == parameter or (definition and f"!Ref {parameter}" in definition[1]):
                return True
    return False


def test_a_tag_of_the_vocabulary_that_no_image_can_have_is_refused():
    with pytest.raises(ValidationError, match="tag_vocabulary"):
        AnnotationSettings(
            gemini_api_key="key", s3_image_bucket="b", database_url="sqlite://",
            tag_vocabulary=f"dog,{'x' * 51}",
        )  # fmt: skip
