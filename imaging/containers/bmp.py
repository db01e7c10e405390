"""BMP header parser. The file has a header, an optional palette and rows.

https://learn.microsoft.com/windows/win32/gdi/bitmap-storage and, for the headers of OS/2 and for
what programs do with unusual files, https://entropymine.com/jason/bmpsuite/
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from imaging.containers.image_info import ImageInfo
from imaging.containers.reading import HeaderReader
from imaging.errors import InvalidImageError, UnsupportedFormatError

_FILE_HEADER_BYTES = 14
_OS2_HEADER_BYTES, _WINDOWS_HEADER_BYTES, _ALPHA_HEADER_BYTES, _V4_HEADER_BYTES = 12, 40, 56, 108
_MASKS_IN_HEADER = 40  # Their position, if the header is long enough.
_MAX_HEADER_BYTES = 124
_OS2_FIELDS = struct.Struct("<HHHH")
# Width, height, planes, bits, compression, size of the data, resolutions, number of colours.
_FIELDS = struct.Struct("<iiHHIIiiI")

PLAIN, RLE8, RLE4, BIT_FIELDS, RLE24, _ALPHA_BIT_FIELDS = 0, 1, 2, 3, 4, 6
_RUN_LENGTH_DEPTHS = {RLE8: 8, RLE4: 4, RLE24: 24}
_OS2_HEADERS = frozenset({12, 16, 64})
_DEFAULT_MASKS = {
    16: (0x7C00, 0x3E0, 0x1F, 0),
    24: (0xFF0000, 0xFF00, 0xFF, 0),
    32: (0xFF0000, 0xFF00, 0xFF, 0),
}
_DEPTHS = (1, 2, 4, 8, 16, 24, 32)

# Run-length data is decoded into rows of RGB, which Pillow then copies.
_RUN_LENGTH_BYTES_PER_PIXEL = 3.0


class Masks(NamedTuple):
    """The bits of a pixel that hold each channel."""

    red: int
    green: int
    blue: int
    alpha: int


@dataclass(frozen=True)
class Layout:
    """The layout of the pixels in the file.

    Attributes:
        size: (width, height).
        is_top_down: whether the first row is the top one.
        depth: the bits of a pixel: 1, 2, 4 or 8 with a palette, otherwise 16, 24 or 32.
        compression: PLAIN, RLE8, RLE4 or RLE24.
        masks: the channels of pixels of 16, 24 and 32 bits.
        palette: where the palette starts and ends in the file.
        color_bytes: 3 (blue, green, red) or 4.
        offset: where the rows start.
    """

    size: tuple[int, int]
    is_top_down: bool
    depth: int
    compression: int
    masks: Masks
    palette: tuple[int, int]
    color_bytes: int
    offset: int

    @property
    def row_bytes(self) -> int:
        """The bytes of an uncompressed row, a multiple of 4."""
        return (self.size[0] * self.depth + 31) // 32 * 4

    @property
    def end(self) -> int:
        """The end of uncompressed rows. The padding of the last one may be missing."""
        last_row_bytes = (self.size[0] * self.depth + 7) // 8
        return self.offset + self.row_bytes * (self.size[1] - 1) + last_row_bytes


def read_info(reader: HeaderReader) -> ImageInfo:
    """Read the header and check that no row is missing.

    Raises:
        UnsupportedFormatError: no decoder can open a BMP of this kind.
    """
    layout = read_layout(reader)
    is_run_length = layout.compression != PLAIN
    # Pixels that a run-length file omits are black, so such a file is never incomplete.
    end = layout.offset if is_run_length else layout.end
    return ImageInfo(
        layout.size,
        end <= reader.size,
        bytes_per_pixel=1 if layout.depth <= 8 and not is_run_length else 4,
        codec_bytes_per_pixel=_RUN_LENGTH_BYTES_PER_PIXEL if is_run_length else 0.0,
    )


def read_layout(reader: HeaderReader) -> Layout:
    """Read the header.

    Raises:
        InvalidImageError: a field has an impossible value.
        UnsupportedFormatError: no decoder can open a BMP of this kind.
    """
    start = reader.read(0, _FILE_HEADER_BYTES + 4)
    offset, header_bytes = struct.unpack("<II", start[10:18])
    rest = reader.size - _FILE_HEADER_BYTES
    header = reader.read(_FILE_HEADER_BYTES, min(header_bytes, _MAX_HEADER_BYTES, rest))
    width, height, depth, compression, colors = _fields(header)
    _require_supported(header_bytes, depth, compression)
    end = _FILE_HEADER_BYTES + header_bytes
    masks = Masks(*_DEFAULT_MASKS.get(depth, (0, 0, 0, 0)))
    if depth > 8:
        masks, end = _masks(reader, header, masks, compression, end)
    color_bytes = 3 if header_bytes == _OS2_HEADER_BYTES else 4
    colors = (colors or 1 << depth) if depth <= 8 else 0
    if offset == end:  # Some writers do not count the palette.
        offset += colors * color_bytes
    space = max(0, (offset or reader.size) - end) // color_bytes
    palette = end, end + min(colors, 1 << depth, space) * color_bytes
    return Layout(
        (width, abs(height)),
        height < 0,
        depth,
        compression if compression in _RUN_LENGTH_DEPTHS else PLAIN,
        masks,
        palette,
        color_bytes,
        offset or palette[1],
    )


def _fields(header: bytes) -> tuple[int, int, int, int, int]:
    """Return width, height, depth, compression and number of colours."""
    if len(header) == _OS2_HEADER_BYTES:
        width, height, _, depth = _OS2_FIELDS.unpack(header[4:12])
        return width, height, depth, PLAIN, 0
    # A header of OS/2 can end after any field.
    fields = header[4 : 4 + _FIELDS.size].ljust(_FIELDS.size, b"\0")
    width, height, _, depth, compression, _, _, _, colors = _FIELDS.unpack(fields)
    if width <= 0:
        raise InvalidImageError
    return width, height, depth, compression, colors


def _require_supported(header_bytes: int, depth: int, compression: int) -> None:
    is_os2 = header_bytes in _OS2_HEADERS
    if is_os2 and compression == BIT_FIELDS:
        problem = "fax compression"
    elif compression in (4, 5) and depth == 0:
        problem = f"an embedded {'JPEG' if compression == 4 else 'PNG'}"
    elif depth not in _DEPTHS:
        problem = f"{depth} bits per pixel"
    elif compression in _RUN_LENGTH_DEPTHS and _RUN_LENGTH_DEPTHS[compression] != depth:
        raise InvalidImageError
    elif compression not in (PLAIN, RLE8, RLE4, BIT_FIELDS, RLE24, _ALPHA_BIT_FIELDS):
        problem = "an unusual compression"
    else:
        return
    raise UnsupportedFormatError.of_kind(f"This BMP uses {problem}", "24-bit BMP, PNG or JPEG")


def _masks(
    reader: HeaderReader, header: bytes, default: Masks, compression: int, end: int
) -> tuple[Masks, int]:
    """Return the masks, and where the palette starts."""
    masks = default
    has_alpha = len(header) >= _V4_HEADER_BYTES  # Browsers use it with every compression.
    if compression in (BIT_FIELDS, _ALPHA_BIT_FIELDS):
        count = 4 if compression == _ALPHA_BIT_FIELDS else 3
        if len(header) > _WINDOWS_HEADER_BYTES:
            data = header[_MASKS_IN_HEADER : _MASKS_IN_HEADER + 4 * count]
        else:
            data = reader.read(end, 4 * count)
            end += 4 * count
        values = struct.unpack("<4I", data.ljust(16, b"\0"))
        masks = Masks(*values) if any(values[:3]) else default
        has_alpha = len(header) >= _ALPHA_HEADER_BYTES
    if has_alpha:
        [alpha] = struct.unpack("<I", header[_MASKS_IN_HEADER + 12 : _MASKS_IN_HEADER + 16])
        masks = masks._replace(alpha=alpha)
    return masks, end
