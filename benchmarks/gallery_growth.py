"""gallery_growth: compare a page and a search among a million images with those among a thousand.

The benchmark times the database queries of a gallery page (the count, the ids and the rows) on a
real MySQL server and on SQLite, with the schema of the migrations. The frequency of words in
captions follows Zipf's law: the first words of the vocabulary are in most captions, most words are
in few. MySQL has the buffer pool of the deployment's default database; its other options are those
of the tests.

The galleries need 5 GB and take minutes to build. They are kept in the folder of the tests' MySQL
(`TEST_PARTS_DIR`, or ~/.cache/image-annotation) until the schema or the rows change.

`python -m benchmarks.gallery_growth` prints the figures of every query instead of the worst ones.
"""

import hashlib
import itertools
import json
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from alembic.script import ScriptDirectory
from rich.console import Console
from sqlalchemy import URL, NullPool, create_engine, make_url
from sqlalchemy.orm import Session, sessionmaker

import database.migrations
from benchmarks.measure import Goal, MissingAnchorError, Row, at_most, in_turns, worst
from database.listing import ALL, ImageFilter, Position, Sort
from database.migrations import migrate
from database.models import AltTextState, ReviewState, Status
from database.session import create_database_engine, create_session_factory
from database.settings import DatabaseSettings
from database.words import stored_words
from tests.support.mysql_server import MYSQL_MISSING, RunningMySQL, find_mysqld, parts_dir
from web_app.services.listing import read_page

FEW, MANY = 1_000, 1_000_000
PAGE_SIZE = 24
PAIRS = 25

# RDS gives the buffer pool about this much of the 2 GB of a db.t4g.small.
SERVER_OPTIONS = ("--innodb-buffer-pool-size=1G",)
# These make it faster to add the rows. They do not change how rows are stored or read.
FILL_OPTIONS = (
    *SERVER_OPTIONS,
    "--local-infile=ON",
    "--innodb-redo-log-capacity=1G",
    "--innodb-sort-buffer-size=64M",
)

# The most frequent words of captions, in descending order. `_vocabulary` adds invented words.
COMMON_WORDS = """
a the of on with in and is to sitting standing at man woman white black next wooden blue dog red
green people table street beach holding two water field large small person front grass background
young yellow near brown sky building boy girl cat road car train tree trees window wall snow
mountain river boat bridge flowers horse bird night light sunset city park house kitchen food plate
bowl coffee children playing
"""
CONSONANTS = "b d f g k l m n p r s t v z br st tr pl"
VOCABULARY_SIZE = 30_000
RARE_WORD = "quokka"
RARE_COUNT = 30  # The number of captions with the rare word in each gallery.
FAILED_EVERY = 20
FOREIGN_EVERY = 40  # One in this many was described in another language.

OWNER = "the owner of few images"


def _time(number: int) -> datetime:
    """Return the time of the upload with this number. There is one every 30 seconds."""
    return datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=30 * number)


@dataclass(frozen=True)
class GalleryQuery:
    """A page of the gallery or of a search."""

    name: str
    goal: Goal
    where: ImageFilter = ALL
    page: int = 1  # If the smaller gallery has fewer pages, its last full page is measured.
    one_in: int = 1  # One in this many rows is listed.

    def after(self, rows: int) -> Position | None:
        """Return the place at which the page begins in a gallery with the ids 1 to `rows`."""
        pages_before = min(self.page, rows // self.one_in // PAGE_SIZE) - 1
        if not pages_before:
            return None
        rows_before = pages_before * PAGE_SIZE * self.one_in
        if self.where.sort is Sort.OLDEST:
            return Position(rows_before)
        if self.where.sort is Sort.CHANGED:
            return Position(1, _time(rows - rows_before))
        return Position(rows - rows_before + 1)


PAGE_GOAL, SEARCH_GOAL = at_most(1.15), at_most(2.0)
FAILED = ImageFilter(status=Status.FAILED)
PAGES = (
    GalleryQuery("first page", PAGE_GOAL),
    GalleryQuery("page 1,000", PAGE_GOAL, page=1_000),
)
# 50 of a thousand images have failed. The count stops at a thousand.
FILTERED = (
    GalleryQuery("first page of the failed", PAGE_GOAL, FAILED, one_in=FAILED_EVERY),
    GalleryQuery("page 1,000 of the failed", PAGE_GOAL, FAILED, page=1_000, one_in=FAILED_EVERY),
)
# These images are the same in both galleries, and the oldest ones in each.
SMALL_OWNER = ImageFilter(owner_id=OWNER)
FAILED_OF_OWNER = ImageFilter(status=Status.FAILED, owner_id=OWNER)
HOUR = ImageFilter(since=_time(400), until=_time(520))
ORDERS = (
    *(
        GalleryQuery(f"{sort}{name}", PAGE_GOAL, replace(where, sort=sort))
        for sort in Sort
        for name, where in (
            ("", ALL),
            (", of an owner", SMALL_OWNER),
            (", failed of an owner", FAILED_OF_OWNER),
            (", of an hour", HOUR),
        )
    ),
    GalleryQuery("newest, of an hour and an owner", PAGE_GOAL, replace(HOUR, owner_id=OWNER)),
    GalleryQuery("oldest, page 1,000", PAGE_GOAL, ImageFilter(sort=Sort.OLDEST), page=1_000),
    GalleryQuery("changed, page 1,000", PAGE_GOAL, ImageFilter(sort=Sort.CHANGED), page=1_000),
)
# As many in each gallery, and as large a share of both. The index of an owner, and that of all.
DECORATIVE = ImageFilter(alt_text=AltTextState.DECORATIVE)
REVIEWS = (
    GalleryQuery("unreviewed", PAGE_GOAL, ImageFilter(review=ReviewState.UNREVIEWED)),
    GalleryQuery("changed", PAGE_GOAL, ImageFilter(review=ReviewState.CHANGED)),
    GalleryQuery("page 2, changed", PAGE_GOAL, ImageFilter(review=ReviewState.CHANGED), page=2),
    GalleryQuery("oldest, decorative", PAGE_GOAL, replace(DECORATIVE, sort=Sort.OLDEST)),
    *(
        GalleryQuery(f"{name}, of an owner", PAGE_GOAL, replace(where, owner_id=OWNER))
        for name, where in (
            ("unreviewed", ImageFilter(review=ReviewState.UNREVIEWED)),
            ("changed", ImageFilter(review=ReviewState.CHANGED)),
            ("without an alt text", ImageFilter(alt_text=AltTextState.MISSING)),
            ("failed and unreviewed", replace(FAILED, review=ReviewState.UNREVIEWED)),
        )
    ),
)
SEARCHES = (
    GalleryQuery("a rare word", SEARCH_GOAL, ImageFilter(text=RARE_WORD)),
    GalleryQuery("a rare and a common word", SEARCH_GOAL, ImageFilter(text=f"{RARE_WORD} jpg")),
    GalleryQuery("two common words", SEARCH_GOAL, ImageFilter(text="a the")),
    GalleryQuery("a word of most images", SEARCH_GOAL, ImageFilter(text="jpg")),
    GalleryQuery("the language of most images", SEARCH_GOAL, ImageFilter(language="en")),
)
# These words are too common for the full-text index to be fast, because its results must be sorted,
# and too rare for a scan from the newest row to fill a page soon. In the smaller gallery so few
# images match that counting them costs nothing.
BETWEEN = (
    GalleryQuery("a tag", SEARCH_GOAL, ImageFilter(tags=["beach"])),
    GalleryQuery("a phrase", SEARCH_GOAL, ImageFilter(text='"man woman"')),
    GalleryQuery(
        "the oldest of two words", SEARCH_GOAL, ImageFilter("man woman", sort=Sort.OLDEST)
    ),
    GalleryQuery("another language", SEARCH_GOAL, ImageFilter(language="de")),
    GalleryQuery("a word without another", SEARCH_GOAL, ImageFilter(text="coffee -man")),
    GalleryQuery("two words of one image in fifty", SEARCH_GOAL, ImageFilter(text="man woman")),
    GalleryQuery("a word of one image in forty", SEARCH_GOAL, ImageFilter(text="coffee")),
    GalleryQuery("a word of one image in three hundred", SEARCH_GOAL, ImageFilter(text="zobu")),
)


def measure() -> list[Row]:
    """Measure the worst query of each group on each database."""
    with _sessions_of_galleries() as sessions:
        return [
            worst(_measure(queries, *sessions[kind]), f"gallery_growth_{name}_{kind}")
            for kind in sessions
            for name, queries in (
                ("page", PAGES),
                ("filter", FILTERED),
                ("order", ORDERS),
                ("review", REVIEWS),
                ("search", SEARCHES),
                ("between", BETWEEN),
            )
        ]


Sessions = sessionmaker[Session]


def _measure(queries: Sequence[GalleryQuery], few: Sessions, many: Sessions) -> list[Row]:
    rows = []
    for query in queries:
        anchor, ours = in_turns(
            partial(_milliseconds, few, query, FEW),
            partial(_milliseconds, many, query, MANY),
            pairs=PAIRS,
            warm_up=3,
        )
        rows.append(Row(query.name, anchor, ours, "ms", query.goal))
    return rows


def _milliseconds(sessions: Sessions, query: GalleryQuery, rows: int) -> float:
    after = query.after(rows)
    started = time.perf_counter()
    page = read_page(sessions, limit=PAGE_SIZE, after=after, where=query.where)
    milliseconds = 1000 * (time.perf_counter() - started)
    if not page.images:
        raise AssertionError(f"{query.name}: nothing was found among {rows} images")
    return milliseconds


# The galleries


@contextmanager
def galleries() -> Iterator[dict[str, tuple[str, str]]]:
    """Yield the URLs of the smaller and the larger gallery by kind. Build them if needed."""
    program = find_mysqld()
    if program is None:
        raise MissingAnchorError(MYSQL_MISSING)
    folder = parts_dir() / f"galleries-{_fingerprint()}"
    if not folder.exists():
        _build(program, folder)
    with ExitStack() as stack:
        server = RunningMySQL(program, folder / "mysql")
        stack.callback(server.close)
        stack.callback(server.stop)  # A regular shutdown keeps the data usable for the next run.
        server.start(*SERVER_OPTIONS)

        yield {
            "mysql": (_text(_mysql_url(server, FEW)), _text(_mysql_url(server, MANY))),
            "sqlite": (_text(_sqlite_url(folder, FEW)), _text(_sqlite_url(folder, MANY))),
        }


@contextmanager
def _sessions_of_galleries() -> Iterator[dict[str, tuple[Sessions, Sessions]]]:
    with ExitStack() as stack:

        def sessions(url: str) -> Sessions:
            engine = create_database_engine(DatabaseSettings(database_url=url))
            stack.callback(engine.dispose)
            return create_session_factory(engine)

        urls = stack.enter_context(galleries())
        yield {kind: (sessions(few), sessions(many)) for kind, (few, many) in urls.items()}


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _fingerprint() -> str:
    """Return a name for the content of the galleries: the newest migration and a hash of rows."""
    folder = Path(database.migrations.__file__).parent
    head = ScriptDirectory(str(folder)).get_current_head()
    rows = repr([COLUMNS, CONSTANTS, REVIEWS_OF_IMAGES, *_rows(FEW), *_words(FEW)]).encode()
    return f"{head}-{hashlib.sha256(rows).hexdigest()[:8]}"


def _mysql_url(server: RunningMySQL, size: int) -> URL:
    return make_url(server.url).set(database=f"test_{size}_images")


def _sqlite_url(folder: Path, size: int) -> URL:
    return URL.create("sqlite", database=str(folder / f"{size}.sqlite3"))


def _build(program: Path, folder: Path) -> None:
    """Build all four galleries in a temporary folder, so that an interrupted build is not used."""
    Console(stderr=True).print(
        "Building the galleries: a million rows in MySQL and in SQLite. This takes minutes …",
        end=" ",
    )
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    for earlier in folder.parent.glob("galleries-*"):
        shutil.rmtree(earlier)
    server = RunningMySQL(program, unfinished / "mysql")
    try:
        server.start(*FILL_OPTIONS)
        for size in (FEW, MANY):
            server.execute_as_root(f"CREATE DATABASE {_mysql_url(server, size).database}")
            for url in (_sqlite_url(unfinished, size), _mysql_url(server, size)):
                _migrate(url)  # Only one migration may run at a time.
        with ProcessPoolExecutor(max_workers=1) as other_process:
            filling = other_process.submit(_fill_all_sqlite, unfinished)
            _fill_all_mysql(server, unfinished)
            filling.result()
        server.stop()
    finally:
        server.close()
    unfinished.rename(folder)


def _fill_all_sqlite(folder: Path) -> None:
    for size in (FEW, MANY):
        _fill_sqlite(_sqlite_url(folder, size), size)


def _fill_all_mysql(server: RunningMySQL, folder: Path) -> None:
    for size in (FEW, MANY):
        _fill_mysql(_mysql_url(server, size), size, folder / "rows.tsv")


COLUMNS = (
    *("id", "filename", "original_key", "thumbnail_key", "sha256", "owner_id"),
    *("annotation", "alt_text", "tags"),
    *("generated_annotation", "generated_alt_text", "generated_tags", "thumbnail_status"),
    *("uploaded_at", "updated_at", "annotation_requested_at", "thumbnail_requested_at"),
)
# The columns with the same value in every row.
CONSTANTS = {
    "content_type": "image/jpeg",
    "size_bytes": 3_000_000,
    "width": 4_000,
    "height": 3_000,
    "dominant_color": "#102030",
    "annotation_source": "model",
    "annotation_model": "gemini-3.5-flash-lite",
    "input_tokens": 1_000,
    "output_tokens": 90,
    "annotation_status": "completed",
    "annotation_attempts": 1,
    "thumbnail_attempts": 1,
}


def _rows(size: int) -> Iterator[tuple[str | int, ...]]:
    """Yield the values of COLUMNS for each row. They are the same in every run."""
    draw = random.Random(size)
    words = _vocabulary()
    # Zipf's law: the frequency of a word is the inverse of its rank.
    frequencies = list(itertools.accumulate(1 / (rank + 2) for rank in range(len(words))))
    for number in range(1, size + 1):
        drawn = draw.choices(words, cum_weights=frequencies, k=22)
        caption, alt_text = drawn[:12], " ".join(drawn[:6])
        if number % (size // RARE_COUNT) == 0:
            caption.append(RARE_WORD)
        annotation = f"{' '.join(caption).capitalize()}."
        tags = json.dumps(list(dict.fromkeys(drawn[12 : 13 + number % 10])))
        (extension,) = draw.choices(("jpg", "png", "heic"), (85, 10, 5))
        name = f"{draw.getrandbits(128):032x}"
        uuid = f"{name[:8]}-{name[8:12]}-4{name[13:16]}-8{name[17:20]}-{name[20:]}"
        # The order of changes is another one than that of uploads.
        uploaded_at, changed_at = (
            f"{_time(each):%Y-%m-%d %H:%M:%S.%f}" for each in (number, number * 7_919 % size)
        )
        is_of_owner = number <= FEW and number // FAILED_EVERY % 2
        owner = OWNER if is_of_owner else f"owner {number % 1_000}"
        yield (
            *(number, f"IMG_{number % 10_000:04}.{extension}"),
            *(f"originals/{uuid}.{extension}", f"thumbnails/{uuid}.webp", name * 2),
            *(owner, *(annotation, alt_text, tags) * 2),
            *("completed" if number % FAILED_EVERY else "failed", uploaded_at, changed_at),
            *(uploaded_at,) * 2,
        )


# For rows with the numbers 1 to {size}. 30 images are decorative, as those with the rare word.
REVIEWS_OF_IMAGES = f"""
INSERT INTO image_reviews
    (image_id, owner_id, is_decorative, state, alt_text_state, alt_text_hash)
SELECT id, owner_id, id % ({{size}} / {RARE_COUNT}) = 0,
    CASE WHEN id % 7 IN (0, 1) THEN 'reviewed' WHEN id % 7 = 2 THEN 'changed' ELSE 'unreviewed' END,
    CASE WHEN id % ({{size}} / {RARE_COUNT}) = 0 THEN 'decorative' WHEN id % 9 = 1 THEN 'missing'
        WHEN id % 9 = 2 THEN 'long' ELSE 'good' END,
    SUBSTR(sha256, 1, 12)
FROM images
"""


def _words(size: int) -> Iterator[tuple[int, str]]:
    """Yield the id and the stored words of each row."""
    for row in _rows(size):
        values = dict(zip(COLUMNS, row, strict=True))
        texts = [str(values[name]) for name in ("filename", "annotation", "alt_text")]
        number, tags = int(values["id"]), json.loads(str(values["tags"]))
        languages = ["en" if number % FOREIGN_EVERY else "de"]
        yield number, stored_words(texts, tags, "english", languages)


def _vocabulary() -> list[str]:
    draw = random.Random(1)
    words = dict.fromkeys(COMMON_WORDS.split())
    syllables = [consonant + vowel for consonant in CONSONANTS.split() for vowel in "aeiou"]
    while len(words) < VOCABULARY_SIZE:
        words["".join(draw.choice(syllables) for _ in range(draw.choice((2, 3, 3, 4))))] = None
    return list(words)


def _fill_sqlite(url: URL, size: int) -> None:
    with closing(sqlite3.connect(str(url.database), isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        # In kilobytes. A large cache helps because the object keys are not in order.
        connection.execute("PRAGMA cache_size = -500000")
        # The index is built at the end. The table of the previous version stays empty.
        triggers = dict(
            connection.execute(
                "SELECT name, sql FROM sqlite_master"
                " WHERE type = 'trigger' AND sql LIKE '%AFTER INSERT%'"
            ).fetchall()
        )
        connection.execute("BEGIN")
        for name in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.executemany(
            f"INSERT INTO images ({', '.join((*COLUMNS, *CONSTANTS))}) VALUES"
            f" ({', '.join('?' * (len(COLUMNS) + len(CONSTANTS)))})",
            ((*row, *CONSTANTS.values()) for row in _rows(size)),
        )
        connection.executemany("INSERT INTO image_words VALUES (?, ?)", _words(size))
        connection.execute("INSERT INTO image_words_index (image_words_index) VALUES ('rebuild')")
        connection.execute(REVIEWS_OF_IMAGES.format(size=size))
        for trigger in triggers.values():
            connection.execute(trigger)
        connection.execute("COMMIT")


def _fill_mysql(url: URL, size: int, file: Path) -> None:
    words_file = file.with_name("words.tsv")
    for path, rows in ((file, _rows(size)), (words_file, _words(size))):
        with path.open("w") as lines:
            lines.writelines("\t".join(map(str, row)) + "\n" for row in rows)
    engine = create_engine(
        url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"local_infile": True},
        execution_options={"no_parameters": True},
    )
    constants = ", ".join(f"{name} = '{value}'" for name, value in CONSTANTS.items())
    index = "INDEX image_words_index"
    with engine.connect() as connection:
        for statement in (
            # The index of the previous version.
            "ALTER TABLE images DROP INDEX images_search_words",
            # An index that is built at the end is as compact as after OPTIMIZE TABLE.
            f"ALTER TABLE image_words DROP {index}",
            "SET unique_checks = 0",
            f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE images ({', '.join(COLUMNS)})"
            f" SET {constants}",
            f"LOAD DATA LOCAL INFILE '{words_file}' INTO TABLE image_words (image_id, words)",
            f"ALTER TABLE image_words ADD FULLTEXT {index} (words)",
            REVIEWS_OF_IMAGES.format(size=size).replace("/", "DIV").replace("%", "MOD"),
            "ANALYZE TABLE images, image_words, image_reviews",
        ):
            connection.exec_driver_sql(statement)
    for path in (file, words_file):
        path.unlink()


def _migrate(url: URL) -> None:
    engine = create_database_engine(DatabaseSettings(database_url=_text(url)))
    migrate(engine)
    engine.dispose()


def main() -> None:
    """Print the figures of every query."""
    every_query = (*PAGES, *FILTERED, *ORDERS, *REVIEWS, *SEARCHES, *BETWEEN)
    with _sessions_of_galleries() as sessions:
        for kind, (few, many) in sessions.items():
            for row in _measure(every_query, few, many):
                print(f"{kind:8}{row.name:40}{row.anchor:8.2f}{row.ours:8.2f} ms{row.ratio:7.2f}")


if __name__ == "__main__":
    main()
