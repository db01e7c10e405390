"""What each model of Gemini can do."""

import re

from google.genai import types


def minimal_thinking(model_name: str) -> types.ThinkingConfig | None:
    """Return the setting for the least thinking, or None for a model without the setting.

    A caption needs no thinking, and thinking is billed as output.

    https://ai.google.dev/gemini-api/docs/thinking
    """
    if re.search(r"gemini-(1|2\.0)\b", model_name) or "gemini" not in model_name:
        return None
    if "gemini-2.5" in model_name:
        return types.ThinkingConfig(thinking_budget=0)
    return types.ThinkingConfig(thinking_level=types.ThinkingLevel.MINIMAL)
