"""Validation and decoding of untrusted image files.

`formats` identifies the format from the first bytes. `header` reads the header; the web application
does this at upload, without any decoder. `decoding` decodes the pixels; the Lambda functions do
this. `containers` parses the header of each format and detects truncated files. `streaming` decodes
PNG and TIFF with libvips, `bitmap` BMP, and Pillow and pi-heif the other formats. `pixels` converts
decoded pixels to upright 8-bit sRGB. `isolation` runs a decoder in a child process.
"""
