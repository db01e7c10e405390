"""Make a thumbnail and a preview with libvips, with the same sizes, qualities and efforts as ours.

libvips decodes the original once, for the preview, and makes the thumbnail from the preview. This
is its faster way: decoding twice took 1.2 to 1.8 times as long.

This runs in the environment of the anchors:

    python -m benchmarks.anchors.pyvips_derivatives \\
        SIDE QUALITY EFFORT PREVIEW_SIDE PREVIEW_QUALITY SUBSAMPLING
"""

import sys

import pyvips

from benchmarks.image_process import serve

side, quality, effort, preview_side, preview_quality = map(int, sys.argv[1:6])
subsample_mode = "on" if sys.argv[6] == "4:2:0" else "off"


def make_derivatives(original: bytes) -> bytes:
    preview = pyvips.Image.thumbnail_buffer(
        original, preview_side, height=preview_side, size="down"
    ).copy_memory()
    thumbnail = preview.thumbnail_image(side, height=side, crop="centre")
    return preview.jpegsave_buffer(
        Q=preview_quality, subsample_mode=subsample_mode, keep="none"
    ) + thumbnail.webpsave_buffer(Q=quality, effort=effort, keep="none")


serve(make_derivatives)
