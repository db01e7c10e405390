"""A client of Gemini that sends one image and returns one response."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from typing import Final

import httpx2
from google import genai
from google.genai import errors, types

from database.models import CaptionOptions
from lambda_functions.annotation.api_key import check_api_key
from lambda_functions.annotation.bounded_body import bound_body
from lambda_functions.annotation.description import PROMPT, Task, make_task
from lambda_functions.annotation.models import media_resolution, thinking_ladder
from lambda_functions.annotation.refusals import (
    InvalidApiKeyError,
    NoResponseError,
    rejects_thinking,
    summarize,
    work_error,
)
from lambda_functions.annotation.responses import ModelResponse, parse_response
from lambda_functions.errors import TransientError

# More than any caption needs, thinking included. A longer response is not a caption.
MAX_OUTPUT_TOKENS: Final = 4096
# For a second request, if thinking left no room for the caption in the first response.
ROOMY_OUTPUT_TOKENS: Final = 16_384
# More than any model counts for an image as small as the one that is sent.
# https://ai.google.dev/gemini-api/docs/media-resolution
MAX_IMAGE_TOKENS: Final = 2600
# The library sends its time-out as `X-Server-Timeout`, and the service refuses a shorter one.
# https://github.com/livekit/agents/issues/3723
MIN_SERVER_TIMEOUT_SECONDS: Final = 10
# Aliases such as `gemini-flash-latest` and some previews exist only in this version.
API_VERSION: Final = "v1beta"

_CLIENT_ARGUMENTS: Final = {
    "event_hooks": {"response": [bound_body]},
    "headers": {"Accept-Encoding": "identity"},
    # A redirect would send the key to another server.
    "follow_redirects": False,
}


@cache
def _tls_context() -> ssl.SSLContext:
    """Return one context for all connections, because it takes long to read the CA bundle.

    The library would make two for each client.
    """
    return httpx2.create_ssl_context()


class Captioner:
    """A client that requests captions from one model. It is not thread-safe."""

    def __init__(
        self,
        read_api_key: Callable[[], str],
        *,
        model_name: str,
        language: str,
        prompt: str | None,
        resolution: str = "",
        allowed_tags: Sequence[str] = (),
    ) -> None:
        """Store the settings. The key is read and the connection opened at the first request.

        Args:
            read_api_key: returns the current key. It is called again when a key is refused,
                because the key may have been rotated.
            language: the language of captions for which the owner of an image chose none, by its
                English name or its own name.
            prompt: replaces `PROMPT`. `{language}` in either is replaced by the language's name.
            resolution: "low", "medium" or "high"; "" leaves it to the model.
            allowed_tags: the only tags that the model may use; empty for any.
        """
        self._read_api_key = read_api_key
        self._api_key = ""
        self._client: genai.Client | None = None
        self._runner: asyncio.Runner | None = None
        self._model_name = model_name
        self._thinking = list(thinking_ladder(model_name))
        self.resolution = resolution
        self.language = language
        self.prompt = prompt or PROMPT
        self.allowed_tags = tuple(allowed_tags)

    def task(self, options: CaptionOptions) -> Task:
        """Return what to request for an image whose owner chose these options."""
        return make_task(self.prompt, self.language, options, self.allowed_tags)

    def max_request_tokens(self, task: Task) -> int:
        """Return the most tokens that one request can use. A token has at least one byte."""
        text = task.instructions + task.constants
        return MAX_IMAGE_TOKENS + len(text.encode()) + MAX_OUTPUT_TOKENS

    def fingerprint(self, image_sha256: str, task: Task) -> str:
        """Return a hash of the image's bytes and of everything that the request consists of.

        The bytes include the description that the file has inside. Whether it is part of the
        request is in the instructions.
        """
        parts = (
            image_sha256,
            self._model_name,
            task.instructions,
            task.constants,
            self.resolution,
        )
        return sha256("\0".join(parts).encode()).hexdigest()

    def generate(
        self,
        jpeg: bytes,
        task: Task,
        *,
        timeout_seconds: float,
        max_output_tokens: int = MAX_OUTPUT_TOKENS,
    ) -> ModelResponse:
        """Request a caption for one image.

        `timeout_seconds` limits the whole request, also if the response arrives byte by byte.

        Raises:
            PermanentError: the service cannot process this image.
            BusyError: the service asks for a later retry.
            QuotaExhaustedError: the account's quota of the day or its credit is used up.
            NoResponseError: the response was too late, incomplete or not readable.
            TransientError: the service cannot be reached, or answered with a server error.
            ConfigurationError: the service refused the key, the model or the account.
        """
        if self._runner is None:
            # The runner and its event loop are reused, because the connection belongs to the loop.
            self._runner = asyncio.Runner()
        try:
            response = self._runner.run(
                self._generate_within(jpeg, task, timeout_seconds, max_output_tokens)
            )
        except TimeoutError as error:
            raise NoResponseError from error
        return parse_response(response, self._model_name)

    def close(self) -> None:
        """Close the connection."""
        if self._runner is not None:
            if self._client is not None:
                self._runner.run(self._client.aio.aclose())
                self._client.close()
            self._runner.close()
        self._client = self._runner = None

    async def _generate_within(
        self, jpeg: bytes, task: Task, timeout_seconds: float, max_output_tokens: int
    ) -> types.GenerateContentResponse:
        # The time-outs of an HTTP client restart with every byte. This one covers everything:
        # the name lookup, the TLS handshake, the headers and the body.
        async with asyncio.timeout(timeout_seconds):
            try:
                return await self._send(jpeg, task, timeout_seconds, max_output_tokens)
            except InvalidApiKeyError:
                if check_api_key(self._read_api_key()) == self._api_key:
                    raise
                if self._client is not None:
                    await self._client.aio.aclose()
                self._client = None
                return await self._send(jpeg, task, timeout_seconds, max_output_tokens)

    async def _send(
        self, jpeg: bytes, task: Task, timeout_seconds: float, max_output_tokens: int
    ) -> types.GenerateContentResponse:
        if self._client is None:
            self._api_key = check_api_key(self._read_api_key())
            # Without these arguments, environment variables would choose another service.
            self._client = genai.Client(
                api_key=self._api_key,
                vertexai=False,
                http_options=types.HttpOptions(
                    api_version=API_VERSION,
                    async_client_args={
                        **_CLIENT_ARGUMENTS,
                        "verify": _tls_context(),
                        "ssl": _tls_context(),  # For WebSockets, which are not used.
                    },
                ),
            )
        try:
            return await self._client.aio.models.generate_content(
                model=self._model_name,
                contents=types.Content(
                    role="user",
                    parts=[
                        types.Part.from_bytes(data=jpeg, mime_type="image/jpeg"),
                        types.Part.from_text(text=task.text),
                    ],
                ),
                config=types.GenerateContentConfig(
                    system_instruction=task.instructions,
                    response_mime_type="application/json",
                    response_schema=task.schema,
                    max_output_tokens=max_output_tokens,
                    media_resolution=media_resolution(self._model_name, self.resolution),
                    thinking_config=self._thinking[0],
                    # Otherwise, the library may send several paid requests for a long response.
                    automatic_continuation=False,
                    # Google keeps images and responses of new projects for weeks by default.
                    # https://ai.google.dev/gemini-api/docs/logs-datasets
                    store=False,
                    # No client-side retries: Lambda retries the event, and the row counts
                    # attempts.
                    http_options=types.HttpOptions(
                        timeout=round(max(timeout_seconds, MIN_SERVER_TIMEOUT_SECONDS) * 1000),
                        retry_options=types.HttpRetryOptions(attempts=1),
                    ),
                ),
            )
        except errors.APIError as error:
            if len(self._thinking) > 1 and rejects_thinking(error):
                # This model does not accept the setting, so later requests omit it too.
                del self._thinking[0]
                return await self._send(jpeg, task, timeout_seconds, max_output_tokens)
            # The original error repeats the whole body, which can be long and contain the key.
            cause = RuntimeError(summarize(error))
            raise work_error(error, self._model_name) from cause
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            # Nothing was sent, so nothing can be billed.
            raise TransientError(
                "The captioning service cannot be reached. Try it again.", code="model_unavailable"
            ) from error
        # The body is incomplete, not JSON, or JSON of another shape. For another shape the library
        # raises any of the built-in errors.
        except (
            httpx2.RequestError,
            ValueError,
            TypeError,
            AttributeError,
            RecursionError,
            errors.UnknownApiResponseError,
        ) as error:
            raise NoResponseError from error
