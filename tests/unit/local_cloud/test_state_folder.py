import stat

import pytest

from local_cloud.logs import Log
from local_cloud.setting_values import SettingError
from local_cloud.state_folder import StateFolder, StateFolderInUseError


def test_only_one_run_can_claim_a_folder(tmp_path):
    first, second = StateFolder(tmp_path), StateFolder(tmp_path)
    first.claim()

    with pytest.raises(StateFolderInUseError):
        second.claim()
    first.release()
    second.claim()

    second.release()


def test_a_folder_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(SettingError, match=r"^Cannot write to .*\.$"):
        StateFolder(tmp_path / "file" / "state").claim()


def test_the_session_key_is_created_once_and_is_private(tmp_path):
    key = StateFolder(tmp_path).flask_secret_key()

    assert len(key) == 64
    assert StateFolder(tmp_path).flask_secret_key() == key
    assert stat.S_IMODE((tmp_path / "flask_secret_key").stat().st_mode) == 0o600


def test_the_access_key_of_a_run_replaces_the_previous_one_and_is_private(tmp_path):
    folder = StateFolder(tmp_path)

    folder.write_aws_config("a longer earlier content")
    folder.write_aws_config("content")

    assert (tmp_path / "aws_config").read_text() == "content"
    assert stat.S_IMODE((tmp_path / "aws_config").stat().st_mode) == 0o600


def test_a_folder_of_an_earlier_version_becomes_private(tmp_path):
    state = tmp_path / "state"
    for name in ("objects", "headers", "logs", "tmp"):
        (state / name).mkdir(mode=0o755, parents=True)
    for name in ("images.sqlite3", "images.sqlite3-wal", "images.sqlite3-shm"):
        (state / name).touch(mode=0o644)

    StateFolder(state).claim()

    assert [path.name for path in state.iterdir() if path.stat().st_mode & 0o077] == []


def test_a_new_folder_is_private(tmp_path):
    StateFolder(tmp_path / "state").claim()

    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_a_long_log_is_truncated_while_a_program_writes_to_it(tmp_path):
    log = Log(tmp_path / "web.log")

    with log.open() as program:
        program.write(b"x" * 6_000_000)
        program.flush()
        log.trim()
        program.write(b"and on")

    assert log.path.read_bytes() == b"and on"
    assert (tmp_path / "web.log.1").stat().st_size == 6_000_000
