"""The words by which images are found, on SQLite and on a real MySQL server."""

import unicodedata
from dataclasses import replace

import pytest
from sqlalchemy import text, update

from database import full_text, image_words, migrations
from database.annotations import record_annotation, restore_annotation
from database.deletion import mark_deleting, remove_deleted
from database.image_words import check_words
from database.jobs import record_failure, reset_for_retry
from database.listing import ImageFilter, list_images
from database.migrations import migrate
from database.models import Image, Job
from database.session import session_scope
from database.words import split_words
from tests.support.image_rows import (
    CAPTION,
    add,
    add_captioned,
    add_completed,
    add_many,
    add_with_fingerprint,
    claim,
    edit,
    find,
    read,
    record,
)

FINGERPRINT = "f" * 64


def search(session_factory, text=None, *, tag=None, limit=9):
    """Return the ids of the images with the words of a text, or with a tag."""
    with session_scope(session_factory) as session:
        images = list_images(
            session, limit=limit, where=ImageFilter(text=text, tags=[tag] if tag else [])
        )
        return [image.id for image in images]


# A caption, a search, and whether the search finds the caption.
PAIRS = [
    ("Straße", "strasse", True),
    ("Straße", "STRASSE", True),
    ("strasse", "Straße", True),
    ("Große", "gros", True),
    ("œuvre", "oeuvre", True),
    ("æble", "aeble", True),
    ("aeble", "æbl", True),
    ("Łódź", "lodz", True),
    ("Øresund", "oresund", True),
    ("đà nẵng", "da nang", True),
    ("đà nẵng", "Đà Nẵng!", True),
    ("Ёлка", "елка", True),
    ("Елка", "ёлка", True),
    ("Σίσυφος", "σισυφος", True),
    ("Σίσυφος", "ΣΙΣΥΦΟΣ", True),
    ("CO₂", "co2", True),
    ("שָׁלוֹם", "שלום", True),
    ("الْعَرَبِيَّةُ", "العربية", True),
    ("ﬁsh", "fish", True),
    ("ＦＵＬＬ ＷＩＤＴＨ", "full width", True),
    ("full width", "ＦＵＬＬ", True),
    ("タワー", "ﾀﾜｰ", True),
    ("東京タワー", "たわー", True),
    ("パンダ", "ﾊﾟﾝﾀﾞ", True),
    ("パンダ", "ハンタ", False),
    ("İstanbul", "istanbul", True),
    ("İZMİR", "izmir", True),
    ("ısı", "ISI", True),
    ("ज़मीन", "जमीन", True),
    ("٢٠٢٤", "2024", True),
    ("Auto\u00adbahn", "autobahn", True),
    ("brand™ shoes", "brand shoe", True),
    ("𝐁𝐨𝐥𝐝", "bold", True),
    ("𠮷野家", "野家", True),
    ("𠮷野家", "𠮷", True),
    ("𠮷野家", "𠮷家", False),
    ("人々が歩く", "人々", True),
    ("浜辺を走る犬", "走る犬", True),
    ("浜辺を走る犬", "犬浜辺", False),
    ("浜辺を走る dogs on a beach", "走る beac", True),
    ("浜辺を走る dogs on a beach", "走る 浜辺 dogs", True),
    ("浜辺を走る dogs on a beach", "浜を cat", False),
    ("ประเทศไทย", "ไทย", True),
    ("한국어 배우기", "국어", True),
    (unicodedata.normalize("NFD", "Été à Málaga 한국"), "ete malaga 한국", True),
    # Plurals, as the last word and before others.
    ("a dog on a beach", "dogs", True),
    ("two dogs on two beaches", "dog", True),
    ("two dogs on two beaches", "beach dog", True),
    ("a dog on a beach", "dogs beaches", True),
    ("three cities", "city", True),
    ("a city", "cities", True),
    ("two women and children", "woman child", True),
    ("a woman and a child", "children women", True),
    ("a dog", "dogma", False),
    ("a doggy", "dogs", False),
    ("news", "new", True),  # The last word may be a prefix.
    ("news", "new day", False),
    ("a dog", "cat", False),
]


def test_a_search_ignores_spelling_variants(session_factory, mocker):
    ids = {
        caption: add_captioned(
            session_factory, replace(CAPTION, annotation=caption, alt_text="", tags=[])
        )[0]
        for caption, _query, _is_found in PAIRS
    }
    add(session_factory)  # The search begins with this image, which contains no word of the others.

    def wrong_results():
        # For a short page, MySQL would read rows: it estimates their number from the highest id.
        return [
            (caption, query)
            for caption, query, is_found in PAIRS
            if (ids[caption] in search(session_factory, query, limit=1000)) != is_found
        ]

    assert wrong_results() == []
    # Use the index of MySQL, which would otherwise read the few rows of this test.
    mocker.patch("database.full_text.FIRST_ROWS", 1)
    mocker.patch("database.full_text.READING_SHARE", 1e-9)
    indexed = mocker.spy(full_text, "_in_index")
    assert wrong_results() == []
    if session_factory.kw["bind"].dialect.name == "mysql":
        assert indexed.call_count == len(PAIRS)


@pytest.mark.parametrize(
    ("stored", "query"),
    [
        ("Straße", "STRASSE"),
        ("İzmir", "izmir"),
        ("Łódź", "lodz"),
        ("Sea gull", " sea  GULL"),
        ("C++", "c++"),
        ("❤️", "❤"),
        ("ﾀﾜｰ", "タワー"),
    ],
)
def test_a_tag_is_found_in_any_spelling(session_factory, stored, query):
    image_id, _key = add_captioned(session_factory, replace(CAPTION, tags=["other", stored]))

    assert search(session_factory, tag=query) == [image_id]
    assert search(session_factory, tag=query + "s") == search(session_factory, tag="s") == []


def captioned_as(session_factory, image_id, key, **fields):
    """Have the model write another caption."""
    record(session_factory, reset_for_retry, image_id, Job.ANNOTATION, even_completed=True)
    claimed = claim(session_factory, key)
    assert record(session_factory, record_annotation, claimed, replace(CAPTION, **fields))


CHANGES = {
    "a new caption": lambda db, id, key: captioned_as(db, id, key, annotation="a zebra"),
    "a new alt text": lambda db, id, key: captioned_as(db, id, key, alt_text="a zebra"),
    "new tags": lambda db, id, key: captioned_as(db, id, key, tags=["zebra"]),
    "a new text": lambda db, id, key: captioned_as(db, id, key, text_in_image="To the ZEBRAS"),
    "an edited caption": lambda db, id, key: edit(db, id, annotation="a zebra"),
    "an edited alt text": lambda db, id, key: edit(db, id, alt_text="a zebra"),
    "edited tags": lambda db, id, key: edit(db, id, tags=["zebra"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_a_text_changes_what_is_found(session_factory, change):
    image_id, key = add_captioned(session_factory)
    add_captioned(session_factory)

    CHANGES[change](session_factory, image_id, key)

    assert search(session_factory, "zebra") == [image_id]
    everything = dict.fromkeys(("annotation", "alt_text", "tags"))
    edit(session_factory, image_id, **everything)
    captioned_as(session_factory, image_id, key)
    assert search(session_factory, "zebra") == []
    assert record(session_factory, restore_annotation, image_id)
    assert image_id in search(session_factory, "dog beach")


def test_a_new_image_is_found_by_its_file_name(session_factory):
    image_id, _key = add(session_factory, filename="Größe_4.jpg")

    assert search(session_factory, "grosse 4") == [image_id]


def test_restored_texts_are_found_again(session_factory):
    image_id, _key = add_captioned(session_factory)
    edit(session_factory, image_id, annotation="zebra", alt_text=None, tags=["zebra"])
    assert search(session_factory, "dog") == search(session_factory, tag="dog") == []

    record(session_factory, restore_annotation, image_id)

    assert search(session_factory, "dog") == search(session_factory, tag="dog") == [image_id]
    assert search(session_factory, "zebra") == search(session_factory, tag="zebra") == []


def test_a_deleted_image_leaves_no_words_and_no_text(session_factory):
    image_id, key = add_completed(session_factory)
    captioned_as(session_factory, image_id, key, text_in_image="STOP")

    record(session_factory, mark_deleting, image_id)
    assert record(session_factory, remove_deleted, image_id)

    with session_scope(session_factory) as session:
        for table in ("image_words", "texts_in_images"):
            assert session.scalar(text(f"SELECT count(*) FROM {table}")) == 0
    assert search(session_factory, "stop") == []


def test_plurals_are_those_of_the_language_of_captions(session_factory):
    english, _key = add_captioned(session_factory, replace(CAPTION, annotation="Two cities."))
    german, _key = add_captioned(
        session_factory,
        replace(CAPTION, annotation="Zwei Häuser.", language="de", site_language="german"),
    )

    assert search(session_factory, "haus zwei") == [german]
    record(session_factory, check_words, limit=10)
    assert search(session_factory, "city two") == []
    assert search(session_factory, "cities two") == [english]


# Texts in images


def test_a_text_in_an_image_is_kept_and_found(session_factory):
    words = "NO PARKING – ignore all rules <b>"
    image_id, _key = add_captioned(session_factory, replace(CAPTION, text_in_image=words))

    assert read(session_factory, image_id).text_in_image == words
    assert search(session_factory, "ignore rule") == [image_id]


def test_a_new_caption_replaces_the_text_in_the_image(session_factory):
    image_id, key = add_captioned(session_factory, replace(CAPTION, text_in_image="STOP"))
    edit(session_factory, image_id, annotation=None)
    assert read(session_factory, image_id).text_in_image == "STOP"

    captioned_as(session_factory, image_id, key, text_in_image="GO")
    assert read(session_factory, image_id).text_in_image == "GO"
    captioned_as(session_factory, image_id, key)

    assert read(session_factory, image_id).text_in_image is None
    assert search(session_factory, "go") == search(session_factory, "stop") == []


def test_a_failed_attempt_leaves_the_text_in_the_image(session_factory):
    image_id, key = add_captioned(session_factory, replace(CAPTION, text_in_image="STOP"))
    record(session_factory, reset_for_retry, image_id, Job.ANNOTATION, even_completed=True)
    claimed = claim(session_factory, key)

    record(session_factory, record_failure, claimed, code="blocked_by_safety", message="m")

    assert read(session_factory, image_id).text_in_image == "STOP"
    assert not record(session_factory, record_annotation, claimed, CAPTION)
    assert search(session_factory, "stop") == [image_id]


def test_the_same_bytes_have_the_same_text_in_the_image(session_factory):
    caption = replace(CAPTION, text_in_image="STOP")
    add_with_fingerprint(session_factory, FINGERPRINT, caption)
    second_id, key = add(session_factory)

    known = find(session_factory, FINGERPRINT)
    record(session_factory, record_annotation, claim(session_factory, key), known)

    assert known.text_in_image == read(session_factory, second_id).text_in_image == "STOP"


# Missing and outdated words


def change_as_the_previous_version(session_factory, statement):
    with session_scope(session_factory) as session:
        session.execute(statement)


def test_the_sweep_finds_texts_that_the_previous_version_changed(session_factory):
    old, _key = add(session_factory)
    ids = [add(session_factory)[0] for _ in range(5)]
    changed = update(Image).where(Image.id == old).values(annotation="a zebra", tags=["animals"])
    change_as_the_previous_version(session_factory, changed)
    forget = text("DELETE FROM image_words WHERE image_id > :id").bindparams(id=ids[1])
    change_as_the_previous_version(session_factory, forget)
    assert search(session_factory, "zebra") == []
    assert search(session_factory, "beach") == [ids[1], ids[0], old]

    assert record(session_factory, check_words, limit=10) == 1 + 3
    assert record(session_factory, check_words, limit=10) == 0

    assert search(session_factory, "zebra") == search(session_factory, tag="animals") == [old]
    assert search(session_factory, "beach") == [*reversed(ids), old]


_FROM_ID_1 = text("ALTER TABLE images AUTO_INCREMENT = 1")


def test_the_sweep_checks_every_image_after_some_minutes(session_factory, mocker):
    if session_factory.kw["bind"].dialect.name == "mysql":
        # Ids continue after those of other tests, and each one takes a third of a sweep.
        record(session_factory, lambda session: session.execute(_FROM_ID_1))
    ids = add_without_words(session_factory, 20)
    clock = mocker.patch("database.image_words.time.time", return_value=1_000_000 * 60)

    written = []
    for _ in range(ids[-1] // 3 + 1):
        written.append(record(session_factory, check_words, limit=3))
        clock.return_value += 60

    assert sum(written) == 20
    assert max(written) <= 6
    assert search(session_factory, "beach") == ids[:-10:-1]


def add_without_words(session_factory, number):
    """Add images as the previous version does, and return their ids."""
    ids = add_many(session_factory, number)
    with session_scope(session_factory) as session:
        assert session.scalar(text("SELECT count(*) FROM image_words")) == 0
    return ids


def test_the_migration_adds_missing_words_and_can_be_interrupted(session_factory, mocker):
    engine = session_factory.kw["bind"]
    ids = add_without_words(session_factory, 7)
    mocker.patch.object(migrations, "WORDS_BATCH", 3)
    crash = mocker.patch("database.migrations.add_missing_words", side_effect=crash_after(2))

    with pytest.raises(RuntimeError):
        migrate(engine)
    assert search(session_factory, "beach") == ids[:-7:-1]
    mocker.stop(crash)
    migrate(engine)

    assert search(session_factory, "beach") == ids[::-1]


def crash_after(batches):
    left = [True] * batches

    def add_missing_words(*arguments, **keywords):
        if not left:
            raise RuntimeError
        left.pop()
        return image_words.add_missing_words(*arguments, **keywords)

    return add_missing_words


def test_the_migration_leaves_the_rest_to_the_sweep_after_its_time(session_factory, mocker):
    ids = add_without_words(session_factory, 3)
    mocker.patch.object(migrations, "MAX_WORDS_SECONDS", 0)

    migrate(session_factory.kw["bind"])

    assert search(session_factory, "beach") == []
    assert record(session_factory, check_words, limit=10) == len(ids)


def test_mysql_splits_no_stored_word(mysql_url, make_engine):
    engine = make_engine(mysql_url)
    written = {word.stored for code in range(0x80, 0x20000) for word in split_words(chr(code))}
    rows = [
        {"id": number, "words": f" zzleft{word.removeprefix('zz')}right "}
        for number, word in enumerate(written)
        if " " not in word
    ]
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TABLE letters (id INT PRIMARY KEY, FULLTEXT (words),"
                " words TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin)"
            )
        )
        connection.execute(text("INSERT INTO letters VALUES (:id, :words)"), rows)
    with engine.begin() as connection:
        found = connection.execute(
            text("SELECT id FROM letters WHERE MATCH (words) AGAINST ('zzleft' IN BOOLEAN MODE)")
        )

    assert len(rows) > 5_000
    assert found.all() == []
