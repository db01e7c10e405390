"""Compare thumbnail and previews with libvips, and the model input with a full decode.

Our side does what a function does with an original, including the child process
(imaging/isolation.py), which libvips does not have. Only derivatives_jpeg measures make_derivatives
alone, because the child process is a large part there; derivatives_jpeg_isolated includes it and
has the same goal. Each side runs in its own process on one processor (image_process.py). The sides
alternate and get the same files, and the median counts. Both make the same sizes with the same
encoders and settings. libvips uses its defaults, which is one thread on one processor.
"""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks import photos
from benchmarks.image_makers import (
    MAX_PIXELS,
    THUMBNAIL_SIZE,
    cover_by_full_decode,
    derivatives_of,
    open_fully,
)
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
from imaging.header import read_header
from lambda_functions.thumbnail.derivatives import (
    PREVIEW_QUALITY,
    THUMBNAIL_METHOD,
    THUMBNAIL_QUALITY,
    make_images,
    subsampling_of,
)

_PAIRS = 5
_MEGAPIXELS = tuple(photos.SIZES)
_JPEGS = [(pixels, kind) for pixels in _MEGAPIXELS for kind in ("baseline", "progressive")]
_MEBIBYTE = 1024 * 1024

# Both write files of the same quality with the same effort, so their sizes must be similar.
_SAME_SIZE = 0.1

_MAKERS = (sys.executable, "-m", "benchmarks.image_makers")
_OUR_DERIVATIVES = (*_MAKERS, "make_our_derivatives")
_ISOLATED_DERIVATIVES = (*_MAKERS, "make_our_derivatives_in_a_child")
_ISOLATED_MODEL_INPUT = (*_MAKERS, "make_our_model_input_in_a_child")
_FULL_DERIVATIVES = (*_MAKERS, "make_derivatives_by_full_decode")
_FULL_MODEL_INPUT = (*_MAKERS, "make_model_input_by_full_decode")


def derivatives_jpeg() -> list[Row]:
    """Measure time, peak memory in a new process each, and similarity before the encoding."""
    name = "derivatives_jpeg"
    times, isolated_times, memories, similarities = [], [], [], []
    for megapixels, kind in _JPEGS:
        photo = photos.photo(megapixels, kind)
        case = f"{megapixels} MP {kind}"
        vips, goal = _vips(photo), at_most(1.0)
        times.append(_time_row(f"{name} {case}", vips, _OUR_DERIVATIVES, photo, goal))
        isolated_times.append(
            _time_row(f"{name}_isolated {case}", vips, _ISOLATED_DERIVATIVES, photo, goal)
        )
        memories.append(_memory_row(f"{name}_memory {case}", vips, photo))
        similarities += _similarity_rows(f"{name}_ssim {case}", photo)
    return [
        worst(times, name),
        *times,
        worst(isolated_times, f"{name}_isolated"),
        worst(memories, f"{name}_memory"),
        *memories,
        worst(similarities, f"{name}_ssim"),
    ]


def derivatives_png() -> list[Row]:
    photo = photos.photo(12, "PNG")
    goal = at_most(1.2)
    return [_time_row("derivatives_png", _vips(photo), _ISOLATED_DERIVATIVES, photo, goal)]


def derivatives_webp() -> list[Row]:
    photo = photos.photo(12, "WebP")
    goal = at_most(1.6)
    return [_time_row("derivatives_webp", _vips(photo), _ISOLATED_DERIVATIVES, photo, goal)]


def derivatives_heic() -> list[Row]:
    photo = photos.photo(12, "HEIC")
    goal = at_most(1.0)
    return [_time_row("derivatives_heic", _FULL_DERIVATIVES, _ISOLATED_DERIVATIVES, photo, goal)]


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


def _vips(photo: Path) -> tuple[str, ...]:
    """Return the command of libvips for the sizes and settings that ours has for this photo."""
    original = photo.read_bytes()
    header = read_header(io.BytesIO(original), max_pixels=MAX_PIXELS)
    made = derivatives_of(original)
    # All photos are landscapes, so the width of the small preview is its larger side.
    settings = (
        *(THUMBNAIL_SIZE[0], THUMBNAIL_QUALITY, THUMBNAIL_METHOD),
        *(max(made.preview_size), made.small_width, PREVIEW_QUALITY, subsampling_of(header)),
    )
    return (anchors_python(), "-m", "benchmarks.anchors.pyvips_derivatives", *map(str, settings))


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
    with ImageProcess(*anchor) as anchor_process, ImageProcess(*_OUR_DERIVATIVES) as our_process:
        anchor_bytes = anchor_process.make(photo).peak_bytes
        our_bytes = our_process.make(photo).peak_bytes
    return Row(name, anchor_bytes / _MEBIBYTE, our_bytes / _MEBIBYTE, "MB", at_most(1.0))


def _similarity_rows(name: str, photo: Path) -> list[Row]:
    """Measure the similarity of both to a Lanczos over all pixels, before they are encoded."""
    original = photo.read_bytes()
    header = read_header(io.BytesIO(original), max_pixels=MAX_PIXELS)
    preview, thumbnail = make_images(
        io.BytesIO(original), header, THUMBNAIL_SIZE, max_pixels=MAX_PIXELS
    )
    full = open_fully(original)
    exact = full.resize(preview.size, Image.Resampling.LANCZOS)
    return [
        Row(f"{name} preview", 1.0, _ssim(exact, preview), "", at_least(0.98)),
        Row(
            f"{name} thumbnail",
            1.0,
            _ssim(cover_by_full_decode(full), thumbnail),
            "",
            at_least(0.99),
        ),
    ]


def _ssim(*images: Image.Image) -> float:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}.png") for number in range(len(images))]
        for image, path in zip(images, paths, strict=True):
            image.convert("L").save(path)
        command = (anchors_python(), "-m", "benchmarks.anchors.pyvips_ssim", *map(str, paths))
        return float(subprocess.check_output(command, cwd=ROOT, text=True))
