"""Run the two networks of the recogniser: a classifier and a detector of objects.

`models/README.md` says where they come from.
"""

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from PIL import Image

from local_cloud.captions.findings import Box, Detection, Findings, confirmed, distinct_objects
from local_cloud.captions.vocabulary import DETECTOR_CLASSES

MODELS: Final = Path(__file__).parent / "models"
SHA256: Final = {
    "efficientnet-lite2.onnx": "4cf5b376b19b5a15fad88a20c92026e676ec5b2a00c51c0231dc17a94505b208",
    "ssdlite-mobilenet-v2.onnx": "99594365a48268e37fad87bde410b8af877ef86909e821da6bdddfc4aa1a88ff",
}
_CLASSIFIER_SIDE = 260
_DETECTOR_SIDE = 300
# The published accuracy of the classifier is that of a crop with this margin.
_CROP_MARGIN = 32
_MIN_SCORE = 0.2


class ModelFileError(Exception):
    """A model file is missing or differs from the published one."""


class Networks:
    """Both networks, ready to run. Threads may share one object."""

    def __init__(self, folder: Path = MODELS) -> None:
        """Load both files, in about half a second.

        Raises:
            ModelFileError: a file is missing or has another hash.
        """
        self._classifier, self._detector = (
            _load(folder / name, expected) for name, expected in SHA256.items()
        )

    def find(self, image: Image.Image) -> Findings:
        """Return the objects in an RGB image, and the probability of each class of ImageNet.

        Both networks also see the mirror image. What they find in only one of the two is less
        certain.
        """
        mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        detections = confirmed(
            self._detect(image), [each.mirrored() for each in self._detect(mirrored)]
        )
        return Findings(tuple(detections), self._classify(image, mirrored))

    def _classify(self, image: Image.Image, mirrored: Image.Image) -> list[float]:
        """Return the mean of four views: the centre and the whole, of the image and its mirror."""
        views = [_centre(image), image, _centre(mirrored), mirrored]
        pixels = np.stack(
            [_pixels(view, _CLASSIFIER_SIDE, Image.Resampling.BICUBIC) for view in views]
        )
        (probabilities,) = self._classifier.run(["probabilities"], {"pixels": pixels})
        means: list[float] = probabilities.mean(axis=0).tolist()
        return means

    def _detect(self, image: Image.Image) -> list[Detection]:
        pixels = _pixels(image, _DETECTOR_SIDE, Image.Resampling.BILINEAR)
        boxes, scores = self._detector.run(["boxes", "scores"], {"pixels": pixels[None]})
        return distinct_objects(
            Detection(
                DETECTOR_CLASSES[number],
                float(scores[anchor, number]),
                Box(*boxes[anchor].tolist()),
            )
            for anchor, number in np.argwhere(scores > _MIN_SCORE).tolist()
            if number in DETECTOR_CLASSES
        )


def _centre(image: Image.Image) -> Image.Image:
    """Return the square in the centre, with the margin of the published accuracy."""
    side = round(min(image.size) * _CLASSIFIER_SIDE / (_CLASSIFIER_SIDE + _CROP_MARGIN))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _load(path: Path, expected: str) -> onnxruntime.InferenceSession:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise ModelFileError(f"{path.name} differs from the published file")
    options = onnxruntime.SessionOptions()
    # One thread per image needs less processor time, and several images can be described at once.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # The arena for tensors never shrinks, and the largest image decides about its size.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _pixels(image: Image.Image, side: int, resampling: Image.Resampling) -> np.ndarray:
    return np.asarray(image.resize((side, side), resampling))
