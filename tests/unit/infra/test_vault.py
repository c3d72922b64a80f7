"""``make rewrap`` and ``make rotate-data-keys`` on a data folder: they say what they did, and may be run again."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import vault as command
from shared.adapters.embedded.clock import VirtualClock
from shared.sets import embedded
from shared.settings import Settings
from shared.vault.grants import Grants
from shared.vault.seal import Vault


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path / "data"
        self.ports = embedded(Settings(data_dir=str(self.path)), VirtualClock(), synchronous="OFF")
        for uid in ("ann", "bob"):
            self.grants.put(uid, "google:1", "google", f"access {uid}", "refresh", 3600)

    @property
    def grants(self) -> Grants:
        return Grants(self.ports.store, Vault(self.ports.keys, self.ports.secrets, self.ports.clock), self.ports.clock)

    def run(self, *arguments: str) -> int:
        return command.main(["--data", str(self.path), *arguments], {})

    def opens(self) -> bool:
        return all(self.grants.last_token(uid, "google:1") == "refresh" for uid in ("ann", "bob"))

    def wrapped(self) -> set[str]:
        return {self.ports.keys.get([ref])[ref].data["wrapped"] for ref in ("keys/ann", "keys/bob")}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_new_vault_key_is_added_and_everything_wrapped_under_it(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    before = folder.wrapped()
    assert folder.run("rewrap", "--new") == 0
    said = capsys.readouterr().out
    assert "Version 2 of the secret vault-key was added." in said
    assert "2 data keys seen, 2 wrapped anew" in said
    assert folder.wrapped().isdisjoint(before)
    assert folder.opens()
    after = folder.wrapped()
    assert folder.run("rewrap") == 0
    assert folder.wrapped() == after


def test_a_lost_vault_key_is_told_of_and_forgotten_only_by_its_name(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = folder.path / "secrets" / "vault-key" / "1"
    kept = lost.read_bytes()
    folder.ports.secrets.add("vault-key", b"k" * 32)
    lost.unlink()
    assert folder.run("rewrap") == 1
    said = capsys.readouterr().out
    name = said.partition("--forget ")[2].partition(":")[0]
    assert "2 of them are wrapped by" in said
    assert folder.run("rewrap", "--forget", "v1.other") == 1
    lost.write_bytes(kept)
    lost.chmod(0o600)
    assert folder.opens()
    lost.unlink()
    assert folder.run("rewrap", "--forget", name) == 0
    assert folder.ports.keys.get(["keys/ann", "keys/bob"]) == {}


def test_people_get_new_data_keys_if_theirs_are_old(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    ids = {ref: folder.ports.keys.get([ref])[ref].data["id"] for ref in ("keys/ann", "keys/bob")}
    assert folder.run("rotate", "--days", "36500") == 0
    assert "2 people seen, 0 with a new data key" in capsys.readouterr().out
    assert folder.run("rotate") == 0
    assert "2 people seen, 2 with a new data key, 0 failed" in capsys.readouterr().out
    assert all(folder.ports.keys.get([ref])[ref].data["id"] != old for ref, old in ids.items())
    assert folder.opens()


def test_what_cannot_be_done_is_said_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--data", str(tmp_path / "none"), "rewrap"], {}) == 2
    assert "There is no data folder" in capsys.readouterr().err
    (tmp_path / "data").mkdir()
    name = "kms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
    assert command.main(["--data", str(tmp_path / "data"), "rewrap"], {"VAULT_KEY": name}) == 2
    assert "VAULT_KEY must name a key" in capsys.readouterr().err
