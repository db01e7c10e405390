"""Small images and files for tests. The same arguments give the same bytes."""

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

# The formats that imaging accepts, by their names in imaging.
FORMAT_NAMES = ("JPEG", "PNG", "GIF", "WebP", "AVIF", "HEIC", "TIFF", "BMP")

_BLOCK_BYTES = 1 << 20


# Images


def make_image(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    """Draw four coloured quadrants: red and green above, blue and yellow below."""
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
    """Draw gradients, edges and grain, which are as hard to compress as a photo."""
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
    """Draw a repeated tile of noise from a fixed seed."""
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
    """Encode an image in a format of FORMAT_NAMES, with save options of Pillow or pillow-heif."""
    encoded = io.BytesIO()
    if format_name in ("HEIC", "HEIF"):
        # The opener of pillow-heif is not registered, because the application registers pi-heif's.
        pillow_heif.from_pillow(image).save(encoded, **options)
    else:
        image.save(encoded, format_name.upper(), **options)
    return encoded.getvalue()


def make_encoded(
    format_name: str = "JPEG", size: tuple[int, int] = (64, 48), **options: Any
) -> bytes:
    """Encode the four quadrants in any accepted format."""
    image = make_image(size)
    return encode(image.quantize(16) if format_name == "GIF" else image, format_name, **options)


def make_jpeg(
    size: tuple[int, int] = (64, 48), mode: str = "RGB", orientation: int = 1, **options: Any
) -> bytes:
    """Encode the four quadrants as a JPEG with an EXIF orientation.

    Args:
        size: the upright size.
        orientation: 1 to 8. The stored pixels are rotated so that the orientation makes them
            upright again.
    """
    image = stored_for(make_image(size, mode), orientation)
    if orientation != 1:
        options["exif"] = make_exif(orientation)
    return encode(image, "JPEG", **{"quality": 95, "subsampling": 0, **options})


def stored_for(upright: Image.Image, orientation: int) -> Image.Image:
    """Return the pixels that a camera would store with this orientation."""
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
    """Build an EXIF block with an orientation and optionally a GPS position."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Camera Maker"
    if gps:
        exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
        exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    return exif.tobytes()


def make_exif_with_thumbnail(thumbnail: bytes) -> bytes:
    """Build an EXIF block that contains a whole JPEG, as cameras write it."""
    # The first directory has no entries. The second has the offset and length of the thumbnail.
    first_directory = struct.pack("<HI", 0, 14)
    entries = ((0x0201, 14 + 2 + 2 * 12 + 4), (0x0202, len(thumbnail)))
    second_directory = struct.pack("<H", len(entries))
    for tag, value in entries:
        second_directory += struct.pack("<HHII", tag, 4, 1, value)
    tiff = b"II*\0" + struct.pack("<I", 8) + first_directory + second_directory + b"\0\0\0\0"
    return b"Exif\0\0" + tiff + thumbnail


def make_animation(format_name: str = "GIF", frames: int = 3) -> bytes:
    """Encode an animation of the four quadrants and plain frames."""
    plain = [Image.new("RGB", (64, 48), (0, 0, index % 256)) for index in range(1, frames)]
    return encode(make_image(), format_name, save_all=True, append_images=plain, duration=20)


def make_long_gif(frames: int) -> bytes:
    """Build a GIF of many frames by repeating the bytes of one frame."""
    one = encode(make_image().quantize(16), "GIF")
    header_bytes = 13 + 3 * 16
    header, frame = one[:header_bytes], one[header_bytes:-1]
    return header + frame * frames + b";"


def make_icc_profile_with_swapped_colors() -> bytes:
    """Build an sRGB profile with red and green exchanged, so that its effect is obvious."""
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
    """Return the beginning of a file, as after an interrupted transfer."""
    return data[: int(len(data) * keep)]


def make_png_bomb(size: tuple[int, int] = (60_000, 60_000)) -> bytes:
    """Build a valid PNG of a few hundred kilobytes that would take gigabytes to decode."""
    width, height = size
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    row_bytes = 1 + (width + 7) // 8
    data = deflate_zeros(row_bytes * height)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (png_chunk(b"IHDR", header), png_chunk(b"IDAT", data), png_chunk(b"IEND", b""))
    )


def deflate_zeros(length: int) -> bytes:
    """Compress that many zeros quickly, by repeating one compressed block."""
    blocks, rest = divmod(length, _BLOCK_BYTES)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = compressor.compress(bytes(_BLOCK_BYTES)) + compressor.flush(zlib.Z_FULL_FLUSH)
    end = compressor.compress(bytes(rest)) + compressor.flush()
    checksum = struct.pack(">HH", length % 65521, 1)  # Adler-32 of zeros
    return b"\x78\xda" + block * blocks + end + checksum


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """Build a PNG chunk with its length and checksum."""
    length, checksum = len(payload), zlib.crc32(kind + payload)
    return struct.pack(">I", length) + kind + payload + struct.pack(">I", checksum)


def make_bomb(format_name: str) -> bytes:
    """Build a small file with a header that declares thousands of megapixels."""
    if format_name == "PNG":
        return make_png_bomb((40_000, 40_000))
    data = bytearray(make_encoded(format_name))
    for position, size in _declared_sizes(format_name, data):
        data[position : position + len(size)] = size
    return bytes(data)


def _declared_sizes(format_name: str, data: bytearray) -> Iterable[tuple[int, bytes]]:
    """Yield the position of each size in the header, and the bytes of a huge size."""
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
    """Build a JPEG that a browser with content sniffing could treat as a web page."""
    page = b"<html><script>alert(1)</script></html>"
    return make_jpeg(comment=page) + page
