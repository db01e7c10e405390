"""TIFF: directories of tags, of which the first one's strips or tiles hold the image."""

from math import ceil
from typing import Any, BinaryIO

from PIL import ExifTags
from PIL.TiffImagePlugin import TiffImageFile

from imaging.containers.outline import Outline, bytes_per_pixel
from imaging.containers.reading import file_size
from imaging.errors import InvalidImageError

_Tag = ExifTags.Base
_UNCOMPRESSED = 1
_YCBCR = 6
_SEPARATE_PLANES = 2

# A file with more pieces than this is checked in part; the decoder sees the rest.
_MAX_PIECES_CHECKED = 100_000


def outline(source: BinaryIO) -> Outline:
    """Read the first directory and see whether its strips or tiles lie inside the file."""
    source.seek(0)
    image = TiffImageFile(source)
    # Pillow's TIFF reader already turns the image, and gives its size, upright.
    return Outline(
        image.size,
        _has_all_pieces(image, file_size(source)),
        bytes_per_pixel=bytes_per_pixel(image.mode),
        codec_bytes_per_pixel=_codec_bytes_per_pixel(image),
    )


def _has_all_pieces(image: TiffImageFile, size: int) -> bool:
    tags = image.tag_v2
    offsets = tags.get(_Tag.StripOffsets) or tags.get(_Tag.TileOffsets) or ()
    counts = tags.get(_Tag.StripByteCounts) or tags.get(_Tag.TileByteCounts) or ()
    for index, offset in enumerate(offsets[:_MAX_PIECES_CHECKED]):
        # Software that writes no counts, or too large ones, for rows that need none is common.
        expected = _uncompressed_bytes(tags, index) if _is_uncompressed(tags) else None
        counted = counts[index] if index < len(counts) else expected or 0
        if offset + min(counted, expected or counted) > size:
            return False
    return bool(offsets)


def _uncompressed_bytes(tags: Any, index: int) -> int:
    """How many bytes a strip (the last one may be lower) or tile takes."""
    width, rows = _piece_size(tags)
    samples = _number(tags, _Tag.SamplesPerPixel, 1)
    if _Tag.TileOffsets not in tags:
        height = _number(tags, _Tag.ImageLength, 0)
        rows = min(rows, height - index % ceil(height / rows) * rows)
    if tags.get(_Tag.PlanarConfiguration) == _SEPARATE_PLANES:
        samples = 1
    return rows * ceil(width * samples * _deepest(tags) / 8)


def _codec_bytes_per_pixel(image: TiffImageFile) -> float:
    """libtiff decodes a whole strip or tile at once, and a file may be one single strip."""
    tags = image.tag_v2
    pixels = _number(tags, _Tag.ImageWidth, 0) * _number(tags, _Tag.ImageLength, 0)
    turning = bytes_per_pixel(image.mode) if tags.get(_Tag.Orientation, 1) != 1 else 0
    if _is_uncompressed(tags):
        return turning
    width, rows = _piece_size(tags)
    sample_bytes = ceil(_deepest(tags) * _number(tags, _Tag.SamplesPerPixel, 1) / 8)
    if tags.get(_Tag.PhotometricInterpretation) == _YCBCR:
        sample_bytes = 4  # libtiff widens it
    return turning + width * rows * sample_bytes / pixels


def _is_uncompressed(tags: Any) -> bool:
    return bool(tags.get(_Tag.Compression, _UNCOMPRESSED) == _UNCOMPRESSED)


def _piece_size(tags: Any) -> tuple[int, int]:
    """Width and rows of a tile, or of a full strip."""
    width, height = _number(tags, _Tag.ImageWidth, 0), _number(tags, _Tag.ImageLength, 0)
    if _Tag.TileOffsets in tags:
        return _number(tags, _Tag.TileWidth, width), _number(tags, _Tag.TileLength, height)
    return width, min(_number(tags, _Tag.RowsPerStrip, height), height)


def _deepest(tags: Any) -> int:
    bits = tags.get(_Tag.BitsPerSample, (1,))
    return max(bits) if bits else 1


def _number(tags: Any, tag: int, default: int) -> int:
    value = tags.get(tag, default)
    if not isinstance(value, int) or value <= 0:
        raise InvalidImageError
    return value
