"""Search texts are parsed to terms and written as full-text queries.

tests/integration/database/test_search.py tests the results in both databases.
"""

import re
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database.search import (
    MAX_WORDS,
    like_pattern,
    mysql_query,
    parse_search,
    parse_tag,
    sqlite_query,
)


def parse(text):
    return parse_search(text, language="english").terms


@pytest.mark.parametrize(
    ("search_text", "mysql", "sqlite"),
    [
        ("Dog beach", "+(zzdog) +(zzbeach*)", '("zzdog") AND ("zzbeach" *)'),
        ("dogs", "+(zzdogs* zzdog)", '("zzdogs" * OR "zzdog")'),
        ("beaches dogs", "+(zzbeach) +(zzdogs* zzdog)", '("zzbeach") AND ("zzdogs" * OR "zzdog")'),
        (
            "IMG_1234.jp",
            "+(zzimg) +(zz1234) +(zzjp*)",
            '("zzimg") AND ("zz1234") AND ("zzjp" *)',
        ),
        ("dog cat Dog", "+(zzcat) +(zzdog*)", '("zzcat") AND ("zzdog" *)'),
        ("E\u0301te\u0301", "+(zzete*)", '("zzete" *)'),
        ("浜辺 dog", '+(zzdog*) +("zz浜 zz辺")', '("zz浜 zz辺") AND ("zzdog" *)'),
        ("dog 浜辺", '+(zzdog) +("zz浜 zz辺")', '("zzdog") AND ("zz浜 zz辺")'),
        ('"-+*() AND NEAR', "+(zzand) +(zznear*)", '("zzand") AND ("zznear" *)'),
        ("x" * 70, f"+(zz{'x' * 64}*)", f'("zz{"x" * 64}" *)'),
        ("犬" * 70, f'+("{" ".join(["zz犬"] * 64)}")', f'("{" ".join(["zz犬"] * 64)}")'),
        ("🏖 \0\ud800 …", "", ""),
    ],
)
def test_a_search_text_becomes_a_query_for_all_of_its_words(search_text, mysql, sqlite):
    terms = parse(search_text)

    assert mysql_query(terms) == mysql
    assert sqlite_query(terms) == sqlite


def test_a_whole_tag_becomes_one_word():
    assert re.fullmatch(r"\+\(tag[0-9a-f]{16}\)", mysql_query([parse_tag("sea gull")]))
    assert parse_tag("Sea  Gull") == parse_tag("sea gull") != parse_tag("sea-gull")


@pytest.mark.parametrize(
    ("search_text", "patterns"),
    [
        ("dog beach", [["% zzdog %"], ["% zzbeach%"]]),
        ("dogs", [["% zzdogs%", "% zzdog %"]]),
        ("犬が", [["% zz犬 zzが %"]]),
    ],
)
def test_each_term_has_like_patterns(search_text, patterns):
    assert [[like_pattern(match) for match in term] for term in parse(search_text)] == patterns


@given(st.text(max_size=800))
def test_the_terms_of_any_text_are_bounded(search_text):
    terms = parse(search_text)

    assert len(terms) <= MAX_WORDS
    for match in (match for term in terms for match in term):
        assert 0 < len(match.words) <= 64 * len("zzx10ffff ")


@given(st.text(max_size=80) | st.text('"*+-():^~<>@ aA1é浜\u0301\0', max_size=40))
def test_queries_of_any_text_contain_only_words(search_text):
    terms = parse(search_text)

    written = re.findall(r"\+\([^()]*\)", mysql_query(terms))
    word = r"zz[^\W_]+"
    assert len(written) == len(terms)
    assert all(re.fullmatch(rf'\+\(({word}\*?( {word})?|"{word}( {word})*")\)', w) for w in written)
    table = sqlite3.connect(":memory:")
    table.execute("CREATE VIRTUAL TABLE words USING fts5(text, tokenize = 'ascii')")
    if query := sqlite_query(terms):
        table.execute("SELECT rowid FROM words WHERE words MATCH ?", (query,)).fetchall()
    table.close()
