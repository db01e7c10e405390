"""Static files, under an address that changes with their content.

    /static/<hash of the whole folder>/app.css      for a year, never asked for again
    /static/<anything else>/app.css, /static/app.css    asked for again each time

One hash for the whole folder, so that modules can import one another by relative paths.
"""

import atexit
import hashlib
import shutil
import tempfile
from functools import cache
from pathlib import Path

from flask import Flask, Response, send_from_directory, url_for
from whitenoise import WhiteNoise
from whitenoise.compress import Compressor

ONE_YEAR_SECONDS = 365 * 24 * 60 * 60
_HASH_CHARACTERS = 16

_FOLDER = Path(__file__).parents[1] / "static"
_TEMPLATES = Path(__file__).parents[1] / "templates"


def serve_assets(app: Flask) -> None:
    """Serve the folder, and let templates call `asset_url('app.css')`."""
    version = folder_hash(_FOLDER)
    white_noise = WhiteNoise(app.wsgi_app, allow_all_origins=False, max_age=ONE_YEAR_SECONDS)
    white_noise.FOREVER = ONE_YEAR_SECONDS
    white_noise.immutable_file_test = lambda path, url: True
    white_noise.add_headers_function = lambda headers, path, url: headers.__setitem__(
        "X-Content-Type-Options", "nosniff"
    )
    white_noise.add_files(str(_compressed(_FOLDER, version)), prefix=f"static/{version}/")
    app.wsgi_app = white_noise  # type: ignore[method-assign]
    app.add_url_rule("/static/<path:filename>", "static", _show_asset)
    app.jinja_env.globals["asset_url"] = lambda name: url_for(
        "static", filename=f"{version}/{name}"
    )


def page_version() -> str:
    """Changes whenever the same data would be shown otherwise."""
    return folder_hash(_FOLDER) + folder_hash(_TEMPLATES)


@cache
def folder_hash(folder: Path) -> str:
    """A hash over the names and the bytes of all files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:_HASH_CHARACTERS]


@cache
def _compressed(folder: Path, version: str) -> Path:
    """A copy of the folder with compressed files beside the plain ones, which WhiteNoise sends.

    Made once in a process, and removed at its end.
    """
    copy = Path(tempfile.mkdtemp(prefix=f"static-{version}-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    compressor = Compressor(quiet=True)
    for path in [path for path in copy.rglob("*") if path.is_file()]:
        if compressor.should_compress(path.name):
            compressor.compress(str(path))
    return copy


def _show_asset(filename: str) -> Response:
    first, _, rest = filename.partition("/")
    is_versioned = len(first) == _HASH_CHARACTERS and rest
    response = send_from_directory(_FOLDER, rest if is_versioned else filename)
    response.headers["Cache-Control"] = "no-cache"
    return response
