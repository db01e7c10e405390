"""Search texts are parsed to words and written as full-text queries.

tests/integration/database/test_search.py tests the results in both databases.
"""

import re
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database.search import MAX_WORDS, mysql_patterns, mysql_query, parse_words, sqlite_query


@pytest.mark.parametrize(
    ("search_text", "mysql", "sqlite"),
    [
        ("Dog beach", "+zzDog +zzbeach*", '"Dog" "beach" *'),
        ("IMG_1234.jp", "+zzIMG +zz1234 +zzjp*", '"IMG" "1234" "jp" *'),
        ("dog dog", "+zzdog*", '"dog" *'),
        ("e\u0301te\u0301", "+zzété*", '"été" *'),
        ("浜辺 dog", '+"zz浜 zz辺" +zzdog*', '"dog" *'),
        ('"-+*() AND NEAR', "+zzAND +zzNEAR*", '"AND" "NEAR" *'),
        ("x" * 70, f"+zz{'x' * 64}*", f'"{"x" * 64}" *'),
        ("🏖 \0\ud800 …", "", ""),
    ],
)
def test_a_search_text_becomes_a_query_for_all_of_its_words(search_text, mysql, sqlite):
    words = parse_words(search_text)

    assert mysql_query(words) == mysql
    assert sqlite_query(words) == sqlite


def test_a_whole_tag_becomes_a_query_without_prefixes():
    assert mysql_query(parse_words("sea gull", is_whole=True)) == "+zzsea +zzgull"


@pytest.mark.parametrize(
    ("word", "patterns"),
    [
        ("dog", ["% zzdog %"]),
        ("犬が", ["% zz犬 zzが %"]),
        ("Grass", ["% zzGrass %", "% zzGraß %"]),
        ("æon", ["% zzaeon %", "% zzæon %"]),
    ],
)
def test_a_whole_word_has_a_like_pattern_for_each_spelling(word, patterns):
    assert [mysql_patterns(word) for word in parse_words(word, is_whole=True)] == [patterns]


def test_a_prefix_has_a_like_pattern_for_each_spelling():
    assert mysql_patterns(parse_words("dog")[0]) == ["% zzdog%"]
    assert mysql_patterns(parse_words("gros")[0]) == ["% zzgros%", "% zzgroß%"]


def test_the_number_of_spellings_of_a_word_is_limited():
    assert len(mysql_patterns(parse_words("ss" * 30)[0])) == 8


@given(st.text(max_size=800))
def test_words_of_any_text_are_bounded_and_contain_no_operators(search_text):
    words = parse_words(search_text)

    assert len(words) <= MAX_WORDS
    for word in words:
        assert 0 < len(word.letters) <= len(word.text) <= 64
        assert not set(word.text) & set("\"'*+-()<>~@\\ \0")


@given(st.text(max_size=80) | st.text('"*+-():^~<>@ aA1é浜\u0301\0', max_size=40))
def test_queries_of_any_text_contain_only_words(search_text):
    words = parse_words(search_text)

    terms = re.findall(r'\+"[^"]*"|\S+', mysql_query(words))
    assert all(re.fullmatch(r'\+(zz[^\W_]+\*?|"zz[^\W_]( zz[^\W_])*")', term) for term in terms)
    table = sqlite3.connect(":memory:")
    table.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
    if query := sqlite_query(words):
        table.execute("SELECT rowid FROM words WHERE words MATCH ?", (query,)).fetchall()
    table.close()
