"""Finishes a folder that becomes a layer of an image. The Dockerfiles run it.

`python3 image_layer.py FOLDER DESTINATION`

Leaves out what no image needs, compiles every module, and makes the folder the same, byte for byte
and second for second, whenever and wherever it is made.
"""

import compileall
import os
import shutil
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

# AWS' descriptions of its services are most of botocore. A service that is not here does not exist
# in the images; a test holds this to the clients that the code makes.
AWS_SERVICES = {"events", "s3", "secretsmanager"}

_1980 = 315532800  # The oldest second that every archive format can say.


def finish(folder: Path, destination: str) -> None:
    """Make a folder ready.

    Args:
        folder: what pip or COPY filled.
        destination: where it will lie in the image, for tracebacks.
    """
    _leave_out(folder)
    # A file's time would go into its bytecode and be compared at each start; its hash would be
    # compared too, unless told otherwise. Nothing changes in an image.
    is_compiled = compileall.compile_dir(
        folder,
        quiet=1,
        force=True,
        stripdir=str(folder),
        prependdir=destination,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
    if not is_compiled:
        raise SystemExit("not every module could be compiled")
    for path in [folder, *folder.rglob("*")]:
        # Whoever runs the image may read everything and change nothing.
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (_1980, _1980))


def _leave_out(folder: Path) -> None:
    shutil.rmtree(folder / "bin", ignore_errors=True)  # Scripts with the build's own path in them.
    for service in folder.glob("botocore/data/*/"):
        if service.name not in AWS_SERVICES:
            shutil.rmtree(service)


if __name__ == "__main__":
    finish(Path(sys.argv[1]), sys.argv[2])
