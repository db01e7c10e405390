"""Completed images without an upload, for tests of what comes after it."""

import base64
import json
import uuid
from datetime import UTC, datetime

from sqlalchemy import insert, select

from database.models import Base, Image
from database.object_keys import preview_key, thumbnail_key
from database.session import create_database_engine, create_session_factory, session_scope
from database.settings import DatabaseSettings
from tests.support.local_system import LocalSystem

_BUCKET = "image-annotation-thumbnails"


class ReadyImages:
    """Copies of one image that passed the whole system: of its rows, its thumbnail and its preview.

    An upload needs ten times as much processor time, of the server and of the functions. The copies
    have no original, whose event would start the functions, so no new caption can be written. A
    search finds them by the file name of the copied image.
    """

    def __init__(self, system: LocalSystem, data: bytes) -> None:
        """Upload the image to copy. No test may upload the same bytes and expect a new caption."""
        self._engine = create_database_engine(
            DatabaseSettings(database_url=f"sqlite:///{system.state_dir / 'images.sqlite3'}")
        )
        self._sessions = create_session_factory(self._engine)
        self._s3 = system.client("s3")
        (result,) = system.upload(("ready.jpg", data))
        assert system.finished(result["id"])["status"] == "completed"
        self._image_id = result["id"]
        with session_scope(self._sessions) as session:
            columns = [
                column
                for column in Image.__table__.columns
                if not column.primary_key and column.computed is None
            ]
            image = select(*columns).where(Image.id == self._image_id)
            self._image = dict(session.execute(image).mappings().one())
            self._parts = [
                (table, dict(row))
                for table in Base.metadata.sorted_tables
                if "image_id" in table.columns
                for row in session.execute(
                    select(table).where(table.columns["image_id"] == self._image_id)
                ).mappings()
            ]

    def close(self) -> None:
        """Close the connections to the database of the system."""
        self._engine.dispose()

    def add(self, owner_token: str, *names: str) -> list[int]:
        """Add images of an owner, the last one as the newest, and return their ids."""
        owner_id = json.loads(base64.urlsafe_b64decode(owner_token.split(".")[0] + "=="))
        return [self._add(owner_id, name) for name in names]

    def _add(self, owner_id: str, name: str) -> int:
        key, now = f"originals/{uuid.uuid4()}.jpg", datetime.now(UTC)
        changes = {
            "filename": name,
            "original_key": key,
            "thumbnail_key": thumbnail_key(key),
            "sha256": uuid.uuid4().hex * 2,
            "owner_id": owner_id,
            "uploaded_at": now,
            "updated_at": now,
        }
        source = self._image["original_key"]
        for name_of in (thumbnail_key, preview_key):
            self._s3.copy_object(
                Bucket=_BUCKET, Key=name_of(key), CopySource=f"{_BUCKET}/{name_of(source)}"
            )
        with session_scope(self._sessions) as session:
            result = session.execute(
                insert(Image).values({**self._image, **changes}).returning(Image.id)
            )
            image_id = int(result.scalar_one())
            for table, part in self._parts:
                row = {**part, "image_id": image_id}
                if "owner_id" in row:
                    row["owner_id"] = owner_id
                session.execute(insert(table).values(row))
        return image_id
