"""The built-in recogniser: it names common things in an image, or says nothing."""

import platform
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from local_cloud.captions.evidence import weigh
from local_cloud.captions.object_colours import background_colour, object_colour
from local_cloud.captions.phrases import ENGLISH, describe_objects
from local_cloud.captions.sentence import Description, describe, has_colour

if TYPE_CHECKING:
    from local_cloud.captions.networks import Networks

# Both networks see at most 300 pixels, and colours need no more than this.
_MAX_SIDE = 768
_PROCESSOR_FACTS = Path("/proc/cpuinfo")


class UnsupportedProcessorError(Exception):
    """The processor lacks instructions that the packages need."""


class Recogniser:
    """Describes images, on several threads. The networks are loaded at the first image."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._networks: Networks | None = None
        self._is_usable = True

    def describe(self, image: Image.Image, language: str = ENGLISH) -> Description | None:
        """Return the description of an RGB image; None if nothing in it is certain."""
        networks = self._load()
        if networks is None:
            return None
        image = image.copy()
        image.thumbnail((_MAX_SIDE, _MAX_SIDE))
        evidence = weigh(networks.find(image))
        if language != ENGLISH:
            return describe_objects(evidence, language)
        colours = {
            group.name: colour
            for group in evidence.groups
            if has_colour(group) and (colour := object_colour(image, group.boxes[0]))
        }
        boxes = [box for group in evidence.groups for box in group.boxes]
        return describe(evidence, colours, background_colour(image, boxes) if boxes else "")

    def _load(self) -> "Networks | None":
        """Load the networks once. If that fails, print the reason once."""
        with self._lock:
            if self._networks is None and self._is_usable:
                try:
                    self._networks = load_networks()
                # A package can be missing, damaged or built for another processor, and each raises
                # an error of its own. Captions then describe colours.
                except Exception as error:
                    self._is_usable = False
                    print(
                        f"The built-in recogniser cannot be used: {error}. Captions describe "
                        "colours only.",
                        file=sys.stderr,
                        flush=True,
                    )
            return self._networks


def load_networks() -> "Networks":
    """Import the packages and load both networks.

    Raises:
        Exception: they cannot be loaded. The message has the reason.
    """
    # Without these instructions, the import would end the process.
    if platform.machine() in ("x86_64", "AMD64") and not _has_avx(_PROCESSOR_FACTS):
        raise UnsupportedProcessorError("this processor has no AVX instructions")
    from local_cloud.captions.networks import Networks

    return Networks()


def _has_avx(facts: Path) -> bool:
    """Return whether the processor has AVX. Only Linux says it in a file."""
    return not facts.exists() or " avx " in facts.read_text().replace("\n", " ")
