"""Tests that no rule for text takes time that grows with the square of its length.

Each text repeats a few characters, which is how such a rule is usually attacked.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

import pytest

from database import language_check, object_keys, search, words
from database.language_check import LANGUAGES
from database.listing import ALL
from database.models import DEFAULT_OPTIONS
from lambda_functions.annotation import captioner, cleaning, quality
from lambda_functions.annotation.description import make_task
from lambda_functions.annotation.quality import CaptionRejectedError, parse_annotation
from tests.support.measuring import relative_cost
from web_app import settings
from web_app.errors import BadRequestError, InvalidEditError
from web_app.routes import assets
from web_app.routes.cursors import parse_cursor
from web_app.services.edits import clean_edit
from web_app.services.uploads import MAX_FILENAME_CHARACTERS, clean_filename

pytestmark = pytest.mark.slow

LENGTH = 15_000
# A rule of linear time costs at most 1, a quadratic one at least 20.
MAX_COST = 8

PROMPT = "Describe this image for a photo gallery in one or two plain sentences. " * 5

SEEDS = [
    # Quotation marks
    "„", "“", "”", "„“", '"', "‘", "’", "'", "a'a", " 'a", "'a ", "'a'", "«", "« »", "«»‹",
    "„«‹「『“",
    # Markdown
    "[", "[](", "[a", "![a](", "(", "*", "**", "**a ", "**a", "__", "__a ", "*a", "_a *", "`", "`a",
    "```", "# ", "- ", "> \n", "* - + ",
    # Spaces and the ends of sentences
    " ", "\t", "\n", "\r\n", " \n", ".", ".'", "...' ", "。」", "!?", "a. ", "!,:",
    # JSON
    "{", '{"caption":', '{"a":', '["', '\\"', '"\\', "[{",
    # Words and scripts
    "a", " a", "a1", "the ", "This image ", "Here is ", "here is a ", "caption: ", "I am ",
    "hello, ", "i can't a ", "ich kann a ", "je ne suis a ", "a photo of ", "__a b ", "C#,",
    "一", "가", "あ a", "ß", "æ ", "s s ", "１", "½", "ﷺ", "𝒜",
    # Marks that a normalisation sorts, invisible and control characters
    "\u0315\u0300\u0316", "\u0300\u0316", "a\u0301", "\u200d", "\u202e", "\u0000", "\ud800",
    "\ue000",
    # Paths
    "/", "\\", "..", "a/b\\", ".a", "-1", "9",
]  # fmt: skip


def texts() -> Iterator[str]:
    for seed in SEEDS:
        repeated = (seed * (LENGTH // len(seed) + 1))[:LENGTH]
        yield repeated
        yield f"a{repeated[2:]}!"


def patterns() -> Iterator[re.Pattern[str]]:
    """Yield the compiled regular expressions of the modules that process foreign text."""
    modules = (quality, cleaning, language_check, captioner, words, object_keys, settings, assets)
    values = [value for module in modules for value in vars(module).values()]
    while values:
        value = values.pop()
        if isinstance(value, re.Pattern):
            yield value
        elif isinstance(value, tuple):
            values += value


PATTERNS = sorted(set(patterns()), key=lambda pattern: pattern.pattern)


def annotation_of(text: str) -> None:
    with suppress(CaptionRejectedError):
        parse_annotation(text, make_task(PROMPT, "German", DEFAULT_OPTIONS))


def queries_of(text: str) -> None:
    searched = search.parse_search(text, language="english")
    terms = [*searched.terms, search.parse_tag(text)]
    search.mysql_query(terms)
    search.sqlite_query(terms)
    for match in chain(*terms, searched.phrases, searched.excluded):
        search.like_pattern(match)


def edit_of(text: str) -> None:
    changes = ({"annotation": text}, {"alt_text": text}, {"tags": [text]}, {"tags": list(text)})
    for change in changes:
        with suppress(InvalidEditError):
            clean_edit(change)


def cursor_of(text: str) -> None:
    with suppress(BadRequestError):
        parse_cursor(text, ALL)


def languages_of(text: str) -> None:
    for language in LANGUAGES[::8]:
        language.is_foreign(text)


RULES = {
    "a response": annotation_of,
    "a caption": lambda text: annotation_of(json.dumps({"caption": text})),
    "a caption without escapes": lambda text: annotation_of(f'{{"caption": "{text}"}}'),
    "an alt text": lambda text: annotation_of(
        json.dumps({"caption": "Ein Hund", "alt_text": text})
    ),
    "a tag": lambda text: annotation_of(json.dumps({"caption": "Ein Hund", "tags": [text] * 30})),
    "all tags": lambda text: annotation_of(json.dumps({"caption": "Ein Hund", "tags": text})),
    "many tags": lambda text: annotation_of(
        json.dumps({"caption": "Ein Hund", "tags": list(text[:20_000])})
    ),
    "a prompt": lambda text: parse_annotation(
        '{"caption": "Ein Hund"}', make_task(text, "German", DEFAULT_OPTIONS)
    ),
    "a language": languages_of,
    "an edit": edit_of,
    "a file name": clean_filename,
    "a search": queries_of,
    "the words of an image": lambda text: words.stored_words([text[:20_000]], [text], "english"),
    "a text in an image": lambda text: annotation_of(
        json.dumps({"caption": "Ein Hund", "text_in_image": text})
    ),
    "a cursor": cursor_of,
}


def slow_texts(rule) -> list[str]:
    return [
        repr(text[:20])
        for text in texts()
        if relative_cost(lambda text=text: rule(text), enough=MAX_COST) > MAX_COST
    ]


@pytest.mark.parametrize("name", RULES)
def test_a_rule_for_text_takes_linear_time(name):
    assert slow_texts(RULES[name]) == []


@pytest.mark.parametrize("pattern", PATTERNS, ids=range(len(PATTERNS)))
def test_a_regular_expression_takes_linear_time(pattern):
    assert slow_texts(lambda text: pattern.sub("", text)) == []


def test_there_are_regular_expressions_to_test():
    assert len(PATTERNS) > 15


def test_a_very_long_file_name_keeps_its_extension():
    name = clean_filename("\u0315\u0300\u0316" * LENGTH + "é" * LENGTH + ".jpeg")

    assert len(name) <= MAX_FILENAME_CHARACTERS
    assert name.endswith(".jpeg")
