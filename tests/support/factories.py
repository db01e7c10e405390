"""Real things to test with, made small and the same each time."""

import io
import struct
import zlib
from collections.abc import Iterable
from functools import cache
from typing import Any

import pillow_heif
from PIL import ExifTags, Image, ImageChops, ImageCms, ImageDraw

RED = (220, 40, 40)
GREEN = (40, 180, 60)
BLUE = (40, 60, 200)
YELLOW = (230, 210, 50)

# Every format that imaging accepts, by its name there.
FORMAT_NAMES = ("JPEG", "PNG", "GIF", "WebP", "AVIF", "HEIC", "TIFF", "BMP")

_DEFLATED_AT_ONCE = 1 << 20


# Images


def make_image(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    """Four coloured quadrants: red and green above, blue and yellow below."""
    width, height = size
    image = Image.new("RGB", size, RED)
    draw = ImageDraw.Draw(image)
    middle_x, middle_y = width // 2, height // 2
    for color, box in (
        (GREEN, (middle_x, 0, width, middle_y)),
        (BLUE, (0, middle_y, middle_x, height)),
        (YELLOW, (middle_x, middle_y, width, height)),
    ):
        if box[0] < box[2] and box[1] < box[3]:
            draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=color)
    return image if mode == "RGB" else image.convert(mode)


def make_photo(size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Gradients, edges and grain: as hard to shrink and to compress as a photo."""
    down = Image.linear_gradient("L").resize(size)
    across = Image.linear_gradient("L").rotate(90).resize(size)
    round_ = Image.radial_gradient("L").resize(size)
    photo = Image.merge("RGB", (down, round_, ImageChops.invert(across)))
    draw = ImageDraw.Draw(photo)
    step = max(8, min(size) // 12)
    for index, x in enumerate(range(0, size[0], step)):
        color = (index * 53 % 256, index * 97 % 256, index * 31 % 256)
        draw.ellipse((x, x % max(1, size[1]), x + step // 2, x % size[1] + step // 2), fill=color)
    return ImageChops.add(photo, _grain(size), scale=1.0, offset=-16)


def _grain(size: tuple[int, int]) -> Image.Image:
    """A tile of noise from a fixed seed, repeated."""
    tile = Image.frombytes("L", (128, 128), _noise_bytes(128 * 128)).point(lambda v: v // 8)
    grain = Image.new("L", size)
    for left in range(0, size[0], 128):
        for top in range(0, size[1], 128):
            grain.paste(tile, (left, top))
    return grain.convert("RGB")


@cache
def _noise_bytes(length: int) -> bytes:
    state, noise = 12345, bytearray()
    for _ in range(length):
        state = (1103515245 * state + 12345) % 2**31
        noise.append(state >> 16 & 0xFF)
    return bytes(noise)


# Encoded images


def encode(image: Image.Image, format_name: str, **options: Any) -> bytes:
    """Encode in any format of FORMAT_NAMES, with Pillow's (or pillow-heif's) save options."""
    encoded = io.BytesIO()
    if format_name in ("HEIC", "HEIF"):
        # Without registering its opener: that belongs to pi-heif, which the application uses.
        pillow_heif.from_pillow(image).save(encoded, **options)
    else:
        image.save(encoded, format_name.upper(), **options)
    return encoded.getvalue()


def make_encoded(
    format_name: str = "JPEG", size: tuple[int, int] = (64, 48), **options: Any
) -> bytes:
    """The four quadrants in any accepted format."""
    image = make_image(size)
    return encode(image.quantize(16) if format_name == "GIF" else image, format_name, **options)


def make_jpeg(
    size: tuple[int, int] = (64, 48), mode: str = "RGB", orientation: int = 1, **options: Any
) -> bytes:
    """A JPEG that shows the four quadrants when it is turned by its EXIF orientation.

    Args:
        size: as seen, upright.
        orientation: 1 to 8; the stored pixels are turned so that this undoes it.
    """
    image = stored_for(make_image(size, mode), orientation)
    if orientation != 1:
        options["exif"] = make_exif(orientation)
    return encode(image, "JPEG", **{"quality": 95, "subsampling": 0, **options})


def stored_for(upright: Image.Image, orientation: int) -> Image.Image:
    """The pixels as a camera held that way would store them."""
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return upright if orientation == 1 else upright.transpose(inverse[orientation])


def make_exif(orientation: int = 1, *, gps: bool = False) -> bytes:
    """An EXIF block with an orientation and, when asked, the place where a photo was taken."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Camera Maker"
    if gps:
        exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
        exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    return exif.tobytes()


def make_exif_with_thumbnail(thumbnail: bytes) -> bytes:
    """An EXIF block that carries a whole JPEG, end marker and all, as cameras write it."""
    first_directory = struct.pack("<HI", 0, 14)  # no entries; the second directory follows
    entries = ((0x0201, 14 + 2 + 2 * 12 + 4), (0x0202, len(thumbnail)))  # its offset and length
    second_directory = struct.pack("<H", len(entries))
    for tag, value in entries:
        second_directory += struct.pack("<HHII", tag, 4, 1, value)
    tiff = b"II*\0" + struct.pack("<I", 8) + first_directory + second_directory + b"\0\0\0\0"
    return b"Exif\0\0" + tiff + thumbnail


def make_animation(format_name: str = "GIF", frames: int = 3) -> bytes:
    """The four quadrants, then plain frames."""
    plain = [Image.new("RGB", (64, 48), (0, 0, index % 256)) for index in range(1, frames)]
    return encode(make_image(), format_name, save_all=True, append_images=plain, duration=20)


def make_long_gif(frames: int) -> bytes:
    """A GIF of very many frames, made by repeating the bytes of one."""
    one = encode(make_image().quantize(16), "GIF")
    header_bytes = 13 + 3 * 16
    header, frame = one[:header_bytes], one[header_bytes:-1]
    return header + frame * frames + b";"


def make_icc_profile_with_swapped_colors() -> bytes:
    """sRGB with the red and green primaries exchanged, so that nobody can miss its effect."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = {
        bytes(profile[start : start + 4]): start
        for start in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12)
    }
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


# Damaged and hostile files


def truncated(data: bytes, keep: float = 0.6) -> bytes:
    """The beginning of a file, as an interrupted transfer leaves it."""
    return data[: int(len(data) * keep)]


def make_png_bomb(size: tuple[int, int] = (60_000, 60_000)) -> bytes:
    """A valid PNG of a few hundred kilobytes that would take gigabytes to decode."""
    width, height = size
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    row_bytes = 1 + (width + 7) // 8
    data = deflate_zeros(row_bytes * height)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (png_chunk(b"IHDR", header), png_chunk(b"IDAT", data), png_chunk(b"IEND", b""))
    )


def deflate_zeros(length: int) -> bytes:
    """What zlib would make of that many zeros, by repeating what it makes of a million."""
    blocks, rest = divmod(length, _DEFLATED_AT_ONCE)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = compressor.compress(bytes(_DEFLATED_AT_ONCE)) + compressor.flush(zlib.Z_FULL_FLUSH)
    end = compressor.compress(bytes(rest)) + compressor.flush()
    check_sum = struct.pack(">HH", length % 65521, 1)  # Adler-32 of zeros
    return b"\x78\xda" + block * blocks + end + check_sum


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """One chunk with its length and check sum."""
    length, check_sum = len(payload), zlib.crc32(kind + payload)
    return struct.pack(">I", length) + kind + payload + struct.pack(">I", check_sum)


def make_bomb(format_name: str) -> bytes:
    """A small file of any format whose header claims thousands of megapixels."""
    if format_name == "PNG":
        return make_png_bomb((40_000, 40_000))
    data = bytearray(make_encoded(format_name))
    for position, claim in _size_claims(format_name, data):
        data[position : position + len(claim)] = claim
    return bytes(data)


def _size_claims(format_name: str, data: bytearray) -> Iterable[tuple[int, bytes]]:
    """Where each format says its size, and a size of its own kind to put there."""
    side = 60_000
    match format_name:
        case "JPEG":
            yield data.index(b"\xff\xc0") + 5, struct.pack(">HH", side, side)
        case "GIF":
            yield 6, struct.pack("<HH", side, side)
        case "WebP":
            yield 26, struct.pack("<HH", 0x3FFF, 0x3FFF)
        case "BMP":
            yield 18, struct.pack("<ii", side, side)
        case "TIFF":
            for tag in (256, 257):
                entry = data.index(struct.pack("<HHI", tag, 4, 1))
                yield entry + 8, struct.pack("<I", side)
        case "AVIF" | "HEIC" | "HEIF":
            yield data.index(b"ispe") + 8, struct.pack(">II", side, side)


def make_polyglot() -> bytes:
    """A JPEG that a careless browser could be talked into reading as a web page."""
    page = b"<html><script>alert(1)</script></html>"
    return make_jpeg(comment=page) + page
