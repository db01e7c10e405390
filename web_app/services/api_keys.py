"""Create, list and revoke the API keys of an owner."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session, sessionmaker

from database import api_keys
from database.models import ApiKey
from database.session import session_scope
from web_app.errors import ConflictError, InvalidKeyNameError, KeyNotFoundError
from web_app.services.audit import log_key

MAX_KEYS = 20
MAX_NAME_CHARACTERS = 100


@dataclass(frozen=True)
class ApiKeys:
    """The keys of one owner."""

    session_factory: sessionmaker[Session]
    owner_id: str

    def list(self) -> Sequence[ApiKey]:
        """Return the keys, newest first."""
        with session_scope(self.session_factory) as session:
            return api_keys.list_keys(session, self.owner_id)

    def create(self, name: str) -> tuple[ApiKey, str]:
        """Create a key. Return its row and the key, which cannot be read again.

        Raises:
            InvalidKeyNameError: the name is empty or too long.
            ConflictError: the owner has too many keys.
        """
        name = " ".join(name.split())
        if not 1 <= len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
            raise InvalidKeyNameError(
                "Give the key a name by which you will know it, for example “Laptop”, with up to "
                f"{MAX_NAME_CHARACTERS} characters."
            )
        with session_scope(self.session_factory) as session:
            if api_keys.count_keys(session, self.owner_id) >= MAX_KEYS:
                raise ConflictError(
                    f"You have {MAX_KEYS} keys, which is the limit. Revoke one that you no longer "
                    "use.",
                    code="too_many_keys",
                )
            row, key = api_keys.add_key(session, self.owner_id, name)
        log_key("key_created", row.id, self.owner_id)
        return row, key

    def revoke(self, key_id: int) -> None:
        """Revoke a key.

        Raises:
            KeyNotFoundError: the owner has no key with this id.
        """
        with session_scope(self.session_factory) as session:
            was_revoked = api_keys.revoke_key(session, self.owner_id, key_id)
        if not was_revoked:
            raise KeyNotFoundError
        log_key("key_revoked", key_id, self.owner_id)
