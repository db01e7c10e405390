import stat

import pytest

from local_cloud.logs import Log
from local_cloud.settings import SettingError
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


def test_a_long_log_is_truncated_while_a_program_writes_to_it(tmp_path):
    log = Log(tmp_path / "web.log")

    with log.open() as program:
        program.write(b"x" * 6_000_000)
        program.flush()
        log.trim()
        program.write(b"and on")

    assert log.path.read_bytes() == b"and on"
    assert (tmp_path / "web.log.1").stat().st_size == 6_000_000
