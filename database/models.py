"""The models: one row for each image, its preview, its words for the search, the text that the
model read in it, the authors of its texts, their earlier versions, its review, how its owner wants
it described, the languages of its texts, fingerprints of annotations, imports and exports, tokens
used per day, the activity of the functions, and the state of the captioning service.

The same models serve MySQL 8.4 and SQLite. Each row has two independent jobs, annotation and
thumbnail. Each job has its own columns, whose names begin with the name of the job.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Computed,
    Date,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    TypeDecorator,
    false,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement, literal

from database.languages import MAX_TAG_CHARACTERS

# Longer than every name of a model.
MAX_MODEL_CHARACTERS: Final = 128
# The limits of what an owner may choose for a caption.
MAX_CAPTION_LANGUAGES: Final = 5
MAX_CONTEXT_CHARACTERS: Final = 500


class Job(StrEnum):
    """The two pieces of work on an image."""

    ANNOTATION = "annotation"
    THUMBNAIL = "thumbnail"


class Status(StrEnum):
    """The state of a job, or of a whole image."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"


class AnnotationSource(StrEnum):
    """The author of a text about an image."""

    MODEL = "model"
    HUMAN = "human"


class CaptionStyle(StrEnum):
    """The kind of text that an owner can choose. Without a choice, it is a caption as usual."""

    SHORT = "short"
    DETAILED = "detailed"
    ALT_TEXT_ONLY = "alt_text_only"  # With tags, and without a caption.
    PRODUCT = "product"


class ReviewState(StrEnum):
    """Whether a person approved the texts of an image."""

    UNREVIEWED = "unreviewed"  # Never, or the approval was withdrawn.
    REVIEWED = "reviewed"  # They are the approved ones.
    CHANGED = "changed"  # They differ from the approved ones.


class AltTextState(StrEnum):
    """What is wrong with an alt text: the first that applies."""

    DECORATIVE = "decorative"  # The image needs none.
    MISSING = "missing"
    LANGUAGE = "language"  # It is not in the expected language.
    LONG = "long"
    IMAGE_OF = "image_of"  # It begins with "Image of".
    CAPTION = "caption"  # It is the same as the caption.
    GOOD = "good"  # Nothing of this.


class VersionSource(StrEnum):
    """The origin of a version of a text."""

    MODEL = "model"
    HUMAN = "human"
    IMPORT = "import"  # A file of corrections.


def effective_sources(
    texts: Any,
    caption: AnnotationSource | None,
    alt_text: AnnotationSource | None,
    tags: AnnotationSource | None,
) -> dict[str, AnnotationSource | None]:
    """Return the author of each text of an image. The author of a removed text is a person.

    Args:
        texts: a row with `annotation`, `alt_text` and `tags`.
        caption: the stored author of the caption.
        alt_text: that of the alt text; without one, it has the caption's.
        tags: that of the tags; without one, they have the caption's.
    """
    stored = {"annotation": caption, "alt_text": alt_text or caption, "tags": tags or caption}
    return {
        field: source if getattr(texts, field) or source is AnnotationSource.HUMAN else None
        for field, source in stored.items()
    }


# Texts in further languages, by their BCP 47 tags and these names.
Translations = Mapping[str, Mapping[str, str]]
TRANSLATED_TEXTS = ("caption", "alt_text")


def effective_translations(
    by_model: Translations | None, edits: Translations | None
) -> Translations:
    """Return the texts in further languages: those of a person, and else the model's.

    Args:
        by_model: the model's texts.
        edits: those of a person. An empty text removes the model's.
    """
    if not by_model and not edits:
        return {}  # As most images, at once.
    by_model, edits = by_model or {}, edits or {}
    texts = {tag: {**by_model.get(tag, {}), **edits.get(tag, {})} for tag in {**by_model, **edits}}
    return {
        tag: {
            **({"caption": each["caption"]} if each.get("caption") else {}),
            "alt_text": each.get("alt_text", ""),
        }
        for tag, each in texts.items()
        if any(each.values())
    }


def language_of_caption(
    caption: str | None, source: AnnotationSource | None, stored: str | None
) -> str | None:
    """Return the tag of the caption's language; None if it is not known, or a person wrote it.

    Args:
        caption: the present caption.
        source: its author.
        stored: the tag of the language of the model's caption.
    """
    return stored if caption and source is AnnotationSource.MODEL else None


def translation_sources(
    translations: Translations, edits: Translations | None
) -> dict[str, dict[str, AnnotationSource]]:
    """Return the author of each text in a further language.

    Args:
        translations: what `effective_translations` returns.
        edits: the texts of a person.
    """
    return {
        tag: {
            name: AnnotationSource.HUMAN
            if name in (edits or {}).get(tag, {})
            else AnnotationSource.MODEL
            for name in texts
        }
        for tag, texts in translations.items()
    }


@dataclass(frozen=True)
class CaptionOptions:
    """How an owner wants an image to be described. The default leaves all to the site.

    Attributes:
        languages: the tags of the languages; the first is the caption's.
        style: the kind of text.
        context: facts for the model that are not visible in the image.
        uses_embedded_text: whether the description that the file has inside is such a fact, too.
    """

    languages: tuple[str, ...] = ()
    style: CaptionStyle | None = None
    context: str | None = None
    uses_embedded_text: bool = False


DEFAULT_OPTIONS: Final = CaptionOptions()


class UTCDateTime(TypeDecorator[datetime]):
    """A time in UTC with microseconds, stored without a time zone."""

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
    """The time of the database, plus `offset_seconds`.

    Leases and deadlines are compared between machines, so all of them use the database's clock.
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
    # SQLite compares times as text. %f gives three decimals; the zeros make it six, as SQLAlchemy
    # writes them.
    offset = compiler.process(element.clauses, **kwargs)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {offset} || ' seconds')"


class utc_today(FunctionElement[date]):
    """The current date in UTC, by the database's clock."""

    type = Date()
    inherit_cache = True


@compiles(utc_today, "mysql")
def _utc_today_mysql(element: utc_today, compiler: SQLCompiler, **kwargs: Any) -> str:
    return "UTC_DATE()"


@compiles(utc_today, "sqlite")
def _utc_today_sqlite(element: utc_today, compiler: SQLCompiler, **kwargs: Any) -> str:
    return "date('now')"


def _text_enum(kind: type[StrEnum], constraint_name: str | None) -> Enum:
    """Build a column type that stores an enum as text, with a CHECK constraint if it has a name."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=constraint_name is not None,
        name=constraint_name,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


def _exact_text(length: int) -> String:
    """Build a text type that compares bytes; MySQL's default collation equates `A`, `á` and `a`."""
    return String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
    )


# SQLite assigns ids only in a column that is declared INTEGER.
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
    """The base class of the models."""


def _image_id() -> Mapped[int]:
    """Build the primary key of a table with facts about images, which are deleted with them."""
    image = ForeignKey("images.id", ondelete="CASCADE")
    return mapped_column(_BigID, image, primary_key=True, autoincrement=False)


class Image(Base):
    """One uploaded image."""

    __tablename__ = "images"

    id: Mapped[int] = mapped_column(_BigID, primary_key=True, autoincrement=True)
    filename: Mapped[str] = mapped_column(String(255))  # Chosen by the owner: text, never a path.
    original_key: Mapped[str] = mapped_column(_exact_text(64), unique=True)
    # Set once the object is stored.
    thumbnail_key: Mapped[str | None] = mapped_column(_exact_text(64))
    content_type: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int]  # In pixels, after the EXIF rotation.
    height: Mapped[int]
    sha256: Mapped[str] = mapped_column(_exact_text(64))  # Of the original's bytes, in hex.
    dominant_color: Mapped[str | None] = mapped_column(String(7))  # `#rrggbb`
    owner_id: Mapped[str] = mapped_column(_exact_text(255))

    annotation: Mapped[str | None] = mapped_column(Text)
    alt_text: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    # The author of the caption. `TextSources` holds the authors of the other texts.
    annotation_source: Mapped[AnnotationSource | None] = mapped_column(
        _text_enum(AnnotationSource, "images_annotation_source")
    )
    # The model's text, kept when a person edits the annotation.
    generated_annotation: Mapped[str | None] = mapped_column(Text)
    generated_alt_text: Mapped[str | None] = mapped_column(Text)
    generated_tags: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    annotation_model: Mapped[str | None] = mapped_column(String(MAX_MODEL_CHARACTERS))
    # The tokens of all requests about this image, including those without a usable answer.
    input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]

    # For each job: its status; the error of the job or of its last attempt; the number of attempts;
    # the end of the lease; the time of the last request.
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

    # The time at which the deletion begins, which the sweep finishes. An image with a time is
    # hidden; until then it is in its owner's bin.
    deleting_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # `status` as a generated column: used in conditions, never loaded.
    overall_status: Mapped[str] = mapped_column(
        String(16), Computed(_OVERALL_STATUS, persisted=False), nullable=True, deferred=True
    )

    # Loaded by their own queries. With an outer join, MySQL would read and sort the whole table.
    _text_in_image: Mapped["TextInImage | None"] = relationship(lazy="selectin", viewonly=True)
    _text_sources: Mapped["TextSources | None"] = relationship(lazy="selectin", viewonly=True)
    _caption_options: Mapped["ImageCaptionOptions | None"] = relationship(
        lazy="selectin", viewonly=True
    )
    _caption_language: Mapped["ImageLanguage | None"] = relationship(lazy="selectin", viewonly=True)
    _translation_edits: Mapped["TranslationEdits | None"] = relationship(
        lazy="selectin", viewonly=True
    )
    # None in a row of the previous version, until the sweep adds one.
    _review: Mapped["ImageReview | None"] = relationship(lazy="selectin", viewonly=True)
    # None until the thumbnail function has stored one.
    preview: Mapped["Preview | None"] = relationship(lazy="selectin", viewonly=True)

    uploaded_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utc_now())
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utc_now(), onupdate=utc_now())

    __table_args__ = (
        Index("images_owner_sha256", "owner_id", "sha256"),  # Finds duplicates.
        Index("images_annotation_waiting", "annotation_status", "annotation_requested_at"),
        Index("images_thumbnail_waiting", "thumbnail_status", "thumbnail_requested_at"),
        # Lists images of one status, and skips deleted ones without reading their rows.
        Index("images_status_visible", "overall_status", "deleting_at"),
        Index("images_deleting", "deleting_at"),
        # Lists the images of one owner, newest first: each entry ends with the id.
        Index("images_owner", "owner_id"),
        # Lists the bin of one owner.
        Index("images_owner_deleting", "owner_id", "deleting_at"),
        Index("images_owner_status", "owner_id", "overall_status", "deleting_at"),
        # Finds the first image since a time.
        Index("images_uploaded", "uploaded_at"),
        # List images in the order of changes: all, of a status, of an owner, and of both.
        Index("images_changed", "deleting_at", "updated_at"),
        Index("images_status_changed", "overall_status", "deleting_at", "updated_at"),
        Index("images_owner_changed", "owner_id", "deleting_at", "updated_at"),
        Index(
            "images_owner_status_changed",
            *("owner_id", "overall_status", "deleting_at", "updated_at"),
        ),
        {
            **_TABLE_OPTIONS,
            # The id of a deleted image must never be reused, because old links contain it.
            "sqlite_autoincrement": True,
        },
    )

    @property
    def text_in_image(self) -> str | None:
        """The text that the model read in the image."""
        return self._text_in_image.text if self._text_in_image is not None else None

    @property
    def language(self) -> str | None:
        """The tag of the language in which the model wrote; None if it is not known."""
        return self._caption_language.language if self._caption_language is not None else None

    @property
    def generated_translations(self) -> Translations:
        """The model's texts in further languages."""
        languages = self._caption_language
        return (languages.translations if languages is not None else None) or {}

    @property
    def translation_edits(self) -> Translations:
        """The texts of a person in further languages."""
        return self._translation_edits.texts if self._translation_edits is not None else {}

    @property
    def translations(self) -> Translations:
        """The texts in further languages, as `effective_translations` returns them."""
        return effective_translations(self.generated_translations, self.translation_edits)

    @property
    def translation_sources(self) -> dict[str, dict[str, AnnotationSource]]:
        """The author of each text in a further language."""
        return translation_sources(self.translations, self.translation_edits)

    @property
    def caption_options(self) -> CaptionOptions:
        """How the owner wants the image to be described."""
        options = self._caption_options
        return options.value if options is not None else DEFAULT_OPTIONS

    @property
    def sources(self) -> dict[str, AnnotationSource | None]:
        """The author of each text, as `effective_sources` returns them."""
        others = self._text_sources
        return effective_sources(
            self,
            self.annotation_source,
            others.alt_text if others is not None else None,
            others.tags if others is not None else None,
        )

    @property
    def is_decorative(self) -> bool:
        """True if the image needs no alt text. Pages then show it with an empty one."""
        return self._review is not None and self._review.is_decorative

    @property
    def shown_alt_text(self) -> str | None:
        """The alt text for readers: empty for a decorative image, None if it is missing."""
        return "" if self.is_decorative else self.alt_text

    @property
    def review_state(self) -> ReviewState:
        """Whether a person approved the present texts."""
        return self._review.state if self._review is not None else ReviewState.UNREVIEWED

    @property
    def reviewed_at(self) -> datetime | None:
        """The time at which a person approved the present texts."""
        is_reviewed = self.review_state is ReviewState.REVIEWED
        return self._review.reviewed_at if self._review is not None and is_reviewed else None

    @property
    def status(self) -> Status:
        """Pending while a job is pending, then failed if a job failed, else completed."""
        jobs = {self.annotation_status, self.thumbnail_status}
        if Status.PENDING in jobs:
            return Status.PENDING
        return Status.FAILED if Status.FAILED in jobs else Status.COMPLETED


class TextInImage(Base):
    """The text that the model read in an image. An image without text has no row."""

    __tablename__ = "texts_in_images"

    image_id: Mapped[int] = _image_id()
    text: Mapped[str] = mapped_column(Text)

    __table_args__ = (_TABLE_OPTIONS,)


class TextSources(Base):
    """The authors of the alt text and the tags of an image, from the first edit of a text.

    An image without a row has one author for all its texts, `Image.annotation_source`.
    """

    __tablename__ = "text_sources"

    image_id: Mapped[int] = _image_id()
    alt_text: Mapped[AnnotationSource] = mapped_column(
        _text_enum(AnnotationSource, "text_sources_alt_text")
    )
    tags: Mapped[AnnotationSource] = mapped_column(
        _text_enum(AnnotationSource, "text_sources_tags")
    )

    __table_args__ = (_TABLE_OPTIONS,)


class ImageCaptionOptions(Base):
    """The `CaptionOptions` of an image. An image without a choice of its owner has no row."""

    __tablename__ = "caption_options"

    image_id: Mapped[int] = _image_id()
    # Tags with commas between them.
    languages: Mapped[str] = mapped_column(String(MAX_CAPTION_LANGUAGES * (MAX_TAG_CHARACTERS + 1)))
    style: Mapped[CaptionStyle | None] = mapped_column(
        _text_enum(CaptionStyle, "caption_options_style")
    )
    context: Mapped[str | None] = mapped_column(String(MAX_CONTEXT_CHARACTERS))
    # The previous version does not write it.
    uses_embedded_text: Mapped[bool] = mapped_column(Boolean, server_default=false())

    __table_args__ = (_TABLE_OPTIONS,)

    @property
    def value(self) -> CaptionOptions:
        """The options as a value."""
        languages = tuple(filter(None, self.languages.split(",")))
        return CaptionOptions(languages, self.style, self.context, self.uses_embedded_text)


class ImageLanguage(Base):
    """The languages in which the model described an image. Without a row, they are not known."""

    __tablename__ = "image_languages"

    image_id: Mapped[int] = _image_id()
    language: Mapped[str] = mapped_column(String(MAX_TAG_CHARACTERS))  # The tag of the caption's.
    # The model's caption and alt text in further languages, by the tags of these.
    translations: Mapped[dict[str, dict[str, str]] | None] = mapped_column(JSON(none_as_null=True))

    __table_args__ = (_TABLE_OPTIONS,)


class TranslationEdits(Base):
    """The texts of a person in further languages. An image without any has no row.

    They are apart from the model's, which a new caption replaces, also one of the previous version.
    """

    __tablename__ = "translation_edits"

    image_id: Mapped[int] = _image_id()
    texts: Mapped[dict[str, dict[str, str]]] = mapped_column(JSON)  # An empty one was removed.

    __table_args__ = (_TABLE_OPTIONS,)


class ImageReview(Base):
    """The review of an image, and what lists filter by.

    The states are derived from the texts, so that an index finds them. They can be written again
    from the other columns and tables at any time.
    """

    __tablename__ = "image_reviews"

    image_id: Mapped[int] = _image_id()
    owner_id: Mapped[str] = mapped_column(_exact_text(255))  # Of the image.
    is_decorative: Mapped[bool] = mapped_column(Boolean, default=False)
    # The last approval: its time, the hash of the reviewer, and the version of the approved texts.
    reviewed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    reviewed_by: Mapped[str | None] = mapped_column(_exact_text(12))
    reviewed_version: Mapped[str | None] = mapped_column(_exact_text(12))
    state: Mapped[ReviewState] = mapped_column(_text_enum(ReviewState, "image_reviews_state"))
    # Without a constraint: MySQL copies a table to change one, and uploads would wait meanwhile.
    alt_text_state: Mapped[AltTextState] = mapped_column(_text_enum(AltTextState, None))
    # The hash of the alt text, by which equal ones are found. None without one.
    alt_text_hash: Mapped[str | None] = mapped_column(_exact_text(12))

    __table_args__ = (
        # List images of a state in the order of ids: of all owners, and of one.
        Index("image_reviews_state_of_all", "state"),
        Index("image_reviews_state_of_owner", "owner_id", "state"),
        Index("image_reviews_alt_text_of_all", "alt_text_state"),
        Index("image_reviews_alt_text_of_owner", "owner_id", "alt_text_state"),
        Index("image_reviews_same_alt_text", "owner_id", "alt_text_hash"),
        _TABLE_OPTIONS,
    )


class TextVersion(Base):
    """One of the last versions of a text of an image. The newest one is the present text."""

    __tablename__ = "text_versions"

    image_id: Mapped[int] = _image_id()
    field: Mapped[str] = mapped_column(_exact_text(16), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # From 1.
    text: Mapped[str | list[str] | None] = mapped_column(JSON(none_as_null=True))
    source: Mapped[VersionSource] = mapped_column(_text_enum(VersionSource, "text_versions_source"))
    # None for a text that is older than this table.
    written_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    __table_args__ = (_TABLE_OPTIONS,)


class ImageWords(Base):
    """The words by which an image is found, as `words.stored_words` writes them.

    Each database has a full-text index of them. They can be written again from the other tables at
    any time.
    """

    __tablename__ = "image_words"

    image_id: Mapped[int] = _image_id()
    words: Mapped[str] = mapped_column(
        Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql")
    )

    __table_args__ = (_TABLE_OPTIONS,)


class CaptionLanguage(Base):
    """The language of captions without a choice: one row, or none before the first caption."""

    __tablename__ = "caption_language"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    language: Mapped[str] = mapped_column(String(32))  # Its English name in lower case.

    __table_args__ = (_TABLE_OPTIONS,)


class Preview(Base):
    """The stored preview of an image, and its small preview if the preview is larger."""

    __tablename__ = "previews"

    image_id: Mapped[int] = _image_id()
    width: Mapped[int]  # In pixels.
    height: Mapped[int]
    small_width: Mapped[int | None]  # None if no small preview is stored.

    __table_args__ = (_TABLE_OPTIONS,)


class AnnotationFingerprint(Base):
    """The hash of the bytes, the model and the prompt that an annotation was made from.

    It is a separate table, because MySQL would copy the whole images table, which has a full-text
    index, to add a column.
    """

    __tablename__ = "annotation_fingerprints"

    image_id: Mapped[int] = mapped_column(_BigID, primary_key=True, autoincrement=False)
    fingerprint: Mapped[str] = mapped_column(_exact_text(64))

    __table_args__ = (
        Index("annotation_fingerprints_fingerprint", "fingerprint"),
        _TABLE_OPTIONS,
    )


class ApiKey(Base):
    """A key with which a program or another device acts for an owner."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(_BigID, primary_key=True, autoincrement=True)
    owner_id: Mapped[str] = mapped_column(_exact_text(255))
    name: Mapped[str] = mapped_column(String(100))  # Chosen by the owner.
    key_hash: Mapped[str] = mapped_column(_exact_text(64), unique=True)  # SHA-256 in hex.
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utc_now())
    last_used_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    __table_args__ = (
        Index("api_keys_owner", "owner_id"),
        # The id of a revoked key is not used again, so that a second revocation finds nothing.
        {**_TABLE_OPTIONS, "sqlite_autoincrement": True},
    )


class ImportState(StrEnum):
    """The state of an import of corrections."""

    PROPOSED = "proposed"  # Its owner compares what it would change.
    APPLIED = "applied"
    UNDONE = "undone"


class Import(Base):
    """Corrections from a file of an owner."""

    __tablename__ = "imports"

    id: Mapped[int] = mapped_column(_BigID, primary_key=True, autoincrement=True)
    owner_id: Mapped[str] = mapped_column(_exact_text(255))
    state: Mapped[ImportState] = mapped_column(_text_enum(ImportState, "imports_state"))
    changed: Mapped[int]  # The images that it changes.
    unchanged: Mapped[int]  # The images of the file that have these texts already.
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utc_now())

    __table_args__ = (
        Index("imports_owner", "owner_id", "state"),
        # The id of an earlier import is not used again, so that a repeated request finds nothing.
        {**_TABLE_OPTIONS, "sqlite_autoincrement": True},
    )


class ImportChange(Base):
    """The texts of one image before and after an import."""

    __tablename__ = "import_changes"

    import_id: Mapped[int] = mapped_column(
        _BigID,
        ForeignKey("imports.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )
    image_id: Mapped[int] = _image_id()
    texts_before: Mapped[dict[str, Any]] = mapped_column(JSON)
    texts_after: Mapped[dict[str, Any]] = mapped_column(JSON)

    __table_args__ = (
        Index("import_changes_image", "image_id"),  # Deletes the texts with their image.
        _TABLE_OPTIONS,
    )


class ExportState(StrEnum):
    """The state of an export."""

    RUNNING = "running"
    COMPLETED = "completed"  # The whole file was sent.
    STOPPED = "stopped"  # Only a part was sent, or nothing.


class Export(Base):
    """The progress of an export, for the client that gave it an id."""

    __tablename__ = "exports"

    id: Mapped[int] = mapped_column(_BigID, primary_key=True, autoincrement=True)
    export_id: Mapped[str] = mapped_column(_exact_text(36))  # A UUID, chosen by the client.
    owner_id: Mapped[str] = mapped_column(_exact_text(255))  # Empty for a client without an owner.
    state: Mapped[ExportState] = mapped_column(_text_enum(ExportState, "exports_state"))
    images: Mapped[int | None]  # All images to export, if counting them did not take long.
    images_done: Mapped[int] = mapped_column(default=0)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(String(500))
    started_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utc_now())
    changed_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utc_now())

    __table_args__ = (
        Index("exports_export_id", "export_id", "owner_id", unique=True),
        Index("exports_changed", "changed_at"),  # Finds old rows.
        # The server that writes an export must not change the row of a later one.
        {**_TABLE_OPTIONS, "sqlite_autoincrement": True},
    )


class DailyTokens(Base):
    """The tokens that were used on one day, plus those reserved by running requests."""

    __tablename__ = "daily_tokens"

    day: Mapped[date] = mapped_column(primary_key=True)  # In UTC.
    tokens: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (_TABLE_OPTIONS,)


class TokenUsage(Base):
    """The tokens that requests about the images of one owner used on one day."""

    __tablename__ = "token_usage"

    owner_id: Mapped[str] = mapped_column(_exact_text(255), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)  # In UTC.
    model: Mapped[str] = mapped_column(_exact_text(MAX_MODEL_CHARACTERS), primary_key=True)
    requests: Mapped[int]
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        Index("token_usage_day", "day"),  # Sums the present day for the metrics.
        _TABLE_OPTIONS,
    )


class JobActivity(Base):
    """What the last sweeps saw and did: one row for each kind of job."""

    __tablename__ = "job_activity"

    job: Mapped[str] = mapped_column(String(16), primary_key=True)
    # The last sweep during which a function worked on a job of this kind.
    worked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # The time of the last sweep, the jobs without any work that it requested again, and the others
    # that were stalled too.
    requeued_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    requeued: Mapped[int]
    not_requeued: Mapped[int]

    __table_args__ = (_TABLE_OPTIONS,)


class CaptionService(Base):
    """The state of the captioning service: one row, or none before the first refusal."""

    __tablename__ = "caption_service"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    # No request is sent before this time.
    paused_until: Mapped[datetime | None] = mapped_column(UTCDateTime)
    reason: Mapped[str | None] = mapped_column(String(500))  # The sentence of the last refusal.
    # The first and the last refusal since the last answer. `refused_since` is NULL after an answer.
    refused_since: Mapped[datetime | None] = mapped_column(UTCDateTime)
    refused_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    answered_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # The limit that the service named, and the time at which it is forgotten.
    requests_per_minute: Mapped[int | None]
    limit_known_until: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # The last minute with a counted request, and its requests.
    minute: Mapped[datetime | None] = mapped_column(UTCDateTime)
    minute_requests: Mapped[int]

    __table_args__ = (_TABLE_OPTIONS,)
