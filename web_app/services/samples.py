"""The sample photos that an empty gallery offers. NOTICE says where they come from."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from web_app.services.uploads import BoundedFile, Upload

_FOLDER: Final = Path(__file__).parents[1] / "static" / "samples"
# The last one becomes the newest image, which is the first of the gallery.
SAMPLE_NAMES: Final = ("photographer.jpg", "cat.jpg", "coffee.jpg")


@contextmanager
def open_samples(max_upload_bytes: int) -> Iterator[list[Upload]]:
    """Provide the sample photos as uploads until the end of the block."""
    with ExitStack() as files:
        uploads = []
        for name in SAMPLE_NAMES:
            file = files.enter_context(BoundedFile(max_upload_bytes))
            file.write((_FOLDER / name).read_bytes())
            uploads.append(Upload(name, file))
        yield uploads
