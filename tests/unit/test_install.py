"""Check how pip's configuration reaches uv, and what a failed installation says."""

import importlib.util
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

PATH = Path(__file__).parents[2] / "requirements" / "install.py"
MODULE = importlib.util.spec_from_file_location("install", PATH)
install = importlib.util.module_from_spec(MODULE)
MODULE.loader.exec_module(install)

CONFIGURATION = """\
:env:.default-timeout='180'
:env:.index-url='https://mirror.example/simple'
global.cert='/etc/ssl/company.pem'
global.extra-index-url='file:///one file:///two'
global.find-links='/wheels\\n/more'
global.index-url='https://other.example/simple'
install.no-compile='yes'
"""


def test_the_index_and_the_certificates_of_pip_are_used():
    assert install.uv_variables(CONFIGURATION, {}) == {
        "UV_HTTP_TIMEOUT": "180",
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "SSL_CERT_FILE": "/etc/ssl/company.pem",
        "UV_INDEX": "file:///one file:///two",
        "UV_FIND_LINKS": "/wheels,/more",
    }


def test_a_variable_of_uv_comes_before_the_configuration_of_pip():
    variables = install.uv_variables(CONFIGURATION, {"UV_DEFAULT_INDEX": "https://mine.example"})

    assert "UV_DEFAULT_INDEX" not in variables


def test_without_a_configuration_uv_has_its_own_defaults():
    assert install.uv_variables("", {}) == {}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.txt"
    path.write_text("")
    return path


def test_a_full_disk_is_named_before_anything_is_installed(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=20_000_000))
    monkeypatch.setattr(subprocess, "run", pytest.fail)

    assert install.main(["--into", str(tmp_path), str(file)]) == 1
    assert "Only 20 MB of the disk are free." in capsys.readouterr().err


def test_a_failed_installation_says_what_is_needed(file, tmp_path, monkeypatch, capsys):
    failed = subprocess.CompletedProcess([], 2, stdout="")
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: failed)

    assert install.main(["--into", str(tmp_path), str(file)]) == 2
    assert "access to a package index" in capsys.readouterr().err
