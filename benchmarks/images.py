"""Compare thumbnails with libvips, and the model input with a full decode of the original.

Our side does what a function does with an original, including the child process
(imaging/isolation.py), which libvips does not have. Only thumbnail_jpeg measures make_thumbnail
alone, because the child process is a large part there; thumbnail_jpeg_isolated includes it and has
the same goal. Each side runs in its own process on one processor (image_process.py). The sides
alternate and get the same files, and the median counts. libvips uses its defaults, which is one
thread on one processor.
"""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import photos
from benchmarks.image_makers import MAX_PIXELS, THUMBNAIL_SIZE, cover_by_full_decode
from benchmarks.image_process import ImageProcess
from benchmarks.measure import (
    ROOT,
    Goal,
    Row,
    anchors_python,
    at_least,
    at_most,
    in_turns,
    worst,
)
from lambda_functions.thumbnail.derivatives import WEBP_METHOD, WEBP_QUALITY, cover

_PAIRS = 5
_MEGAPIXELS = tuple(photos.SIZES)
_JPEGS = [(pixels, kind) for pixels in _MEGAPIXELS for kind in ("baseline", "progressive")]
_MEBIBYTE = 1024 * 1024

# Both write WebPs of the same quality with the same effort, so their sizes must be similar.
_SAME_SIZE = 0.1

_MAKERS = (sys.executable, "-m", "benchmarks.image_makers")
_OUR_THUMBNAIL = (*_MAKERS, "make_our_thumbnail")
_ISOLATED_THUMBNAIL = (*_MAKERS, "make_our_thumbnail_in_a_child")
_ISOLATED_MODEL_INPUT = (*_MAKERS, "make_our_model_input_in_a_child")
_FULL_THUMBNAIL = (*_MAKERS, "make_thumbnail_by_full_decode")
_FULL_MODEL_INPUT = (*_MAKERS, "make_model_input_by_full_decode")


def thumbnail_jpeg() -> list[Row]:
    """Measure time, peak memory in a new process each, and similarity before WebP encoding."""
    vips = _vips()
    times, isolated_times, memories, similarities = [], [], [], []
    for megapixels, kind in _JPEGS:
        photo = photos.photo(megapixels, kind)
        case = f"{megapixels} MP {kind}"
        times.append(_time_row(f"thumbnail_jpeg {case}", vips, _OUR_THUMBNAIL, photo, at_most(1.0)))
        isolated_times.append(
            _time_row(
                f"thumbnail_jpeg_isolated {case}", vips, _ISOLATED_THUMBNAIL, photo, at_most(1.0)
            )
        )
        memories.append(_memory_row(f"thumbnail_jpeg_memory {case}", vips, photo))
        similarities.append(_similarity_row(f"thumbnail_jpeg_ssim {case}", photo))
    return [
        worst(times, "thumbnail_jpeg"),
        *times,
        worst(isolated_times, "thumbnail_jpeg_isolated"),
        worst(memories, "thumbnail_jpeg_memory"),
        *memories,
        worst(similarities, "thumbnail_jpeg_ssim"),
    ]


def thumbnail_png() -> list[Row]:
    photo = photos.photo(12, "PNG")
    return [_time_row("thumbnail_png", _vips(), _ISOLATED_THUMBNAIL, photo, at_most(1.2))]


def thumbnail_webp() -> list[Row]:
    photo = photos.photo(12, "WebP")
    return [_time_row("thumbnail_webp", _vips(), _ISOLATED_THUMBNAIL, photo, at_most(1.6))]


def thumbnail_heic() -> list[Row]:
    photo = photos.photo(12, "HEIC")
    return [_time_row("thumbnail_heic", _FULL_THUMBNAIL, _ISOLATED_THUMBNAIL, photo, at_most(1.0))]


def caption_input() -> list[Row]:
    rows = [
        _time_row(
            f"caption_input {megapixels} MP",
            _FULL_MODEL_INPUT,
            _ISOLATED_MODEL_INPUT,
            photos.photo(megapixels, "baseline"),
            at_most(0.35),
        )
        for megapixels in _MEGAPIXELS
    ]
    return [worst(rows, "caption_input"), *rows]


def _vips() -> tuple[str, ...]:
    settings = (THUMBNAIL_SIZE[0], WEBP_QUALITY, WEBP_METHOD)
    return (anchors_python(), "-m", "benchmarks.anchors.pyvips_thumbnail", *map(str, settings))


def _time_row(
    name: str, anchor: tuple[str, ...], ours: tuple[str, ...], photo: Path, goal: Goal
) -> Row:
    with ImageProcess(*anchor) as anchor_process, ImageProcess(*ours) as our_process:
        sizes = [process.make(photo).result_bytes for process in (anchor_process, our_process)]
        if max(sizes) > (1 + _SAME_SIZE) * min(sizes):
            raise RuntimeError(f"{name}: the results differ too much in size: {sizes} bytes")
        medians = in_turns(
            lambda: anchor_process.make(photo).seconds * 1000,
            lambda: our_process.make(photo).seconds * 1000,
            pairs=_PAIRS,
        )
    return Row(name, *medians, "ms", goal)


def _memory_row(name: str, anchor: tuple[str, ...], photo: Path) -> Row:
    """Measure the peak memory including interpreter, libraries and original."""
    with ImageProcess(*anchor) as anchor_process, ImageProcess(*_OUR_THUMBNAIL) as our_process:
        anchor_bytes = anchor_process.make(photo).peak_bytes
        our_bytes = our_process.make(photo).peak_bytes
    return Row(name, anchor_bytes / _MEBIBYTE, our_bytes / _MEBIBYTE, "MB", at_most(1.0))


def _similarity_row(name: str, photo: Path) -> Row:
    """Measure the similarity of our resize to a Lanczos over all pixels, before WebP encoding."""
    original = photo.read_bytes()
    images = (
        cover_by_full_decode(original),
        cover(io.BytesIO(original), size=THUMBNAIL_SIZE, max_pixels=MAX_PIXELS),
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}.png") for number in range(len(images))]
        for image, path in zip(images, paths, strict=True):
            image.convert("L").save(path)
        command = (anchors_python(), "-m", "benchmarks.anchors.pyvips_ssim", *map(str, paths))
        ssim = float(subprocess.check_output(command, cwd=ROOT, text=True))
    return Row(name, 1.0, ssim, "", at_least(0.99))
