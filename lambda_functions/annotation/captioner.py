"""A client of Gemini that sends one image and returns one response."""

import asyncio
from collections.abc import Callable
from hashlib import sha256
from json import JSONDecodeError
from typing import Final

import httpx2
from google import genai
from google.genai import errors, types
from pydantic import ValidationError

from lambda_functions.annotation.description import PROMPT, ImageDescription
from lambda_functions.annotation.models import minimal_thinking
from lambda_functions.annotation.refusals import (
    InvalidApiKeyError,
    NoResponseError,
    rejects_thinking,
    work_error,
)
from lambda_functions.annotation.responses import ModelResponse, parse_response
from lambda_functions.errors import TransientError

# More than any caption needs, thinking included. A longer response is not a caption.
MAX_OUTPUT_TOKENS: Final = 4096
# More than any model counts for an image as small as the one that is sent.
# https://ai.google.dev/gemini-api/docs/media-resolution
MAX_IMAGE_TOKENS: Final = 2600


class Captioner:
    """A client that requests captions from one model. It is not thread-safe."""

    def __init__(
        self,
        read_api_key: Callable[[], str],
        *,
        model_name: str,
        language: str,
        prompt: str | None,
    ) -> None:
        """Store the settings. The key is read and the connection opened at the first request.

        Args:
            read_api_key: returns the current key. It is called again when a key is refused,
                because the key may have been rotated.
            language: the language of the captions, by its English name or its own name.
            prompt: replaces `PROMPT`. `{language}` in either is replaced by the language's name.
        """
        self._read_api_key = read_api_key
        self._api_key = ""
        self._client: genai.Client | None = None
        self._runner: asyncio.Runner | None = None
        self._model_name = model_name
        self._thinking = minimal_thinking(model_name)
        self.language = language
        self.prompt = (prompt or PROMPT).replace("{language}", language)

    @property
    def max_request_tokens(self) -> int:
        """The most tokens that one request can use. A token of text has at least one byte."""
        return MAX_IMAGE_TOKENS + len(self.prompt.encode()) + MAX_OUTPUT_TOKENS

    def fingerprint(self, image_sha256: str) -> str:
        """Return a hash of the image's bytes, the model and the prompt."""
        parts = (image_sha256, self._model_name, self.prompt)
        return sha256("\0".join(parts).encode()).hexdigest()

    def generate(self, jpeg: bytes, *, timeout_seconds: float) -> ModelResponse:
        """Request a caption for one image.

        `timeout_seconds` limits the whole request, also if the response arrives byte by byte.

        Raises:
            PermanentError: the service cannot process this image.
            BusyError: the service asks for a later retry.
            NoResponseError: the response was too late, incomplete or not readable.
            TransientError: the service cannot be reached, or answered with a server error.
            ConfigurationError: the service refused the key, the model or the account.
        """
        if self._runner is None:
            # The runner and its event loop are reused, because the connection belongs to the loop.
            self._runner = asyncio.Runner()
        try:
            response = self._runner.run(self._generate_within(jpeg, timeout_seconds))
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
        self, jpeg: bytes, timeout_seconds: float
    ) -> types.GenerateContentResponse:
        # The time-outs of an HTTP client restart with every byte. This one covers everything:
        # the name lookup, the TLS handshake, the headers and the body.
        async with asyncio.timeout(timeout_seconds):
            try:
                return await self._send(jpeg, timeout_seconds)
            except InvalidApiKeyError:
                if self._read_api_key() == self._api_key:
                    raise
                if self._client is not None:
                    await self._client.aio.aclose()
                self._client = None
                return await self._send(jpeg, timeout_seconds)

    async def _send(self, jpeg: bytes, timeout_seconds: float) -> types.GenerateContentResponse:
        if self._client is None:
            self._api_key = self._read_api_key()
            self._client = genai.Client(api_key=self._api_key)
        try:
            return await self._client.aio.models.generate_content(
                model=self._model_name,
                contents=types.Content(
                    role="user",
                    parts=[
                        types.Part.from_bytes(data=jpeg, mime_type="image/jpeg"),
                        types.Part.from_text(text=self.prompt),
                    ],
                ),
                config=types.GenerateContentConfig(
                    response_mime_type="application/json",
                    response_schema=ImageDescription,
                    max_output_tokens=MAX_OUTPUT_TOKENS,
                    thinking_config=self._thinking,
                    # No client-side retries: Lambda retries the event, and the row counts
                    # attempts.
                    http_options=types.HttpOptions(
                        timeout=round(timeout_seconds * 1000),
                        retry_options=types.HttpRetryOptions(attempts=1),
                    ),
                ),
            )
        except errors.APIError as error:
            if self._thinking is not None and rejects_thinking(error):
                # This model does not accept the setting, so later requests omit it too.
                self._thinking = None
                return await self._send(jpeg, timeout_seconds)
            raise work_error(error, self._model_name) from error
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            # Nothing was sent, so nothing can be billed.
            raise TransientError(
                "The captioning service cannot be reached. Try it again.", code="model_unavailable"
            ) from error
        except (
            httpx2.RequestError,
            JSONDecodeError,
            ValidationError,
            errors.UnknownApiResponseError,
        ) as error:
            raise NoResponseError from error
