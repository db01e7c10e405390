"""Write the caption, the alt text and the tags for what is certain in an image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from local_cloud.captions.evidence import Evidence, ObjectGroup
from local_cloud.captions.vocabulary import (
    ANIMALS,
    SCENES,
    SPOKEN_NAMES,
    TABLEWARE,
    counted,
    plural,
    with_article,
)

_RIDDEN: Final = frozenset({"bicycle", "motorcycle", "horse", "elephant"})
_MAX_NAMES: Final = 3
_MAX_EXACT: Final = 4
_MIN_SHARE_ON: Final = 0.5
_CLOSE_UP_AREA: Final = 0.6
_AT_WATER: Final = frozenset({"beach", "lakeshore", "shore"})


@dataclass(frozen=True)
class Description:
    """A caption with its alt text and tags."""

    caption: str
    alt_text: str
    tags: tuple[str, ...]


def describe(
    evidence: Evidence, colours: Mapping[str, str], background: str = ""
) -> Description | None:
    """Return the description of an image; None if nothing is certain.

    Args:
        colours: the colour of the only object of a name, by that name.
        background: the colour of nearly everything around the objects; "" for none.
    """
    text = _subject(evidence) if not evidence.groups else _scene_of_objects(evidence, colours)
    if not text:
        return None
    if background and evidence.groups and not evidence.scene:
        text += f" against {with_article(background)} background"
    sentence = f"{text[0].upper()}{text[1:]}."
    tags = [*evidence.tags, *(colours[g.name] for g in evidence.groups if g.name in colours)]
    return Description(sentence, sentence, tuple(dict.fromkeys(filter(None, [*tags, background]))))


def _subject(evidence: Evidence) -> str:
    if evidence.scene:
        return SCENES[evidence.scene]
    if not evidence.subject:
        return ""
    noun = with_article(evidence.subject)
    return f"possibly {noun}" if evidence.is_possible else noun


def _scene_of_objects(evidence: Evidence, colours: Mapping[str, str]) -> str:
    people = next((group for group in evidence.groups if group.name == "person"), None)
    table = any(group.name == "dining table" for group in evidence.groups)
    others = [g for g in evidence.groups if g.name not in ("person", "dining table")]
    phrase = _people_with(people, others, colours) if people else _named(others, colours)
    if not phrase:
        phrase = with_article("table")
    elif table:
        on_table = not people and any(group.name in TABLEWARE for group in others)
        phrase += " on a table" if on_table else " at a table" if people else " and a table"
    if evidence.scene in _AT_WATER:
        return f"{phrase} on {SCENES[evidence.scene]}"
    if evidence.scene == "landscape":
        return f"{phrase} in {SCENES[evidence.scene]}"
    return f"{phrase} in front of {SCENES[evidence.scene]}" if evidence.scene else phrase


def _people_with(people: ObjectGroup, others: list[ObjectGroup], colours: Mapping[str, str]) -> str:
    phrase = _counted_group(people, {})
    ridden = next((group for group in others if _is_ridden(group, people)), None)
    if ridden is not None:
        others = [group for group in others if group is not ridden]
        phrase += f" on {_counted_group(ridden, colours)}"
    elif not others and len(people.boxes) == 1 and people.area > _CLOSE_UP_AREA:
        return f"a close-up of {phrase}"
    worn = [group for group in others if group.name == "tie"]
    others = [group for group in others if group.name != "tie"]
    if worn and len(people.boxes) == 1:
        phrase += " wearing a tie"
    return f"{phrase} with {_named(others, colours)}" if others else phrase


def _is_ridden(group: ObjectGroup, people: ObjectGroup) -> bool:
    """Return whether each object has a person in the upper part of its box."""
    return group.name in _RIDDEN and all(
        any(
            person.share_inside(box) > _MIN_SHARE_ON and person.bottom < box.bottom
            for person in people.boxes
        )
        for box in group.boxes
    )


def _named(groups: list[ObjectGroup], colours: Mapping[str, str]) -> str:
    names = [_counted_group(group, colours) for group in groups[:_MAX_NAMES]]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _counted_group(group: ObjectGroup, colours: Mapping[str, str]) -> str:
    count = len(group.boxes)
    name = SPOKEN_NAMES.get(group.name, group.name)
    if count == 1:
        return with_article(f"{colours.get(group.name, '')} {group.special_name or name}".strip())
    if group.is_exact and count <= _MAX_EXACT:
        return counted(name, count)
    return f"several {plural(name)}" if count > 2 else plural(name)


def has_colour(group: ObjectGroup) -> bool:
    """Return whether the colour of an object helps: not for people, and only for a single one."""
    return len(group.boxes) == 1 and group.name in COLOURED


COLOURED: Final = ANIMALS | {
    "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "bench",
    "backpack", "umbrella", "handbag", "suitcase", "kite", "surfboard", "bottle", "cup", "bowl",
    "chair", "couch", "vase", "teddy bear", "clock",
}  # fmt: skip
