"""A question, as words. What the databases make of them: tests/integration/database."""

import re
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database.search import MAX_WORDS, mysql_patterns, mysql_query, parse_words, sqlite_query


@pytest.mark.parametrize(
    ("question", "mysql", "sqlite"),
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
def test_a_question_becomes_words_that_must_all_be_there(question, mysql, sqlite):
    words = parse_words(question)

    assert mysql_query(words) == mysql
    assert sqlite_query(words) == sqlite


def test_a_tag_is_meant_as_it_stands():
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
def test_a_word_is_found_in_the_text_itself(word, patterns):
    assert [mysql_patterns(word) for word in parse_words(word, is_whole=True)] == [patterns]


def test_the_beginning_of_a_word_is_found_in_the_text_itself():
    assert mysql_patterns(parse_words("dog")[0]) == ["% zzdog%"]
    assert mysql_patterns(parse_words("gros")[0]) == ["% zzgros%", "% zzgroß%"]


def test_however_many_ways_there_are_to_spell_a_word_few_are_tried():
    assert len(mysql_patterns(parse_words("ss" * 30)[0])) == 8


@given(st.text(max_size=800))
def test_no_question_is_too_long_or_escapes_its_quotes(question):
    words = parse_words(question)

    assert len(words) <= MAX_WORDS
    for word in words:
        assert 0 < len(word.letters) <= len(word.text) <= 64
        assert not set(word.text) & set("\"'*+-()<>~@\\ \0")


@given(st.text(max_size=80) | st.text('"*+-():^~<>@ aA1é浜\u0301\0', max_size=40))
def test_no_question_means_anything_but_its_words_to_either_database(question):
    words = parse_words(question)

    terms = re.findall(r'\+"[^"]*"|\S+', mysql_query(words))
    assert all(re.fullmatch(r'\+(zz[^\W_]+\*?|"zz[^\W_]( zz[^\W_])*")', term) for term in terms)
    table = sqlite3.connect(":memory:")
    table.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
    if query := sqlite_query(words):
        table.execute("SELECT rowid FROM words WHERE words MATCH ?", (query,)).fetchall()
    table.close()
