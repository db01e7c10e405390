"""Prepare a folder that becomes a layer of an image. The Dockerfiles run this script.

`python3 image_layer.py FOLDER DESTINATION`

It removes files that the images do not need, compiles every module, and sets times and permissions,
so that the same sources always give the same folder.
"""

import compileall
import os
import shutil
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

# The service descriptions are most of the size of botocore. A client for any other service cannot
# be created in the images. A test compares this set with the clients that the code creates.
AWS_SERVICES = {"events", "s3", "secretsmanager"}

_1980 = 315532800  # The oldest time that every archive format can store.


def finish(folder: Path, destination: str) -> None:
    """Prepare a folder that pip or COPY filled. Tracebacks show its `destination` in the image."""
    _remove_unneeded_files(folder)
    # By default, bytecode contains the time of its source, which differs between builds, and Python
    # compares it at each start. Files in an image never change, so no comparison is needed.
    is_compiled = compileall.compile_dir(
        folder,
        quiet=1,
        force=True,
        stripdir=str(folder),
        prependdir=destination,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
    if not is_compiled:
        raise SystemExit("A module could not be compiled. The error is above.")
    for path in [folder, *folder.rglob("*")]:
        # The user of the image can read everything and change nothing.
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (_1980, _1980))


def _remove_unneeded_files(folder: Path) -> None:
    # The scripts contain the path of the build, which does not exist in the image.
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for service in folder.glob("botocore/data/*/"):
        if service.name not in AWS_SERVICES:
            shutil.rmtree(service)


if __name__ == "__main__":
    finish(Path(sys.argv[1]), sys.argv[2])
