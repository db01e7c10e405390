"""Make thumbnails with libvips at its defaults, with the same WebP quality and effort as ours.

This runs in the environment of the anchors:

    python -m benchmarks.anchors.pyvips_thumbnail SIDE QUALITY EFFORT
"""

import sys

import pyvips

from benchmarks.image_process import serve

side, quality, effort = map(int, sys.argv[1:])


def make_thumbnail(original: bytes) -> bytes:
    thumbnail = pyvips.Image.thumbnail_buffer(original, side, height=side, crop="centre")
    return thumbnail.webpsave_buffer(Q=quality, effort=effort, keep="none")


serve(make_thumbnail)
