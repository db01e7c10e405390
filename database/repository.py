"""Every question asked of the rows, and every change made to them.

Each function takes a `Session` and never commits: the caller owns the transaction. What lists
images changes nothing and takes a `Connection`, which needs no transaction (`session.reading`).

A half of a row moves like this:

    pending ──claim──► pending, claimed ──record_*──► completed | failed
       ▲                    │
       └──── setback, postponement, or the claim ran out

The claim's end time doubles as its token: a `record_*` whose claim is no longer the row's changes
nothing, so a function that was thought dead cannot overwrite what came after it.

A person's retry, `reset_for_retry`, takes a half back to pending from where it ended. An image that
is being deleted (`mark_deleting`) is hidden from every question at once, and no half of it can be
claimed any more.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from typing import cast as typed

from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    Delete,
    Select,
    Update,
    and_,
    bindparam,
    case,
    cast,
    delete,
    false,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import InstrumentedAttribute, Session

from database import full_text, object_keys, search
from database.errors import ImageNotFoundError
from database.models import (
    AnnotationFingerprint,
    AnnotationSource,
    Image,
    Job,
    Status,
    json_pairs,
    utc_now,
)

MAX_ERROR_MESSAGE_CHARACTERS = 500
# A row outlives its deletion by this, if work on it was not over: longer than any claim, and than
# the web application waits for the storage, so that nothing can store an object behind its back.
LINGER_SECONDS = 180
# Overdue halves that are failed at once; the next sweep takes the next.
MAX_OVERDUE = 1_000
# What has no words that an index could lead to is looked for among this many of the newest.
MAX_SCANNED = 20_000
MAX_ID = 2**63 - 1

# Why a half failed that may succeed later, untouched or once the system is mended: its class in
# API_DOCUMENTATION.md is not "permanent". What was never stored is left to whoever sends it again.
REDRIVABLE_CODES = frozenset(
    {
        "attempts_exhausted",
        "budget_exhausted",
        "configuration",
        "database_unavailable",
        "internal_error",
        "model_busy",
        "model_unavailable",
        "no_time_left",
        "original_missing",
        "secrets_unavailable",
        "storage_unavailable",
        "timed_out",
    }
)


@dataclass(frozen=True)
class NewImage:
    """What is known of an image when its upload is accepted."""

    filename: str
    original_key: str
    content_type: str
    size_bytes: int
    width: int
    height: int
    sha256: str
    owner_id: str


@dataclass(frozen=True)
class Duplicate:
    """An earlier image with the same bytes as one that is being uploaded."""

    image_id: int
    original_key: str
    is_stored: bool  # Its original was read back; otherwise only the storage knows.


@dataclass(frozen=True)
class Claim:
    """The right to work on one half of one image, until `claimed_until`."""

    image_id: int
    original_key: str
    job: Job
    attempt: int  # 1 for the first
    claimed_until: datetime
    sha256: str  # Of the original's bytes, in hex.
    has_words: bool  # The model has described it before: somebody wants it done anew.


@dataclass(frozen=True)
class Tokens:
    """What questions to a model took."""

    input: int
    output: int

    @property
    def total(self) -> int:
        return self.input + self.output


@dataclass(frozen=True)
class FailedJob:
    """A half that was failed just now, by whoever noticed that nobody would finish it."""

    image_id: int
    object_key: str  # Of the original.
    job: Job
    code: str
    reason: str


@dataclass(frozen=True)
class GeneratedAnnotation:
    """What the model said of an image."""

    annotation: str
    alt_text: str
    tags: Sequence[str]
    model: str


@dataclass(frozen=True)
class ImageFilter:
    """Which images to list. What is empty or None does not narrow the list."""

    text: str | None = None  # Words of the caption, the alt text, the tags and the file name.
    tag: str | None = None  # One tag, whole, whatever its case.
    status: Status | None = None  # Of the whole image.


ALL = ImageFilter()


class ImageVersion(NamedTuple):
    """Which row, and as of which change: `version` is that of the `Image`."""

    image_id: int
    version: str


@dataclass(frozen=True)
class DeletedObjects:
    """What is left to delete of an image."""

    image_id: int
    original_key: str
    thumbnail_key: str


def add_image(session: Session, new: NewImage) -> int:
    """Add a row, pending in both halves, and return its id."""
    image = Image(**vars(new))
    session.add(image)
    session.flush()
    return image.id


def get_image(session: Session, image_id: int) -> Image:
    """The row with this id.

    Raises:
        ImageNotFoundError: there is none, or it is being deleted.
    """
    image = session.scalar(select(Image).where(Image.id == image_id, _is_visible()))
    if image is None:
        raise ImageNotFoundError(f"no image has the id {image_id}")
    return image


def list_images_by_id(session: Session, image_ids: Collection[int]) -> Sequence[Image]:
    """The rows with these ids, newest first; unknown ids are left out."""
    return session.scalars(
        select(Image).where(Image.id.in_(image_ids), _is_visible()).order_by(Image.id.desc())
    ).all()


def list_versions(
    connection: Connection, *, limit: int, before_id: int | None = None, where: ImageFilter = ALL
) -> Sequence[ImageVersion]:
    """Which rows are the newest that match, up to `limit`, older than the row `before_id`.

    Raises:
        QueryTooSlowError: MySQL would have searched for too long; of `reading`.
    """
    window = {"limit": limit, "before_id": MAX_ID if before_id is None else before_id}
    if where == ALL:
        return _read_versions(connection, _NEWEST_VERSIONS, window)
    question = _question(connection, where)
    if question.words:
        ids = full_text.find_ids(connection, question, limit=limit, before_id=before_id)
        return list_versions_by_id(connection, ids)
    matching = _NEWEST.where(*question.conditions, *question.costly_conditions)
    return _read_versions(connection, full_text.limited(_versions(matching)), window)


def list_versions_by_id(
    connection: Connection, image_ids: Collection[int]
) -> Sequence[ImageVersion]:
    """The versions of the rows with these ids, newest first; unknown ids are left out."""
    return _read_versions(connection, _VERSIONS_BY_ID, {"image_ids": list(image_ids)})


def count_images(connection: Connection, *, at_most: int, where: ImageFilter = ALL) -> int | None:
    """How many images there are. Counting ends at `at_most`, whatever the size of the table.

    Returns:
        None when so many images have the words that counting them would take long.
    Raises:
        QueryTooSlowError: MySQL would have searched for too long; of `reading`.
    """
    question = _question(connection, where)
    if question.words:
        return full_text.count(connection, question, at_most=at_most)
    some = select(Image.id).where(*question.conditions, *question.costly_conditions)
    counted = select(func.count()).select_from(some.limit(at_most).subquery())
    return connection.scalar(full_text.limited(counted)) or 0


def list_failed(session: Session, *, owner_id: str, limit: int) -> Sequence[Image]:
    """An owner's images of which a half failed and can be asked for again, newest first."""
    return session.scalars(
        select(Image)
        .where(
            _is_visible(),
            Image.owner_id == owner_id,
            or_(*(_column(job, "status") == Status.FAILED for job in Job)),
            _was_stored(),
        )
        .order_by(Image.id.desc())
        .limit(limit)
    ).all()


def find_duplicate(session: Session, *, owner_id: str, sha256: str) -> Duplicate | None:
    """This owner's first image with the same bytes, unless its upload is known to have failed."""
    row = session.execute(
        select(Image.id, Image.original_key, Image.annotation_status, Image.thumbnail_status)
        .where(
            Image.owner_id == owner_id,
            Image.sha256 == sha256,
            _is_visible(),
            _was_stored(),
        )
        .order_by(Image.id)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    is_stored = Status.COMPLETED in (row.annotation_status, row.thumbnail_status)
    return Duplicate(row.id, row.original_key, is_stored)


def record_upload_failed(session: Session, image_id: int, message: str) -> bool:
    """Fail both halves of an image whose original could not be stored.

    Returns:
        False when a function has already begun to work on it: its event came, so the storage took
        the original although it did not say so.
    """
    untouched = [
        condition
        for job in Job
        for condition in (
            _column(job, "status") == Status.PENDING,
            _column(job, "attempts") == 0,
            # An attempt that was put off does not count, and leaves what it met.
            _column(job, "error_code").is_(None),
        )
    ]
    failure = {
        name: value
        for job in Job
        for name, value in _failure(job, "upload_failed", message).items()
    }
    return bool(
        execute_update(
            session, update(Image).where(Image.id == image_id, *untouched).values(failure)
        )
    )


def claim_job(
    session: Session, job: Job, original_key: str, *, lease_seconds: int, max_attempts: int
) -> Claim | FailedJob | None:
    """Take one half of an image to work on it, if it is pending and in nobody's hands.

    Args:
        half: which half.
        original_key: the image's object key, as the event named it.
        lease_seconds: how long the claim holds. It must outlast the function and end before the
            platform delivers the event again.
        max_attempts: how often work may begin. A half that was begun this often and never came to
            a result is failed here, with the code `attempts_exhausted`.
    Returns:
        None when there is nothing to do: done, in another delivery's hands, or being deleted.
        What was given up, when it was begun too often.
    Raises:
        ImageNotFoundError: no row has this key.
    """
    free = [Image.original_key == original_key, _is_visible(), *_waiting(job)]
    attempts = _column(job, "attempts")
    claimed = execute_update(
        session,
        update(Image)
        .where(*free, attempts < max_attempts)
        .values(
            {
                f"{job}_attempts": attempts + 1,
                f"{job}_claimed_until": utc_now(lease_seconds),
            }
        ),
    )
    row = session.execute(
        select(
            Image.id,
            attempts,
            _column(job, "claimed_until"),
            Image.sha256,
            Image.generated_annotation.is_not(None).label("has_words"),
        ).where(Image.original_key == original_key)
    ).one_or_none()
    if row is None:
        raise ImageNotFoundError(f"no image has the key {original_key}")
    if claimed:
        return Claim(
            row.id,
            original_key,
            job,
            attempt=row[1],
            claimed_until=row[2],
            sha256=row.sha256,
            has_words=bool(row.has_words),
        )
    code, message = (
        "attempts_exhausted",
        f"The work was started {row[1]} times and never finished.",
    )
    exhausted = execute_update(
        session,
        update(Image).where(*free, attempts >= max_attempts).values(_failure(job, code, message)),
    )
    return FailedJob(row.id, original_key, job, code, message) if exhausted else None


def record_annotation(
    session: Session, claim: Claim, result: GeneratedAnnotation, *, fingerprint: str | None = None
) -> bool:
    """Complete the annotation. A person's words stay; the model's are kept beside them.

    Where a person wrote before the model's first words came, the model fills what they left empty.

    Args:
        fingerprint: which bytes, model and prompt the words came from, so that they can be found.
    Returns:
        False when the claim had been lost, and nothing was changed.
    """
    is_human = Image.annotation_source == AnnotationSource.HUMAN
    is_first = Image.generated_annotation.is_(None)

    def unless_human(current: InstrumentedAttribute[Any], value: Any) -> ColumnElement[Any]:
        is_theirs = and_(is_human, or_(current.is_not(None), ~is_first))
        return case((is_theirs, current), else_=literal(value, current.type))

    # MySQL assigns one column after the other, in this order, and each sees those before it.
    # https://dev.mysql.com/doc/refman/8.4/en/update.html
    is_recorded = _record(
        session,
        claim,
        {
            "annotation": unless_human(Image.annotation, result.annotation),
            "alt_text": unless_human(Image.alt_text, result.alt_text),
            "tags": unless_human(Image.tags, list(result.tags)),
            "annotation_source": case(
                (is_human, Image.annotation_source),
                else_=literal(AnnotationSource.MODEL, Image.annotation_source.type),
            ),
            "generated_annotation": result.annotation,
            "generated_alt_text": result.alt_text,
            "generated_tags": list(result.tags),
            "annotation_model": result.model,
            **_success(claim.job),
        },
    )
    if is_recorded and fingerprint is not None:
        session.merge(AnnotationFingerprint(image_id=claim.image_id, fingerprint=fingerprint))
    return is_recorded


def find_generated(session: Session, fingerprint: str) -> GeneratedAnnotation | None:
    """The model's own words of any image with the same bytes, asked for in the same way."""
    image = session.scalar(
        select(Image)
        .join(AnnotationFingerprint, AnnotationFingerprint.image_id == Image.id)
        .where(
            AnnotationFingerprint.fingerprint == fingerprint,
            _is_visible(),
            Image.generated_annotation.is_not(None),
        )
        .order_by(Image.id)
        .limit(1)
    )
    if image is None or image.generated_annotation is None:
        return None
    return GeneratedAnnotation(
        image.generated_annotation,
        image.generated_alt_text or "",
        image.generated_tags or [],
        image.annotation_model or "",
    )


def record_tokens(session: Session, image_id: int, tokens: Tokens) -> None:
    """Add what a question about an image took, whatever became of its answer."""
    execute_update(
        session,
        update(Image)
        .where(Image.id == image_id)
        .values(
            input_tokens=func.coalesce(Image.input_tokens, 0) + tokens.input,
            output_tokens=func.coalesce(Image.output_tokens, 0) + tokens.output,
        ),
    )


def record_thumbnail(session: Session, claim: Claim, *, dominant_color: str) -> bool:
    """Complete the thumbnail, which is stored under the key that belongs to the original's.

    Returns:
        False when the claim had been lost, and nothing was changed.
    """
    return _record(
        session,
        claim,
        {
            "thumbnail_key": object_keys.thumbnail_key(claim.original_key),
            "dominant_color": dominant_color,
            **_success(claim.job),
        },
    )


def record_failure(session: Session, claim: Claim, *, code: str, message: str) -> bool:
    """Fail the half for good.

    Returns:
        False when the claim had been lost, and nothing was changed.
    """
    return _record(session, claim, _failure(claim.job, code, message))


def record_transient_failure(session: Session, claim: Claim, *, code: str, message: str) -> bool:
    """Note what an attempt met and give the half back, still pending, for the next attempt.

    Returns:
        False when the claim had been lost, and nothing was changed.
    """
    return _record(
        session,
        claim,
        {**_failure(claim.job, code, message), f"{claim.job}_status": Status.PENDING},
    )


def record_postponement(
    session: Session, claim: Claim, *, code: str, message: str, seconds: int
) -> bool:
    """Put the half off: still pending, not to be claimed for so many seconds, and the attempt does
    not count. `requeue_stalled_jobs` returns it when they are over.

    Returns:
        False when the claim had been lost, and nothing was changed.
    """
    return _record(
        session,
        claim,
        {
            **_failure(claim.job, code, message),
            f"{claim.job}_status": Status.PENDING,
            f"{claim.job}_attempts": _column(claim.job, "attempts") - 1,
            f"{claim.job}_claimed_until": utc_now(seconds),
        },
    )


def edit_annotation(session: Session, image_id: int, changes: Mapping[str, Any]) -> None:
    """Put a person's words in the place of the model's.

    Args:
        changes: new values of any of `annotation`, `alt_text` and `tags`; None clears.
    """
    keep = {
        # Rows from before these columns were there: the words are still the model's own.
        generated: case(
            (
                and_(Image.annotation_source == AnnotationSource.MODEL, kept.is_(None)),
                current,
            ),
            else_=kept,
        )
        for generated, kept, current in (
            ("generated_alt_text", Image.generated_alt_text, Image.alt_text),
            ("generated_tags", Image.generated_tags, Image.tags),
        )
    }
    # In two statements, because MySQL would see the new words when it comes to keep the old.
    here = [Image.id == image_id, _is_visible()]
    session.execute(update(Image).where(*here).values(keep))
    session.execute(
        update(Image).where(*here).values({**changes, "annotation_source": AnnotationSource.HUMAN})
    )


def restore_annotation(session: Session, image_id: int) -> bool:
    """Put the model's words back: caption, alt text and tags.

    Returns:
        False when the model has said nothing of this image, and nothing was changed.
    """
    return bool(
        execute_update(
            session,
            update(Image)
            .where(Image.id == image_id, _is_visible(), Image.generated_annotation.is_not(None))
            .values(
                annotation=Image.generated_annotation,
                # Empty only in rows from before these columns, whose words nobody has edited.
                alt_text=func.coalesce(Image.generated_alt_text, Image.alt_text),
                tags=func.coalesce(Image.generated_tags, Image.tags),
                annotation_source=AnnotationSource.MODEL,
            ),
        )
    )


def reset_for_retry(
    session: Session, image_id: int, job: Job, *, even_completed: bool = False
) -> bool:
    """Take a failed half back to pending, as new as if its original had just arrived.

    Args:
        even_completed: a completed half, too.
    Returns:
        False when it is pending, or completed, or its original was never stored.
    """
    ended = [Status.FAILED, Status.COMPLETED] if even_completed else [Status.FAILED]
    return bool(
        execute_update(
            session,
            update(Image)
            .where(
                Image.id == image_id,
                _is_visible(),
                _column(job, "status").in_(ended),
                _was_stored(),
            )
            .values(_as_new(job)),
        )
    )


def reset_for_redrive(session: Session, job: Job, original_key: str, *, max_attempts: int) -> bool:
    """Take a half back to pending, as new, if what ended its work may have passed or been mended:
    it failed with one of `REDRIVABLE_CODES`, or its attempts are used up.

    Returns:
        False when there was no such half: it is done, failed for good, or waits for its turn.
    """
    return bool(
        execute_update(
            session,
            update(Image)
            .where(
                Image.original_key == original_key,
                _is_visible(),
                _was_stored(),
                or_(
                    and_(
                        _column(job, "status") == Status.FAILED,
                        _column(job, "error_code").in_(REDRIVABLE_CODES),
                    ),
                    and_(*_waiting(job), _column(job, "attempts") >= max_attempts),
                ),
            )
            .values(_as_new(job)),
        )
    )


def mark_deleting(session: Session, image_id: int) -> DeletedObjects:
    """Hide an image from every question, and say which objects are to be deleted now.

    Raises:
        ImageNotFoundError: there is none, or it is being deleted already.
    """
    image = get_image(session, image_id)
    session.execute(
        update(Image).where(Image.id == image_id, _is_visible()).values(deleting_at=utc_now())
    )
    return _objects_of(image.id, image.original_key)


def list_deleting(session: Session, *, limit: int) -> list[DeletedObjects]:
    """What is left of images that were deleted half, or while somebody worked on them."""
    rows = session.execute(
        select(Image.id, Image.original_key)
        .where(Image.deleting_at.is_not(None), _is_settled())
        .order_by(Image.deleting_at)
        .limit(limit)
    )
    return [_objects_of(row.id, row.original_key) for row in rows]


def remove_deleted(session: Session, image_id: int) -> bool:
    """Remove the row of an image whose objects are gone.

    Returns:
        False when it must stay for now: work on it was under way, and could still store an object.
    """
    is_removed = bool(
        execute_update(
            session,
            delete(Image).where(
                Image.id == image_id, Image.deleting_at.is_not(None), _is_settled()
            ),
        )
    )
    if is_removed:
        execute_update(
            session,
            delete(AnnotationFingerprint).where(AnnotationFingerprint.image_id == image_id),
        )
    return is_removed


def fail_overdue_jobs(session: Session, job: Job, *, deadline_seconds: int) -> list[FailedJob]:
    """Fail halves that were asked for longer ago than the deadline and are in nobody's hands.

    Returns:
        What was failed: at most MAX_OVERDUE, the longest waiting first.
    """
    overdue = session.execute(
        select(Image.id, Image.original_key)
        .where(
            _is_visible(),
            *_waiting(job),
            _column(job, "requested_at") < utc_now(-deadline_seconds),
        )
        .order_by(_column(job, "requested_at"))
        .limit(MAX_OVERDUE)
        # What somebody is about to claim or to finish is left to them.
        .with_for_update(skip_locked=True)
    ).all()
    code, message = "timed_out", "The work did not finish in time. Try it again."
    execute_update(
        session,
        update(Image)
        .where(Image.id.in_([row.id for row in overdue]), *_waiting(job))
        .values(_failure(job, code, message)),
    )
    return [FailedJob(row.id, row.original_key, job, code, message) for row in overdue]


def requeue_stalled_jobs(
    session: Session, *, idle_seconds: int, limit: int, restarts_deadline: bool = False
) -> list[tuple[Job, str]]:
    """Halves, with their originals' keys, that wait and that nobody will come back to by himself.

    Nothing happened to them for `idle_seconds`, because their event was lost or is late; or the
    time until which they were held is over, because they were put off or their function died. At
    most `limit` of each half, the longest waiting first. Each is returned once, and again only
    after `idle_seconds`. Their deadline goes on, unless `restarts_deadline`: then it counts from
    now.
    """
    # One query for each half, because each has an index that leads straight to what is pending;
    # both before either is touched.
    idle = {
        job: session.execute(
            select(Image.id, Image.original_key)
            .where(
                _is_visible(),
                *_waiting(job),
                or_(
                    Image.updated_at < utc_now(-idle_seconds),
                    _column(job, "claimed_until").is_not(None),
                ),
            )
            .order_by(_column(job, "requested_at"))
            .limit(limit)
        ).all()
        for job in Job
    }
    for job, rows in idle.items():
        touched: dict[str, Any] = {"updated_at": utc_now(), f"{job}_claimed_until": None}
        if restarts_deadline:
            touched[f"{job}_requested_at"] = utc_now()
        execute_update(
            session,
            update(Image)
            # Whoever claimed one in the meantime keeps it.
            .where(Image.id.in_([row.id for row in rows]), *_waiting(job))
            .values(touched),
        )
    return [(job, row.original_key) for job, rows in idle.items() for row in rows]


def _is_visible() -> ColumnElement[bool]:
    return Image.deleting_at.is_(None)


def _was_stored() -> ColumnElement[bool]:
    """Asking again for what was never stored cannot help; sending the file again can."""
    return or_(
        Image.annotation_error_code.is_(None), Image.annotation_error_code != "upload_failed"
    )


def _is_settled() -> ColumnElement[bool]:
    """Nobody can be at work on this image, which is being deleted, nor storing its original."""
    return or_(
        and_(*(_column(job, "status") != Status.PENDING for job in Job)),
        Image.deleting_at < utc_now(-LINGER_SECONDS),
    )


def _objects_of(image_id: int, original_key: str) -> DeletedObjects:
    # The thumbnail's key follows from the original's, also where the row does not name it yet.
    return DeletedObjects(image_id, original_key, object_keys.thumbnail_key(original_key))


def _versions(statement: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """The versions of the rows that a SELECT of ids and times of change gives, in one value."""
    rows = statement.subquery()
    return select(json_pairs(rows.c.id, rows.c.updated_at))


_ANY: Select[*tuple[Any, ...]] = select(Image.id, Image.updated_at)
_NEWEST: Select[*tuple[Any, ...]] = (
    _ANY.where(Image.id < bindparam("before_id"))
    .order_by(Image.id.desc())
    .limit(bindparam("limit"))
)
# What is asked for most is put together once.
_NEWEST_VERSIONS = _versions(_NEWEST.where(_is_visible()))
_VERSIONS_BY_ID = _versions(
    _ANY.where(Image.id.in_(bindparam("image_ids", expanding=True)), _is_visible())
)


def _read_versions(
    connection: Connection, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
) -> Sequence[ImageVersion]:
    pairs = json.loads(connection.execute(statement, parameters).scalar() or "[]")
    return [ImageVersion(*pair) for pair in sorted(pairs, reverse=True)]


def _question(connection: Connection, where: ImageFilter) -> full_text.Question:
    """A filter as what must be true of an image, besides that everybody may see it."""
    conditions = [_is_visible()]
    costly_conditions = []
    if where.status is not None:
        conditions.append(Image.overall_status == where.status.value)
    words = search.parse_words(where.text or "")
    if not words and (where.text or "").strip():
        conditions.append(false())  # There is something to search for, and none of it a word.
    if where.tag:
        # The tag's words lead there by the full-text index; only then are tags compared whole.
        tag = where.tag.encode(errors="replace").decode()  # Half a character is in no tag.
        tag_words = search.parse_words(tag, is_whole=True)
        is_mysql = connection.dialect.name == "mysql"
        costly_conditions.append(_has_tag(tag, is_mysql=is_mysql))
        if not tag_words:
            conditions.append(Image.id > _newest_id() - MAX_SCANNED)
        words = [*tag_words, *words]
    return full_text.Question(words, conditions, costly_conditions)


def _has_tag(tag: str, *, is_mysql: bool) -> ColumnElement[bool]:
    if is_mysql:
        # In JSON's text, too, letters can be made small: escapes are written in small letters.
        tags = func.lower(cast(Image.tags, mysql.CHAR(charset="utf8mb4")))
        return func.json_contains(tags, func.json_quote(func.lower(tag))) == 1
    each = func.json_each(Image.tags).table_valued("value")
    return select(literal(1)).where(func.casefold(each.c.value) == tag.casefold()).exists()


def _newest_id() -> ColumnElement[int]:
    return select(func.coalesce(func.max(Image.id), 0)).scalar_subquery()


def _column(job: Job, name: str) -> InstrumentedAttribute[Any]:
    """A half's own column: `_column(Job.THUMBNAIL, "status")` is `Image.thumbnail_status`."""
    column: InstrumentedAttribute[Any] = getattr(Image, f"{job}_{name}")
    return column


def _waiting(job: Job) -> list[ColumnElement[bool]]:
    """Pending, and no function holds a claim that still runs."""
    claimed_until = _column(job, "claimed_until")
    return [
        _column(job, "status") == Status.PENDING,
        or_(claimed_until.is_(None), claimed_until < utc_now()),
    ]


def _as_new(job: Job) -> dict[str, Any]:
    """As if the original had just arrived."""
    return {
        f"{job}_status": Status.PENDING,
        f"{job}_error_code": None,
        f"{job}_error_message": None,
        f"{job}_attempts": 0,
        f"{job}_claimed_until": None,
        f"{job}_requested_at": utc_now(),
    }


def _success(job: Job) -> dict[str, Any]:
    return {
        f"{job}_status": Status.COMPLETED,
        f"{job}_error_code": None,
        f"{job}_error_message": None,
        f"{job}_claimed_until": None,
    }


def _failure(job: Job, code: str, message: str) -> dict[str, Any]:
    return {
        f"{job}_status": Status.FAILED,
        f"{job}_error_code": code,
        f"{job}_error_message": message[:MAX_ERROR_MESSAGE_CHARACTERS],
        f"{job}_claimed_until": None,
    }


def _record(session: Session, claim: Claim, values: dict[str, Any]) -> bool:
    """Write a result, if the claim is still the row's own."""
    return bool(
        execute_update(
            session,
            update(Image)
            .where(
                Image.id == claim.image_id,
                _column(claim.job, "status") == Status.PENDING,
                _column(claim.job, "claimed_until") == claim.claimed_until,
            )
            .values(values),
        )
    )


def execute_update(session: Session, statement: Update | Delete) -> int:
    """Run a change and return how many rows its conditions matched."""
    # No session here holds rows that a change would have to be told to. Looking for them would
    # cost a SELECT of every matching id.
    unsynchronized = statement.execution_options(synchronize_session=False)
    return typed(CursorResult[Any], session.execute(unsynchronized)).rowcount
