"""Search results and counts, on SQLite and on a real MySQL server."""

import json
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from sqlalchemy import event, insert, text

from database import full_text
from database.annotations import edit_annotation
from database.listing import ImageFilter, Position, Sort, count_images, list_images
from database.migrations import migrate
from database.models import Image, Job, Status
from database.search import Match
from database.session import create_database_engine, create_session_factory, session_scope
from database.settings import DatabaseSettings
from tests.support import mysql_server

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOSTILE = [
    '"',
    "'",
    "''; DROP TABLE images; --",
    "\\",
    "%",
    "_",
    "+",
    "-",
    "*",
    "a*",
    "* OR *",
    "NEAR(a b)",
    "AND",
    "NOT a",
    "a AND",
    "-dog",
    "+dog -dog",
    "(((",
    "search_text:dog",
    "{search_text}:dog",
    "^dog",
    "@4 dog",
    "~dog <dog >dog",
    "dog\0beach",
    "\0",
    "\ud800",
    "🏖",
    "𠮷",
    "½ ² ﬁ ª",
    "\u0301",
    "न\u094d",
    " ",
    "x" * 10_000,
    "dog " * 2_500,
    "犬" * 10_000,
    '"' * 10_000,
]


def add(session_factory, **columns):
    row = {
        "filename": "a.jpg",
        "original_key": f"originals/{uuid.uuid4()}.jpg",
        "content_type": "image/jpeg",
        "size_bytes": 1,
        "width": 1,
        "height": 1,
        "sha256": "0" * 64,
        "owner_id": "me",
    }
    with session_scope(session_factory) as session:
        image = Image(**{**row, **columns})
        session.add(image)
        session.flush()
        return image.id


def find(session_factory, text=None, *, limit=100, before_id=None, tag=None, tags=(), **where):
    after = Position(before_id) if before_id else None
    tags = [tag] if tag else tags
    with session_scope(session_factory) as session:
        images = list_images(
            session, limit=limit, after=after, where=ImageFilter(text=text, tags=tags, **where)
        )
        return [image.id for image in images]


def count(session_factory, at_most=1001, tag=None, **where):
    filtered = ImageFilter(tags=[tag] if tag else [], **where)
    with session_scope(session_factory) as session:
        return count_images(session, at_most=at_most, where=filtered)


@pytest.fixture
def gallery(session_factory):
    """Add a few images and return a search function that returns their names, newest first."""
    ids = {
        "harbour": add(session_factory, filename="IMG_1234 harbour.jpg"),
        "dog": add(
            session_factory,
            annotation="The dog is at the café on a Beach.",
            alt_text="Dog in 3D",
            tags=["dog", "Sea gull", "c++"],
        ),
        "japanese": add(session_factory, annotation="浜辺を走る犬がいる", tags=["浜辺", "犬"]),
        "hindi": add(session_factory, annotation="नमस्ते दुनिया", tags=["सुंदर"]),
        "thai": add(session_factory, annotation="ประเทศไทยสวยงาม"),
        "hotdog": add(session_factory, annotation="A hotdog, doggy style", tags=["DOG food", "❤️"]),
        "accent": add(session_factory, tags=["Été"], alt_text='He said "hi", it\'s'),
    }
    names = {image_id: name for name, image_id in ids.items()}
    return lambda text=None, **where: [
        names[found] for found in find(session_factory, text, **where)
    ]


EXPECTED = {
    "dog": ["hotdog", "dog"],  # The last word may be a prefix, here of "doggy".
    "dog beach": ["dog"],
    "beach dog": ["dog"],
    "dog zebra": [],
    "do": ["hotdog", "dog"],
    "dog caf": ["dog"],
    "do beach": [],  # Only the last word may be a prefix.
    "DOG": ["hotdog", "dog"],
    "cafe": ["dog"],
    "CAFÉ": ["dog"],
    "harbour": ["harbour"],
    "1234": ["harbour"],
    "img_1234": ["harbour"],
    "1234 harbour.jpg": ["harbour"],
    "gull": ["dog"],
    "ete": ["accent"],
    "he said": ["accent"],
    "hi it's": ["accent"],
    "the is at": ["dog"],  # MySQL's full-text parser would ignore these stop words.
    "3d": ["dog"],
    "a b": ["dog"],
    "犬": ["japanese"],
    "犬が": ["japanese"],
    "走る犬": ["japanese"],
    "犬 浜辺": ["japanese"],
    "猫": [],
    "नमस्ते": ["hindi"],
    "दुनिया नमस्ते": ["hindi"],
    "ไทย": ["thai"],
    "": ["accent", "hotdog", "thai", "hindi", "japanese", "dog", "harbour"],
    "  ": ["accent", "hotdog", "thai", "hindi", "japanese", "dog", "harbour"],
    "🏖": [],
}


EXCLUDED_AND_QUOTED = {
    "dog -beach": ["hotdog"],
    "dog -beaches": ["hotdog"],
    "-dog": ["accent", "thai", "hindi", "japanese", "harbour"],
    "-dog -1234": ["accent", "thai", "hindi", "japanese"],
    "dog -dog": [],
    '"the dog is"': ["dog"],
    '"The DOG is at the CAFE"': ["dog"],
    '"dog the"': [],
    '"dogs"': [],
    '"doggy"': ["hotdog"],
    '"beach dog"': [],  # One text ends with "beach", and the next begins with "dog".
    '"sea gull"': ["dog"],
    '-"sea gull" dog': ["hotdog"],
    '"走る犬"': ["japanese"],
    "犬 -浜辺": [],
    '"犬がいる 浜辺"': [],
    'dog "': ["hotdog", "dog"],
    '15" dog': [],
    "hot-dog": [],
    "dog - beach": ["dog"],
    '"" dog': ["hotdog", "dog"],
    '-"" dog': ["hotdog", "dog"],
}


def test_words_can_be_excluded_and_quoted(gallery):
    assert {query: gallery(query) for query in EXCLUDED_AND_QUOTED} == EXCLUDED_AND_QUOTED


def test_an_image_must_have_all_of_several_tags(session_factory):
    both = add(session_factory, tags=["dog", "Sea gull"])
    add(session_factory, tags=["dog"])
    add(session_factory, tags=["sea gull"])

    assert find(session_factory, tags=["Dog", "sea gull"]) == [both]


def test_both_databases_find_the_same_images(gallery):
    assert {query: gallery(query) for query in EXPECTED} == EXPECTED


TAGS = {
    "dog": ["dog"],  # Not "DOG food".
    "DOG": ["dog"],
    "dog food": ["hotdog"],
    "sea gull": ["dog"],
    "sea": [],
    "gull sea": [],
    "c++": ["dog"],
    "c": [],
    "été": ["accent"],
    "ETE": ["accent"],
    "犬": ["japanese"],
    "浜": [],
    "सुंदर": ["hindi"],
    "❤️": ["hotdog"],
    " Dog  food ": ["hotdog"],
    '"': [],
}


def test_a_tag_matches_as_a_whole_and_in_any_case(gallery):
    assert {tag: gallery(tag=tag) for tag in TAGS} == TAGS


def test_no_search_text_causes_an_error(gallery, session_factory):
    for hostile in HOSTILE:
        for where in ({"text": hostile}, {"tag": hostile}, {"text": hostile, "tag": hostile}):
            assert len(find(session_factory, **where)) <= 7
            assert count(session_factory, **where) <= 7


def test_words_tag_and_status_must_all_match(gallery):
    assert gallery("cafe", tag="dog", status=Status.PENDING) == ["dog"]
    assert gallery("cafe", tag="dog", status=Status.FAILED) == []
    assert gallery("zebra", tag="dog") == []


def test_the_status_filter_agrees_with_the_status_of_the_row(session_factory):
    for annotation in Status:
        for thumbnail in Status:
            add(session_factory, annotation_status=annotation, thumbnail_status=thumbnail)
    with session_scope(session_factory) as session:
        images = list_images(session, limit=100)

    for status in Status:
        expected = [image.id for image in images if image.status is status]
        assert find(session_factory, status=status) == expected
        assert count(session_factory, status=status) == len(expected) > 0


def test_pages_of_search_results_have_no_gaps(session_factory):
    ids = [add(session_factory, annotation=f"dog {n % 2}", tags=["dog"]) for n in range(9)]

    first = find(session_factory, "dog 1", limit=2)
    second = find(session_factory, "dog 1", limit=9, before_id=first[-1])

    assert first + second == ids[1::2][::-1]
    assert find(session_factory, tag="dog", before_id=ids[3]) == ids[2::-1]


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def many(request, tmp_path_factory):
    """Add 3,000 images. The number in a word, such as `r83`, says how many images share it.

    The tests only read them.
    """
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path_factory.mktemp('many') / 'images.sqlite3'}"
        if request.param == "mysql":
            server_url = request.getfixturevalue("mysql_server_url")
            url = stack.enter_context(mysql_server.fresh_database(server_url))
        engine = create_database_engine(DatabaseSettings(database_url=url))
        stack.callback(engine.dispose)
        yield _add_many(engine)


def _add_many(engine):
    migrate(engine)
    session_factory = create_session_factory(engine)
    with session_scope(session_factory) as session:
        session.execute(
            insert(Image),
            [
                {
                    **dict.fromkeys(("content_type", "sha256", "owner_id"), ""),
                    **dict.fromkeys(("size_bytes", "width", "height"), 1),
                    "filename": f"{number}.jpg",
                    "original_key": f"originals/{uuid.UUID(int=number)}.jpg",
                    "annotation": " ".join(
                        f"{word}{every}"
                        for word, every in (("e", 1), ("d", 2), ("o", 10), ("r", 83), ("s", 1009))
                        if number % every == 0
                    ),
                    "tags": ["o10 of them"] if number % 20 == 0 else ["o10"],
                    **{
                        f"{job}_status": Status.PENDING if number % 5 else Status.FAILED
                        for job in Job
                    },
                    # Every row has the same columns, so that the driver sends one statement.
                    **dict.fromkeys(("annotation_requested_at", "thumbnail_requested_at"), NOW),
                    **dict.fromkeys(("uploaded_at", "updated_at"), NOW),
                    "deleting_at": None if number % 7 else NOW,
                }
                for number in range(1, 3001)
            ],
        )
    migrate(engine)  # It adds the missing words.
    return session_factory


MANY_QUERIES = [
    ({"text": "e1"}, lambda n: True),
    ({"text": "d2"}, lambda n: n % 2 == 0),
    ({"text": "o10 them"}, lambda n: n % 20 == 0),
    ({"text": "r8"}, lambda n: n % 83 == 0),
    ({"text": "s1009"}, lambda n: n % 1009 == 0),
    ({"text": "r83 jpg"}, lambda n: n % 83 == 0),
    ({"text": "r83 d2 e1"}, lambda n: n % 166 == 0),
    ({"text": "s1009 r83"}, lambda n: False),
    ({"tag": "O10 of them"}, lambda n: n % 20 == 0),
    ({"text": "d2", "status": Status.FAILED}, lambda n: n % 10 == 0),
    ({"tag": "o10", "text": "r83"}, lambda n: n % 83 == 0 and n % 20),
    ({"text": "r83 -d2"}, lambda n: n % 166 == 83),
    ({"text": "-d2"}, lambda n: n % 2),
    ({"text": "-d2", "status": Status.FAILED}, lambda n: n % 10 == 5),
    ({"text": '"e1 d2 r83"'}, lambda n: n % 166 == 0 and n % 10),
    ({"text": '"d2 o10" -"o10 r83"'}, lambda n: n % 10 == 0 and n % 83),
    ({"text": '"d2 e1"'}, lambda n: False),
]


@pytest.mark.parametrize("first_rows", [5, 200])
def test_rare_and_common_words_find_the_right_images(many, mocker, first_rows):
    mocker.patch.object(full_text, "FIRST_ROWS", first_rows)

    for where, is_match in MANY_QUERIES:
        expected = [n for n in range(3000, 0, -1) if n % 7 and is_match(n)]
        found = find(many, limit=10, **where)
        while found and (page := find(many, limit=400, before_id=found[-1], **where)):
            found += page
        assert found == expected, where
        assert count(many, **where) in (min(len(expected), 1001), None), where
        oldest = find(many, limit=3000, sort=Sort.OLDEST, **where)
        assert oldest == expected[::-1], where


@pytest.mark.parametrize("many", ["mysql"], indirect=True)
def test_mysql_reads_rows_for_common_words_and_the_index_for_rare_ones(many, mocker):
    mocker.patch.object(full_text, "FIRST_ROWS", 5)
    indexed = mocker.spy(full_text, "_in_index")

    find(many, "e1", limit=10)
    assert not indexed.called
    find(many, "s1009 jpg", limit=10)

    ((terms,),) = [call.args for call in indexed.call_args_list]
    assert terms == [(Match("zzs1009"),)]  # "jpg" is in every row.


def test_a_count_that_would_take_long_is_none(many, mocker):
    mocker.patch.object(full_text, "MAX_COUNTED", 100)

    is_sqlite = many.kw["bind"].dialect.name == "sqlite"
    assert count(many, text="d2") == (1001 if is_sqlite else None)
    assert count(many, text="r83") == 31
    assert count(many, tag="o10") == (1001 if is_sqlite else None)


def test_counting_stops_at_the_given_maximum(session_factory):
    for _ in range(5):
        add(session_factory, annotation="dog")

    assert count(session_factory) == 5
    assert count(session_factory, at_most=3) == 3
    assert count(session_factory, at_most=3, text="dog") == 3
    assert count(session_factory, text="cat") == 0


def test_the_index_is_updated_by_edits_and_deletions(session_factory):
    image_id = add(session_factory, annotation="lighthouse", tags=["犬"])

    with session_scope(session_factory) as session:
        edit_annotation(session, image_id, {"annotation": "windmill", "tags": ["Öl"]})

    assert find(session_factory, "lighthouse") == find(session_factory, tag="犬") == []
    assert find(session_factory, "windmill") == find(session_factory, "ol") == [image_id]
    with session_scope(session_factory) as session:
        session.execute(text("DELETE FROM images"))
    assert find(session_factory, "windmill") == []


def test_rows_that_are_older_than_the_index_are_found(database_url, make_engine, mocker):
    engine = make_engine(database_url)
    mocker.patch("database.migrations.command.upgrade", _upgrade_to("0001"))
    mocker.patch("database.migrations._add_missing_rows")  # It needs the newest schema.
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO images (filename, original_key, content_type, size_bytes, width,"
                " height, sha256, owner_id, annotation, tags, annotation_status,"
                " annotation_attempts, annotation_requested_at, thumbnail_status,"
                " thumbnail_attempts, thumbnail_requested_at, uploaded_at, updated_at) VALUES"
                " ('old.jpg', 'k', '', 0, 0, 0, '', '', 'A lighthouse.', :tags, 'completed', 0,"
                " '2026-01-01 00:00:00', 'completed', 0, '2026-01-01 00:00:00',"
                " '2026-01-01 00:00:00', '2026-01-01 00:00:00')"
            ),
            {"tags": json.dumps(["é"])},
        )
    mocker.stopall()

    migrate(engine)

    session_factory = create_session_factory(engine)
    assert find(session_factory, "lighthouse") == find(session_factory, "old") == [1]
    assert find(session_factory, tag="É") == find(session_factory, status=Status.COMPLETED) == [1]


def _upgrade_to(revision):
    from alembic import command

    original = command.upgrade
    return lambda config, _head: original(config, revision)


@pytest.mark.parametrize("many", ["mysql"], indirect=True)
def test_mysql_reads_a_list_in_the_order_of_ids_without_sorting(many, mocker):
    statements = []
    with session_scope(many) as session:
        connection = session.connection()
        event.listen(
            connection, "before_cursor_execute", lambda *given: statements.append(given[2:4])
        )
        for where in (ImageFilter(), ImageFilter("e1"), ImageFilter(status=Status.FAILED)):
            list_images(session, limit=400, after=Position(2900), where=where)
        in_order = [given for given in statements if "NO_INDEX(" in given[0]]
        plans = [
            connection.exec_driver_sql(f"EXPLAIN FORMAT=TRADITIONAL {statement}", parameters).all()
            for statement, parameters in in_order
        ]

    assert len(plans) >= 3
    assert "filesort" not in str(plans)
