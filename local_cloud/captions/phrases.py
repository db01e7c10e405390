"""Captions in German, French and Spanish: the objects of an image, or its measures.

They name the objects only. Where things are and what people do with them is said in English alone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_cloud.captions.evidence import Evidence, ObjectGroup
from local_cloud.captions.sentence import Description
from local_cloud.image_measures import Measures

ENGLISH: Final = "en"
_MAX_NAMES: Final = 4
_REQUESTED: Final = re.compile(r"Write in (\w+)")
_TAGS: Final = {"English": "en", "German": "de", "French": "fr", "Spanish": "es"}
_NAMES_FILE: Final = Path(__file__).parent / "object_names.txt"


@dataclass(frozen=True)
class _Words:
    """The words of one language.

    Attributes:
        column: the column of its names in the file.
        numbers: the numbers two, three and four.
        several: the word for a larger number; "" for none.
        measured: a sentence about shape, light and colours.
        terms: the words for the measures.
    """

    column: int
    conjunction: str
    numbers: tuple[str, str, str]
    several: str
    measured: str
    other_colours: str
    halves: str
    terms: Mapping[str, str]


_LANGUAGES: Final = {
    "de": _Words(
        1, "und", ("zwei", "drei", "vier"), "mehrere",
        "Ein {light} Bild im {shape}, vor allem {first}", " mit {others}",
        ": oben {above}, unten {below}",
        {
            "dark": "dunkles", "bright": "helles", "evenly lit": "gleichmäßig beleuchtetes",
            "square": "Quadrat", "landscape": "Querformat", "portrait": "Hochformat",
            "red": "rot", "orange": "orange", "yellow": "gelb", "blue": "blau", "teal": "türkis",
            "green": "grün", "purple": "violett", "pink": "rosa", "brown": "braun",
            "black": "schwarz", "grey": "grau", "white": "weiß",
        },
    ),
    "fr": _Words(
        3, "et", ("deux", "trois", "quatre"), "plusieurs",
        "Une image {light} au format {shape}, surtout {first}", " avec {others}",
        " : {above} en haut, {below} en bas",
        {
            "dark": "sombre", "bright": "claire", "evenly lit": "bien éclairée",
            "square": "carré", "landscape": "paysage", "portrait": "portrait",
            "red": "rouge", "orange": "orange", "yellow": "jaune", "blue": "bleu",
            "teal": "turquoise", "green": "vert", "purple": "violet", "pink": "rose",
            "brown": "marron", "black": "noir", "grey": "gris", "white": "blanc",
        },
    ),
    "es": _Words(
        5, "y", ("dos", "tres", "cuatro"), "",
        "Una imagen {light} en formato {shape}, sobre todo de color {first}", " con {others}",
        ": {above} arriba, {below} abajo",
        {
            "dark": "oscura", "bright": "clara", "evenly lit": "bien iluminada",
            "square": "cuadrado", "landscape": "horizontal", "portrait": "vertical",
            "red": "rojo", "orange": "naranja", "yellow": "amarillo", "blue": "azul",
            "teal": "turquesa", "green": "verde", "purple": "violeta", "pink": "rosa",
            "brown": "marrón", "black": "negro", "grey": "gris", "white": "blanco",
        },
    ),
}  # fmt: skip


LANGUAGES: Final = frozenset({ENGLISH, *_LANGUAGES})


def requested_language(instructions: str) -> str:
    """Return the tag of the language in which instructions ask to write, or of English."""
    found = _REQUESTED.search(instructions)
    return _TAGS.get(found[1], ENGLISH) if found else ENGLISH


def describe_measures_in(language: str, measures: Measures) -> Description:
    """Return a description by shape, light and colours."""
    words = _LANGUAGES[language]
    first, *others = colours = [words.terms[colour] for colour in measures.colours]
    text = words.measured.format(
        light=words.terms[measures.light], shape=words.terms[measures.shape], first=first
    )
    if others:
        text += words.other_colours.format(others=_joined(others, words))
    if measures.above != measures.below:
        above, below = words.terms[measures.above], words.terms[measures.below]
        text += words.halves.format(above=above, below=below)
    return Description(f"{text}.", f"{text}.", (words.terms[measures.shape].lower(), *colours))


def describe_objects(evidence: Evidence, language: str) -> Description | None:
    """Return a description by the objects; None if there are none."""
    if not evidence.groups:
        return None
    words = _LANGUAGES[language]
    text = _joined([_counted(group, words) for group in evidence.groups[:_MAX_NAMES]], words)
    sentence = f"{text[0].upper()}{text[1:]}."
    tags = tuple(_NAMES[group.name][words.column].partition(" ")[2] for group in evidence.groups)
    return Description(sentence, sentence, tuple(filter(None, tags)))


def _counted(group: ObjectGroup, words: _Words) -> str:
    names, count = _NAMES[group.name], len(group.boxes)
    if count == 1:
        return names[words.column]
    is_counted = group.is_exact and count - 2 < len(words.numbers)
    number = words.numbers[count - 2] if is_counted else words.several
    return f"{number} {names[words.column + 1]}".strip()


def _joined(names: Sequence[str], words: _Words) -> str:
    first = ", ".join(names[:-1])
    return f"{first} {words.conjunction} {names[-1]}" if first else names[-1]


def _read_names(path: Path) -> dict[str, Sequence[str]]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    return {cells[0]: cells for cells in (line.split("|") for line in lines)}


_NAMES: Final = _read_names(_NAMES_FILE)
