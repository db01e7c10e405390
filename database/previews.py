"""Claim and record the previews of images.

The thumbnail job makes the previews too. An image from before there were previews gets them by a
claim on its completed thumbnail job, which stays completed all the time.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from database.jobs import Claim, job_state, record_result, record_thumbnail
from database.models import Image, Job, Preview, Status, utc_now
from database.rows import has_no_lease, is_visible, update_images


def claim_completed_thumbnail(
    session: Session, original_key: str, *, lease_seconds: int
) -> Claim | None:
    """Claim a completed thumbnail job, to make its derivatives again.

    Returns:
        None if the job is not completed, is claimed by another delivery, or its image is being
        deleted or does not exist.
    """
    conditions = (
        Image.original_key == original_key,
        is_visible(),
        Image.thumbnail_status == Status.COMPLETED,
        has_no_lease(Job.THUMBNAIL),
    )
    values = {"thumbnail_claimed_until": utc_now(lease_seconds)}
    if not update_images(session, *conditions, values=values):
        return None
    row = session.execute(
        select(
            Image.id, Image.thumbnail_attempts, Image.thumbnail_claimed_until, Image.sha256
        ).where(Image.original_key == original_key)
    ).one()
    return Claim(
        row.id,
        original_key,
        Job.THUMBNAIL,
        attempt=row.thumbnail_attempts,
        claimed_until=row.thumbnail_claimed_until,
        sha256=row.sha256,
        has_annotation=False,
        status=Status.COMPLETED,
    )


def release_completed_thumbnail(session: Session, claim: Claim, *, code: str, message: str) -> bool:
    """End a claim on a completed job without a result. The error is not one of the image."""
    return record_result(session, claim, job_state(claim.job, Status.COMPLETED))


def record_derivatives(
    session: Session,
    claim: Claim,
    dominant_color: str,
    preview_size: tuple[int, int],
    *,
    small_width: int | None,
) -> bool:
    """Complete the thumbnail job after thumbnail and previews were stored.

    Args:
        small_width: the width of the small preview, or None if there is none.
    Returns:
        False when the claim was lost.
    """
    if not record_thumbnail(session, claim, dominant_color):
        return False
    width, height = preview_size
    # The update above locked the image's row, so no other transaction writes this one.
    preview = Preview(image_id=claim.image_id, width=width, height=height, small_width=small_width)
    session.merge(preview)
    return True
