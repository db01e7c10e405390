"""Verify the token with which the load balancer names the signed-in user.

The header `x-amzn-oidc-data` is a JWT, signed with ES256. Unlike other JWTs it has base64 padding.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
"""

import hashlib
import time
import uuid
from functools import lru_cache
from typing import Any

import jwt
import urllib3
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from web_app.errors import NotSignedInError, SignInUnavailableError

HEADER = "x-amzn-oidc-data"
_ALGORITHM = "ES256"
# A token expires after two minutes, and the clocks of two machines differ.
_LEEWAY_SECONDS = 60
# The load balancer rotates its key. Each key has its own id and never changes.
_MAX_CACHED_KEYS = 16


class SignIn:
    """Verifies the tokens of one load balancer."""

    def __init__(self, load_balancer_arn: str, public_keys_url: str) -> None:
        self._load_balancer_arn = load_balancer_arn
        self._public_keys_url = public_keys_url
        self._fetch_once = lru_cache(maxsize=_MAX_CACHED_KEYS)(self._fetch)
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=2, read=3),
            # No redirects: the settings name the address of the keys.
            retries=urllib3.Retry(total=1, redirect=False, raise_on_redirect=False),
        )

    def owner_id(self, token: str | None) -> str:
        """Return the owner id of the user in a token. A user always has the same owner id.

        Raises:
            NotSignedInError: the token is missing, expired, or not signed by this load balancer.
            SignInUnavailableError: the public key could not be fetched.
        """
        try:
            header = jwt.get_unverified_header(token or "")
            # Check the unverified header first: invalid tokens must not cause a key download.
            if not self._is_plausible(header):
                raise NotSignedInError
            claims = jwt.decode(
                token or "",
                self._public_key(header),
                algorithms=[_ALGORITHM],
                leeway=_LEEWAY_SECONDS,
                # The load balancer has already checked the audience.
                options={"require": ["sub"], "verify_aud": False},
            )
        # PyJWT does not catch the error of a deeply nested header.
        except (jwt.PyJWTError, RecursionError) as error:
            raise NotSignedInError from error
        issuer, subject = header["iss"], claims["sub"]
        if not subject or claims.get("iss", issuer) != issuer:
            raise NotSignedInError
        digest = hashlib.sha256(f"{issuer}\0{subject}".encode()).hexdigest()
        # Random owner ids contain no colon, so the two kinds cannot be equal.
        return f"sign-in:{digest}"

    def _is_plausible(self, header: dict[str, Any]) -> bool:
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
        # The id becomes part of a URL, so it must be a UUID.
        if not isinstance(key_id, str) or not _is_uuid(key_id):
            raise NotSignedInError
        return self._fetch_once(key_id)

    def _fetch(self, key_id: str) -> EllipticCurvePublicKey:
        try:
            response = self._http.request("GET", f"{self._public_keys_url}/{key_id}")
        except urllib3.exceptions.HTTPError as error:
            raise SignInUnavailableError from error
        # S3, which serves the keys, sends either status for a missing key.
        if response.status in (403, 404):
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
