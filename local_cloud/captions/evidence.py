"""Decide which findings are certain enough to be said.

A wrong caption is worse than the sentence about colours that is written if nothing is certain. The
thresholds were chosen on photos that published packages contain; `models/README.md` has the result
on other photos.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from local_cloud.captions.findings import Box, Detection, Findings
from local_cloud.captions.vocabulary import (
    ANIMALS,
    IMAGE_CLASSES,
    LANDSCAPES,
    SCENES,
    SPOKEN_NAMES,
    SUPPORTING_NAMES,
    TABLEWARE,
)

# An object is said from one of these scores on, if the classifier supports it at least so much. The
# detector alone takes buildings for trains, and rockets for boats.
_SCORES_BY_SUPPORT: Final = ((0.1, 0.55), (0.04, 0.65), (0.005, 0.9))
# With another animal in nearly the same box, the detector alone is not enough.
_RIVAL_SCORE: Final = 0.3
_RIVAL_SUPPORT: Final = 0.04
# The score for a second object of a class that is already sure.
_REPEATED_SCORE: Final = 0.5
_PERSON_SCORE: Final = 0.635
_MIN_AREA: Final = 0.004
# A number is exact if each object is as certain as this, and no weaker one may be another object.
_COUNTED_SCORE: Final = 0.7
_POSSIBLE_SCORE: Final = 0.2

# A table is said below its usual score if something stands on it.
_TABLE_SCORE: Final = 0.4
# An animal or a vehicle is not said if the classifier gives so much to another one.
_CONTRADICTION: Final = 0.6

# Two animals in nearly the same box are one, named by detector and classifier together.
_SAME_ANIMAL_OVERLAP: Final = 0.6
_ANIMAL_SUPPORT_WEIGHT: Final = 0.5

# Probabilities of the classifier from which it is believed without the detector.
_SURE_CLASS: Final = 0.6
_SURE_GROUP: Final = 0.65
_POSSIBLE_CLASS: Final = 0.5
_POSSIBLE_GROUP: Final = 0.55
# Another object with this score of the detector makes a possible subject doubtful.
_DOUBT_SCORE: Final = 0.6
_SURE_SCENE: Final = 0.5
_SURE_LANDSCAPE: Final = 0.4
_SURE_TAG: Final = 0.7


_ANIMAL_CLASSES: Final = 398  # The first classes of ImageNet are the animals.
_VEHICLES: Final = frozenset(
    {"car", "truck", "bus", "train", "boat", "ship", "airplane", "aircraft", "motorcycle",
     "bicycle", "rocket"}
)  # fmt: skip
_FAMILIES: Final = (
    ANIMALS | {each.group for each in IMAGE_CLASSES[:_ANIMAL_CLASSES] if each.group},
    _VEHICLES,
)


@dataclass(frozen=True)
class ObjectGroup:
    """All objects of one name.

    Attributes:
        is_exact: whether the number of boxes is certain.
        special_name: a more special name of a single object, such as "espresso" for a cup; "" for
            none.
    """

    name: str
    boxes: tuple[Box, ...]
    is_exact: bool = True
    special_name: str = ""

    @property
    def area(self) -> float:
        """The share of the image that the boxes cover together."""
        return sum(box.area for box in self.boxes)


@dataclass(frozen=True)
class Evidence:
    """What a caption may say about an image.

    Attributes:
        groups: the objects with boxes, the largest first.
        subject: what the whole image shows, if no object was found; "" for nothing.
        is_possible: whether the subject is only possible.
        scene: the scene, such as "beach"; "" if it is not certain.
        tags: names for the search, from certain findings only.
    """

    groups: tuple[ObjectGroup, ...] = ()
    subject: str = ""
    is_possible: bool = False
    scene: str = ""
    tags: tuple[str, ...] = ()


def weigh(findings: Findings) -> Evidence:
    """Return what is certain in an image."""
    probabilities = findings.probabilities
    groups = _object_groups(findings)
    scene = _scene(probabilities)
    tags = [SPOKEN_NAMES.get(group.name, group.name) for group in groups]
    best = _best_class(probabilities)
    if probabilities[best] >= _SURE_TAG and (IMAGE_CLASSES[best].noun or IMAGE_CLASSES[best].group):
        tags += filter(None, [IMAGE_CLASSES[best].group, IMAGE_CLASSES[best].tag])
    if groups or scene:
        return Evidence(groups, scene=scene, tags=_distinct([*tags, scene]))
    subject, is_possible = _subject(probabilities)
    if is_possible and _is_doubted(subject, findings):
        return Evidence()
    if subject and not is_possible:
        tags.append(subject)
    return Evidence((), subject, is_possible, "", _distinct(tags))


def _distinct(tags: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, tags)))


def support(name: str, probabilities: Sequence[float]) -> float:
    """Return the probability that the classifier gives to a name of the detector."""
    names = {name, *SUPPORTING_NAMES.get(name, ())}
    return sum(
        probability
        for probability, each in zip(probabilities, IMAGE_CLASSES, strict=True)
        if names & {each.tag, each.noun, each.group}
    )


def _object_groups(findings: Findings) -> tuple[ObjectGroup, ...]:
    detections = _without_second_names(findings)
    sure = [each for each in detections if _is_sure(each, findings)]
    if any(each.name in TABLEWARE for each in sure):
        sure += [e for e in detections if e.name == "dining table" and e.score >= _TABLE_SCORE]
    sure_names = {each.name for each in sure}
    sure += [
        each
        for each in detections
        if each not in sure
        and each.name in sure_names
        and each.score >= _REPEATED_SCORE
        and each.box.area >= _MIN_AREA
    ]
    groups = [_group(name, sure, detections, findings.probabilities) for name in sure_names]
    return tuple(sorted(groups, key=lambda group: (-group.area, group.name)))


def _group(
    name: str,
    sure: list[Detection],
    detections: Sequence[Detection],
    probabilities: Sequence[float],
) -> ObjectGroup:
    members = [each for each in sure if each.name == name]
    weaker = [
        each
        for each in detections
        if each.name == name and each not in sure and each.score >= _POSSIBLE_SCORE
    ]
    is_exact = not weaker and all(each.score >= _COUNTED_SCORE for each in members)
    special_name = _special_name(name, probabilities) if len(members) == 1 else ""
    return ObjectGroup(name, tuple(each.box for each in members), is_exact, special_name)


def _special_name(name: str, probabilities: Sequence[float]) -> str:
    best = _best_class(probabilities)
    is_kind_of = IMAGE_CLASSES[best].group in (name, *SUPPORTING_NAMES.get(name, ()))
    return IMAGE_CLASSES[best].noun if is_kind_of and probabilities[best] >= _SURE_TAG else ""


def _is_doubted(subject: str, findings: Findings) -> bool:
    """Return whether the detector sees something else where the classifier is unsure."""
    return any(
        detection.score >= _DOUBT_SCORE
        and subject not in (detection.name, *SUPPORTING_NAMES.get(detection.name, ()))
        for detection in findings.detections
    )


def _best_class(probabilities: Sequence[float]) -> int:
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def _is_sure(detection: Detection, findings: Findings) -> bool:
    if detection.box.area < _MIN_AREA:
        return False
    if detection.name == "person":
        return detection.score >= _PERSON_SCORE
    agreement = support(detection.name, findings.probabilities)
    if _is_contradicted(detection.name, findings.probabilities, agreement):
        return False
    if agreement < _RIVAL_SUPPORT and _has_rival(detection, findings.detections):
        return False
    return any(
        detection.score >= min_score and agreement >= min_support
        for min_support, min_score in _SCORES_BY_SUPPORT
    )


def _has_rival(detection: Detection, detections: Iterable[Detection]) -> bool:
    """Return whether the detector takes the same animal for another one as well."""
    return any(
        {detection.name, other.name} <= ANIMALS
        and detection.name != other.name
        and other.score >= _RIVAL_SCORE
        and other.box.overlap(detection.box) >= _SAME_ANIMAL_OVERLAP
        for other in detections
    )


def _is_contradicted(name: str, probabilities: Sequence[float], agreement: float) -> bool:
    """Return whether the classifier is sure of another animal or vehicle than the detector."""
    family = next((family for family in _FAMILIES if name in family), frozenset())
    if not family:
        return False
    masses = _group_masses(probabilities)
    others = family - {name, *SUPPORTING_NAMES.get(name, ())}
    strongest = max(masses.get(other, 0) for other in others)
    return strongest >= _CONTRADICTION and strongest > 2 * agreement


def _group_masses(probabilities: Sequence[float]) -> dict[str, float]:
    masses: dict[str, float] = {}
    for probability, each in zip(probabilities, IMAGE_CLASSES, strict=True):
        if each.group:
            masses[each.group] = masses.get(each.group, 0) + probability
    return masses


def _without_second_names(findings: Findings) -> list[Detection]:
    """Leave one name for each box. The classifier decides between animals."""

    def rank(detection: Detection) -> float:
        if detection.name not in ANIMALS:
            return detection.score
        agreement = support(detection.name, findings.probabilities)
        return detection.score + _ANIMAL_SUPPORT_WEIGHT * agreement

    kept: list[Detection] = []
    for detection in sorted(findings.detections, key=rank, reverse=True):
        if all(
            detection.name == other.name
            # A person sits on a motorcycle or a horse, in nearly the same box.
            or "person" in (detection.name, other.name)
            or detection.box.overlap(other.box) < _SAME_ANIMAL_OVERLAP
            for other in kept
        ):
            kept.append(detection)
    return kept


def _scene(probabilities: Sequence[float]) -> str:
    """Return the most special scene that is sure."""
    masses: dict[str, float] = {}
    for probability, each in zip(probabilities, IMAGE_CLASSES, strict=True):
        for name in {each.noun, each.group} & SCENES.keys():
            masses[name] = masses.get(name, 0) + probability
    for name in SCENES:
        if masses.get(name, 0) >= _SURE_SCENE:
            return name
    landscape = sum(masses.get(name, 0) for name in LANDSCAPES)
    return "landscape" if landscape >= _SURE_LANDSCAPE else ""


def _subject(probabilities: Sequence[float]) -> tuple[str, bool]:
    """Return what the whole image shows, and whether that is only possible."""
    best = _best_class(probabilities)
    group_masses = _group_masses(probabilities)
    group = max(group_masses, key=group_masses.__getitem__)
    noun = IMAGE_CLASSES[best].noun
    if noun and probabilities[best] >= _SURE_CLASS:
        return noun, False
    if group_masses[group] >= _SURE_GROUP:
        return group, False
    if noun and probabilities[best] >= _POSSIBLE_CLASS:
        return noun, True
    if group_masses[group] >= _POSSIBLE_GROUP:
        return group, True
    return "", False
