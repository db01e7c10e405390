"""Thumbnails by libvips, as its users make them; at its defaults, and as strong a WebP as ours.

It runs in the anchors' environment:

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
