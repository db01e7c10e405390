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


@pytest.fixture
def without_uv(tmp_path, monkeypatch):
    """Let the environment have neither uv nor pip, as after `make run`."""
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin" / "python"))
    calls = SimpleNamespace(commands=[], failing="")

    def run(command, **options):
        calls.commands.append([str(part) for part in command])
        status = 1 if calls.commands[-1][-1] == calls.failing else 0
        return subprocess.CompletedProcess(command, status, stdout="")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_pip_and_uv_are_installed_again_if_they_were_removed(file, tmp_path, without_uv):
    assert install.main(["--into", str(tmp_path), str(file)]) == 0

    python, uv = (str(tmp_path / "bin" / name) for name in ("python", "uv"))
    restored, installed, listed, done = without_uv.commands
    assert restored == [python, "-m", "ensurepip"]
    assert installed[:4] == [python, "-m", "pip", "install"]
    assert installed[-2:] == ["--requirement", str(PATH.with_name("installer.txt"))]
    assert "--require-hashes" in installed
    assert listed == [python, "-m", "pip", "config", "list"]
    assert done[0] == uv


@pytest.mark.parametrize("part", ["ensurepip", str(PATH.with_name("installer.txt"))])
def test_nothing_else_is_tried_if_they_cannot_be_installed_again(
    file, tmp_path, without_uv, capsys, part
):
    without_uv.failing = part

    assert install.main(["--into", str(tmp_path), str(file)]) == 1
    assert without_uv.commands[-1][-1] == part
    assert "access to a package index" in capsys.readouterr().err
