"""Find a vision model of Ollama on this computer.

https://docs.ollama.com/api
"""

import json
from typing import Any, Final

import urllib3

OLLAMA_URL: Final = "http://127.0.0.1:11434"
_MAX_MODELS: Final = 20
_TIMEOUT: Final = urllib3.Timeout(connect=0.2, read=1)
_MAX_BODY_BYTES: Final = 1024 * 1024


def find_vision_model(url: str = OLLAMA_URL) -> str | None:
    """Return the name of the first model that accepts images; None if there is none."""
    http = urllib3.PoolManager(retries=False)
    try:
        listed = _call(http, "GET", f"{url}/api/tags", None)
        for name in [each["name"] for each in listed["models"][:_MAX_MODELS]]:
            shown = _call(http, "POST", f"{url}/api/show", {"model": name})
            if "vision" in (shown.get("capabilities") or ()):
                return str(name)
    # Nothing listens, or another program uses this port.
    except (urllib3.exceptions.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return None


def use_ollama_hint(model: str) -> str:
    """Return how to let this model write the captions."""
    return (
        f"Ollama has {model}; for its captions: make run "
        f"LOCAL_VISION_URL={OLLAMA_URL}/v1 LOCAL_VISION_MODEL={model}"
    )


def _call(http: urllib3.PoolManager, method: str, url: str, body: Any) -> Any:
    content = json.dumps(body).encode() if body is not None else None
    response = http.request(
        method, url, body=content, timeout=_TIMEOUT, redirect=False, preload_content=False
    )
    with response:
        return json.loads(response.read(_MAX_BODY_BYTES))
