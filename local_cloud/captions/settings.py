"""The settings for captions without a Gemini key: what writes them."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from local_cloud.captions.model_names import COLOURS_MODEL, RECOGNISER_MODEL, requested_name
from local_cloud.setting_values import SettingError, read_number

# A large model on a processor may need minutes for an image.
DEFAULT_VISION_TIMEOUT_SECONDS = 300
DEFAULT_RECOGNISER = "on"
# The annotation function keeps 8 s to record the caption.
_MIN_VISION_TIMEOUT_SECONDS = 20
_MAX_TIMEOUT_SECONDS = 900  # Lambda's limit.
_OWN_HOSTS = ("localhost", "127.0.0.1", "::1")
_PACKAGES = ("numpy", "onnxruntime")


@dataclass(frozen=True)
class CaptionSettings:
    """What writes captions: a vision model, else the recogniser, else measured colours.

    Attributes:
        vision_url: the address of a server with OpenAI's API; "" for none.
        vision_model: the name of its model.
        vision_timeout_seconds: the time-out of the annotation function with that model.
        has_recogniser: whether the built-in recogniser is switched on and its packages are here.
    """

    vision_url: str
    vision_model: str
    vision_timeout_seconds: int
    has_recogniser: bool

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings.

        Raises:
            SettingError: a value is invalid or missing.
        """
        url = environment.get("LOCAL_VISION_URL") or ""
        model = environment.get("LOCAL_VISION_MODEL") or ""
        if bool(url) != bool(model):
            missing = "LOCAL_VISION_MODEL" if url else "LOCAL_VISION_URL"
            raise SettingError(f"Set {missing} too. A vision model needs its server and its name.")
        if url:
            _check_url(url)
        switch = environment.get("LOCAL_RECOGNISER") or DEFAULT_RECOGNISER
        if switch not in ("on", "off"):
            raise SettingError(f"LOCAL_RECOGNISER must be on or off, not “{switch}”.")
        return cls(
            vision_url=url,
            vision_model=model,
            vision_timeout_seconds=read_number(
                environment,
                "LOCAL_VISION_TIMEOUT_SECONDS",
                DEFAULT_VISION_TIMEOUT_SECONDS,
                _MIN_VISION_TIMEOUT_SECONDS,
                _MAX_TIMEOUT_SECONDS,
            ),
            has_recogniser=switch == "on" and _has_packages(),
        )

    @property
    def requested_model(self) -> str:
        """The name of the model in requests."""
        if self.vision_url:
            return requested_name(self.vision_model)
        return RECOGNISER_MODEL if self.has_recogniser else COLOURS_MODEL

    @property
    def emulator_arguments(self) -> list[str]:
        """The arguments of the Gemini emulator."""
        if self.vision_url:
            return ["--vision-url", self.vision_url, "--vision-model", self.vision_model]
        return ["--recogniser"] if self.has_recogniser else []

    @property
    def notice(self) -> str:
        """A sentence for the top of every page."""
        if self.vision_url:
            return f"Captions come from the vision model {self.vision_model} {self._place}."
        if self.has_recogniser:
            return (
                "Captions come from a recogniser on this computer that knows only common things, "
                "in English, German, French and Spanish; set GEMINI_API_KEY for real captions."
            )
        return (
            "Captions on this computer name measured colours only, in English, German, French and "
            "Spanish; set GEMINI_API_KEY for real captions."
        )

    @property
    def description(self) -> str:
        """What writes captions, for the terminal."""
        if self.vision_url:
            return f"the vision model {self.vision_model} at {self.vision_url}"
        if self.has_recogniser:
            return "a built-in recogniser of common things; set GEMINI_API_KEY to use Gemini"
        return "measured colours only; set GEMINI_API_KEY to use Gemini"

    @property
    def _place(self) -> str:
        host = urlsplit(self.vision_url).hostname or ""
        return "on this computer" if host in _OWN_HOSTS else f"at {host}"


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingError(
            f"LOCAL_VISION_URL must be an address such as http://127.0.0.1:11434/v1, not “{url}”."
        )
    if parts.username or parts.password:
        raise SettingError("LOCAL_VISION_URL must not contain a user name or a password.")


def _has_packages() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in _PACKAGES)
