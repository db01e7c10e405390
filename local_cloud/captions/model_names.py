"""The names of what writes captions on this computer.

A row keeps the name of the model that wrote its caption, and the pages say from this name what that
is. The name of a request is part of the captions' fingerprint, so another model writes new ones.
"""

import re
from typing import Final

RECOGNISER_MODEL: Final = "local-recogniser-1"
COLOURS_MODEL: Final = "local-colours-1"

_PREFIX: Final = "local-vision-"
_MAX_CHARACTERS: Final = 100


def requested_name(vision_model: str) -> str:
    """Return the name for requests to a vision model: as Gemini's names, of letters and digits."""
    name = re.sub(r"[^a-z0-9.]+", "-", vision_model.lower()).strip("-.")
    return f"{_PREFIX}{name}"[:_MAX_CHARACTERS]
