"""The row: everything the system knows about one image.

The same models serve MySQL 8.4 and SQLite. Two halves of the row, annotation and thumbnail, are
worked on independently; the columns named after a half belong to it alone.
"""

from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Computed,
    Date,
    DateTime,
    Dialect,
    Enum,
    Index,
    Integer,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement, literal


class Job(StrEnum):
    """The two parts of a row that functions complete."""

    ANNOTATION = "annotation"
    THUMBNAIL = "thumbnail"


class Status(StrEnum):
    """Where a half, or a whole image, stands."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"


class AnnotationSource(StrEnum):
    """Whose words the annotation is."""

    MODEL = "model"
    HUMAN = "human"


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC time with microseconds; both databases store it without a zone."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name == "mysql":
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value else None


class utc_now(FunctionElement[datetime]):
    """The database's own clock, `offset_seconds` from now.

    Claims and deadlines are compared across machines, so the one clock they all share decides.
    """

    type = UTCDateTime()
    inherit_cache = True

    def __init__(self, offset_seconds: int = 0) -> None:
        super().__init__(literal(offset_seconds, Integer()))


@compiles(utc_now, "mysql")
def _utc_now_mysql(element: utc_now, compiler: SQLCompiler, **kwargs: Any) -> str:
    offset = compiler.process(element.clauses, **kwargs)
    return f"(UTC_TIMESTAMP(6) + INTERVAL {offset} SECOND)"


@compiles(utc_now, "sqlite")
def _utc_now_sqlite(element: utc_now, compiler: SQLCompiler, **kwargs: Any) -> str:
    # %f has three decimals; three zeros more make it the six that SQLAlchemy writes, so that
    # times compare as text.
    offset = compiler.process(element.clauses, **kwargs)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {offset} || ' seconds')"


class utc_today(FunctionElement[date]):
    """The day it is in UTC, by the database's own clock."""

    type = Date()
    inherit_cache = True


@compiles(utc_today, "mysql")
def _utc_today_mysql(element: utc_today, compiler: SQLCompiler, **kwargs: Any) -> str:
    return "UTC_DATE()"


@compiles(utc_today, "sqlite")
def _utc_today_sqlite(element: utc_today, compiler: SQLCompiler, **kwargs: Any) -> str:
    return "date('now')"


def _text_enum(kind: type[StrEnum], constraint_name: str) -> Enum:
    """An enum stored as its text, with a CHECK: the same on both databases."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=True,
        name=constraint_name,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


def _exact_text(length: int) -> String:
    """Text that is compared byte by byte: MySQL's usual collation takes `A` and `á` for `a`."""
    return String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
    )


# SQLite counts upwards by itself only in a column declared INTEGER.
_BigID = BigInteger().with_variant(Integer, "sqlite")


_OVERALL_STATUS = (
    "(CASE WHEN annotation_status = 'pending' OR thumbnail_status = 'pending' THEN 'pending'"
    " WHEN annotation_status = 'failed' OR thumbnail_status = 'failed' THEN 'failed'"
    " ELSE 'completed' END)"
)


_TABLE_OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_ai_ci",
}


class Base(DeclarativeBase):
    """Root of the models."""


class Image(Base):
    """One uploaded image."""

    __tablename__ = "images"

    id: Mapped[int] = mapped_column(_BigID, primary_key=True, autoincrement=True)
    filename: Mapped[str] = mapped_column(String(255))  # As its owner named it: text, never a path.
    original_key: Mapped[str] = mapped_column(_exact_text(64), unique=True)
    thumbnail_key: Mapped[str | None] = mapped_column(
        _exact_text(64)
    )  # Set once the object is stored.
    content_type: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int]  # Pixels, upright.
    height: Mapped[int]
    sha256: Mapped[str] = mapped_column(_exact_text(64))  # Of the original's bytes, in hex.
    dominant_color: Mapped[str | None] = mapped_column(String(7))  # `#rrggbb`
    owner_id: Mapped[str] = mapped_column(_exact_text(255))

    annotation: Mapped[str | None] = mapped_column(Text)
    alt_text: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    annotation_source: Mapped[AnnotationSource | None] = mapped_column(
        _text_enum(AnnotationSource, "images_annotation_source")
    )
    # The model's words, kept when a person edits.
    generated_annotation: Mapped[str | None] = mapped_column(Text)
    generated_alt_text: Mapped[str | None] = mapped_column(Text)
    generated_tags: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    annotation_model: Mapped[str | None] = mapped_column(String(128))
    # What every question about this image took, also those whose answers were not kept.
    input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]

    # For each half: where it stands; why it failed, or what its last attempt met; how often work
    # began; until when the function now at work may hold it; when the work was last asked for.
    annotation_status: Mapped[Status] = mapped_column(
        _text_enum(Status, "images_annotation_status"), default=Status.PENDING
    )
    annotation_error_code: Mapped[str | None] = mapped_column(String(64))
    annotation_error_message: Mapped[str | None] = mapped_column(String(500))
    annotation_attempts: Mapped[int] = mapped_column(default=0)
    annotation_claimed_until: Mapped[datetime | None] = mapped_column(UTCDateTime)
    annotation_requested_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utc_now())

    thumbnail_status: Mapped[Status] = mapped_column(
        _text_enum(Status, "images_thumbnail_status"), default=Status.PENDING
    )
    thumbnail_error_code: Mapped[str | None] = mapped_column(String(64))
    thumbnail_error_message: Mapped[str | None] = mapped_column(String(500))
    thumbnail_attempts: Mapped[int] = mapped_column(default=0)
    thumbnail_claimed_until: Mapped[datetime | None] = mapped_column(UTCDateTime)
    thumbnail_requested_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utc_now())

    # Since when its owner wants it gone. It is hidden from everybody; the sweep sees it through.
    deleting_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # `status`, as the database works it out: to be searched by, never loaded.
    overall_status: Mapped[str] = mapped_column(
        String(16), Computed(_OVERALL_STATUS, persisted=False), nullable=True, deferred=True
    )

    uploaded_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utc_now())
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utc_now(), onupdate=utc_now())

    __table_args__ = (
        Index("images_owner_sha256", "owner_id", "sha256"),  # Has this person sent it before?
        Index("images_annotation_waiting", "annotation_status", "annotation_requested_at"),
        Index("images_thumbnail_waiting", "thumbnail_status", "thumbnail_requested_at"),
        # What is shown of one status; deleted images are passed over without a look at the row.
        Index("images_status_visible", "overall_status", "deleting_at"),
        Index("images_deleting", "deleting_at"),
        {
            **_TABLE_OPTIONS,
            # The address of an image that was deleted must never become another's.
            "sqlite_autoincrement": True,
        },
    )

    @property
    def version(self) -> str:
        """When it was last changed, as both databases write it."""
        return f"{self.updated_at:%Y-%m-%d %H:%M:%S.%f}"

    @property
    def status(self) -> Status:
        """Failed when a half failed and none is pending; completed when both are; else pending."""
        jobs = {self.annotation_status, self.thumbnail_status}
        if Status.PENDING in jobs:
            return Status.PENDING
        return Status.FAILED if Status.FAILED in jobs else Status.COMPLETED


class AnnotationFingerprint(Base):
    """Which bytes, model and prompt an image's generated words came from.

    A table of its own, because MySQL copies a table with a full-text index to add a column to it.
    """

    __tablename__ = "annotation_fingerprints"

    image_id: Mapped[int] = mapped_column(_BigID, primary_key=True, autoincrement=False)
    fingerprint: Mapped[str] = mapped_column(_exact_text(64))

    __table_args__ = (
        Index("annotation_fingerprints_fingerprint", "fingerprint"),
        _TABLE_OPTIONS,
    )


class DailyTokens(Base):
    """What was spent on captions on one day, and is set aside for questions under way."""

    __tablename__ = "daily_tokens"

    day: Mapped[date] = mapped_column(primary_key=True)  # In UTC.
    tokens: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (_TABLE_OPTIONS,)
