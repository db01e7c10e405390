"""TIFF header parser. The strips or tiles of the first tag directory hold the image.

https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
"""

from collections.abc import Callable
from contextlib import suppress
from itertools import chain, repeat
from math import ceil

from PIL import ExifTags

from imaging.containers.directory import Values, read_directory
from imaging.containers.image_info import STREAMED_ROWS, ImageInfo, upright_size
from imaging.containers.reading import BudgetSpentError, HeaderReader
from imaging.containers.tiff_layout import (
    SEPARATE_PLANES,
    UNCOMPRESSED,
    YCBCR,
    Layout,
    Tags,
    first_value,
)
from imaging.errors import InvalidImageError, UnsupportedFormatError

_Tag = ExifTags.Base

# The cost of the check of one strip or tile.
_UNITS_PER_STRIP = 16

_CFA, _LINEAR_RAW = 32803, 34892
_DNG_VERSION = 50706
# A camera stores its previews and the sensor data in a few of them.
_MAX_SUB_DIRECTORIES = 8

# libvips holds two rows of tiles, or one strip.
_TILE_ROWS_IN_MEMORY = 2

# The tags that decide how the pixels are stored, and the colour profile.
_TAG_IDS = frozenset(
    {
        _Tag.ImageWidth,
        _Tag.ImageLength,
        _Tag.BitsPerSample,
        _Tag.Compression,
        _Tag.PhotometricInterpretation,
        _Tag.FillOrder,
        _Tag.StripOffsets,
        _Tag.Orientation,
        _Tag.SamplesPerPixel,
        _Tag.RowsPerStrip,
        _Tag.StripByteCounts,
        _Tag.PlanarConfiguration,
        _Tag.T4Options,
        _Tag.T6Options,
        _Tag.Predictor,
        _Tag.ColorMap,
        _Tag.TileWidth,
        _Tag.TileLength,
        _Tag.TileOffsets,
        _Tag.TileByteCounts,
        _Tag.SubIFDs,
        _Tag.ExtraSamples,
        _Tag.SampleFormat,
        _Tag.JPEGTables,
        _Tag.YCbCrSubSampling,
        _Tag.InterColorProfile,
        _DNG_VERSION,
    }
)


def read_info(reader: HeaderReader) -> ImageInfo:
    """Read the first directory and check that its strips or tiles lie inside the file.

    Raises:
        UnsupportedFormatError: it is a raw photo, or of a kind that no decoder can open.
    """
    tags = read_tags(reader)
    _require_no_raw_photo(reader, tags)
    layout = Layout.of(tags)
    layout.require_readable()
    return ImageInfo(
        upright_size(layout.size, layout.orientation),
        _has_all_data(tags, layout, reader),  # Last, because it may spend the budget.
        layout.orientation,
        bytes_per_pixel=4,
        codec_bytes_per_pixel=_codec_bytes_per_pixel(tags, layout),
        is_streamed=layout.is_streamed,
    )


def read_tags(reader: HeaderReader) -> Tags:
    """Return the tags of the first directory that describe the pixels."""
    return read_directory(reader, _TAG_IDS, optional={_Tag.InterColorProfile, _Tag.SubIFDs})


def _require_no_raw_photo(reader: HeaderReader, tags: Tags) -> None:
    """Reject a raw photo, which has a preview in its first directory."""
    directories = [tags]
    with suppress(BudgetSpentError):
        for position in tags[_Tag.SubIFDs].first(_MAX_SUB_DIRECTORIES) if _has_more(tags) else ():
            with suppress(InvalidImageError):
                directories.append(read_directory(reader, _TAG_IDS, position))
    for each in directories:
        photometric = first_value(each, _Tag.PhotometricInterpretation, 0)
        if photometric in (_CFA, _LINEAR_RAW) or _DNG_VERSION in each:
            raise UnsupportedFormatError.raw_photo()


def _has_more(tags: Tags) -> bool:
    return _Tag.SubIFDs in tags


def _has_all_data(tags: Tags, layout: Layout, reader: HeaderReader) -> bool:
    """Return whether every strip or tile lies inside the file, as far as the budget reaches.

    The decoder detects a missing strip, too, so an image with very many of them is accepted.
    """
    offsets = tags.get(_Tag.StripOffsets) or tags.get(_Tag.TileOffsets)
    counts: Values | tuple[int, ...]
    counts = tags.get(_Tag.StripByteCounts) or tags.get(_Tag.TileByteCounts) or ()
    size_of_piece = _uncompressed_bytes(layout) if layout.compression == UNCOMPRESSED else None
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


def _uncompressed_bytes(layout: Layout) -> Callable[[int], int]:
    """Return a function from index to byte size of a strip or tile. The last strip can be lower."""
    width, rows = layout.piece_size
    samples = 1 if layout.planar == SEPARATE_PLANES else layout.samples
    row_bytes = ceil(width * samples * layout.bits / 8)
    if layout.is_tiled:
        return lambda index: rows * row_bytes
    height = layout.size[1]
    strips = ceil(height / rows)
    return lambda index: min(rows, height - index % strips * rows) * row_bytes


def _codec_bytes_per_pixel(tags: Tags, layout: Layout) -> float:
    """Return the memory for the copy of the file and for the largest strips or tiles."""
    pixels = layout.size[0] * layout.size[1]
    file_size = next(iter(tags.values())).reader.size
    width, rows = layout.piece_size
    sample_bytes = ceil(layout.bits * layout.samples / 8)
    if layout.photometric == YCBCR:
        sample_bytes = 4  # libtiff expands it to four bytes.
    if layout.is_tiled and layout.is_streamed:
        width, rows = max(width, layout.size[0]), _TILE_ROWS_IN_MEMORY * rows
    elif layout.compression == UNCOMPRESSED:
        rows = 0
    if layout.is_streamed:
        rows += min(STREAMED_ROWS, layout.size[1])
    return (file_size + width * rows * sample_bytes) / pixels
