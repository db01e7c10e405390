"""Header parsers, one module per container format. No parser decodes pixels.

Each module has a function that returns an `ImageInfo`: the image size and whether the file is
complete. The parsers read small pieces, so a large file is never held in memory, and all pieces of
a file come from one budget (`reading`), so a file of many tiny parts is not slow either. They are
lenient, because much software writes slightly invalid files: a parser rejects a file only if its
decoder would fail, too. The decoder makes the final decision.
"""
