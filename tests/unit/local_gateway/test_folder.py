"""What a data folder keeps: a lock for one process, secrets for the owner only, tokens that the API accepts."""

from __future__ import annotations

import errno
import sqlite3
import stat
from pathlib import Path

import pytest

from infra.local.environment import AUDIENCE, local_environment
from infra.local.lock import DataLock
from infra.local.sentences import CannotRun, is_disk_full, port_in_use
from infra.local.tokens import USER, development_token, invoker_secret
from shared.errors import StorageFull, Unauthorized
from shared.identity.tokens import TokenVerifier
from shared.settings import Settings
from tests.unit.fakes import FakeClock


def test_two_processes_cannot_work_on_the_same_folder(tmp_path: Path) -> None:
    with (
        DataLock(tmp_path),
        pytest.raises(CannotRun, match="Another Brainstem is running on") as found,
        DataLock(tmp_path),
    ):
        pass
    assert str(tmp_path) in str(found.value)
    assert "DATA=" in str(found.value)


def test_the_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with DataLock(tmp_path / "new"):
            pass


def test_a_port_in_use_is_named_with_the_way_out() -> None:
    assert str(port_in_use(8080)).count("8080") == 1
    assert "PORT=8081" in str(port_in_use(8080))


def test_secrets_are_readable_by_their_owner_only_and_stay(tmp_path: Path) -> None:
    first = invoker_secret(tmp_path)
    development_token(tmp_path, AUDIENCE)
    assert invoker_secret(tmp_path) == first
    assert len(first) >= 40
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_the_development_token_opens_this_folder_and_no_other(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    for folder in (mine, other):
        folder.mkdir()
    settings = Settings.from_env(local_environment(mine, "http://127.0.0.1:1", "http://127.0.0.1:1/google"))
    verifier = TokenVerifier(settings, FakeClock(_now()))

    assert verifier.verify(f"Bearer {development_token(mine, AUDIENCE)}").uid == USER
    with pytest.raises(Unauthorized):
        verifier.verify(f"Bearer {development_token(other, AUDIENCE)}")


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "no space"), True),
        (OSError(errno.EACCES, "no"), False),
        (sqlite3.OperationalError("database or disk is full"), True),
        (sqlite3.OperationalError("disk I/O error"), False),
        (StorageFull(), True),
    ],
)
def test_a_full_disk_is_told_from_other_errors_also_as_a_cause(error: Exception, full: bool) -> None:
    assert is_disk_full(error) is full
    outer = RuntimeError("outer")
    outer.__cause__ = error
    assert is_disk_full(outer) is full


def _now() -> float:
    import time

    return time.time()
