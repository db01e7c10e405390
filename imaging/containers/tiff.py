"""TIFF header parser. The strips or tiles of the first tag directory hold the image."""

from collections.abc import Callable
from itertools import chain, repeat
from math import ceil

from PIL import ExifTags

from imaging.containers.directory import Values, read_directory
from imaging.containers.image_info import ImageInfo, bytes_per_pixel, upright_size
from imaging.containers.reading import BudgetSpentError, HeaderReader
from imaging.errors import InvalidImageError

_Tag = ExifTags.Base
_UNCOMPRESSED = 1
_YCBCR = 6
_SEPARATE_PLANES = 2
_UNSIGNED = 1
# More samples of a pixel than Pillow can read.
_MAX_SAMPLES = 8
# The cost of the check of one strip or tile.
_UNITS_PER_STRIP = 16

_TAG_IDS = frozenset(
    {
        _Tag.ImageWidth,
        _Tag.ImageLength,
        _Tag.BitsPerSample,
        _Tag.Compression,
        _Tag.PhotometricInterpretation,
        _Tag.StripOffsets,
        _Tag.Orientation,
        _Tag.SamplesPerPixel,
        _Tag.RowsPerStrip,
        _Tag.StripByteCounts,
        _Tag.PlanarConfiguration,
        _Tag.TileWidth,
        _Tag.TileLength,
        _Tag.TileOffsets,
        _Tag.TileByteCounts,
        _Tag.SampleFormat,
    }
)

_Tags = dict[int, Values]


def read_info(reader: HeaderReader) -> ImageInfo:
    """Read the first directory and check that its strips or tiles lie inside the file."""
    tags = read_directory(reader, _TAG_IDS)
    orientation = _first(tags, _Tag.Orientation, 1)
    size = _required(tags, _Tag.ImageWidth), _required(tags, _Tag.ImageLength)
    decoded_bytes_per_pixel = _decoded_bytes_per_pixel(tags)
    codec_bytes_per_pixel = _codec_bytes_per_pixel(tags)
    return ImageInfo(
        upright_size(size, orientation),
        _has_all_data(tags, reader),  # Last, because it may spend the budget.
        # is_sideways stays False, because Pillow's TIFF reader applies the orientation itself.
        bytes_per_pixel=decoded_bytes_per_pixel,
        codec_bytes_per_pixel=codec_bytes_per_pixel,
    )


def _has_all_data(tags: _Tags, reader: HeaderReader) -> bool:
    """Return whether every strip or tile lies inside the file, as far as the budget reaches.

    The decoder detects a missing strip, too, so an image with very many of them is accepted.
    """
    offsets = tags.get(_Tag.StripOffsets) or tags.get(_Tag.TileOffsets)
    counts = tags.get(_Tag.StripByteCounts) or tags.get(_Tag.TileByteCounts) or ()
    size_of_piece = _uncompressed_bytes(tags) if _is_uncompressed(tags) else None
    if offsets is None:
        return False
    try:
        pairs = zip(offsets, chain(counts, repeat(None)), strict=False)
        for index, (offset, count) in enumerate(pairs):
            reader.budget.spend(_UNITS_PER_STRIP)
            # Many writers omit the byte counts of uncompressed strips or overstate them.
            expected = size_of_piece(index) if size_of_piece else None
            counted = expected or 0 if count is None else count
            if offset + min(counted, expected or counted) > reader.size:
                return False
    except BudgetSpentError:
        pass
    return True


def _uncompressed_bytes(tags: _Tags) -> Callable[[int], int]:
    """Return a function from index to byte size of a strip or tile. The last strip can be lower."""
    width, rows = _strip_or_tile_size(tags)
    samples = _first(tags, _Tag.SamplesPerPixel, 1)
    if _first(tags, _Tag.PlanarConfiguration, 1) == _SEPARATE_PLANES:
        samples = 1
    row_bytes = ceil(width * samples * _max_bits(tags) / 8)
    if _Tag.TileOffsets in tags:
        return lambda index: rows * row_bytes
    height = _required(tags, _Tag.ImageLength)
    strips = ceil(height / rows)
    return lambda index: min(rows, height - index % strips * rows) * row_bytes


def _codec_bytes_per_pixel(tags: _Tags) -> float:
    """Return the memory for the largest strip or tile, which libtiff decodes at once."""
    pixels = _required(tags, _Tag.ImageWidth) * _required(tags, _Tag.ImageLength)
    turning = _decoded_bytes_per_pixel(tags) if _first(tags, _Tag.Orientation, 1) != 1 else 0
    if _is_uncompressed(tags):
        return turning
    width, rows = _strip_or_tile_size(tags)
    sample_bytes = ceil(_max_bits(tags) * _first(tags, _Tag.SamplesPerPixel, 1) / 8)
    if _first(tags, _Tag.PhotometricInterpretation, 0) == _YCBCR:
        sample_bytes = 4  # libtiff expands it to four bytes.
    return turning + width * rows * sample_bytes / pixels


def _decoded_bytes_per_pixel(tags: _Tags) -> int:
    """Return the bytes per pixel of the mode that Pillow chooses, as far as the tags show it."""
    depth = _max_bits(tags)
    if _first(tags, _Tag.SamplesPerPixel, 1) > 1 or depth > 16:
        return bytes_per_pixel("RGB")
    if depth <= 8:
        return bytes_per_pixel("L")
    return bytes_per_pixel("I;16" if _first(tags, _Tag.SampleFormat, 1) == _UNSIGNED else "I")


def _is_uncompressed(tags: _Tags) -> bool:
    return _first(tags, _Tag.Compression, _UNCOMPRESSED) == _UNCOMPRESSED


def _strip_or_tile_size(tags: _Tags) -> tuple[int, int]:
    """Return width and rows of a tile or of a full strip."""
    width, height = _required(tags, _Tag.ImageWidth), _required(tags, _Tag.ImageLength)
    if _Tag.TileOffsets in tags:
        return _positive(tags, _Tag.TileWidth, width), _positive(tags, _Tag.TileLength, height)
    return width, min(_positive(tags, _Tag.RowsPerStrip, height), height)


def _max_bits(tags: _Tags) -> int:
    bits = tags.get(_Tag.BitsPerSample)
    return max(bits.first(_MAX_SAMPLES)) if bits else 1


def _first(tags: _Tags, tag: int, default: int) -> int:
    return tags[tag].first(1)[0] if tag in tags else default


def _positive(tags: _Tags, tag: int, default: int) -> int:
    value = _first(tags, tag, default)
    if value <= 0:
        raise InvalidImageError
    return value


def _required(tags: _Tags, tag: int) -> int:
    return _positive(tags, tag, 0)
