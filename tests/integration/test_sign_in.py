"""Sign-in at the load balancer, with real keys and a real server of public keys."""

import base64
import hashlib
import hmac
import json
import re
import threading
import time
import uuid
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support import factories
from tests.unit.web_app.conftest import encode_form
from web_app.app import create_app
from web_app.middleware.owners import Owner, Owners

ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/site/50dc6c495c0c9188"
ISSUER = "https://idp.example.org"
JSON = {"Accept": "application/json"}


class KeyServer:
    """A server of public keys, like the one of AWS.

    Attributes:
        keys: maps key ids to PEM.
        status: the status of each response; None means 200, or 404 for an unknown key id.
        requests: counts the requests for each path.
    """

    def __init__(self):
        self.keys, self.status, self.requests = {}, None, Counter()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests[self.path] += 1
                pem = outer.keys.get(self.path.removeprefix("/keys/"))
                self.send_response(outer.status or (200 if pem else 404))
                self.end_headers()
                self.wfile.write(pem or b"<Error/>")

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/keys"

    def add(self, private_key):
        name = str(uuid.uuid4())
        self.keys[name] = private_key.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )
        return name

    def stop(self):
        if not self.thread.is_alive():
            return
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def key_server():
    server = KeyServer()
    yield server
    server.stop()


PRIVATE_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def key_id(key_server):
    """Publish the load balancer's key and return its key id."""
    return key_server.add(PRIVATE_KEY)


@pytest.fixture
def app(settings, key_server, object_store, event_bus, session_factory):
    """Create the application behind a load balancer with sign-in."""
    return create_app(
        settings.model_copy(
            update={
                "sign_in_load_balancer_arn": ARN,
                "sign_in_public_keys_url": key_server.url,
            }
        ),
        object_store=object_store,
        event_bus=event_bus,
        session_factory=session_factory,
    )


def encode(part, *, padded=True):
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    text = base64.urlsafe_b64encode(data).decode()
    return text if padded else text.rstrip("=")


def sign_es256(data, private_key=PRIVATE_KEY):
    r, s = decode_dss_signature(private_key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@pytest.fixture
def make_token(key_id):
    """Return a function that builds tokens like those of the load balancer: Base64 with padding."""

    def make(sub="mary", *, sign=sign_es256, padded=True, claims=(), **header):
        header = {
            "typ": "JWT",
            "kid": key_id,
            "alg": "ES256",
            "iss": ISSUER,
            "client": "the-client",
            "signer": ARN,
            "exp": int(time.time()) + 120,
            **header,
        }
        header = {name: value for name, value in header.items() if value is not ...}
        payload = {"sub": sub, "email": "mary@example.org", "exp": header.get("exp", 0)}
        payload |= {"iss": ISSUER, **dict(claims)}
        payload = {name: value for name, value in payload.items() if value is not ...}
        signed = f"{encode(header, padded=padded)}.{encode(payload, padded=padded)}"
        return f"{signed}.{encode(sign(signed.encode()), padded=padded)}"

    return make


def signed_in(token):
    return {**JSON, "x-amzn-oidc-data": token}


def upload(client, token, **headers):
    """Upload like a page of the application, with its CSRF token."""
    page = client.get("/", headers={"x-amzn-oidc-data": token}).get_data(as_text=True)
    csrf_token = re.search(r'name="csrf-token" content="([^"]+)"', page)[1]
    body, content_type = encode_form([("beach.jpg", factories.make_jpeg())])
    return client.post(
        "/upload",
        data=body,
        content_type=content_type,
        headers={**signed_in(token), "X-CSRFToken": csrf_token, **headers},
    )


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("sub", ["mary", "mary1", "mary12"])
def test_a_valid_token_of_the_load_balancer_is_accepted(app, make_token, sub, padded):
    token = make_token(sub, padded=padded)

    assert app.test_client().get("/api/images", headers=signed_in(token)).status_code == 200
    assert ("=" in token) <= padded


def test_a_signed_in_user_is_the_same_owner_in_every_browser(app, make_token, session_factory):
    sent = upload(app.test_client(), make_token("mary")).json
    [result] = sent["results"]
    url = f"/api/images/{result['id']}"

    def is_mine(token):
        return app.test_client().get(url, headers=signed_in(token)).json["is_mine"]

    assert result["outcome"] == "accepted"
    assert is_mine(make_token("mary"))
    assert not is_mine(make_token("john"))
    other_issuer = make_token("mary", iss="https://other.example", claims={"iss": ...})
    assert not is_mine(other_issuer)


def test_with_sign_in_cookies_and_bearer_tokens_do_not_identify_the_owner(
    app, make_token, settings
):
    client = app.test_client()
    sent = upload(client, make_token("mary"))
    [result] = sent.json["results"]
    owner_id = app.extensions["image_annotation"].sign_in.owner_id(make_token("mary"))
    stolen = Owners(settings.flask_secret_key.get_secret_value()).token(
        Owner(owner_id, is_new=False)
    )

    assert "owner_token" not in sent.json
    assert not any("owner=" in cookie for cookie in sent.headers.getlist("Set-Cookie"))
    stranger = app.test_client()
    stranger.set_cookie("owner", stolen)
    for headers in ({}, {"Authorization": f"Bearer {stolen}"}):
        assert stranger.get("/api/images", headers={**JSON, **headers}).status_code == 401
        response = stranger.get(
            f"/api/images/{result['id']}",
            headers={**signed_in(make_token("john")), **headers},
        )
        assert response.json["is_mine"] is False


def test_the_owner_id_of_a_signed_in_user_is_a_prefixed_hash(app, make_token):
    sign_in = app.extensions["image_annotation"].sign_in

    owner_id = sign_in.owner_id(make_token("x" * 2000))

    assert re.fullmatch(r"sign-in:[0-9a-f]{64}", owner_id)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/upload"), ("DELETE", "/api/images/1"), ("POST", "/api/images/retry")],
)
def test_a_request_from_another_site_cannot_use_the_sign_in(app, make_token, method, path):
    """The browser adds the load balancer's cookie to requests from any site."""
    response = app.test_client().open(
        path,
        method=method,
        headers={**signed_in(make_token()), "Authorization": "Bearer made-up"},
    )

    assert (response.status_code, response.json["code"]) == (400, "csrf_failed")


# Refused tokens

PUBLIC_PEM = PRIVATE_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
FORGERIES = {
    "another key": {"sign": lambda data: sign_es256(data, ec.generate_private_key(ec.SECP256R1()))},
    "a signature of nothing": {"sign": lambda data: bytes(64)},
    "no signature": {"sign": lambda data: b""},
    "alg none": {"alg": "none", "sign": lambda data: b""},
    "HS256 with the public key": {
        "alg": "HS256",
        "sign": lambda data: hmac.digest(PUBLIC_PEM, data, hashlib.sha256),
    },
    "HS256 signed as ES256": {"sign": lambda data: hmac.digest(PUBLIC_PEM, data, "sha256")},
    "another algorithm of the same kind": {"alg": "ES384"},
    "another signer": {"signer": ARN.replace("site", "evil")},
    "no signer": {"signer": ...},
    "expired": {"exp": int(time.time()) - 3600},
    "never expires": {"exp": ...},
    "expires in words": {"exp": "tomorrow"},
    "no issuer": {"iss": ...},
    "two issuers": {"claims": {"iss": "https://other.example"}},
    "no user": {"claims": {"sub": ...}},
    "an empty name": {"claims": {"sub": ""}},
    "a name that is a number": {"claims": {"sub": 7}},
    "payload expired": {"claims": {"exp": int(time.time()) - 3600}},
    "unknown key": {"kid": "00000000-0000-0000-0000-000000000000"},
    "no key": {"kid": ...},
    "a path for a key": {"kid": "../../../etc/passwd"},
    "a host for a key": {"kid": "@evil.com/key"},
    "an address for a key": {"kid": "http://169.254.169.254/latest/meta-data"},
    "a uuid and more": {"kid": "00000000-0000-0000-0000-000000000000/../x"},
    "a uuid in braces": {"kid": "{00000000-0000-0000-0000-000000000000}"},
    "a number for a key": {"kid": 7},
    "critical": {"crit": ["exp"]},
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token_is_refused(app, make_token, name):
    response = app.test_client().get(
        "/api/images", headers=signed_in(make_token(**FORGERIES[name]))
    )

    assert (response.status_code, response.json["code"]) == (401, "not_signed_in")
    assert response.json["error"].endswith(".")
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "..", "é.€.ü", "=" * 5000, "e30=.e30=.e30="])
def test_a_malformed_token_is_refused(app, token):
    assert app.test_client().get("/api/images", headers=signed_in(token)).status_code == 401


@pytest.mark.parametrize("header", ["[" * 6000, '{"a":' * 2000, '{"exp":' + "9" * 6000 + "}"])
def test_a_token_with_a_header_that_cannot_be_parsed_is_refused(app, header):
    token = f"{base64.urlsafe_b64encode(header.encode()).decode()}.e30=.e30="

    response = app.test_client().get("/api/images", headers=signed_in(token))

    assert (response.status_code, response.json["code"]) == (401, "not_signed_in")


def test_a_signed_in_user_gets_neither_an_owner_cookie_nor_a_token(app, make_token):
    client, headers = app.test_client(), signed_in(make_token())

    page = client.get("/", headers=headers)
    token = re.search(r'name="csrf-token" content="([^"]+)"', page.get_data(as_text=True))[1]
    response = client.post("/api/owners", headers={**headers, "X-CSRFToken": token})

    assert client.get_cookie("owner") is None
    assert (response.status_code, response.json) == (200, {"owner_token": None})


@pytest.mark.parametrize(
    "name", ["a path for a key", "a host for a key", "an address for a key", "a uuid in braces"]
)
def test_a_key_id_that_is_not_a_uuid_causes_no_request(app, make_token, key_server, name):
    app.test_client().get("/api/images", headers=signed_in(make_token(**FORGERIES[name])))

    assert not key_server.requests


def test_a_token_of_another_load_balancer_causes_no_request_for_its_key(
    app, make_token, key_server
):
    token = make_token(signer=ARN.replace("site", "evil"))

    app.test_client().get("/api/images", headers=signed_in(token))

    assert not key_server.requests


def test_a_token_with_a_tampered_user_is_refused(app, make_token):
    header, _payload, signature = make_token("mary").split(".")
    payload = encode({"sub": "john", "iss": ISSUER})

    response = app.test_client().get(
        "/api/images", headers=signed_in(f"{header}.{payload}.{signature}")
    )

    assert response.status_code == 401


@pytest.mark.parametrize(
    "path", ["/", "/gallery", "/images/1", "/api/images", "/api/openapi.json", "/nowhere"]
)
def test_without_sign_in_every_page_is_refused(app, path):
    assert app.test_client().get(path).status_code == 401


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_health_checks_need_no_sign_in(app, path):
    assert app.test_client().get(path).status_code == 200


def test_a_browser_without_sign_in_gets_an_error_page(app):
    response = app.test_client().get("/gallery", headers={"Accept": "text/html"})

    assert response.mimetype == "text/html"
    assert "You are not signed in" in response.get_data(as_text=True)


# Public keys


def test_a_key_is_fetched_once(app, make_token, key_server, key_id):
    for name in ("mary", "john", "mary"):
        app.test_client().get("/api/images", headers=signed_in(make_token(name)))

    assert key_server.requests == {f"/keys/{key_id}": 1}


def test_a_new_key_is_fetched_when_it_is_used(app, make_token, key_server):
    new_key = ec.generate_private_key(ec.SECP256R1())
    app.test_client().get("/api/images", headers=signed_in(make_token()))

    response = app.test_client().get(
        "/api/images",
        headers=signed_in(
            make_token(kid=key_server.add(new_key), sign=lambda data: sign_es256(data, new_key))
        ),
    )

    assert response.status_code == 200


@pytest.mark.parametrize("status", [500, 503, 301])
def test_a_failing_key_server_gives_503_with_retry_after(app, make_token, key_server, status):
    key_server.status = status

    response = app.test_client().get("/api/images", headers=signed_in(make_token()))

    assert (response.status_code, response.json["code"]) == (503, "sign_in_unavailable")
    assert response.headers["Retry-After"]


def test_without_a_key_server_tokens_with_a_known_key_are_still_accepted(
    app, make_token, key_server
):
    known_token = make_token()
    app.test_client().get("/api/images", headers=signed_in(known_token))
    key_server.stop()

    with_known = app.test_client().get("/api/images", headers=signed_in(make_token("john")))
    with_new = app.test_client().get(
        "/api/images", headers=signed_in(make_token(kid=str(uuid.uuid4())))
    )

    assert (with_known.status_code, with_new.status_code) == (200, 503)


def test_a_public_key_of_another_type_gives_503(app, make_token, key_server):
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    response = app.test_client().get(
        "/api/images", headers=signed_in(make_token(kid=key_server.add(rsa_key)))
    )

    assert response.status_code == 503


def test_a_signed_in_user_has_one_limit_for_all_addresses(
    settings, key_server, object_store, event_bus, session_factory, make_token
):
    app = create_app(
        settings.model_copy(
            update={
                "sign_in_load_balancer_arn": ARN,
                "sign_in_public_keys_url": key_server.url,
                "trusted_proxy_count": 1,
                "reads_per_minute": 1,
            }
        ),
        object_store=object_store,
        event_bus=event_bus,
        session_factory=session_factory,
    )

    def ask(name, address):
        headers = {**signed_in(make_token(name)), "X-Forwarded-For": address}
        return app.test_client().get("/api/images", headers=headers).status_code

    assert [ask("mary", "203.0.113.1"), ask("mary", "203.0.113.2")] == [200, 429]
    assert ask("john", "203.0.113.1") == 200
