"""What programs ask: where images stand."""

from flask import Blueprint, Response, jsonify, request

from database import repository
from database.session import session_scope
from web_app import serializers
from web_app.errors import BadRequestError
from web_app.request import parse_image_id
from web_app.services import current_services

MAX_IDS = 100

api = Blueprint("api", __name__, url_prefix="/api")


@api.get("/image_status/<image_id:image_id>")
def show_status(image_id: int) -> Response:
    """Where one image stands."""
    services = current_services()
    with session_scope(services.session_factory) as session:
        image = repository.get_image(session, image_id)
    return jsonify(serializers.image_status(image, services.object_store))


@api.get("/image_status")
def list_statuses() -> Response:
    """Where several images stand, newest first; ids that are unknown are left out."""
    image_ids = _parse_ids(request.args.get("ids", ""))
    services = current_services()
    with session_scope(services.session_factory) as session:
        images = repository.list_images_by_id(session, image_ids)
    return jsonify(
        images=[serializers.image_status(image, services.object_store) for image in images]
    )


def _parse_ids(text: str) -> set[int]:
    """`1,2,3` as ids.

    Raises:
        BadRequestError: it is something else, or names too many.
    """
    words = text.split(",")
    if len(words) > MAX_IDS:
        raise BadRequestError(
            f"At most {MAX_IDS} images can be asked for at once.", code="too_many_ids"
        )
    image_ids = {parse_image_id(word) for word in words}
    if None in image_ids:
        raise BadRequestError("Name the images by number, as in ?ids=1,2,3.", code="invalid_ids")
    return {image_id for image_id in image_ids if image_id is not None}
