"""The layout of the pixels of a TIFF, and the kinds of it that can be decoded."""

from dataclasses import dataclass

from PIL import ExifTags

from imaging.containers.directory import Values
from imaging.errors import InvalidImageError, UnsupportedFormatError

_Tag = ExifTags.Base
Tags = dict[int, Values]

SEPARATE_PLANES = 2
UNCOMPRESSED = 1
UNASSOCIATED_ALPHA, ASSOCIATED_ALPHA = 2, 1

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
CIELAB, ICCLAB, ITULAB = 8, 9, 10
_COLORS = {
    **dict.fromkeys((WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE), 1),
    **dict.fromkeys((RGB, YCBCR, CIELAB, ICCLAB), 3),
    CMYK: 4,
}
_UNSUPPORTED_COLORS = {
    ITULAB: "ITU Lab colour",
    4: "a transparency mask as its image",
    32844: "LogL high dynamic range",
    32845: "LogLuv high dynamic range",
}

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
_UNDEFINED = 4  # Writers use it for ordinary numbers.

_OLD_JPEG, JPEG, _LZMA, _ZSTANDARD = 6, 7, 34925, 50000
# Fax (2 to 4), LZW, JPEG, Deflate, NeXT, PackBits, ThunderScan, PixarLog, Deflate and JBIG.
_STREAMED_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, JPEG, 8, 32773, 32809, 32909, 32946})
_PILLOW_COMPRESSIONS = frozenset({_OLD_JPEG, _LZMA, _ZSTANDARD})
_COMPRESSION_NAMES = {
    9: "JBIG",
    10: "JBIG",
    32766: "NeXT",
    32771: "word-aligned fax",
    34661: "JBIG",
    34676: "LogLuv",
    34677: "LogLuv",
    34712: "JPEG 2000",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of a raw photo",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}

_STREAMED_DEPTHS = {UNSIGNED: (8, 16, 32), SIGNED: (8, 16, 32), FLOAT: (16, 32)}
_STREAMED_DEPTHS_OF_ONE_SAMPLE = (1, 2, 4)
_TWELVE_BITS = 12
_MAX_SAMPLES = 32

_SAVE_AS = "8-bit TIFF, PNG or JPEG"


@dataclass(frozen=True)
class Layout:
    """The layout of the pixels in the file.

    Attributes:
        size: (width, height) as stored.
        orientation: 1 to 8.
        compression, photometric, planar: the numbers of the TIFF specification.
        bits: the bits of each sample, or 0 if the samples have different numbers of bits.
        sample_format: UNSIGNED, SIGNED, FLOAT, or another number for complex numbers.
        samples: the samples of a pixel: its colours, and then others, for example alpha.
        colors: how many of the samples are colours.
        alpha: UNASSOCIATED_ALPHA or ASSOCIATED_ALPHA if the sample after the colours is that.
        subsampling: how many pixels share a Cb and a Cr of YCBCR, across and down.
        piece_size: the width and rows of a tile or of a full strip.
        is_tiled: whether the image has tiles instead of strips.
        is_little_endian: the byte order.
    """

    size: tuple[int, int]
    orientation: int
    compression: int
    photometric: int
    planar: int
    bits: int
    sample_format: int
    samples: int
    colors: int
    alpha: int
    subsampling: tuple[int, ...]
    piece_size: tuple[int, int]
    is_tiled: bool
    is_little_endian: bool

    @classmethod
    def of(cls, tags: Tags) -> "Layout":
        """Interpret the tags.

        Raises:
            InvalidImageError: a tag is missing or has an impossible value.
        """
        size = _positive(tags, _Tag.ImageWidth, 0), _positive(tags, _Tag.ImageLength, 0)
        compression = first_value(tags, _Tag.Compression, UNCOMPRESSED)
        default_samples = 3 if compression == _OLD_JPEG else 1
        samples = _positive(tags, _Tag.SamplesPerPixel, default_samples)
        photometric = first_value(
            tags, _Tag.PhotometricInterpretation, RGB if samples > 2 else BLACK_IS_ZERO
        )
        orientation = first_value(tags, _Tag.Orientation, 1)
        colors = _COLORS.get(photometric, 1)
        if photometric in (CIELAB, ICCLAB) and samples < colors:
            photometric, colors = BLACK_IS_ZERO, 1  # Only the lightness.
        sample_format = first_value(tags, _Tag.SampleFormat, UNSIGNED)
        return cls(
            size,
            orientation if orientation in range(1, 9) else 1,
            compression,
            photometric,
            first_value(tags, _Tag.PlanarConfiguration, 1),
            _bits(tags, samples),
            UNSIGNED if sample_format == _UNDEFINED else sample_format,
            samples,
            colors,
            _alpha(tags, samples - colors),
            tags[_Tag.YCbCrSubSampling].first(2) if _Tag.YCbCrSubSampling in tags else (2, 2),
            _piece_size(tags, size),
            _Tag.TileOffsets in tags,
            tags[_Tag.ImageWidth].number.format.startswith("<"),
        )

    @property
    def is_streamed(self) -> bool:
        """Whether libvips decodes it, piece by piece."""
        return self.compression in _STREAMED_COMPRESSIONS and self.bits != _TWELVE_BITS

    @property
    def has_plain_ycbcr(self) -> bool:
        """Whether the samples of YCBCR are stored like those of other colours."""
        is_plain = self.subsampling == (1, 1) and self.compression != JPEG
        return self.photometric == YCBCR and is_plain

    def require_readable(self) -> None:
        """Check that a decoder can open it.

        Raises:
            InvalidImageError: colours are missing.
            UnsupportedFormatError: no decoder can. The message names the kind.
        """
        problem = self._unsupported_kind()
        if problem:
            raise UnsupportedFormatError.of_kind(f"This TIFF uses {problem}", _SAVE_AS)
        if self.samples < self.colors:
            raise InvalidImageError

    def _unsupported_kind(self) -> str:
        if self.photometric not in _COLORS:
            return _UNSUPPORTED_COLORS.get(self.photometric, "an unusual kind of colour")
        if self.compression not in _STREAMED_COMPRESSIONS | _PILLOW_COMPRESSIONS:
            return _COMPRESSION_NAMES.get(self.compression, "an unusual") + " compression"
        return self._unsupported_samples()

    def _unsupported_samples(self) -> str:
        color = "colour" if self.colors > 1 else "greyscale"
        if self.sample_format not in _STREAMED_DEPTHS:
            return "complex numbers"
        if self.samples > _MAX_SAMPLES:
            return f"{self.samples} samples per pixel"
        if not self.bits:
            return "samples of different sizes"
        number = {FLOAT: " floating point", SIGNED: " signed"}.get(self.sample_format, "")
        described = f"{self.bits}-bit{number} {color}"
        if self.sample_format == FLOAT and self.colors > 1:
            return described
        is_readable = self._can_stream if self.is_streamed else self._can_open_with_pillow
        return "" if is_readable() else described

    def _can_stream(self) -> bool:
        if self.photometric in (CIELAB, ICCLAB):
            return self.sample_format == UNSIGNED and self.bits in (8, 16)
        if self.photometric == YCBCR:
            is_whole = self.planar != SEPARATE_PLANES or self.has_plain_ycbcr
            return self.bits == 8 and self.samples == 3 and is_whole
        if self.samples == 1 or self.planar == SEPARATE_PLANES:
            is_unsigned = self.sample_format == UNSIGNED
            if is_unsigned and self.bits in _STREAMED_DEPTHS_OF_ONE_SAMPLE:
                return True
        return self.bits in _STREAMED_DEPTHS[self.sample_format]

    def _can_open_with_pillow(self) -> bool:
        """Return whether Pillow opens it, and shows it correctly."""
        if self.sample_format != UNSIGNED or self.planar == SEPARATE_PLANES:
            return False
        # Pillow lacks some modes of the other order, and does not open a BigTIFF of it.
        if not self.is_little_endian and self.compression != _OLD_JPEG:
            return False
        if self.bits <= 8:
            is_plain = self.bits == 8 or self.samples == 1
            has_mode = self.photometric != ICCLAB and self.samples - self.colors <= 1
            return is_plain and has_mode and (self.colors > 1 or self.alpha != ASSOCIATED_ALPHA)
        if self.bits == _TWELVE_BITS:
            return self.samples == 1 and self.photometric == BLACK_IS_ZERO
        has_mode = self.photometric in (BLACK_IS_ZERO, RGB)
        return self.bits == 16 and has_mode and self.samples == self.colors


def first_value(tags: Tags, tag: int, default: int) -> int:
    """Return the first value of a tag, or the default if the tag is missing."""
    return tags[tag].first(1)[0] if tag in tags else default


def _alpha(tags: Tags, extra_samples: int) -> int:
    if not extra_samples:
        return 0
    # Some writers omit the tag beside alpha.
    kind = first_value(tags, _Tag.ExtraSamples, UNASSOCIATED_ALPHA if extra_samples == 1 else 0)
    return kind if kind in (UNASSOCIATED_ALPHA, ASSOCIATED_ALPHA) else 0


def _bits(tags: Tags, samples: int) -> int:
    if _Tag.BitsPerSample not in tags:
        return 1
    depths = set(tags[_Tag.BitsPerSample].first(samples))
    return depths.pop() if len(depths) == 1 else 0


def _piece_size(tags: Tags, size: tuple[int, int]) -> tuple[int, int]:
    if _Tag.TileOffsets in tags:
        return _positive(tags, _Tag.TileWidth, size[0]), _positive(tags, _Tag.TileLength, size[1])
    return size[0], min(_positive(tags, _Tag.RowsPerStrip, size[1]), size[1])


def _positive(tags: Tags, tag: int, default: int) -> int:
    value = first_value(tags, tag, default)
    if value <= 0:
        raise InvalidImageError
    return value
