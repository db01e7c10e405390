"""Make a thumbnail and previews with libvips, with the same sizes, qualities and efforts as ours.

libvips decodes the original once, for the preview, and makes the others from the preview. This is
its faster way: decoding twice took 1.2 to 1.8 times as long.

This runs in the environment of the anchors:

    python -m benchmarks.anchors.pyvips_derivatives \\
        SIDE QUALITY EFFORT PREVIEW_SIDE SMALL_SIDE PREVIEW_QUALITY SUBSAMPLING
"""

import sys

import pyvips

from benchmarks.image_process import serve

side, quality, effort, preview_side, small_side, preview_quality = map(int, sys.argv[1:7])
subsample_mode = "on" if sys.argv[7] == "4:2:0" else "off"


def make_derivatives(original: bytes) -> bytes:
    preview = pyvips.Image.thumbnail_buffer(
        original, preview_side, height=preview_side, size="down"
    ).copy_memory()
    small_preview = preview.thumbnail_image(small_side, height=small_side, size="down")
    thumbnail = preview.thumbnail_image(side, height=side, crop="centre")
    previews = [
        each.jpegsave_buffer(Q=preview_quality, subsample_mode=subsample_mode, keep="none")
        for each in (preview, small_preview)
    ]
    return b"".join(previews) + thumbnail.webpsave_buffer(Q=quality, effort=effort, keep="none")


serve(make_derivatives)
