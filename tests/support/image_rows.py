"""Add image rows to a database and bring them into the states that tests need."""

import uuid
from dataclasses import replace

from sqlalchemy import insert, select, text

from database.annotations import (
    GeneratedAnnotation,
    edit_annotation,
    find_generated,
    record_annotation,
)
from database.images import NewImage, add_image, find_duplicate, get_image
from database.jobs import claim_job, record_failure, record_thumbnail, record_transient_failure
from database.models import Image, Job
from database.session import session_scope

CAPTION = GeneratedAnnotation(
    "A dog on a beach.",
    "Dog on beach",
    ["dog", "beach"],
    "gemini-x",
)


def new_image(**overrides):
    """Build an image of the owner "me" that is not in the database yet."""
    values = {
        "filename": "beach 🏖.jpg",
        "original_key": f"originals/{uuid.uuid4()}.jpg",
        "content_type": "image/jpeg",
        "size_bytes": 1234,
        "width": 40,
        "height": 30,
        "sha256": "a" * 64,
        "owner_id": "me",
    }
    return NewImage(**{**values, **overrides})


def add(session_factory, **overrides):
    """Add an image and return its id and its original's key."""
    new = new_image(**overrides)
    with session_scope(session_factory) as session:
        return add_image(session, new), new.original_key


def add_many(session_factory, number, **columns):
    """Add images without words and reviews in one statement, and return their ids."""
    with session_scope(session_factory) as session:
        session.execute(insert(Image), [{**vars(new_image()), **columns} for _ in range(number)])
        newest_first = session.scalars(select(Image.id).order_by(Image.id.desc()).limit(number))
        return newest_first.all()[::-1]


def read(session_factory, image_id):
    with session_scope(session_factory) as session:
        return get_image(session, image_id)


def claim(session_factory, key, job=Job.ANNOTATION, lease_seconds=30, max_attempts=3):
    with session_scope(session_factory) as session:
        return claim_job(session, job, key, lease_seconds=lease_seconds, max_attempts=max_attempts)


def record(session_factory, function, *arguments, **keywords):
    """Call a function of the database package in a transaction."""
    with session_scope(session_factory) as session:
        return function(session, *arguments, **keywords)


def find_same_bytes(session_factory, **query):
    with session_scope(session_factory) as session:
        return find_duplicate(session, **{"owner_id": "me", "sha256": "a" * 64, **query})


def add_captioned(session_factory, caption=CAPTION):
    image_id, key = add(session_factory)
    record(session_factory, record_annotation, claim(session_factory, key), caption)
    return image_id, key


def edit(session_factory, image_id, **changes):
    record(session_factory, edit_annotation, image_id, changes)


def add_failed(session_factory, job=Job.ANNOTATION, code="model_busy", **overrides):
    image_id, key = add(session_factory, **overrides)
    for _ in range(2):
        record(
            session_factory,
            record_transient_failure,
            claim(session_factory, key, job),
            code=code,
            message="m",
        )
    claimed = claim(session_factory, key, job)
    record(session_factory, record_failure, claimed, code=code, message="m")
    return image_id, key


def add_completed(session_factory):
    image_id, key = add_captioned(session_factory)
    claimed = claim(session_factory, key, Job.THUMBNAIL)
    record(session_factory, record_thumbnail, claimed, "#000000")
    return image_id, key


def find(session_factory, fingerprint):
    with session_scope(session_factory) as session:
        return find_generated(session, fingerprint)


def add_with_fingerprint(session_factory, fingerprint, caption=CAPTION):
    image_id, key = add(session_factory)
    claimed = claim(session_factory, key)
    record(session_factory, record_annotation, claimed, replace(caption, fingerprint=fingerprint))
    return image_id, key


def change_meanwhile(mocker, module, statement, when="before"):
    """Run a statement before or after a module's next update, as another transaction could."""
    original = module.update_images

    def update_images(session, *conditions, values):
        mocker.patch.object(module, "update_images", original)
        if when == "before":
            session.execute(text(statement))
        updated = original(session, *conditions, values=values)
        if when == "after":
            session.execute(text(statement))
        return updated

    mocker.patch.object(module, "update_images", update_images)
