"""The colour space of a PNG, from its small chunks: cICP, gAMA and cHRM.

https://www.w3.org/TR/png-3/#12Colour-spaces
"""

import struct
import zlib

from imaging.color import SRGB_PRIMARIES, ColorSpace
from imaging.containers.reading import HeaderReader

_CICP_BYTES, _GAMMA_BYTES, _CHROMATICITIES_BYTES = 4, 4, 32
_FRACTION = 100_000
# Written beside sRGB pixels. Browsers do not take it as another curve.
_SRGB_GAMMA = 45_455
# Chunks of these types and lengths decide the colour space.
_LENGTHS = {b"cICP": _CICP_BYTES, b"gAMA": _GAMMA_BYTES, b"cHRM": _CHROMATICITIES_BYTES}
_ONLY_PRESENCE = frozenset({b"iCCP", b"sRGB"})


class ColorChunks:
    """Collects the chunks of a PNG that decide its colour space."""

    def __init__(self) -> None:
        self._chunks: dict[bytes, bytes] = {}

    def add(self, reader: HeaderReader, kind: bytes, start: int, length: int) -> None:
        """Note a chunk before the image data, if it is one of them and undamaged."""
        if kind in self._chunks:
            return
        if kind in _ONLY_PRESENCE:
            self._chunks[kind] = b""
        if _LENGTHS.get(kind) == length and start + length + 4 <= reader.size:
            data = reader.read(start, length + 4)
            if zlib.crc32(kind + data[:-4]) == int.from_bytes(data[-4:], "big"):
                self._chunks[kind] = data[:-4]

    def color_space(self) -> tuple[ColorSpace | None, bool]:
        """Return the colour space, None for sRGB, and whether it replaces an ICC profile."""
        if b"cICP" in self._chunks:
            primaries, transfer = self._chunks[b"cICP"][:2]
            return ColorSpace.from_code_points(primaries, transfer, is_png=True), True
        gamma = int.from_bytes(self._chunks.get(b"gAMA", b""), "big")
        if _ONLY_PRESENCE & self._chunks.keys() or not gamma:
            return None, False
        if gamma == _SRGB_GAMMA and b"cHRM" not in self._chunks:
            return None, False
        xy: tuple[float, ...] = SRGB_PRIMARIES
        if b"cHRM" in self._chunks:
            numbers = struct.unpack(">8I", self._chunks[b"cHRM"])
            xy = tuple(number / _FRACTION for number in numbers)
        return ColorSpace.from_gamma(_FRACTION / gamma, xy), False
