"""Settings of a local run, and the environments of the programs it starts.

Only this module reads environment variables.
"""

import base64
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from dotenv import dotenv_values

from local_cloud.captions.settings import CaptionSettings
from local_cloud.loopback_http import LOOPBACK
from local_cloud.setting_values import read_number
from local_cloud.template import Function

REGION = "us-east-1"
# The annotation function keeps 8 s to record the caption, and a request needs at least 2 s.
MIN_TIMEOUT_SECONDS = 11
# Gemini itself needs up to ten seconds.
MIN_TIMEOUT_WITH_GEMINI_SECONDS = 18

# Variables of the machine that every program needs. A function receives no others from the shell.
_MACHINE_VARIABLES = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
_LONGEST_DEADLINE_SECONDS = 21_600  # The maximum of PROCESSING_DEADLINE_SECONDS.
# Only the deployed system has secrets in Secrets Manager.
_SECRET_ARNS = (
    "DB_SECRET_ARN", "DB_WEB_SECRET_ARN", "DB_FUNCTIONS_SECRET_ARN",
    "GEMINI_SECRET_ARN", "FLASK_SECRET_ARN",
)  # fmt: skip
# Rate limits are off by default, because all clients of a local run belong to its user.
_LIMITS = ("UPLOADS_PER_MINUTE", "CHANGES_PER_MINUTE", "READS_PER_MINUTE")
_WILDCARDS = ("0.0.0.0", "::", "")  # These values of HOST mean all addresses of the machine.
_DATABASE_PARTS = ("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD")


@dataclass(frozen=True)
class AccessKey:
    """The access key of one local run. Web pages and other users cannot know it."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def random(cls) -> Self:
        """Create a key with the format of AWS."""
        random_id = base64.b32encode(secrets.token_bytes(10)).decode()
        return cls(f"AKIA{random_id}", secrets.token_urlsafe(30))


@dataclass(frozen=True)
class Settings:
    """The settings of a local run, from the environment and `.env`."""

    environment: Mapping[str, str] = field(
        repr=False
    )  # The environment takes precedence over `.env`.
    host: str
    port: int
    state_dir: Path
    web_processes: int
    processes_per_function: int
    retry_seconds: int
    function_timeout_seconds: int | None
    aws_port: int
    emulator_port: int | None  # None means that captions come from Gemini.
    caption_settings: CaptionSettings
    access_key: AccessKey = field(default_factory=AccessKey.random)

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ, folder: Path | None = None) -> Self:
        """Read the environment and the `.env` of a folder (default: the working directory).

        Raises:
            SettingError: a value is invalid.
        """
        folder = folder or Path.cwd()
        dot_env = {k: v for k, v in dotenv_values(folder / ".env").items() if v is not None}
        merged = {**dot_env, **environment}
        return cls(
            environment=merged,
            host=merged.get("HOST") or LOOPBACK,
            port=read_number(merged, "PORT", 8000, 0, 65535) or free_port(),
            state_dir=(folder / (merged.get("LOCAL_STATE_DIR") or ".local")).resolve(),
            web_processes=read_number(merged, "LOCAL_WEB_PROCESSES", 2, 1, 64),
            processes_per_function=read_number(merged, "LOCAL_PROCESSES_PER_FUNCTION", 2, 1, 64),
            retry_seconds=read_number(merged, "LOCAL_RETRY_SECONDS", 5, 0, 3600),
            function_timeout_seconds=_function_timeout_seconds(merged),
            aws_port=free_port(),
            emulator_port=None if merged.get("GEMINI_API_KEY") else free_port(),
            caption_settings=CaptionSettings.read(merged),
        )

    @property
    def image_bucket(self) -> str:
        """The name of the bucket of originals."""
        return self.environment.get("S3_IMAGE_BUCKET") or "image-annotation-originals"

    @property
    def thumbnail_bucket(self) -> str:
        """The name of the bucket of thumbnails."""
        return self.environment.get("S3_THUMBNAIL_BUCKET") or "image-annotation-thumbnails"

    @property
    def url(self) -> str:
        """The URL of the application on this machine."""
        host = LOOPBACK if self.host in _WILDCARDS else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def aws_url(self) -> str:
        """The URL of the local AWS."""
        return f"http://{LOOPBACK}:{self.aws_port}"

    @property
    def database(self) -> str:
        """The location of the database, without a password."""
        url = self._database_environment().get("DATABASE_URL")
        if url is None:
            return f"{self.environment.get('DB_NAME', '')} at {self.environment['DB_HOST']}"
        parts = urlsplit(url)
        if parts.scheme.startswith("sqlite"):
            return parts.path.removeprefix("/")
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def web_environment(self, flask_secret_key: str) -> dict[str, str]:
        """Return the whole environment of the web application."""
        excluded = ("GEMINI_API_KEY", *_SECRET_ARNS, *_DATABASE_PARTS)
        inherited = {
            name: value
            for name, value in self.environment.items()
            if name not in excluded and not name.startswith(("AWS_", "BOTO_"))
        }
        notice = self.caption_settings.notice if self.emulator_port else ""
        return {
            **inherited,
            **{name: self.environment.get(name) or "0" for name in _LIMITS},
            "SITE_NOTICE": self.environment.get("SITE_NOTICE") or notice,
            **self._emulator_budget(),
            "ALLOWED_HOSTS": self.environment.get("ALLOWED_HOSTS") or self._own_names(),
            **self._local_values(),
            **self._database_environment(),
            "FLASK_SECRET_KEY": self.environment.get("FLASK_SECRET_KEY") or flask_secret_key,
            "HOST": self.host,
            "PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
        }

    def function_environment(self, function: Function) -> dict[str, str]:
        """Return the whole environment of a function.

        It has the variables of the template and of the machine. A value comes from the environment,
        else from the local cloud, else from the default of the template.
        """
        local = {**self._local_values(), **self._gemini_environment()}
        if self._uses_vision_model:
            # Images wait until the slow model has described those before them.
            local["PROCESSING_DEADLINE_SECONDS"] = str(_LONGEST_DEADLINE_SECONDS)
        declared = {
            name: self.environment.get(name) or local.get(name) or function.environment.get(name)
            for name in function.variables.difference(_SECRET_ARNS, _DATABASE_PARTS)
        }
        addresses = dict(self._database_environment())
        if "GEMINI_MODEL_NAME" in function.variables:
            addresses |= self._gemini_environment()
        return {
            **self.machine_environment(),
            **{name: value for name, value in declared.items() if value is not None},
            **addresses,
            "PYTHONUNBUFFERED": "1",
        }

    def timeout_seconds(self, function: Function) -> int:
        """Return the time-out of the template, or the configured one if that is shorter.

        A vision model on this computer may need longer than Gemini.
        """
        if self._uses_vision_model and "GEMINI_MODEL_NAME" in function.variables:
            return self.caption_settings.vision_timeout_seconds
        return min(
            function.timeout_seconds, self.function_timeout_seconds or function.timeout_seconds
        )

    @property
    def _uses_vision_model(self) -> bool:
        return self.emulator_port is not None and bool(self.caption_settings.vision_url)

    def machine_environment(self) -> dict[str, str]:
        """Return the variables of the machine and the address of the local AWS."""
        machine = {n: self.environment[n] for n in _MACHINE_VARIABLES if n in self.environment}
        return {**machine, **self._aws_environment()}

    def aws_server_environment(self, temporary_folder: Path) -> dict[str, str]:
        """Return the whole environment of the local AWS."""
        return {
            **self.machine_environment(),
            # Do not allow requests from pages of other sites.
            "MOTO_DISABLE_GLOBAL_CORS": "true",
            # Keep larger objects in files instead of memory.
            "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(64 * 1024),
            "TMPDIR": str(temporary_folder),
        }

    def aws_config(self) -> str:
        """Return an AWS configuration file for tools that use the local AWS."""
        return (
            "[default]\n"
            f"region = {REGION}\n"
            f"endpoint_url = {self.aws_url}\n"
            f"aws_access_key_id = {self.access_key.id}\n"
            f"aws_secret_access_key = {self.access_key.secret}\n"
        )

    def _own_names(self) -> str:
        """Return the host names of this machine that pages on other domains cannot have."""
        host = "" if self.host in _WILDCARDS else self.host
        names = [LOOPBACK, "localhost", "[::1]", f"[{host}]" if ":" in host else host]
        return ",".join(dict.fromkeys(filter(None, names)))

    def _local_values(self) -> dict[str, str]:
        return {
            **self._aws_environment(),
            "S3_IMAGE_BUCKET": self.image_bucket,
            "S3_THUMBNAIL_BUCKET": self.thumbnail_bucket,
            "EVENT_BUS_NAME": "default",
        }

    def _gemini_environment(self) -> dict[str, str]:
        if self.emulator_port is None:
            names = ("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL")
            return {name: self.environment[name] for name in names if self.environment.get(name)}
        return {
            "GEMINI_API_KEY": "local",
            "GOOGLE_GEMINI_BASE_URL": f"http://{LOOPBACK}:{self.emulator_port}",
            "GEMINI_MODEL_NAME": self.caption_settings.requested_model,
            **self._emulator_budget(),
            # Only a vision model writes other languages. The function would reject English.
            **({} if self._uses_vision_model else {"CAPTION_LANGUAGE": "English"}),
        }

    def _emulator_budget(self) -> dict[str, str]:
        """Return no limit of tokens if captions come from the emulator, which costs nothing."""
        if self.emulator_port is None:
            return {}
        name = "GEMINI_DAILY_TOKEN_BUDGET"
        return {name: self.environment.get(name) or "0"}

    def _database_environment(self) -> dict[str, str]:
        names: tuple[str, ...] = ()
        if self.environment.get("DATABASE_URL"):
            names = ("DATABASE_URL", "DB_CA_FILE")
        elif self.environment.get("DB_HOST"):
            names = (*_DATABASE_PARTS, "DB_CA_FILE")
        if names:
            return {n: self.environment[n] for n in names if n in self.environment}
        return {"DATABASE_URL": f"sqlite:///{self.state_dir / 'images.sqlite3'}"}

    def _aws_environment(self) -> dict[str, str]:
        """Return credentials and addresses that can reach only the local AWS."""
        no_proxy = self.environment.get("no_proxy") or self.environment.get("NO_PROXY") or ""
        no_proxy = ",".join(filter(None, [no_proxy, LOOPBACK, "localhost"]))
        return {
            "AWS_ENDPOINT_URL": self.aws_url,
            "AWS_ACCESS_KEY_ID": self.access_key.id,
            "AWS_SECRET_ACCESS_KEY": self.access_key.secret,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            # These files could contain another account or address.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }


def use_local_aws(settings: Settings) -> None:
    """Let the AWS clients of this process reach only the local AWS."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "BOTO_"))]:
        del os.environ[name]
    os.environ.update(settings.machine_environment())


def free_port() -> int:
    """Return a free port of loopback."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _function_timeout_seconds(environment: Mapping[str, str]) -> int | None:
    """Return the configured time-out; None for that of the template.

    Raises:
        SettingError: it leaves too little time for a caption.
    """
    name = "LOCAL_FUNCTION_TIMEOUT_SECONDS"
    if not environment.get(name):
        return None
    # With GOOGLE_GEMINI_BASE_URL, captions come from another server.
    uses_gemini = environment.get("GEMINI_API_KEY") and not environment.get(
        "GOOGLE_GEMINI_BASE_URL"
    )
    minimum = MIN_TIMEOUT_WITH_GEMINI_SECONDS if uses_gemini else MIN_TIMEOUT_SECONDS
    return read_number(environment, name, minimum, minimum, 900)
