"""The API keys of owners. Only the hash of a key is stored, so a copy of the database is no key.

A key has 256 random bits. So a fast hash is enough: nobody can find a key by trying.
"""

import hashlib
import secrets
from collections.abc import Sequence

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from database.models import ApiKey, utc_now
from database.rows import execute_update

# Programs that search code for leaked secrets know a key by this beginning.
PREFIX = "iak_"
# Longer than the time for which the last use is exact. A write for each request would be too many.
USE_NOTED_SECONDS = 60 * 60


def add_key(session: Session, owner_id: str, name: str) -> tuple[ApiKey, str]:
    """Add a key of an owner. Return its row and the key itself, which cannot be read later."""
    key = PREFIX + secrets.token_urlsafe(32)
    row = ApiKey(owner_id=owner_id, name=name, key_hash=_hash(key))
    session.add(row)
    session.flush()
    session.refresh(row)
    return row, key


def count_keys(session: Session, owner_id: str) -> int:
    """Return the number of keys of an owner."""
    count = select(func.count()).select_from(ApiKey).where(ApiKey.owner_id == owner_id)
    return session.scalar(count) or 0


def list_keys(session: Session, owner_id: str) -> Sequence[ApiKey]:
    """Return the keys of an owner, newest first."""
    keys = select(ApiKey).where(ApiKey.owner_id == owner_id).order_by(ApiKey.id.desc())
    return session.scalars(keys).all()


def find_key_owner(session: Session, key: str) -> str | None:
    """Return the owner of a key, or None if the key does not exist. Note its use once an hour."""
    was_noted = ApiKey.last_used_at > utc_now(-USE_NOTED_SECONDS)
    found = session.execute(
        select(ApiKey.id, ApiKey.owner_id, was_noted).where(ApiKey.key_hash == _hash(key))
    ).one_or_none()
    if found is None:
        return None
    key_id, owner_id, is_noted = found
    if not is_noted:
        is_old = or_(ApiKey.last_used_at.is_(None), ~was_noted)
        note = update(ApiKey).where(ApiKey.id == key_id, is_old).values(last_used_at=utc_now())
        execute_update(session, note)
    return str(owner_id)


def revoke_key(session: Session, owner_id: str, key_id: int) -> bool:
    """Delete a key of an owner; return False if the owner has no such key."""
    return execute_update(
        session, delete(ApiKey).where(ApiKey.id == key_id, ApiKey.owner_id == owner_id)
    )


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
