"""Limit the size of a response of Gemini while it arrives."""

from collections.abc import AsyncIterator
from typing import Final

import httpx2

# The longest caption with all its thoughts has less than a tenth of this. Without a limit, a body
# that never ends fills the memory of the function within seconds.
MAX_BODY_BYTES: Final = 1024 * 1024


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for chunk in self._stream:
            received += len(chunk)
            if received > MAX_BODY_BYTES:
                raise httpx2.ReadError(f"the response has more than {MAX_BODY_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def bound_body(response: httpx2.Response) -> None:
    """Limit a response before its body is read. The HTTP client calls this.

    Raises:
        DecodingError: the body is compressed, although that was not requested. A small body could
            become one that fills the memory.
    """
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise httpx2.DecodingError(
            f"the response has the encoding {encoding[:50]!r}", request=response.request
        )
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _BoundedStream(response.stream)
