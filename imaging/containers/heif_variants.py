"""AVIF and HEIF files without a `meta` box: a track alone, and the `mini` box of small images.

moov ── trak ─┬─ mdia ─┬─ hdlr                     the type of the track
                       └─ minf ── stbl ── stsd     the size and the codec of its frames
"""

from typing import NamedTuple

from imaging.containers.exif import is_sideways
from imaging.containers.isobmff_boxes import Box, find_boxes, read_boxes, read_start
from imaging.containers.reading import HeaderReader
from imaging.errors import InvalidImageError

_ALPHA_TRACK = b"auxv"
# The position of width and height in a visual sample entry, and of the boxes after its fields.
_SAMPLE_SIZE, _SAMPLE_BOXES = slice(24, 28), 78
_CONFIGURATION_BYTES = 16

# The first bits of a `mini` box, with their lengths (ISO/IEC 23008-12).
_FLAGS = {
    "version": 2,
    "has_codec_types": 1,
    "is_float": 1,
    "is_full_range": 1,
    "has_alpha": 1,
    "has_cicp": 1,
    "is_hdr": 1,
    "has_icc": 1,
    "has_exif": 1,
    "has_xmp": 1,
    "chroma": 2,
    "orientation": 3,
    "is_large": 1,
}
_SMALL_SIDE_BITS, _LARGE_SIDE_BITS = 7, 15
_SAMPLES_OF_CHROMA = (1.0, 1.5, 2.0, 3.0)


class Track(NamedTuple):
    """The size of the frames, and the beginning of the codec configuration."""

    size: tuple[int, int]
    configuration: bytes


def read_track(reader: HeaderReader, moov: Box) -> Track:
    """Return the first track of images.

    Raises:
        InvalidImageError: there is none that is compressed with AV1.
    """
    for track in read_boxes(reader, moov):
        if track.kind == b"trak":
            entry = _sample_entry(reader, track)
            if entry and entry.kind == b"av01":
                fields = read_start(reader, entry, _SAMPLE_BOXES)[_SAMPLE_SIZE]
                width, height = int.from_bytes(fields[:2], "big"), int.from_bytes(fields[2:], "big")
                inside = entry._replace(start=entry.start + _SAMPLE_BOXES)
                configuration = find_boxes(reader, inside, b"av1C")[b"av1C"]
                return Track(
                    (width, height), read_start(reader, configuration, _CONFIGURATION_BYTES)
                )
    raise InvalidImageError


def _sample_entry(reader: HeaderReader, track: Box) -> Box | None:
    """Return the description of the first frame, unless the track holds alpha."""
    media = find_boxes(reader, track, b"mdia")[b"mdia"]
    parts = find_boxes(reader, media, b"hdlr", b"minf")
    if read_start(reader, parts[b"hdlr"], 12)[8:] == _ALPHA_TRACK:
        return None
    table = find_boxes(reader, parts[b"minf"], b"stbl")[b"stbl"]
    descriptions = find_boxes(reader, table, b"stsd")[b"stsd"]
    # The entries follow the version, the flags and the count.
    entries = descriptions._replace(start=descriptions.start + 8)
    return next(read_boxes(reader, entries), None)


def read_minimized(reader: HeaderReader, mini: Box) -> tuple[tuple[int, int], float]:
    """Return the upright size of an image, and the bytes per pixel of its planes."""
    data = read_start(reader, mini, 8)
    bits = f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}"
    flags, position = {}, 0
    for name, length in _FLAGS.items():
        flags[name] = int(bits[position : position + length], 2)
        position += length
    length = _LARGE_SIDE_BITS if flags["is_large"] else _SMALL_SIDE_BITS
    width = 1 + int(bits[position : position + length], 2)
    height = 1 + int(bits[position + length : position + 2 * length], 2)
    samples = _SAMPLES_OF_CHROMA[flags["chroma"]] + flags["has_alpha"]
    size = (height, width) if is_sideways(flags["orientation"] + 1) else (width, height)
    return size, 2 * samples  # It may have more than 8 bits.
