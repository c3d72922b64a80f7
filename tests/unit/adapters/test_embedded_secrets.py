"""Secrets in files: private, whole, and unharmed by what a crash leaves."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from shared.adapters.embedded import secrets as adapter
from shared.adapters.embedded.secrets import EmbeddedSecrets
from shared.errors import ConfigurationError, NotFound, Retry, StorageFull


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    EmbeddedSecrets(tmp_path / "s").add("name", b"value")
    modes = {str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"s": 0o700, "s/name": 0o700, "s/name/1": 0o600}


def test_a_folder_that_others_could_read_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    EmbeddedSecrets(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_secret_that_others_can_read_is_not_used(tmp_path: Path, mode: int) -> None:
    secrets = EmbeddedSecrets(tmp_path)
    secrets.add("vault-key", b"value")
    path = tmp_path / "vault-key" / "1"
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="file of the secret vault-key is open to others"):
        secrets.get("vault-key")
    path.chmod(0o600)
    path.parent.chmod(0o755)
    with pytest.raises(ConfigurationError, match="folder of the secret vault-key is open to others"):
        secrets.get("vault-key", "1")
    path.parent.chmod(0o700)
    assert secrets.get("vault-key") == b"value"


def test_a_draft_that_a_crash_left_is_no_version(tmp_path: Path) -> None:
    secrets = EmbeddedSecrets(tmp_path)
    (tmp_path / "name").mkdir(mode=0o700)
    (tmp_path / "name" / "draft-1-1").write_bytes(b"half")
    with pytest.raises(NotFound):
        secrets.get("name")
    assert secrets.add("name", b"whole") == "1"
    assert secrets.get("name") == b"whole"


@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, StorageFull), (errno.EIO, Retry)])
def test_a_disk_that_fails_is_said_aloud_and_adds_no_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Retry]
) -> None:
    secrets = EmbeddedSecrets(tmp_path)
    secrets.add("name", b"old")

    def fail(handle: int) -> None:
        raise OSError(code, "no")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(error) as caught:
            secrets.add("name", b"new")
    assert type(caught.value) is error
    assert secrets.get("name") == b"old"
    assert [path.name for path in (tmp_path / "name").iterdir()] == ["1"]


def test_a_number_that_another_writer_took_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = EmbeddedSecrets(tmp_path)
    secrets.add("name", b"theirs")
    look = adapter._versions
    stale: list[list[int]] = [[]]
    monkeypatch.setattr(adapter, "_versions", lambda folder: stale.pop() if stale else look(folder))
    assert secrets.add("name", b"ours") == "2"
    assert (tmp_path / "name" / "1").read_bytes() == b"theirs"
