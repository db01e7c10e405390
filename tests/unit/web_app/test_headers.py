"""Response headers, static files and compression."""

import re

import brotli
import pytest

from tests.support.factories import make_jpeg
from web_app.routes.assets import folder_hash

POLICY = (
    "default-src 'self'; img-src 'self' data: blob: https://images.test https://thumbnails.test; "
    "style-src 'self'; script-src 'self'; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@pytest.mark.parametrize("path", ["/", "/gallery", "/images/{id}", "/api/docs", "/nowhere"])
def test_pages_allow_scripts_and_content_from_this_application_only(client, add_row, path):
    response = client.get(path.format(id=add_row()))

    page = response.get_data(as_text=True)
    assert response.headers["Content-Security-Policy"] == POLICY
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", page)


@pytest.mark.parametrize("path", ["/", "/api/images", "/health", "/static/app.css", "/nowhere"])
def test_every_response_disables_type_sniffing_and_cross_site_referrers(client, path):
    with client.get(path) as response:
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/gallery", "/api/docs", "/nowhere"])
def test_pages_use_no_device_and_share_no_window_with_other_sites(client, path):
    response = client.get(path)

    policy = response.headers["Permissions-Policy"]
    assert {"camera=()", "microphone=()", "geolocation=()"} <= set(policy.split(", "))
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "path", ["/", "/api/images", "/health", "/static/app.css", "/nowhere", "versioned"]
)
def test_no_response_can_be_embedded_by_another_site(client, path):
    with client.get(asset(client) if path == "versioned" else path) as response:
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/api/images", "/health", "/nowhere"])
def test_strict_transport_security_is_sent_over_https_only(client, path):
    secure = client.get(path, base_url="https://images.test")
    plain = client.get(path)

    assert secure.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in plain.headers


@pytest.mark.parametrize(
    ("scheme", "is_secure", "names"),
    [
        ("https", True, {"__Host-owner", "__Host-session"}),
        ("http", False, {"owner", "session"}),
    ],
)
def test_every_cookie_is_httponly_and_samesite_and_over_https_secure(
    client, send, scheme, is_secure, names
):
    response = send(("a.jpg", make_jpeg()), base_url=f"{scheme}://images.test", accept="text/html")

    cookies = response.headers.getlist("Set-Cookie")
    assert {cookie.partition("=")[0] for cookie in cookies} == names
    for cookie in cookies:
        attributes = {word.strip().lower() for word in cookie.split(";")}
        assert {"httponly", "samesite=lax", "path=/"} <= attributes
        assert ("secure" in attributes) == is_secure
        assert not any(attribute.startswith("domain") for attribute in attributes)


def asset(client, name="app.css"):
    page = client.get("/").get_data(as_text=True)
    return re.search(rf'"(/static/[0-9a-f]{{16}}/{name})"', page)[1]


def test_a_static_file_under_its_hash_is_cached_for_a_year(client):
    with client.get(asset(client), headers={"Accept-Encoding": "br"}) as response:
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "max-age=31536000, public, immutable"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in response.headers
        assert response.headers["Content-Encoding"] == "br"
        with client.get(asset(client)) as plain:
            assert brotli.decompress(response.data) == plain.data


@pytest.mark.parametrize("path", ["/static/app.css", "/static/0123456789abcdef/app.css"])
def test_a_static_file_under_another_path_is_revalidated(client, path):
    with client.get(path) as response:
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["/static/../settings.py", "/static/%2e%2e/settings.py", "/static/x/../../wsgi.py"]
)
def test_files_outside_the_static_folder_are_not_served(client, path):
    assert client.get(path).status_code == 404


def test_every_change_in_the_folder_changes_its_hash(tmp_path):
    hashes = set()
    for name, content in (("a.js", "1"), ("a.js", "2"), ("b.js", "2"), ("modules/a.js", "1")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
        folder_hash.cache_clear()
        hashes.add(folder_hash(tmp_path))

    assert len(hashes) == 4


@pytest.mark.parametrize("encoding", ["br", "gzip", "zstd"])
def test_long_responses_are_compressed_and_short_ones_are_not(client, add_row, encoding):
    for _ in range(5):
        add_row()

    for path, expected in (("/gallery", encoding), ("/api/images", encoding), ("/health", None)):
        response = client.get(path, headers={"Accept-Encoding": encoding})
        assert response.headers.get("Content-Encoding") == expected
        assert "Accept-Encoding" in response.vary


def test_a_compressed_response_can_be_revalidated(client, add_row):
    for _ in range(5):
        add_row()
    headers = {"Accept-Encoding": "gzip"}
    etag = client.get("/api/images", headers=headers).headers["ETag"]

    again = client.get("/api/images", headers={**headers, "If-None-Match": etag})

    assert again.status_code == 304


@pytest.mark.parametrize("name", ["favicon.ico", "apple-touch-icon.png", "share_worker.js"])
def test_files_in_the_root_folder_are_validated_on_each_use(client, name):
    with client.get(f"/{name}") as first:
        assert first.status_code == 200
        assert first.headers["Cache-Control"] == "no-cache"
    with client.get(f"/{name}", headers={"If-None-Match": first.headers["ETag"]}) as again:
        assert again.status_code == 304
