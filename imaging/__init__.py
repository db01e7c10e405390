"""What is an acceptable image, and how an untrusted one is opened.

`formats` decides from the bytes which format a file is; `decoding` reads its header (the web app,
at upload) or its pixels (the functions); `containers` knows how each format says its size and
whether the file is whole; `pixels` turns whatever was stored into upright 8-bit sRGB. Only Pillow
and pi-heif are known here.
"""
