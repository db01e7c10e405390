"""The shapes of the API, from which its OpenAPI document is made."""

from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields
from marshmallow.validate import Length, OneOf, Range

from database.models import AnnotationSource, Status
from web_app.routes.request import CURSOR_PATTERN
from web_app.services.edits import (
    MAX_ALT_TEXT_CHARACTERS,
    MAX_ANNOTATION_CHARACTERS,
    MAX_TAG_CHARACTERS,
    MAX_TAGS,
)

MAX_IDS = 100
MAX_PAGE_SIZE = 100
DEFAULT_PAGE_SIZE = 24

_STATUSES = OneOf([status.value for status in Status])
_TIME = {"format": "date-time"}
_LINK = {
    "format": "uri",
    "description": "Presigned: works for minutes. Ask again; don't store it.",
}


class StrictBoolean(fields.Boolean):
    """True or false, and no word that means one of them."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Must be true or false.")
        return value


class ErrorSchema(Schema):
    """Every error: a sentence for a person, and a word for a program that never changes."""

    error = fields.String(required=True)
    code = fields.String(required=True)


class JobErrorSchema(Schema):
    """Why a half failed or, while it is pending, what its last attempt met."""

    code = fields.String(required=True)
    message = fields.String(required=True)
    attempts = fields.Integer(required=True)


class ImageSchema(Schema):
    """One image, and where it stands."""

    id = fields.Integer(required=True)
    filename = fields.String(required=True)
    annotation_status = fields.String(required=True, validate=_STATUSES)
    thumbnail_status = fields.String(required=True, validate=_STATUSES)
    annotation = fields.String(required=True, allow_none=True)
    thumbnail_url = fields.String(required=True, allow_none=True, metadata=_LINK)
    status = fields.String(required=True, validate=_STATUSES)
    alt_text = fields.String(required=True, allow_none=True)
    tags = fields.List(fields.String(), required=True)
    annotation_error = fields.Nested(JobErrorSchema, required=True, allow_none=True)
    thumbnail_error = fields.Nested(JobErrorSchema, required=True, allow_none=True)
    original_url = fields.String(required=True, allow_none=True, metadata=_LINK)
    content_type = fields.String(required=True)
    size_bytes = fields.Integer(required=True)
    width = fields.Integer(required=True)
    height = fields.Integer(required=True)
    dominant_color = fields.String(required=True, allow_none=True)
    annotation_source = fields.String(
        required=True,
        allow_none=True,
        validate=OneOf([*(source.value for source in AnnotationSource), None]),
    )
    annotation_model = fields.String(required=True, allow_none=True)
    generated_annotation = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The model's words, kept when a person edits."},
    )
    input_tokens = fields.Integer(required=True, allow_none=True)
    output_tokens = fields.Integer(required=True, allow_none=True)
    cost_usd = fields.Float(
        required=True,
        allow_none=True,
        metadata={
            "description": "Of every question, answer kept or not; null where the price is unknown."
        },
    )
    is_mine = fields.Boolean(required=True, metadata={"description": "The asking owner's own."})
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
                "How many match, on the first page. 1001 means more than a thousand; null, that"
                " the words searched for are too common to count."
            ),
            "maximum": 1001,
        },
    )


class StatusQuerySchema(Schema):
    """Which images to ask after."""

    error_code, error_status = "invalid_ids", 400

    ids = fields.String(
        required=True,
        error_messages={"required": "Name the images by number, as in ?ids=1,2,3."},
        metadata={
            "pattern": rf"^[0-9]{{1,18}}(,[0-9]{{1,18}}){{0,{MAX_IDS - 1}}}$",
            "description": f"Up to {MAX_IDS} ids with commas between them.",
            "example": "1,2,3",
        },
    )


class ListQuerySchema(Schema):
    """Which images to list, and from where on."""

    cursor = fields.String(
        metadata={"pattern": CURSOR_PATTERN, "description": "The `next_cursor` of a page."}
    )
    q = fields.String(
        metadata={
            "description": "Words that must all be in the caption, the alt text, the tags or the "
            "file name; the last may be a beginning."
        }
    )
    tag = fields.String(metadata={"description": "One tag, whole, in capitals or not."})
    status = fields.String(validate=_STATUSES)
    limit = fields.Integer(load_default=DEFAULT_PAGE_SIZE, validate=Range(1, MAX_PAGE_SIZE))


class EditSchema(Schema):
    """What to change. Null or empty clears; what is not named stays."""

    error_code = "invalid_edit"

    class Meta:
        unknown = RAISE

    annotation = fields.String(allow_none=True, validate=Length(max=MAX_ANNOTATION_CHARACTERS))
    alt_text = fields.String(allow_none=True, validate=Length(max=MAX_ALT_TEXT_CHARACTERS))
    tags = fields.List(
        fields.String(validate=Length(max=MAX_TAG_CHARACTERS)),
        allow_none=True,
        validate=Length(max=MAX_TAGS),
    )
    restore = StrictBoolean(
        metadata={"description": "Put back the model's words first: caption, alt text, tags."}
    )


class RetrySchema(Schema):
    """How to try again."""

    class Meta:
        unknown = RAISE

    regenerate = StrictBoolean(
        metadata={"description": "Ask for a new caption, although there is one."}
    )


class RetriedSchema(Schema):
    """What is tried again."""

    retried = fields.Integer(required=True)
    ids = fields.List(fields.Integer(), required=True)


class FileErrorSchema(Schema):
    """Why a file was rejected."""

    code = fields.String(required=True)
    message = fields.String(required=True)


class UploadResultSchema(Schema):
    """What became of one file."""

    filename = fields.String(required=True)
    outcome = fields.String(required=True, validate=OneOf(["accepted", "duplicate", "rejected"]))
    id = fields.Integer(required=True, allow_none=True)
    status_url = fields.String(required=True, allow_none=True)
    url = fields.String(required=True, allow_none=True)
    error = fields.Nested(FileErrorSchema, required=True, allow_none=True)


class UploadSchema(Schema):
    """A result for each file, in the order sent."""

    results = fields.List(fields.Nested(UploadResultSchema), required=True)
    owner_token = fields.String(
        metadata={"description": "Only when the request named no owner. Keep it secret."}
    )


class RejectedUploadSchema(UploadSchema):
    """No file was accepted: the gravest error, and each file's own where they were looked at."""

    results = fields.List(fields.Nested(UploadResultSchema))
    error = fields.String(required=True)
    code = fields.String(required=True)


class HealthSchema(Schema):
    """The process serves."""

    status = fields.String(required=True)


class ReadinessSchema(Schema):
    """Each dependency by name: `ok` or `unavailable`."""

    status = fields.String(required=True)
    dependencies = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    error = fields.String()
    code = fields.String()
