"""gallery_growth: a page and a search among a million images, against the same among a thousand.

What is timed is what the gallery asks of the database when nothing of the page is known yet (the
count that it shows, which images, and their rows), on a real MySQL server and on SQLite, as the
migrations leave them. Captions are made of words that are as frequent as words are: the first of
the vocabulary is in most captions, most are in few. MySQL has the memory of the deployment's
default database, and is otherwise the tests' own server.

The galleries take minutes to make and 5 GB. They are kept where the tests keep their real parts
(`TEST_PARTS_DIR`, or ~/.cache/image-annotation) until the schema or the rows are others.

`python -m benchmarks.gallery_growth` prints every question instead of the worst.
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from alembic.script import ScriptDirectory
from rich.console import Console
from sqlalchemy import URL, NullPool, create_engine, make_url
from sqlalchemy.orm import Session, sessionmaker

import database.migrations
from benchmarks.measure import Goal, MissingAnchorError, Row, at_most, in_turns, worst
from database.listing import ALL, ImageFilter
from database.migrations import migrate
from database.models import Status
from database.session import create_database_engine, create_session_factory
from database.settings import DatabaseSettings
from tests.support.mysql_server import MYSQL_MISSING, RunningMySQL, find_mysqld, parts_dir
from web_app.services.listing import read_page

FEW, MANY = 1_000, 1_000_000
PAGE_SIZE = 24
PAIRS = 25

# Of a db.t4g.small's 2 GB, RDS gives about this much to the buffer pool.
SERVER_OPTIONS = ("--innodb-buffer-pool-size=1G",)
# While the rows are made. None of it changes how they are stored or read.
MAKING_OPTIONS = (
    *SERVER_OPTIONS,
    "--local-infile=ON",
    "--innodb-redo-log-capacity=1G",
    "--innodb-sort-buffer-size=64M",
)

# The commonest words of captions, the commonest first. Words of syllables follow.
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
RARE_COUNT = 30  # So many captions have it, of a thousand and of a million.
FAILED_EVERY = 20


@dataclass(frozen=True)
class Question:
    """What somebody asks of the gallery."""

    name: str
    goal: Goal
    where: ImageFilter = ALL
    page: int = 1  # Of the larger gallery. The smaller shows its last full page in its place.
    one_in: int = 1  # So many rows is one of those that are listed.

    def before_id(self, rows: int) -> int | None:
        """The cursor of the page, among rows with the ids from 1 on."""
        pages_before = min(self.page, rows // self.one_in // PAGE_SIZE) - 1
        return rows - pages_before * PAGE_SIZE * self.one_in + 1 if pages_before else None


PAGE_GOAL, SEARCH_GOAL = at_most(1.15), at_most(2.0)
FAILED = ImageFilter(status=Status.FAILED)
PAGES = (
    Question("first page", PAGE_GOAL),
    Question("page 1,000", PAGE_GOAL, page=1_000),
)
# Of a thousand images fifty have failed. The count goes on to a thousand where there are so many.
FILTERED = (
    Question("first page of the failed", PAGE_GOAL, FAILED, one_in=FAILED_EVERY),
    Question("page 1,000 of the failed", PAGE_GOAL, FAILED, page=1_000, one_in=FAILED_EVERY),
)
SEARCHES = (
    Question("a rare word", SEARCH_GOAL, ImageFilter(text=RARE_WORD)),
    Question("a rare and a common word", SEARCH_GOAL, ImageFilter(text=f"{RARE_WORD} jpg")),
    Question("two common words", SEARCH_GOAL, ImageFilter(text="a the")),
    Question("a word of most images", SEARCH_GOAL, ImageFilter(text="jpg")),
)
# Neither rare enough for an index that sorts what it finds, nor common enough to be met soon. Of a
# thousand images so few are found that there is nothing to count.
BETWEEN = (
    Question("a tag", SEARCH_GOAL, ImageFilter(tag="beach")),
    Question("two words of one image in fifty", SEARCH_GOAL, ImageFilter(text="man woman")),
    Question("a word of one image in forty", SEARCH_GOAL, ImageFilter(text="coffee")),
    Question("a word of one image in three hundred", SEARCH_GOAL, ImageFilter(text="zobu")),
)


def measure() -> list[Row]:
    """The worst of the pages and of the searches on each kind of database."""
    with _galleries() as galleries:
        return [
            worst(_ask(questions, *galleries[kind]), f"gallery_growth_{name}_{kind}")
            for kind in galleries
            for name, questions in (
                ("page", PAGES),
                ("filter", FILTERED),
                ("search", SEARCHES),
                ("between", BETWEEN),
            )
        ]


Sessions = sessionmaker[Session]


def _ask(questions: Sequence[Question], few: Sessions, many: Sessions) -> list[Row]:
    rows = []
    for question in questions:
        anchor, ours = in_turns(
            partial(_milliseconds, few, question, FEW),
            partial(_milliseconds, many, question, MANY),
            pairs=PAIRS,
            warm_up=3,
        )
        rows.append(Row(question.name, anchor, ours, "ms", question.goal))
    return rows


def _milliseconds(sessions: Sessions, question: Question, rows: int) -> float:
    before_id = question.before_id(rows)
    started = time.perf_counter()
    page = read_page(sessions, limit=PAGE_SIZE, before_id=before_id, where=question.where)
    milliseconds = 1000 * (time.perf_counter() - started)
    if not page.images:
        raise AssertionError(f"{question.name}: nothing was found among {rows} images")
    return milliseconds


# The galleries


@contextmanager
def _galleries() -> Iterator[dict[str, tuple[Sessions, Sessions]]]:
    """Sessions on the smaller and the larger gallery, for each kind of database."""
    program = find_mysqld()
    if program is None:
        raise MissingAnchorError(MYSQL_MISSING)
    made = parts_dir() / f"galleries-{_fingerprint()}"
    if not made.exists():
        _make(program, made)
    with ExitStack() as stack:
        server = RunningMySQL(program, made / "mysql")
        stack.callback(server.close)
        stack.callback(server.stop)  # In order, so that the next run finds the data in order.
        server.start(*SERVER_OPTIONS)

        def sessions(url: URL) -> Sessions:
            text = url.render_as_string(hide_password=False)
            engine = create_database_engine(DatabaseSettings(database_url=text))
            stack.callback(engine.dispose)
            return create_session_factory(engine)

        def both(urls: dict[int, URL]) -> tuple[Sessions, Sessions]:
            return sessions(urls[FEW]), sessions(urls[MANY])

        yield {
            "mysql": both({size: _mysql_url(server, size) for size in (FEW, MANY)}),
            "sqlite": both({size: _sqlite_url(made, size) for size in (FEW, MANY)}),
        }


def _fingerprint() -> str:
    """What is in the galleries: the newest migration's schema and these rows."""
    folder = Path(database.migrations.__file__).parent
    head = ScriptDirectory(str(folder)).get_current_head()
    rows = repr([COLUMNS, CONSTANTS, *_rows(FEW)]).encode()
    return f"{head}-{hashlib.sha256(rows).hexdigest()[:8]}"


def _mysql_url(server: RunningMySQL, size: int) -> URL:
    return make_url(server.url).set(database=f"test_{size}_images")


def _sqlite_url(folder: Path, size: int) -> URL:
    return URL.create("sqlite", database=str(folder / f"{size}.sqlite3"))


def _make(program: Path, made: Path) -> None:
    """Make all four galleries, aside, so that what is left by an interruption is not believed."""
    Console(stderr=True).print("making a million rows twice, once: this takes minutes … ", end="")
    aside = made.with_name(f"{made.name}.unfinished")
    for earlier in made.parent.glob("galleries-*"):
        shutil.rmtree(earlier)
    server = RunningMySQL(program, aside / "mysql")
    try:
        server.start(*MAKING_OPTIONS)
        for size in (FEW, MANY):
            server.execute_as_root(f"CREATE DATABASE {_mysql_url(server, size).database}")
            for url in (_sqlite_url(aside, size), _mysql_url(server, size)):
                _migrate(url)  # Of which only one may run at a time.
        with ProcessPoolExecutor(max_workers=1) as other_process:
            filling = other_process.submit(_fill_all_sqlite, aside)
            _fill_all_mysql(server, aside)
            filling.result()
        server.stop()
    finally:
        server.close()
    aside.rename(made)


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
# The same in every row.
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
    """The values of COLUMNS, the same every time."""
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
        at = f"2026-01-{1 + number * 27 // size:02} 12:00:00.000000"
        yield (
            *(number, f"IMG_{number % 10_000:04}.{extension}"),
            *(f"originals/{uuid}.{extension}", f"thumbnails/{uuid}.webp", name * 2),
            *(f"owner {number % 1_000}", *(annotation, alt_text, tags) * 2),
            *("completed" if number % FAILED_EVERY else "failed", *(at,) * 4),
        )


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
        connection.execute("PRAGMA cache_size = -500000")  # Kilobytes: keys come in any order.
        # The words are gathered once, as the newest migration does it, and not row by row.
        name, trigger = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%INSERT ON%'"
        ).fetchone()
        gather = trigger[trigger.index("INSERT INTO") :].split("; END")[0]
        gather = gather.replace("VALUES (", "SELECT ").removesuffix(")").replace("new.", "images.")
        connection.execute("BEGIN")
        connection.execute(f"DROP TRIGGER {name}")
        connection.executemany(
            f"INSERT INTO images ({', '.join((*COLUMNS, *CONSTANTS))}) VALUES"
            f" ({', '.join('?' * (len(COLUMNS) + len(CONSTANTS)))})",
            ((*row, *CONSTANTS.values()) for row in _rows(size)),
        )
        connection.execute(f"{gather} FROM images")
        connection.execute(trigger)
        connection.execute("COMMIT")


def _fill_mysql(url: URL, size: int, file: Path) -> None:
    with file.open("w") as lines:
        lines.writelines("\t".join(map(str, row)) + "\n" for row in _rows(size))
    engine = create_engine(
        url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"local_infile": True},
        execution_options={"no_parameters": True},
    )
    constants = ", ".join(f"{name} = '{value}'" for name, value in CONSTANTS.items())
    index = "INDEX images_search_words"
    with engine.connect() as connection:
        for statement in (
            # Made at once it is what it is after OPTIMIZE TABLE: without a history.
            f"ALTER TABLE images DROP {index}",
            "SET unique_checks = 0",
            f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE images ({', '.join(COLUMNS)})"
            f" SET {constants}",
            f"ALTER TABLE images ADD FULLTEXT {index} (search_words)",
            "ANALYZE TABLE images",
        ):
            connection.exec_driver_sql(statement)
    file.unlink()


def _migrate(url: URL) -> None:
    text = url.render_as_string(hide_password=False)
    engine = create_database_engine(DatabaseSettings(database_url=text))
    migrate(engine)
    engine.dispose()


def main() -> None:
    """Print every question."""
    with _galleries() as galleries:
        for kind, (few, many) in galleries.items():
            for row in _ask((*PAGES, *FILTERED, *SEARCHES, *BETWEEN), few, many):
                print(f"{kind:8}{row.name:40}{row.anchor:8.2f}{row.ours:8.2f} ms{row.ratio:7.2f}")


if __name__ == "__main__":
    main()
