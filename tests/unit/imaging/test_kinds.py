"""Tests that kinds of PNG, GIF and BMP look as in browsers. The right pixels are known."""

import io
import struct
import zlib
from itertools import product

import pytest
from PIL import Image

from imaging.decoding import decode
from imaging.errors import UnsupportedFormatError
from imaging.header import read_header
from tests.support.factories import encode, png_chunk

MAX_PIXELS = 10_000
WIDTH, HEIGHT = 16, 6
WHITE = (255, 255, 255)


def decoded(data, **options):
    header = read_header(io.BytesIO(data), max_pixels=MAX_PIXELS)
    image = decode(io.BytesIO(data), max_pixels=MAX_PIXELS, **options)
    assert options or image.size == (header.width, header.height)
    return image


GREY, RGB, INDEXED, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
SAMPLES = {GREY: 1, RGB: 3, INDEXED: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), INDEXED: (1, 2, 4, 8)}


class TestPngTransparency:
    def png(self, color_type, depth, value, transparent, is_interlaced=False):
        """Build a PNG of two values: the left half has one, the right half its complement."""
        largest = (1 << depth) - 1
        width = 1 if is_interlaced else WIDTH
        samples = SAMPLES[color_type]
        rows = b""
        for _ in range(1 if is_interlaced else HEIGHT):
            numbers = [
                number
                for x in range(width)
                for number in [value if x < width / 2 else largest - value] * samples
            ]
            bits = "".join(f"{number:0{depth}b}" for number in numbers)
            bits += "0" * (-len(bits) % 8)
            rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
        size = struct.pack(">II", width, 1 if is_interlaced else HEIGHT)
        header = size + bytes((depth, color_type, 0, 0, int(is_interlaced)))
        chunks = [png_chunk(b"IHDR", header)]
        if color_type == INDEXED:
            colors = [round(255 * i / largest) for i in range(largest + 1)]
            chunks.append(png_chunk(b"PLTE", bytes(c for c in colors for _ in range(3))))
        chunks.append(png_chunk(b"tRNS", transparent))
        chunks += [png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)

    @pytest.mark.parametrize("is_interlaced", [False, True])
    @pytest.mark.parametrize(
        ("color_type", "depth"),
        [(kind, depth) for kind in (GREY, RGB, INDEXED) for depth in DEPTHS[kind]],
    )
    def test_a_transparent_value_is_white_at_every_depth(self, color_type, depth, is_interlaced):
        largest = (1 << depth) - 1
        for value in {0, 1, largest // 3, largest // 2, largest - 1, largest}:
            if color_type == INDEXED:
                transparent = b"\xff" * value + b"\0"
            else:
                transparent = struct.pack(">H", value) * SAMPLES[color_type]

            image = decoded(self.png(color_type, depth, value, transparent, is_interlaced))

            assert image.getpixel((0, 0)) == WHITE, value
            if not is_interlaced and value != largest - value:
                other = round(255 * (largest - value) / largest)
                assert image.getpixel((WIDTH - 1, 0)) == pytest.approx((other,) * 3, abs=1), value

    def test_a_value_that_differs_in_the_last_of_sixteen_bits_is_not_transparent(self):
        data = self.png(GREY, 16, 0x4001, struct.pack(">H", 0x4000))

        assert decoded(data).getpixel((0, 0)) == (64, 64, 64)

    @pytest.mark.parametrize("depth", [8, 16])
    @pytest.mark.parametrize("color_type", [GREY_ALPHA, RGB_ALPHA])
    def test_a_transparent_value_beside_alpha_is_ignored(self, color_type, depth):
        largest = (1 << depth) - 1
        data = self.png(color_type, depth, largest, struct.pack(">H", largest) * 3)

        assert decoded(data).getpixel((0, 0)) == WHITE


class TestGifScreen:
    SCREEN = (40, 30)
    COLORS = ((10, 200, 30), (200, 30, 10), (20, 20, 220), (240, 240, 20))

    def gif(self, left, top, size, transparency=None):
        """Build a GIF with a background colour and one frame of four colours."""
        image = Image.new("P", size)
        image.putdata([(x + y) % 4 for y in range(size[1]) for x in range(size[0])])
        image.putpalette([part for color in self.COLORS for part in color])
        options = {} if transparency is None else {"transparency": transparency}
        data = bytearray(encode(image, "GIF", **options))
        data[6:10] = struct.pack("<HH", *self.SCREEN)
        data[11] = 1  # The background is red.
        frame = data.index(b",", 13 + 3 * 4)
        data[frame + 1 : frame + 5] = struct.pack("<HH", left, top)
        return bytes(data)

    @pytest.mark.parametrize("transparency", [None, 2])
    @pytest.mark.parametrize(
        ("left", "top", "size"),
        [
            pytest.param(10, 8, (16, 12), id="inside"),
            pytest.param(0, 0, (16, 12), id="in a corner"),
            pytest.param(30, 20, (16, 12), id="partly outside"),
            pytest.param(60, 50, (16, 12), id="outside"),
            pytest.param(0, 0, (50, 12), id="wider"),
            pytest.param(0, 29, (40, 1), id="one row"),
            pytest.param(0, 0, (40, 30), id="all"),
        ],
    )
    @pytest.mark.parametrize("at_least", [None, (10, 8)])
    def test_the_screen_around_the_first_frame_is_white(
        self, left, top, size, transparency, at_least
    ):
        image = decoded(self.gif(left, top, size, transparency), at_least=at_least)

        width, height = max(self.SCREEN[0], left + size[0]), max(self.SCREEN[1], top + size[1])
        expected = Image.new("RGB", (width, height), WHITE)
        for y, x in product(range(size[1]), range(size[0])):
            if (x + y) % 4 != transparency:
                expected.putpixel((left + x, top + y), self.COLORS[(x + y) % 4])
        if image.size != expected.size:
            expected = expected.reduce(-(-width // image.width))
        differences = [abs(a - b) for a, b in zip(image.tobytes(), expected.tobytes(), strict=True)]
        # A part of a pixel at the edge is resampled.
        assert sum(differences) / len(differences) <= (3 if at_least else 0)


MASKS_OF_16_BITS = {
    "555": (0x7C00, 0x3E0, 0x1F, 0),
    "565": (0xF800, 0x7E0, 0x1F, 0),
    "444": (0xF00, 0xF0, 0xF, 0),
    "4444": (0xF00, 0xF0, 0xF, 0xF000),
    "1555": (0x7C00, 0x3E0, 0x1F, 0x8000),
    "231": (0x30, 0xE, 0x1, 0),
    "blue first": (0x1F, 0x3E0, 0x7C00, 0),
    "no red": (0, 0x7E0, 0x1F, 0),
}
MASKS_OF_32_BITS = {
    "888": (0xFF0000, 0xFF00, 0xFF, 0),
    "8888": (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    "alpha last": (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
    "red first": (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
    "high": (0xFF000000, 0xFF0000, 0xFF00, 0),
    "101010": (0x3FF00000, 0xFFC00, 0x3FF, 0),
    "1010102": (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000),
    "11 11 10": (0xFFE00000, 0x1FFC00, 0x3FF, 0),
    "gaps": (0x1F0000, 0x700, 0x3, 0),
}


class TestBmp:
    def bmp(self, header_bytes, depth, compression, masks, palette=b"", rows=b"", height=HEIGHT):
        header = struct.pack("<IiiHHIIiiII", 40, WIDTH, height, 1, depth, compression, *[0] * 5)
        fields = b"".join(struct.pack("<I", mask) for mask in masks)
        header = struct.pack("<I", header_bytes) + (header[4:] + fields).ljust(124, b"\0")
        follows = fields[:12] if header_bytes == 40 and compression == 3 else b""
        start = header[:header_bytes] + follows + palette
        return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(start)) + start + rows

    @staticmethod
    def channels(x, y):
        return x / (WIDTH - 1), y / (HEIGHT - 1), 0.5, (x + y) % 2

    def rows_of(self, depth, masks):
        """Return rows from the bottom to the top, and the colours of each pixel."""
        expected = Image.new("RGB", (WIDTH, HEIGHT))
        rows = []
        for y in range(HEIGHT):
            row = b""
            for x in range(WIDTH):
                number, color = 0, []
                for mask, channel in zip(masks, self.channels(x, y), strict=True):
                    shift = (mask & -mask).bit_length() - 1 if mask else 0
                    largest = mask >> shift
                    stored = round(channel * largest)
                    number |= stored << shift
                    color.append(stored / largest if largest else 0)
                alpha = color[3] if masks[3] else 1
                on_white = (255 * (each * alpha + 1 - alpha) for each in color[:3])
                expected.putpixel((x, y), tuple(map(round, on_white)))
                row += number.to_bytes(depth // 8, "little")
            rows.append(row.ljust((WIDTH * depth + 31) // 32 * 4, b"\0"))
        return rows, expected

    @pytest.mark.parametrize(
        ("depth", "name"),
        [*((16, name) for name in MASKS_OF_16_BITS), *((32, name) for name in MASKS_OF_32_BITS)],
    )
    @pytest.mark.parametrize("header_bytes", [40, 56, 108, 124])
    @pytest.mark.parametrize("is_top_down", [False, True])
    def test_bits_of_every_mask_are_read(self, header_bytes, depth, name, is_top_down):
        masks = (MASKS_OF_16_BITS if depth == 16 else MASKS_OF_32_BITS)[name]
        if header_bytes == 40:
            masks = (*masks[:3], 0)  # It has no mask for alpha.
        rows, expected = self.rows_of(depth, masks)
        if not is_top_down:
            rows.reverse()
        height = -HEIGHT if is_top_down else HEIGHT

        data = self.bmp(header_bytes, depth, 3, masks, rows=b"".join(rows), height=height)

        differences = zip(decoded(data).tobytes(), expected.tobytes(), strict=True)
        assert max(abs(a - b) for a, b in differences) <= 1

    @pytest.mark.parametrize(
        ("header_bytes", "uses_alpha"), [(40, False), (56, False), (108, True)]
    )
    def test_alpha_without_bit_fields_counts_as_in_browsers(self, header_bytes, uses_alpha):
        masks = MASKS_OF_32_BITS["8888"]
        rows, _ = self.rows_of(32, masks)
        transparent = b"".join(rows[::-1])

        color = decoded(self.bmp(header_bytes, 32, 0, masks, rows=transparent)).getpixel((0, 0))

        assert color == (WHITE if uses_alpha else (0, 0, 128))

    def test_two_bits_per_pixel_are_read(self):
        palette = b"".join(bytes((50 * i, 0, 255 - 50 * i, 0)) for i in range(4))
        rows = bytes((0b00011011,)) * 4 * HEIGHT

        image = decoded(self.bmp(40, 2, 0, (), palette, rows))

        assert [image.getpixel((x, 0)) for x in range(4)] == [
            (255 - 50 * i, 0, 50 * i) for i in range(4)
        ]

    def test_a_header_of_sixteen_bytes_is_read(self):
        rows = bytes((10, 20, 30)) * WIDTH * HEIGHT

        image = decoded(self.bmp(16, 24, 0, (), rows=rows))

        assert image.getpixel((3, 3)) == (30, 20, 10)

    @pytest.mark.parametrize("depth", [4, 8, 24])
    def test_runs_are_read_and_skipped_pixels_are_black(self, depth):
        colors = b"".join(bytes((10 * i, 20, 200 - 10 * i, 0)) for i in range(16))
        one, two = bytes((0, 20, 200)), bytes((10, 20, 190))
        value, literal = {  # Literal data ends at an even position.
            4: (b"\x00", b"\x10\x10"),
            8: (b"\x00", b"\x01\x00\x01\x00"),
            24: (one, two + one + two + b"\0"),
        }[depth]
        runs = bytes((4,)) + value  # Four pixels of the first colour.
        runs += bytes((0, 3)) + literal  # Second, first and second colour.
        runs += bytes((0, 2, 2, 1))  # Two to the right, one up.
        runs += bytes((200,)) + value  # More than fit.
        runs += bytes((0, 1))
        compression, palette = {4: (2, colors), 8: (1, colors), 24: (4, b"")}[depth]

        image = decoded(self.bmp(40, depth, compression, (), palette, runs))

        first, second, black = (200, 20, 0), (190, 20, 10), (0, 0, 0)
        bottom = [image.getpixel((x, HEIGHT - 1)) for x in range(8)]
        assert bottom == [first] * 4 + [second, first, second, black]
        above = [image.getpixel((x, HEIGHT - 2)) for x in range(WIDTH)]
        assert above == [black] * 9 + [first] * (WIDTH - 9)
        assert image.getpixel((0, 0)) == black

    @pytest.mark.parametrize(
        ("depth", "compression", "name"),
        [(0, 4, "embedded JPEG"), (0, 5, "embedded PNG"), (64, 0, "64 bits"), (8, 9, "unusual")],
    )
    def test_a_kind_that_cannot_be_read_is_named(self, depth, compression, name):
        data = self.bmp(40, depth, compression, (), rows=bytes(1000))

        with pytest.raises(UnsupportedFormatError, match=f"This BMP uses .*{name}"):
            read_header(io.BytesIO(data), max_pixels=MAX_PIXELS)
