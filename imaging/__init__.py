"""Validation and decoding of untrusted image files.

`formats` identifies the format from the first bytes. `decoding` reads the header (the web app does
this at upload) or decodes the pixels (the Lambda functions do this). `containers` parses the header
of each format and detects truncated files. `pixels` converts decoded pixels to upright 8-bit sRGB.
`isolation` runs a decoder in a child process. Only this package imports Pillow decoders and
pi-heif.
"""
