"""Runs the unit tests of the JavaScript modules, and compares their formats with the server's."""

import base64
import json
import os
import re
import subprocess
from io import BytesIO
from pathlib import Path

import pytest
from deno import find_deno_bin

import imaging.formats
from database.models import Image, Job, Status
from imaging.errors import UnsupportedFormatError
from imaging.formats import ACCEPTED_FORMATS, identify
from tests.support.factories import make_encoded
from web_app.routes.serializers import can_retry
from web_app.services.owner_actions import HOPELESS_CODES

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]
TEST_FILES = sorted(path.name for path in FOLDER.glob("*_test.js"))
FILE_CHECK = "web_app/static/modules/file_check.js"


@pytest.fixture
def run_deno(tmp_path):
    """Run a deno command without network access, and return what it printed."""

    def run(*arguments, stdin=None):
        environment = {
            **os.environ,
            "DENO_DIR": str(tmp_path / "deno"),
            "DENO_NO_UPDATE_CHECK": "1",
            "NO_COLOR": "1",
        }
        command, *options = arguments
        done = subprocess.run(
            [find_deno_bin(), command, "--no-check", "--no-remote", "--no-npm", *options],
            cwd=ROOT,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.mark.parametrize("name", TEST_FILES)
def test_the_unit_tests_of_javascript_pass(run_deno, name):
    run_deno("test", f"tests/unit/static/{name}")


def is_accepted_by_the_server(start):
    try:
        identify(BytesIO(start))
    except UnsupportedFormatError:
        return False
    return True


def candidates():
    """Return the first bytes of files, by a name for the failure message."""
    source = Path(imaging.formats.__file__).read_text()
    # Every four-byte literal of imaging/formats.py, so that a new brand is a candidate too.
    brands = set(re.findall(r'b"([\w ]{4})"', source)) | {"mp42", "isom", "qt  ", "jpeg", "crx "}
    files = {image.name: make_encoded(image.pillow_name, (8, 8)) for image in ACCEPTED_FORMATS}
    for brand in sorted(brands):
        name = brand.encode()
        files[f"major brand {brand}"] = b"\0\0\0\x18ftyp" + name + b"\0\0\0\0abcdabcd"
        files[f"compatible brand {brand}"] = b"\0\0\0\x18ftypabcd\0\0\0\0abcd" + name
        files[f"brand {brand} after the box"] = b"\0\0\0\x14ftypabcd\0\0\0\0abcd" + name
    for size in range(256):
        files[f"BMP header of {size} bytes"] = b"BM" + bytes(12) + size.to_bytes(4, "little")
    for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"GIF87a", b"GIF88a", b"%PDF"):
        files[repr(start)] = start + bytes(20)
    for length in range(20):
        files[f"{length} bytes of a WebP"] = files["WebP"][:length]
    return {name: content[:256] for name, content in files.items()}


def test_the_check_before_an_upload_accepts_the_formats_of_the_server(run_deno):
    files = candidates()
    encoded = {name: base64.b64encode(start).decode() for name, start in files.items()}

    printed = run_deno("run", "tests/unit/static/print_supported.js", stdin=json.dumps(encoded))

    accepted = json.loads(printed)
    different = [
        name for name, start in files.items() if accepted[name] != is_accepted_by_the_server(start)
    ]
    assert different == [], f"{FILE_CHECK} and imaging/formats.py disagree. Edit {FILE_CHECK}."


def test_the_codes_of_hopeless_failures_are_those_of_the_server():
    script = (ROOT / "web_app/static/modules/api.js").read_text()
    [listed] = re.findall(r"HOPELESS_CODES = (\[[^]]*\])", script)

    columns = {f"{job}_status": Status.FAILED for job in Job}
    for code in json.loads(listed):
        failed = Image(**columns, **{f"{job}_error_code": code for job in Job})
        assert not can_retry(failed), code
    assert set(json.loads(listed)) == HOPELESS_CODES
