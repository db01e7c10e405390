"""Requests for what each model of Gemini can do."""

from google.genai import types

from database.gemini_models import find_model


def thinking_ladder(model_name: str) -> tuple[types.ThinkingConfig | None, ...]:
    """Return the settings for thinking, the least first. The last, None, leaves it to the model.

    A caption needs no thinking, and thinking is billed as output. If a model refuses a setting,
    the next one is used.

    https://ai.google.dev/gemini-api/docs/thinking
    """
    return (*(_thinking_config(least) for least in find_model(model_name).thinking), None)


def media_resolution(model_name: str, resolution: str) -> types.MediaResolution | None:
    """Return the resolution for an image, or None to leave it to the model.

    https://ai.google.dev/gemini-api/docs/media-resolution
    """
    if not resolution or not find_model(model_name).has_media_resolution:
        return None
    return types.MediaResolution(f"MEDIA_RESOLUTION_{resolution.upper()}")


def _thinking_config(least: str | int) -> types.ThinkingConfig:
    if isinstance(least, int):
        return types.ThinkingConfig(thinking_budget=least)
    return types.ThinkingConfig(thinking_level=types.ThinkingLevel(least))
