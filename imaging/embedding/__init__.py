"""Write texts into the metadata of image files, and read the description in it.

No pixel is decoded or changed. A file is untrusted. If its structure is unusual, or the change may
break something in it, the functions that write raise `UnsafeToChangeError`, and callers keep the
file as it is.
"""
