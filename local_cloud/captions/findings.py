"""What the two networks find in an image, as plain values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

# Two boxes of one class that overlap more than this are one object.
_SAME_OBJECT_OVERLAP = 0.5


@dataclass(frozen=True)
class Box:
    """A rectangle in an image. Each edge is a share of the image's height or width."""

    top: float
    left: float
    bottom: float
    right: float

    @property
    def area(self) -> float:
        """The share of the image that the box covers."""
        return max(0.0, self.bottom - self.top) * max(0.0, self.right - self.left)

    def common_area(self, other: "Box") -> float:
        """Return the share of the image that both boxes cover."""
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        ).area

    def overlap(self, other: "Box") -> float:
        """Return the common area divided by the area of both boxes together."""
        common = self.common_area(other)
        joint = self.area + other.area - common
        return common / joint if joint else 0.0

    def share_inside(self, other: "Box") -> float:
        """Return the common area divided by the area of the smaller box."""
        smaller = min(self.area, other.area)
        return self.common_area(other) / smaller if smaller else 0.0


@dataclass(frozen=True)
class Detection:
    """An object that the detector found.

    Attributes:
        score: the confidence of the detector, from 0 to 1.
    """

    name: str
    score: float
    box: Box

    def mirrored(self) -> "Detection":
        """Return the same detection in the mirror image."""
        box = Box(self.box.top, 1 - self.box.right, self.box.bottom, 1 - self.box.left)
        return replace(self, box=box)


@dataclass(frozen=True)
class Findings:
    """The detections, the most confident first, and a probability for each class of ImageNet."""

    detections: tuple[Detection, ...]
    probabilities: Sequence[float]


def distinct_objects(candidates: Iterable[Detection]) -> list[Detection]:
    """Keep the most confident of the boxes that show one object of a class."""
    kept: list[Detection] = []
    for candidate in sorted(candidates, key=lambda each: -each.score):
        if not any(_are_same(candidate, other) for other in kept):
            kept.append(candidate)
    return kept


def confirmed(first: Iterable[Detection], second: Sequence[Detection]) -> list[Detection]:
    """Return the objects of one look with their mean score in both, the most confident first."""
    means = []
    for detection in first:
        scores = [other.score for other in second if _are_same(detection, other)]
        means.append(replace(detection, score=(detection.score + max(scores, default=0)) / 2))
    return sorted(means, key=lambda each: -each.score)


def _are_same(one: Detection, other: Detection) -> bool:
    return one.name == other.name and one.box.overlap(other.box) >= _SAME_OBJECT_OVERLAP
