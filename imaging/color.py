"""Colour spaces that a file names by numbers instead of by an ICC profile.

Each becomes a small ICC profile, so that all conversions go the same way. The numbers are those of
ITU-T H.273, which PNG (cICP), AVIF and HEIF (nclx) use; PNG also has gAMA and cHRM.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

_Matrix = list[list[float]]

# x and y of white, red, green and blue.
_D65, _D50_XYZ = (0.3127, 0.329), (0.9642, 1.0, 0.8249)
SRGB_PRIMARIES = (*_D65, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_PRIMARIES = {
    1: SRGB_PRIMARIES,
    5: (*_D65, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),
    6: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    7: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (*_D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (*_D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    4: (0.31, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    8: (0.31, 0.316, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    22: (*_D65, 0.63, 0.34, 0.295, 0.605, 0.155, 0.077),
}

_GAMMA_22, _GAMMA_28, _LINEAR, _SRGB, _PQ, _HLG = 4, 5, 8, 13, 16, 18
# BT.709 and its relatives. Browsers show them like sRGB, but not in PNG.
_VIDEO = frozenset({1, 6, 11, 14, 15})

# https://www.itu.int/rec/R-REC-BT.2408: the brightness of white paper, and of the brightest parts.
_PAPER_WHITE_NITS, _BRIGHTEST_NITS = 203, 1000
_HEADROOM = _BRIGHTEST_NITS / _PAPER_WHITE_NITS
# Measured in Chromium 156.
_TONE_CURVE = (
    *((0, 0), (1, 0.5), (1.344, 0.617), (1.804, 0.716)),
    *((2.416, 0.799), (3.229, 0.888), (4.309, 0.965), (_HEADROOM, 1)),
)

_CURVE_ENTRIES = 1024

# Bradford's adaptation to another white.
_BRADFORD = [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]


@dataclass(frozen=True)
class ColorSpace:
    """A colour space.

    Attributes:
        primaries: x and y of white, red, green and blue.
        to_linear: maps a stored value, 0 to 1, to its brightness, 0 to 1.
    """

    primaries: tuple[float, ...]
    to_linear: Callable[[float], float]

    @classmethod
    def from_code_points(
        cls, primaries: int, transfer: int, *, is_png: bool = False
    ) -> "ColorSpace | None":
        """Return the colour space of these numbers, or None if it is sRGB or unknown."""
        curve = _CURVES.get(transfer, _srgb_to_linear)
        xy = _PRIMARIES.get(primaries, SRGB_PRIMARIES)
        if is_png:
            if primaries not in _PRIMARIES or transfer not in _CURVES.keys() | _VIDEO:
                return None
            curve = _video_to_linear if transfer in _VIDEO else curve
        if xy == SRGB_PRIMARIES and curve is _srgb_to_linear:
            return None
        return cls(xy, curve)

    @classmethod
    def from_gamma(cls, exponent: float, primaries: tuple[float, ...]) -> "ColorSpace":
        """Return a colour space with a power as its curve."""
        return cls(primaries, lambda value: float(value**exponent))

    def to_icc_profile(self) -> bytes | None:
        """Return an ICC profile of version 2, or None if the primaries are impossible."""
        try:
            columns = list(zip(*_to_d50(self.primaries), strict=True))
        except ZeroDivisionError:
            return None
        largest = _CURVE_ENTRIES - 1
        entries = [self.to_linear(i / largest) for i in range(_CURVE_ENTRIES)]
        curve = b"curv" + struct.pack(">4xI", _CURVE_ENTRIES)
        curve += struct.pack(
            f">{_CURVE_ENTRIES}H", *(round(65535 * min(1.0, max(0.0, each))) for each in entries)
        )
        return _profile(columns, curve)


def _srgb_to_linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def _pq_to_linear(value: float) -> float:
    """SMPTE ST 2084, with the bright parts compressed into the range of a normal screen."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = value ** (1 / m2)
    nits = 10_000 * (max(0.0, power - c1) / (c2 - c3 * power)) ** (1 / m1)
    return _tone_mapped(nits / _PAPER_WHITE_NITS)


def _hlg_to_linear(value: float) -> float:
    """ARIB STD-B67 for a screen of 1000 nits, likewise."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = value**2 / 3 if value <= 0.5 else (2.718281828459045 ** ((value - c) / a) + b) / 12
    return _tone_mapped(_HEADROOM * scene**1.2)


def _tone_mapped(brightness: float) -> float:
    """Map 0 to the brightest part to 0 to 1, as browsers do. White paper is 1 before."""
    for (x, y), (next_x, next_y) in pairwise(_TONE_CURVE):
        if brightness <= next_x:
            return y + (next_y - y) * (brightness - x) / (next_x - x)
    return 1.0


def _video_to_linear(value: float) -> float:
    return float(value**2.4)


_CURVES: dict[int, Callable[[float], float]] = {
    _SRGB: _srgb_to_linear,
    _GAMMA_22: lambda value: float(value**2.2),
    _GAMMA_28: lambda value: float(value**2.8),
    _LINEAR: lambda value: value,
    _PQ: _pq_to_linear,
    _HLG: _hlg_to_linear,
}


def _to_d50(primaries: tuple[float, ...]) -> _Matrix:
    """Return the matrix from linear RGB to XYZ, adapted to the white of ICC profiles."""
    white, *colors = ((x / y, 1.0, (1 - x - y) / y) for x, y in _pairs(primaries))
    unscaled = [list(row) for row in zip(*colors, strict=True)]
    scales = _times(_inverse(unscaled), white)
    matrix = [[each * scale for each, scale in zip(row, scales, strict=True)] for row in unscaled]
    ratios = [
        target / source
        for target, source in zip(
            _times(_BRADFORD, _D50_XYZ), _times(_BRADFORD, white), strict=True
        )
    ]
    scaled = [[ratio * each for each in row] for ratio, row in zip(ratios, _BRADFORD, strict=True)]
    return _product(_product(_inverse(_BRADFORD), scaled), matrix)


def _pairs(values: tuple[float, ...]) -> list[tuple[float, float]]:
    return list(zip(values[::2], values[1::2], strict=True))


def _times(matrix: _Matrix, vector: tuple[float, ...] | list[float]) -> list[float]:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def _product(first: _Matrix, second: _Matrix) -> _Matrix:
    columns = [_times(first, list(column)) for column in zip(*second, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _inverse(matrix: _Matrix) -> _Matrix:
    """Return the inverse of a matrix of three rows."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    adjugate = [
        [e * i - f * h, c * h - b * i, b * f - c * e],
        [f * g - d * i, a * i - c * g, c * d - a * f],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ]
    return [[each / determinant for each in row] for row in adjugate]


def _profile(columns: list[tuple[float, ...]], curve: bytes) -> bytes:
    """Return an ICC profile of three columns of XYZ and one curve for all."""
    data = {b"wtpt": _xyz(_D50_XYZ), b"rTRC": curve}
    data |= {
        name: _xyz(xyz) for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)
    }
    data[b"desc"] = b"desc" + struct.pack(">4xI", 1) + bytes(80)
    data[b"cprt"] = b"text" + bytes(8)
    names = {**{name: name for name in data}, b"gTRC": b"rTRC", b"bTRC": b"rTRC"}
    start = 128 + 4 + 12 * len(names)
    positions, body = {}, b""
    for name, content in data.items():
        positions[name] = start + len(body)
        body += content + bytes(-len(content) % 4)
    table = struct.pack(">I", len(names)) + b"".join(
        name + struct.pack(">II", positions[source], len(data[source]))
        for name, source in names.items()
    )
    header = struct.pack(
        ">I4xI4s4s4s12x4s", start + len(body), 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp"
    )
    header = header.ljust(68, b"\0") + _xyz(_D50_XYZ)[8:]
    return header.ljust(128, b"\0") + table + body


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + struct.pack(">4x3i", *(round(65536 * value) for value in values))
