"""Serve static files under addresses that change with their content.

    /static/<hash of the whole folder>/app.css          cached for a year
    /static/<anything else>/app.css, /static/app.css    validated on each use
    /favicon.ico and the other files of `static/root`   validated on each use

The hash covers the whole folder, so that modules can import each other by relative paths.

`app.css` imports one file per component from `css/`. They are joined into one file at start,
because a browser shows a page only after it has all of its stylesheets.
"""

import atexit
import hashlib
import os
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path
from wsgiref.headers import Headers

import brotli
from flask import Flask, Response, send_from_directory, url_for
from whitenoise import WhiteNoise
from whitenoise.compress import Compressor

ONE_YEAR_SECONDS = 365 * 24 * 60 * 60
_HASH_CHARACTERS = 16

_WEB_APP = Path(__file__).parents[1]
_FOLDER = _WEB_APP / "static"
_STYLESHEET = "app.css"
# Browsers look for these files in the root folder of the site, also for the script of a worker.
_ROOT = "root"
_BROTLI_QUALITY = 8
_COPY_PREFIX = "image-annotation-static-"
_IMPORT = re.compile(r'^@import "([\w/.-]+)";$', re.MULTILINE)


class _FastCompressor(Compressor):  # type: ignore[misc]  # WhiteNoise has no type hints.
    """A compressor for each start of a process: the highest quality saves 9 % and takes 0.2 s."""

    @staticmethod
    def compress_brotli(data: bytes) -> bytes:
        compressed: bytes = brotli.compress(data, quality=_BROTLI_QUALITY)
        return compressed


def serve_assets(app: Flask) -> None:
    """Serve the folder, and make `asset_url('app.css')` available in templates."""
    version = folder_hash(_FOLDER)
    white_noise = WhiteNoise(
        app.wsgi_app,
        allow_all_origins=False,
        add_headers_function=_set_headers,
        mimetypes={".webmanifest": "application/manifest+json"},
    )
    copy = _compressed(_FOLDER, version)
    white_noise.add_files(str(copy), prefix=f"static/{version}/")
    white_noise.add_files(str(copy / _ROOT), prefix="/")
    app.wsgi_app = white_noise  # type: ignore[method-assign]
    app.add_url_rule("/static/<path:filename>", "static", _show_asset)
    app.jinja_env.globals["asset_url"] = lambda name: url_for(
        "static", filename=f"{version}/{name}"
    )


def code_version() -> str:
    """Identify the code that builds responses, so that a new release has other ETags."""
    return "".join(folder_hash(_WEB_APP / name) for name in ("static", "templates", "routes"))


def _set_headers(headers: Headers, _path: str, url: str) -> None:
    is_versioned = url.startswith("/static/")
    lasting = f"max-age={ONE_YEAR_SECONDS}, public, immutable"
    headers["Cache-Control"] = lasting if is_versioned else "no-cache"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"


@cache
def folder_hash(folder: Path) -> str:
    """Return a hash of the names and contents of all files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if "__pycache__" in path.parts:
            continue
        digest.update(str(path.relative_to(folder)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:_HASH_CHARACTERS]


def bundle(stylesheet: Path) -> str:
    """Return a stylesheet with each `@import "file";` line replaced by the content of the file."""
    return _IMPORT.sub(
        lambda line: (stylesheet.parent / line[1]).read_text(), stylesheet.read_text()
    )


@cache
def _compressed(folder: Path, version: str) -> Path:
    """Copy the folder and add compressed files, which WhiteNoise serves.

    Each process makes one copy and removes it at its end. A process that was killed could not, so
    the next one does.
    """
    _remove_copies_of_ended_processes()
    copy = Path(tempfile.mkdtemp(prefix=f"{_COPY_PREFIX}{os.getpid()}-{version}-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    (copy / _STYLESHEET).write_text(bundle(copy / _STYLESHEET))
    compressor = _FastCompressor(quiet=True)
    for path in [path for path in copy.rglob("*") if path.is_file()]:
        if compressor.should_compress(path.name):
            compressor.compress(str(path))
    return copy


def _remove_copies_of_ended_processes() -> None:
    for copy in Path(tempfile.gettempdir()).glob(f"{_COPY_PREFIX}*"):
        pid = copy.name.removeprefix(_COPY_PREFIX).partition("-")[0]
        if pid.isdecimal() and not _is_running(int(pid)):
            shutil.rmtree(copy, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # No process can have such a number.
        return False
    except PermissionError:  # It belongs to another user.
        return True
    return True


def _show_asset(filename: str) -> Response:
    first, _, rest = filename.partition("/")
    is_versioned = len(first) == _HASH_CHARACTERS and rest
    response = send_from_directory(_FOLDER, rest if is_versioned else filename)
    response.headers["Cache-Control"] = "no-cache"
    return response
