"""The schemas of the API, from which the OpenAPI document is built."""

import re
from collections.abc import Mapping, Sequence, Sized
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from flask_smorest.fields import Upload
from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, validates_schema
from marshmallow.validate import Length, OneOf, Range

from database.annotations import TEXT_FIELDS
from database.languages import parse_tag
from database.listing import Sort
from database.models import (
    MAX_CAPTION_LANGUAGES,
    MAX_CONTEXT_CHARACTERS,
    AltTextState,
    AnnotationSource,
    CaptionStyle,
    ExportState,
    ImportState,
    ReviewState,
    Status,
    VersionSource,
)
from database.versions import MAX_NUMBER
from web_app.routes.cursors import BIN_CURSOR_PATTERN, CURSOR_PATTERN
from web_app.services.api_keys import MAX_NAME_CHARACTERS
from web_app.services.archive import Metadata
from web_app.services.batch import ACTIONS, MAX_BATCH, TAG_ACTIONS
from web_app.services.caption_options import OPTION_FIELDS
from web_app.services.edits import (
    MAX_ALT_TEXT_CHARACTERS,
    MAX_ANNOTATION_CHARACTERS,
    MAX_TAG_CHARACTERS,
    MAX_TAGS,
)
from web_app.services.export import FORMATS, ZIP

MAX_IDS = 100
# They are part of the address: `limit_request_line` in gunicorn.conf.py.
MAX_EXPORTED_IDS = 500
MAX_SEARCHED_TAGS = 10
MAX_PAGE_SIZE = 100
DEFAULT_PAGE_SIZE = 24

_Sized = TypeVar("_Sized", bound=Sized)
_STATUSES = OneOf([status.value for status in Status])
_REVIEWS = OneOf([state.value for state in ReviewState])
_TIME = {"format": "date-time"}
_EXPIRY = "Presigned, expires within minutes. Request it again; do not store it."
_LINK = {"format": "uri", "description": _EXPIRY}


class StrictBoolean(fields.Boolean):
    """A boolean that accepts `true` and `false` only."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Must be true or false.")
        return value


class StrictInteger(fields.Integer):
    """An integer that is written as a JSON number."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValidationError("Must be a whole number.")
        return value


class MaxLength(Length):
    """A maximum length that names the limit and the length in its message."""

    def __init__(self, unit: str, *, max: int) -> None:
        super().__init__(max=max)
        self._message = f"Use up to {max:,} {unit}. You have {{:,}}."
        self._limit = max

    def __call__(self, value: _Sized) -> _Sized:
        """Return the value.

        Raises:
            ValidationError: the value is too long.
        """
        if len(value) > self._limit:
            raise ValidationError(self._message.format(len(value)))
        return value


class Moment(fields.Field):  # type: ignore[type-arg] # generic in the type stubs only
    """A date of RFC 3339, which means its first or its last moment in UTC, or a date and time."""

    _PATTERN = re.compile(
        r"\d{4}-\d\d-\d\d(?P<time>[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d))?",
        re.ASCII,
    )

    def __init__(self, *, is_end: bool, description: str) -> None:
        """Describe a moment.

        Args:
            is_end: whether a date means the end of its day.
            description: which images the moment bounds.
        """
        kinds = [{"type": "string", "format": name} for name in ("date", "date-time")]
        super().__init__(metadata={"anyOf": kinds, "description": description})
        self._days = timedelta(days=1 if is_end else 0)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        # A plus sign in an address means a space.
        found = self._PATTERN.fullmatch(re.sub(r"(?<=\d) (?=\d\d:\d\d$)", "+", str(value)))
        try:
            if found is None or not 1000 <= int(found[0][:4]) < 9999:  # The years of MySQL.
                raise ValueError(value)
            moment = datetime.fromisoformat(found[0].upper())
            if found["time"] is None:
                return moment.replace(tzinfo=UTC) + self._days
            return moment.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise ValidationError(
                "Write a date, such as 2026-11-30, or a time with its zone, such as "
                "2026-11-30T18:00:00Z."
            ) from error


class Tags(fields.List):  # type: ignore[type-arg]
    """One tag or several."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[Any]:
        return super()._deserialize([value] if isinstance(value, str) else value, *args, **kwargs)


class LanguageTag(fields.String):
    """The tag of a language in which captions can be written, in its usual form."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        tag = parse_tag(super()._deserialize(value, *args, **kwargs))
        if tag is None:
            raise ValidationError("Write the tag of a language, such as de, pt-BR or zh-Hant.")
        return tag


class RestoredFields(fields.Field):  # type: ignore[type-arg] # generic in the type stubs only
    """The fields to restore: `true` for all, `false` for none, or a list of their names."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Sequence[str]:
        if isinstance(value, bool):
            return TEXT_FIELDS if value else ()
        if not isinstance(value, list) or not all(name in TEXT_FIELDS for name in value):
            raise ValidationError(f"Must be true, false or a list of {', '.join(TEXT_FIELDS)}.")
        return tuple(value)


class NewKeySchema(Schema):
    """A new API key."""

    error_code, error_status = "invalid_key_name", 422

    class Meta:
        unknown = RAISE

    name = fields.String(
        required=True,
        error_messages={"required": "Give the key a name by which you will know it."},
        metadata={
            "minLength": 1,
            "maxLength": MAX_NAME_CHARACTERS,
            "description": "A name by which the owner knows the key.",
            "example": "Upload script",
        },
    )


class KeySchema(Schema):
    """An API key of the owner. The key itself is shown once, when it is created."""

    id = fields.Integer(required=True)
    name = fields.String(required=True)
    created_at = fields.String(required=True, metadata=_TIME)
    last_used_at = fields.String(
        required=True,
        allow_none=True,
        metadata={**_TIME, "description": "Exact to an hour; null if the key was never used."},
    )


class CreatedKeySchema(KeySchema):
    """A new API key, with the key itself."""

    key = fields.String(
        required=True,
        metadata={"description": "Send it as `Authorization: Bearer …`. It cannot be read again."},
    )


class KeysSchema(Schema):
    """The API keys of the owner, newest first."""

    keys = fields.List(fields.Nested(KeySchema), required=True)


class PeriodSchema(Schema):
    """The days of a sum."""

    error_code = "invalid_period"

    class Meta:
        unknown = RAISE

    since = fields.Date(
        format="iso",
        metadata={"description": "The first day in UTC, by default the first of this month."},
        error_messages={"invalid": "Write the first day like 2026-11-01."},
    )
    until = fields.Date(
        format="iso",
        metadata={"description": "The last day in UTC, which is included; by default today."},
        error_messages={"invalid": "Write the last day like 2026-11-30."},
    )


class UsedSchema(Schema):
    """Requests to the model, their tokens and their price."""

    requests = fields.Integer(required=True)
    input_tokens = fields.Integer(required=True)
    output_tokens = fields.Integer(required=True)
    cost_usd = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "At the list price of each day; null if no price is known."},
    )


class ModelUsageSchema(UsedSchema):
    """What the requests to one model used."""

    model = fields.String(required=True)


class UsageSchema(UsedSchema):
    """What the images of an owner used in a period. Deleted images are counted, too."""

    since = fields.String(required=True, metadata={"format": "date"})
    until = fields.String(required=True, metadata={"format": "date"})
    has_unknown_prices = fields.Boolean(
        required=True, metadata={"description": "True if the cost lacks a model without a price."}
    )
    models = fields.List(fields.Nested(ModelUsageSchema), required=True)


class ErrorSchema(Schema):
    """An error: a sentence for people, and a stable code for programs."""

    error = fields.String(required=True)
    code = fields.String(required=True)


class TranslationSchema(Schema):
    """The texts of an image in a further language. Without a caption, it has none here."""

    caption = fields.String()
    alt_text = fields.String(required=True)


class TextsSchema(Schema):
    """What the owner can edit."""

    annotation = fields.String(required=True, allow_none=True)
    alt_text = fields.String(required=True, allow_none=True)
    tags = fields.List(fields.String(), required=True, allow_none=True)
    translations = fields.Dict(
        keys=fields.String(), values=fields.Nested(TranslationSchema), required=True
    )
    decorative = fields.Boolean(required=True)


class ChangedMeanwhileSchema(ErrorSchema):
    """The texts are no longer those of `If-Match`."""

    current = fields.Nested(TextsSchema, required=True)


class FileErrorSchema(Schema):
    """The error of a rejected file."""

    code = fields.String(required=True)
    message = fields.String(required=True)


class JobErrorSchema(FileErrorSchema):
    """The error of a failed job, or of the last attempt of a pending one."""

    attempts = fields.Integer(required=True)


def _source(description: str | None = None) -> fields.Raw:
    # A type and null, so that generators of clients make one class and not three.
    authors = {"type": "string", "enum": [source.value for source in AnnotationSource]}
    metadata: dict[str, Any] = {"anyOf": [authors, {"type": "null"}]}
    if description is not None:
        metadata["description"] = description
    return fields.Raw(required=True, allow_none=True, metadata=metadata)


class SourcesSchema(Schema):
    """The author of each text; null without a text, unless a person removed it."""

    caption = _source()
    alt_text = _source()
    tags = _source()


LANGUAGE: dict[str, Any] = {
    "description": "The language of the caption, as a BCP 47 tag, and up to "
    f"{MAX_CAPTION_LANGUAGES - 1} further languages, with commas between them.",
    "example": "pt-BR,en",
}
STYLE: dict[str, Any] = {
    "description": f"One of {', '.join(f'`{style}`' for style in CaptionStyle)}. "
    "`alt_text_only` writes an alt text and tags, and no caption.",
    "example": "short",
}
CONTEXT: dict[str, Any] = {
    "description": f"Facts that cannot be seen, in up to {MAX_CONTEXT_CHARACTERS} characters. The "
    "model gets them as data. Names in it can become part of the caption, which everyone sees.",
    "example": "Summer fair 2026, Cologne; Rex is the dog",
}


EMBEDDED_TEXT: dict[str, Any] = {
    "description": "Whether the description inside the file (IPTC, XMP or EXIF) is context, too. "
    "The model gets it as data. Names in it can become part of the caption, which everyone sees.",
}


class ChosenOptionsSchema(Schema):
    """How the owner wants an image to be described. Null is left to the site."""

    language = fields.String(required=True, allow_none=True)
    style = fields.String(required=True, allow_none=True)
    context = fields.String(required=True, allow_none=True)
    use_embedded_text = fields.Boolean(required=True)


_AUTHORS = OneOf([source.value for source in AnnotationSource])


class TranslationSourcesSchema(Schema):
    """The author of each text in a further language."""

    caption = fields.String(validate=_AUTHORS)
    alt_text = fields.String(required=True, validate=_AUTHORS)


class ImageSchema(Schema):
    """One image and its status."""

    id = fields.Integer(required=True)
    filename = fields.String(required=True)
    annotation_status = fields.String(required=True, validate=_STATUSES)
    thumbnail_status = fields.String(required=True, validate=_STATUSES)
    annotation = fields.String(required=True, allow_none=True)
    thumbnail_url = fields.String(required=True, allow_none=True, metadata=_LINK)
    status = fields.String(required=True, validate=_STATUSES)
    alt_text = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Null if it is missing; empty if the image is decorative."},
    )
    tags = fields.List(fields.String(), required=True)
    text_in_image = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The text that the model read in the image; null if none."},
    )
    language = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "The BCP 47 tag of the language in which the model wrote; null if it is "
            "not known."
        },
    )
    translations = fields.Dict(
        keys=fields.String(),
        values=fields.Nested(TranslationSchema),
        required=True,
        metadata={"description": "The texts in further languages, by their tags."},
    )
    translation_sources = fields.Dict(
        keys=fields.String(),
        values=fields.Nested(TranslationSourcesSchema),
        required=True,
        metadata={"description": "The authors of `translations`."},
    )
    caption_options = fields.Nested(
        ChosenOptionsSchema,
        required=True,
        allow_none=True,
        metadata={"description": "For the owner only: how the image was to be described."},
    )
    annotation_error = fields.Nested(JobErrorSchema, required=True, allow_none=True)
    thumbnail_error = fields.Nested(JobErrorSchema, required=True, allow_none=True)
    preview_url = fields.String(required=True, allow_none=True, metadata=_LINK)
    preview_srcset = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The previews for the `srcset` of an `<img>`; links as above."},
    )
    original_url = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "format": "uri",
            "description": f"The preview if only the owner may open the original. {_EXPIRY}",
        },
    )
    content_type = fields.String(required=True)
    size_bytes = fields.Integer(required=True)
    width = fields.Integer(required=True)
    height = fields.Integer(required=True)
    dominant_color = fields.String(required=True, allow_none=True)
    annotation_source = _source("The author of the caption, as in `sources`.")
    sources = fields.Nested(SourcesSchema, required=True)
    decorative = fields.Boolean(
        required=True, metadata={"description": "True if the image needs no alt text."}
    )
    review = fields.String(
        required=True,
        validate=_REVIEWS,
        metadata={"description": "`changed`: the texts differ from the approved ones."},
    )
    reviewed_at = fields.String(
        required=True,
        allow_none=True,
        metadata={
            **_TIME,
            "description": "The time at which a person approved the present texts.",
        },
    )
    annotation_model = fields.String(required=True, allow_none=True)
    annotation_writer = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "What wrote the annotation, in words for visitors."},
    )
    generated_annotation = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The model's caption, kept when a person edits it."},
    )
    input_tokens = fields.Integer(required=True, allow_none=True)
    output_tokens = fields.Integer(required=True, allow_none=True)
    cost_usd = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "Of all requests for this image; null if the price is unknown."},
    )
    is_mine = fields.Boolean(
        required=True, metadata={"description": "True if the client is the owner."}
    )
    url = fields.String(required=True, metadata={"description": "The page of the image."})
    uploaded_at = fields.String(required=True, metadata=_TIME)
    updated_at = fields.String(required=True, metadata=_TIME)


class ImagesSchema(Schema):
    """Several images, newest first."""

    images = fields.List(fields.Nested(ImageSchema), required=True)


class ImagePageSchema(ImagesSchema):
    """A page of images, newest first."""

    next_cursor = fields.String(
        required=True, allow_none=True, metadata={"description": "Null on the last page."}
    )
    count = fields.Integer(
        required=True,
        allow_none=True,
        metadata={
            "description": (
                "The number of matching images, on the first page only. 1001 means more than 1,000;"
                " null means that the words are too common to count, or that `review` or `alt` was"
                " given without `mine`."
            ),
            "maximum": 1001,
        },
    )


class StatusQuerySchema(Schema):
    """The images to return."""

    error_code, error_status = "invalid_ids", 400

    class Meta:
        unknown = RAISE

    ids = fields.String(
        required=True,
        error_messages={"required": "Give the ids of the images, for example ?ids=1,2,3."},
        metadata={
            "pattern": rf"^[0-9]{{1,18}}(,[0-9]{{1,18}}){{0,{MAX_IDS - 1}}}$",
            "description": f"Up to {MAX_IDS} ids, separated by commas.",
            "example": "1,2,3",
        },
    )


class FilterSchema(Schema):
    """The images that a request is about."""

    class Meta:
        unknown = RAISE

    q = fields.String(
        metadata={
            "description": "All words must be in the caption, the alt text, the tags, the text in "
            "the image or the file name. Case, accents and plurals are ignored. The last word can "
            "be a prefix. Words in quotation marks must follow each other as they are written; "
            "a minus before a word or a quotation mark leaves out the images that have it.",
            "example": '"red boat" harbour -night',
        }
    )
    tag = Tags(
        fields.String(),
        load_default=(),
        validate=MaxLength("tags", max=MAX_SEARCHED_TAGS),
        metadata={
            "description": "A whole tag. Case and accents are ignored. Repeat the parameter for "
            "images that have all of several tags.",
        },
    )
    language = LanguageTag(
        metadata={
            "description": "A language in which the model wrote, as a BCP 47 tag. `pt` includes "
            "`pt-BR`. A text by a person may be in another one.",
            "example": "de",
        }
    )
    status = fields.String(validate=_STATUSES)
    review = fields.String(
        validate=_REVIEWS,
        metadata={
            "description": "Whether a person approved the texts. `changed`: they differ from the "
            "approved ones. Not with `sort=changed`."
        },
    )
    alt = fields.String(
        validate=OneOf([state.value for state in AltTextState]),
        metadata={
            "description": "Alt texts that are missing, clearly not in the expected language, "
            "longer than 125 characters, begin with “Image of”, or are the same as the caption. "
            "Each image has the first that applies; `decorative` needs no alt text, and `good` has "
            "none of these. Not with `sort=changed`."
        },
    )
    mine = fields.Boolean(
        load_default=False, metadata={"description": "Only images of the owner of this request."}
    )

    since = Moment(
        is_end=False,
        description="Only images uploaded since this time or, with `sort=changed`, changed since.",
    )
    until = Moment(
        is_end=True,
        description="Only images uploaded before this time, or until the end of this day; with "
        "`sort=changed`, changed.",
    )

    @validates_schema
    def _require_a_span(self, query: Mapping[str, Any], **_kwargs: Any) -> None:
        if query.get("since") and query.get("until") and query["since"] >= query["until"]:
            raise ValidationError("“since” must be before “until”.", "since")


class ListQuerySchema(FilterSchema):
    """The images to list."""

    sort = fields.String(
        load_default=Sort.NEWEST.value,
        validate=OneOf([sort.value for sort in Sort]),
        metadata={
            "description": "By upload, the newest or the oldest first, or the last change first. "
            "`changed` cannot be combined with `q`, `tag`, `language`, `review` and "
            "`alt`."
        },
    )

    @validates_schema
    def _require_a_fast_order(self, query: Mapping[str, Any], **_kwargs: Any) -> None:
        if query["sort"] == Sort.CHANGED and is_search(query):
            raise ValidationError(
                "Images with words, tags or a language cannot be sorted by change. Use newest or "
                "oldest.",
                "sort",
            )
        if query["sort"] == Sort.CHANGED and ("review" in query or "alt" in query):
            raise ValidationError(
                "Images of a review or an alt text state cannot be sorted by change. Use newest "
                "or oldest.",
                "sort",
            )

    cursor = fields.String(
        metadata={"pattern": CURSOR_PATTERN, "description": "The `next_cursor` of a page."}
    )
    limit = fields.Integer(load_default=DEFAULT_PAGE_SIZE, validate=Range(1, MAX_PAGE_SIZE))


def is_search(query: Mapping[str, Any]) -> bool:
    """Return whether a query looks for words, tags or a language."""
    return bool(query.get("q", "").strip() or query["tag"] or query.get("language"))


class GalleryQuerySchema(ListQuerySchema):
    """The images that the gallery shows. Other parameters are ignored: links carry their own."""

    error_status = 400

    class Meta:
        unknown = EXCLUDE


class DeskQuerySchema(FilterSchema):
    """The images that the review desk shows, by upload. Other parameters are ignored."""

    error_status = 400

    class Meta:
        unknown = EXCLUDE


class ExportQuerySchema(FilterSchema):
    """The images to export, and the format."""

    # Without the order of changes: an image that changes meanwhile would be left out.
    sort = fields.String(
        load_default=Sort.NEWEST.value,
        validate=OneOf([Sort.NEWEST.value, Sort.OLDEST.value]),
        metadata={"description": "By upload, the newest or the oldest first."},
    )

    format = fields.String(load_default="csv", validate=OneOf([*FORMATS, ZIP]))
    pictures = fields.String(
        load_default="previews",
        validate=OneOf(["previews", "originals"]),
        metadata={
            "description": "Of a `zip`. An original that this client may not open is a preview."
        },
    )
    metadata = fields.String(
        load_default=Metadata.NONE.value,
        validate=OneOf([each.value for each in Metadata]),
        metadata={
            "description": "Of a `zip`. `embed` writes the texts into each JPEG, PNG, WebP and "
            "TIFF, and into a file `.xmp` beside other pictures; `sidecar` beside every picture."
        },
    )
    ids = fields.String(
        metadata={
            "pattern": rf"^[0-9]{{1,18}}(,[0-9]{{1,18}}){{0,{MAX_EXPORTED_IDS - 1}}}$",
            "description": f"Only these images: up to {MAX_EXPORTED_IDS} ids, separated by commas.",
        }
    )
    export_id = fields.UUID(
        metadata={
            "description": "A new random UUID. The progress is then at `/api/exports/{export_id}`."
        }
    )


class ExportSchema(Schema):
    """The progress of an export."""

    id = fields.UUID(required=True)
    state = fields.String(
        required=True,
        validate=OneOf([each.value for each in ExportState]),
        metadata={"description": "`completed` when the whole file was sent."},
    )
    images = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "How many images matched at the start. Null if not known."},
    )
    images_done = fields.Integer(
        required=True, metadata={"description": "How many are in the file so far."}
    )
    error = fields.Nested(
        FileErrorSchema,
        required=True,
        allow_none=True,
        metadata={"description": "Why the export was refused."},
    )
    started_at = fields.String(required=True, metadata=_TIME)
    changed_at = fields.String(required=True, metadata=_TIME)


class TranslationEditSchema(Schema):
    """New texts in a further language. Null or empty clears a text; missing ones stay."""

    error_messages = {  # noqa: RUF012
        "type": "Give an object with caption and alt_text.",
        "unknown": "It is unknown here. Use caption and alt_text.",
    }

    class Meta:
        unknown = RAISE

    caption = fields.String(
        allow_none=True, validate=MaxLength("characters", max=MAX_ANNOTATION_CHARACTERS)
    )
    alt_text = fields.String(
        allow_none=True, validate=MaxLength("characters", max=MAX_ALT_TEXT_CHARACTERS)
    )


class EditSchema(Schema):
    """The fields to change. Null or empty clears a field; missing fields stay."""

    error_code = "invalid_edit"

    class Meta:
        unknown = RAISE

    annotation = fields.String(
        allow_none=True, validate=MaxLength("characters", max=MAX_ANNOTATION_CHARACTERS)
    )
    alt_text = fields.String(
        allow_none=True, validate=MaxLength("characters", max=MAX_ALT_TEXT_CHARACTERS)
    )
    tags = fields.List(
        fields.String(validate=MaxLength("characters", max=MAX_TAG_CHARACTERS)),
        allow_none=True,
        validate=MaxLength("tags", max=MAX_TAGS),
    )
    translations = fields.Dict(
        keys=fields.String(),
        values=fields.Nested(TranslationEditSchema, allow_none=True),
        metadata={
            "description": "Texts in further languages, by BCP 47 tags. Other languages stay. Null "
            "for a language takes back the edits of it, so that it has the AI version again.",
        },
    )
    restore = RestoredFields(
        metadata={
            "oneOf": [
                {"type": "boolean"},
                {"type": "array", "items": {"type": "string", "enum": list(TEXT_FIELDS)}},
            ],
            "description": "Restore the AI version first: true for caption, alt text and tags, or "
            "the names of the fields.",
        }
    )
    decorative = StrictBoolean(
        metadata={
            "description": "Whether the image needs no alt text. An alt text in another request, "
            "also a restored one, makes it false."
        }
    )
    reviewed = StrictBoolean(
        metadata={
            "description": "True approves the texts as they are after this change; false withdraws "
            "the approval."
        }
    )


class TextVersionSchema(Schema):
    """A version of a text."""

    field = fields.String(required=True, validate=OneOf(TEXT_FIELDS))
    number = fields.Integer(required=True)
    text = fields.Raw(
        required=True,
        allow_none=True,
        metadata={
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}},
                {"type": "null"},
            ],
            "description": "A list of tags; null if the text was removed.",
        },
    )
    source = fields.String(required=True, validate=OneOf([each.value for each in VersionSource]))
    written_at = fields.String(
        required=True,
        allow_none=True,
        metadata={**_TIME, "description": "Null if it is older than the list of versions."},
    )


class TextVersionsSchema(Schema):
    """The last versions of each text, the newest first. The first of a field is the present one."""

    versions = fields.List(fields.Nested(TextVersionSchema), required=True)


class RestoreVersionSchema(Schema):
    """The version to restore."""

    error_code = "invalid_edit"

    class Meta:
        unknown = RAISE

    field = fields.String(required=True, validate=OneOf(TEXT_FIELDS))
    number = StrictInteger(required=True, validate=Range(1, MAX_NUMBER))


class CaptionOptionsSchema(Schema):
    """How images are to be described. Null or empty leaves it to the site."""

    language = fields.String(allow_none=True, metadata=LANGUAGE)
    style = fields.String(allow_none=True, metadata=STYLE)
    context = fields.String(allow_none=True, metadata=CONTEXT)
    use_embedded_text = StrictBoolean(allow_none=True, metadata=EMBEDDED_TEXT)


class RetrySchema(CaptionOptionsSchema):
    """Options of a retry. Those of an earlier caption stay if they are left out."""

    class Meta:
        unknown = RAISE

    regenerate = StrictBoolean(
        metadata={"description": "Write a new caption even if there is one."}
    )

    @validates_schema
    def _describes_a_new_caption(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        for name in OPTION_FIELDS:
            if name in data and not data.get("regenerate"):
                raise ValidationError("Send it with “regenerate”: true.", name)


class BatchSchema(CaptionOptionsSchema):
    """An action, and the images by their ids or by a filter."""

    error_code = "invalid_batch"

    class Meta:
        unknown = RAISE

    action = fields.String(required=True, validate=OneOf(ACTIONS))
    ids = fields.List(
        StrictInteger(),
        validate=MaxLength("ids", max=MAX_BATCH),
        metadata={"description": f"Up to {MAX_BATCH:,} images."},
    )
    filter = fields.Nested(
        FilterSchema,
        metadata={
            "description": f"Your images that match, up to {MAX_BATCH:,} at a time, newest first. "
            "Not for `undelete`."
        },
    )
    cursor = fields.String(
        metadata={
            "pattern": CURSOR_PATTERN,
            "description": "With `filter`: the `next_cursor` of the previous response.",
        }
    )
    tags = fields.List(
        fields.String(validate=MaxLength("characters", max=MAX_TAG_CHARACTERS)),
        load_default=(),
        validate=MaxLength("tags", max=MAX_TAGS),
        metadata={"description": "For `add_tags` and `remove_tags` only."},
    )

    @validates_schema
    def _fits_together(self, data: dict[str, Any], **_kwargs: Any) -> None:
        if ("ids" in data) == ("filter" in data):
            raise ValidationError("Send either ids or a filter.", "ids")
        if data["action"] == "undelete" and "filter" in data:
            raise ValidationError("A filter finds no image in the bin. Send ids.", "filter")
        if "cursor" in data and "filter" not in data:
            raise ValidationError("Send a cursor only with a filter.", "cursor")
        for name in OPTION_FIELDS:
            if name in data and data["action"] != "regenerate":
                raise ValidationError("Send it with the action regenerate only.", name)
        if bool(data["tags"]) != (data["action"] in TAG_ACTIONS):
            raise ValidationError("Send tags with add_tags and remove_tags, and only then.", "tags")


class BatchResultSchema(Schema):
    """The result for one image."""

    id = fields.Integer(required=True)
    outcome = fields.String(required=True, validate=OneOf(["done", "unchanged", "refused"]))
    error = fields.Nested(FileErrorSchema, required=True, allow_none=True)


class BatchResultsSchema(Schema):
    """A result for each image, in the order of the request."""

    results = fields.List(fields.Nested(BatchResultSchema), required=True)
    done = fields.Integer(required=True, metadata={"description": "How many have `done`."})
    next_cursor = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Send it to continue with older images that match."},
    )


class ImportFileSchema(Schema):
    """A file of corrections."""

    class Meta:
        unknown = RAISE

    file = Upload(
        required=True,
        metadata={
            "description": "The CSV or JSON Lines of an export, or some of its columns: `id` or "
            "`file_name`, and any of `caption`, `alt_text`, `tags` and `translations`."
        },
    )


class ImportQuerySchema(Schema):
    """The page of the changes of an import."""

    class Meta:
        unknown = RAISE

    after = fields.Integer(
        load_default=0,
        validate=Range(0, 10**18 - 1),
        metadata={"description": "The `next_after` of the previous page."},
    )


class ImportedTranslationSchema(Schema):
    """Texts in a further language: only those that an import changes."""

    caption = fields.String(allow_none=True)
    alt_text = fields.String(allow_none=True)


class ImportedTextsSchema(Schema):
    """Texts of an image: only those that an import changes."""

    annotation = fields.String(allow_none=True)
    alt_text = fields.String(allow_none=True)
    tags = fields.List(fields.String(), allow_none=True)
    translations = fields.Dict(
        keys=fields.String(), values=fields.Nested(ImportedTranslationSchema)
    )
    decorative = fields.Boolean(
        metadata={"description": "True before and false after, if an alt text ends it."}
    )


class ImportChangeSchema(Schema):
    """What an import changes on one image."""

    id = fields.Integer(required=True)
    filename = fields.String(required=True)
    before = fields.Nested(ImportedTextsSchema, required=True)
    after = fields.Nested(ImportedTextsSchema, required=True)


class ImportSchema(Schema):
    """An import and its state."""

    id = fields.Integer(required=True)
    state = fields.String(required=True, validate=OneOf([each.value for each in ImportState]))
    changed = fields.Integer(required=True, metadata={"description": "How many images it changes."})
    unchanged = fields.Integer(
        required=True,
        metadata={"description": "How many images of the file have these texts already."},
    )
    created_at = fields.String(required=True, metadata=_TIME)


class ImportPageSchema(ImportSchema):
    """An import with a page of its changes, in the order of the ids."""

    changes = fields.List(fields.Nested(ImportChangeSchema), required=True)
    next_after = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Send it as `after` for the next page."},
    )


class UndoneImportSchema(ImportSchema):
    """An import that was undone."""

    kept = fields.Integer(
        required=True,
        allow_none=True,
        metadata={
            "description": "How many images were changed after the import. Those texts are kept. "
            "Null if the import was undone before."
        },
    )


class LineErrorSchema(Schema):
    """What is wrong with one line of a file."""

    line = fields.Integer(required=True)
    message = fields.String(required=True)


class InvalidImportSchema(ErrorSchema):
    """A file that cannot be imported, with the first lines that have an error."""

    lines = fields.List(fields.Nested(LineErrorSchema))


class BinQuerySchema(Schema):
    """The page of the bin."""

    class Meta:
        unknown = RAISE

    cursor = fields.String(
        metadata={"pattern": BIN_CURSOR_PATTERN, "description": "The `next_cursor` of a page."}
    )
    limit = fields.Integer(load_default=DEFAULT_PAGE_SIZE, validate=Range(1, MAX_PAGE_SIZE))


class BinnedImageSchema(ImageSchema):
    """An image in the bin."""

    in_bin_until = fields.String(
        required=True, metadata={**_TIME, "description": "Then it is deleted for good."}
    )


class BinPageSchema(Schema):
    """A page of the bin, the last deleted images first."""

    images = fields.List(fields.Nested(BinnedImageSchema), required=True)
    next_cursor = fields.String(
        required=True, allow_none=True, metadata={"description": "Null on the last page."}
    )


class EmptiedBinSchema(Schema):
    """The number of images that are being deleted for good."""

    deleted = fields.Integer(required=True)


class NoBodySchema(Schema):
    """No options."""

    class Meta:
        unknown = RAISE


class RetriedSchema(Schema):
    """The retried images."""

    retried = fields.Integer(required=True)
    ids = fields.List(fields.Integer(), required=True)


class OwnerSchema(Schema):
    """The owner of later uploads."""

    owner_token = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "Send it as the bearer token of all requests, and keep it secret. Null "
            "if the request identifies an owner already."
        },
    )


class UploadResultSchema(Schema):
    """The result for one file."""

    filename = fields.String(required=True)
    outcome = fields.String(required=True, validate=OneOf(["accepted", "duplicate", "rejected"]))
    restored = fields.Boolean(
        required=True, metadata={"description": "True for a duplicate that was in your bin."}
    )
    options_ignored = fields.Boolean(
        required=True,
        metadata={
            "description": "True for a duplicate that was to be described in another way. Its "
            "caption stays; request a new one."
        },
    )
    id = fields.Integer(required=True, allow_none=True)
    status_url = fields.String(required=True, allow_none=True)
    url = fields.String(required=True, allow_none=True)
    error = fields.Nested(FileErrorSchema, required=True, allow_none=True)


class UploadSchema(Schema):
    """A result for each file, in the order of the request."""

    results = fields.List(fields.Nested(UploadResultSchema), required=True)
    owner_token = fields.String(
        metadata={"description": "Only if the request identified no owner. Keep it secret."}
    )


class RejectedUploadSchema(ErrorSchema, UploadSchema):
    """No file was accepted: the worst error, and the error of each file that was checked."""

    results = fields.List(fields.Nested(UploadResultSchema))


class HealthSchema(Schema):
    """The process responds."""

    status = fields.String(required=True)
    version = fields.String(required=True)


class ReadinessSchema(Schema):
    """`ok` or `unavailable` for each dependency."""

    status = fields.String(required=True)
    dependencies = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    error = fields.String()
    code = fields.String()
