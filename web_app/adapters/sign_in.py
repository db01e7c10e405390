"""Who has signed in at the load balancer: it signs each request it lets through.

The header `x-amzn-oidc-data` is a JWT, ES256, with the base64 padding that others leave out.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
"""

import hashlib
import time
import uuid
from typing import Any

import jwt
import urllib3
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from web_app.errors import NotSignedInError, SignInUnavailableError

HEADER = "x-amzn-oidc-data"
_ALGORITHM = "ES256"
# A token lives for two minutes, and machines' clocks differ.
_LEEWAY_SECONDS = 60
# The load balancer changes its key now and then; each has a name of its own and never changes.
_MAX_KEPT_KEYS = 16


class SignIn:
    """Believes one load balancer, and nobody else, who somebody is."""

    def __init__(self, load_balancer_arn: str, public_keys_url: str) -> None:
        self._load_balancer_arn = load_balancer_arn
        self._public_keys_url = public_keys_url
        self._keys: dict[str, EllipticCurvePublicKey] = {}
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=2, read=3),
            # No redirects: a key is where the settings say it is.
            retries=urllib3.Retry(total=1, redirect=False, raise_on_redirect=False),
        )

    def owner_id(self, token: str | None) -> str:
        """The owner id of whoever a token names, the same for the same person each time.

        Raises:
            NotSignedInError: this load balancer has not signed it, or it has expired.
            SignInUnavailableError: the key to check it with could not be fetched.
        """
        try:
            header = jwt.get_unverified_header(token or "")
            # Cheap and unproven, so that only what could be right costs a fetch.
            if not self._may_be_ours(header):
                raise NotSignedInError
            claims = jwt.decode(
                token or "",
                self._public_key(header),
                algorithms=[_ALGORITHM],
                leeway=_LEEWAY_SECONDS,
                # For whom the provider has made it, the load balancer has checked.
                options={"require": ["sub"], "verify_aud": False},
            )
        except jwt.PyJWTError as error:
            raise NotSignedInError from error
        issuer, subject = header["iss"], claims["sub"]
        if not subject or claims.get("iss", issuer) != issuer:
            raise NotSignedInError
        digest = hashlib.sha256(f"{issuer}\0{subject}".encode()).hexdigest()
        # No random owner id has a colon in it.
        return f"sign-in:{digest}"

    def _may_be_ours(self, header: dict[str, Any]) -> bool:
        expires_at = header.get("exp")
        return (
            header.get("alg") == _ALGORITHM
            and header.get("signer") == self._load_balancer_arn
            and bool(header.get("iss"))
            and isinstance(header["iss"], str)
            and isinstance(expires_at, int | float)
            and expires_at > time.time() - _LEEWAY_SECONDS
        )

    def _public_key(self, header: dict[str, Any]) -> EllipticCurvePublicKey:
        key_id = header.get("kid")
        # It becomes part of an address, so it must be what it is said to be.
        if not isinstance(key_id, str) or not _is_uuid(key_id):
            raise NotSignedInError
        key = self._keys.get(key_id)
        if key is None:
            key = self._fetch(key_id)
            if len(self._keys) >= _MAX_KEPT_KEYS:
                self._keys.clear()
            self._keys[key_id] = key
        return key

    def _fetch(self, key_id: str) -> EllipticCurvePublicKey:
        try:
            response = self._http.request("GET", f"{self._public_keys_url}/{key_id}")
        except urllib3.exceptions.HTTPError as error:
            raise SignInUnavailableError from error
        if response.status in (403, 404):  # S3, where the keys lie, says either of what is absent.
            raise NotSignedInError
        try:
            key = load_pem_public_key(response.data)
        except ValueError as error:
            raise SignInUnavailableError from error
        if response.status != 200 or not isinstance(key, EllipticCurvePublicKey):
            raise SignInUnavailableError
        return key


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
