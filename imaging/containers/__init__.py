"""What an encoded image says about itself, read without decoding a pixel.

One module for each container. Each has a function that reads an `ImageInfo`; it tells the size and notices a
file that was cut short. They seek and read small pieces, so a large file is never held in memory,
and they are lenient: software writes sloppy files, so a file is refused only where its decoder
could not finish either. The decoder has the last word.
"""
