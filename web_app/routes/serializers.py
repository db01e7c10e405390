"""Turn rows into the JSON of the API."""

from collections.abc import Iterable
from typing import Any

from flask import url_for

from database.export_progress import FoundExport
from database.models import ApiKey, Image, Import, Job, Status, TextVersion
from web_app.services.batch import BatchResult
from web_app.services.caption_writers import caption_writer
from web_app.services.image_links import ImageLinks
from web_app.services.imports import ChangePage
from web_app.services.owner_actions import HOPELESS_CODES
from web_app.services.pricing import cost_usd
from web_app.services.timestamps import timestamp
from web_app.services.uploads import UploadResult
from web_app.services.usage import Usage, Used


def api_key(key: ApiKey) -> dict[str, Any]:
    """Return the JSON of an API key, which does not have the key itself."""
    return {
        "id": key.id,
        "name": key.name,
        "created_at": timestamp(key.created_at),
        "last_used_at": timestamp(key.last_used_at) if key.last_used_at else None,
    }


def usage(usage: Usage) -> dict[str, Any]:
    """Return the JSON of what an owner used in a period."""
    return {
        "since": usage.since.isoformat(),
        "until": usage.until.isoformat(),
        **_used(usage.total),
        "has_unknown_prices": any(each.cost_usd is None for each in usage.models),
        "models": [{"model": each.model, **_used(each)} for each in usage.models],
    }


def _used(used: Used) -> dict[str, Any]:
    return {
        "requests": used.requests,
        "input_tokens": used.tokens.input,
        "output_tokens": used.tokens.output,
        "cost_usd": used.cost_usd,
    }


def images(images: Iterable[Image], links: ImageLinks) -> list[dict[str, Any]]:
    """Return the JSON of several images."""
    return [image(each, links) for each in images]


def image(image: Image, links: ImageLinks) -> dict[str, Any]:
    """Return the JSON of one image for the viewer of the links.

    The fields must be those of `schemas.ImageSchema`. The first six are used by the oldest clients
    and never change their meaning.
    """
    preview_url = links.preview(image)
    sources = image.sources
    is_mine = image.owner_id == links.owner_id
    return {
        "id": image.id,
        "filename": image.filename,
        "annotation_status": image.annotation_status.value,
        "thumbnail_status": image.thumbnail_status.value,
        "annotation": image.annotation,
        "thumbnail_url": links.thumbnail(image),
        "status": image.status.value,
        "alt_text": image.shown_alt_text,
        "tags": image.tags or [],
        "text_in_image": image.text_in_image,
        "language": image.language,
        "translations": image.translations,
        "translation_sources": image.translation_sources,
        "caption_options": caption_options(image) if is_mine else None,
        "annotation_error": job_error(image, Job.ANNOTATION),
        "thumbnail_error": job_error(image, Job.THUMBNAIL),
        "preview_url": preview_url,
        "preview_srcset": links.srcset(image),
        # Clients open this link to see the image, so others than the owner get the preview.
        "original_url": links.original(image) if links.may_open_original(image) else preview_url,
        "width": image.width,
        "height": image.height,
        "content_type": image.content_type,
        "size_bytes": image.size_bytes,
        "dominant_color": image.dominant_color,
        "annotation_source": image.annotation_source.value if image.annotation_source else None,
        "sources": {
            "caption": sources["annotation"],
            "alt_text": sources["alt_text"],
            "tags": sources["tags"],
        },
        "decorative": image.is_decorative,
        "review": image.review_state.value,
        "reviewed_at": timestamp(image.reviewed_at) if image.reviewed_at else None,
        "annotation_model": image.annotation_model,
        "annotation_writer": caption_writer(image),
        "generated_annotation": image.generated_annotation,
        "input_tokens": image.input_tokens,
        "output_tokens": image.output_tokens,
        "cost_usd": image_cost_usd(image),
        "is_mine": is_mine,
        "url": url_for("pages.show_image", image_id=image.id),
        "uploaded_at": timestamp(image.uploaded_at),
        "updated_at": timestamp(image.updated_at),
    }


def caption_options(image: Image) -> dict[str, Any]:
    """Return the JSON of how the owner wants an image described. Only the owner may see it."""
    options = image.caption_options
    return {
        "language": ",".join(options.languages) or None,
        "style": options.style,
        "context": options.context,
        "use_embedded_text": options.uses_embedded_text,
    }


def binned_image(binned: Image, links: ImageLinks) -> dict[str, Any]:
    """Return the JSON of an image in the bin."""
    until = binned.deleting_at
    return {**image(binned, links), "in_bin_until": timestamp(until) if until else None}


def batch_result(result: BatchResult) -> dict[str, Any]:
    """Return the JSON of the result for one image of a batch."""
    error = result.error
    return {
        "id": result.image_id,
        "outcome": result.outcome,
        "error": {"code": error.code, "message": str(error)} if error is not None else None,
    }


def text_versions(versions: Iterable[TextVersion]) -> dict[str, Any]:
    """Return the JSON of the versions of the texts of an image."""
    return {
        "versions": [
            {
                "field": each.field,
                "number": each.number,
                "text": each.text,
                "source": each.source.value,
                "written_at": timestamp(each.written_at) if each.written_at else None,
            }
            for each in versions
        ]
    }


def image_cost_usd(image: Image) -> float | None:
    """Return the cost of all requests about an image, at the price of the last one's day.

    Requests without a usable answer are counted too.
    """
    return cost_usd(
        image.annotation_model,
        image.input_tokens,
        image.output_tokens,
        image.annotation_requested_at.date(),
    )


def upload_result(result: UploadResult) -> dict[str, Any]:
    """Return the JSON of one file's result. `id` and links are null for a file without a row."""
    has_row, error = result.image_id is not None, result.error
    return {
        "filename": result.filename,
        "outcome": result.outcome,
        "restored": result.is_restored,
        "options_ignored": result.has_other_options,
        "id": result.image_id,
        "status_url": url_for("api.show_status", image_id=result.image_id) if has_row else None,
        "url": url_for("pages.show_image", image_id=result.image_id) if has_row else None,
        "error": {"code": error.code, "message": str(error)} if error is not None else None,
    }


def job_error(image: Image, job: Job) -> dict[str, Any] | None:
    """Return the error of a failed job, or of the last attempt of a pending one."""
    code = getattr(image, f"{job}_error_code")
    if code is None:
        return None
    return {
        "code": code,
        "message": getattr(image, f"{job}_error_message"),
        "attempts": getattr(image, f"{job}_attempts"),
    }


def can_retry(image: Image) -> bool:
    """Return whether a job failed for a reason that may be gone at another attempt."""
    errors = (getattr(image, f"{job}_error_code") for job in Job if _has_failed(image, job))
    return any(code not in HOPELESS_CODES for code in errors)


def shared_error(image: Image) -> dict[str, Any] | None:
    """Return the error of both jobs, if both failed for the same reason."""
    errors = [job_error(image, job) for job in Job if _has_failed(image, job)]
    reasons = {(error["code"], error["message"]) for error in errors if error}
    return errors[0] if len(errors) == len(Job) and len(reasons) == 1 else None


def _has_failed(image: Image, job: Job) -> bool:
    status: Status = getattr(image, f"{job}_status")
    return status is Status.FAILED


def import_(row: Import) -> dict[str, Any]:
    """Return an import."""
    return {
        "id": row.id,
        "state": row.state,
        "changed": row.changed,
        "unchanged": row.unchanged,
        "created_at": timestamp(row.created_at),
    }


def export(found: FoundExport) -> dict[str, Any]:
    """Return the progress of an export."""
    row = found.row
    error = {"code": row.error_code, "message": row.error_message} if row.error_code else None
    return {
        "id": row.export_id,
        "state": found.state,
        "images": row.images,
        "images_done": row.images_done,
        "error": error,
        "started_at": timestamp(row.started_at),
        "changed_at": timestamp(row.changed_at),
    }


def import_page(page: ChangePage) -> dict[str, Any]:
    """Return an import with some of its changes."""
    return {
        **import_(page.row),
        "changes": [
            {
                "id": change.image_id,
                "filename": name,
                "before": dict(change.before),
                "after": dict(change.after),
            }
            for name, change in page.changes
        ],
        "next_after": page.next_after,
    }
