"""``make role``: the operator says who is an admin, it is on their trail, and their next access token says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import role as command
from shared import refs
from shared.adapters.embedded.clock import VirtualClock
from shared.identity import logins
from shared.identity.trail import Trail
from shared.identity.uids import uid_apart, uid_of
from shared.ports import Create, Update
from shared.sets import embedded
from shared.settings import Settings

UID = "u_" + "a2b3" * 6 + "cd"


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path / "data"
        self.ports = embedded(Settings(data_dir=str(self.path)), VirtualClock(), synchronous="OFF")
        profile = {"uid": UID, "email": "ann@example.org", "name": None, "role": "owner", "created_at": 1.0, "rev": 1}
        login = logins.login(UID, logins.EMAIL, 1.0)
        self.ports.store.commit([Create(refs.user(UID), profile), Create(logins.by_email("ann@example.org"), login)])

    def run(self, *arguments: str) -> int:
        return command.main(["--data", str(self.path), *arguments], {})

    @property
    def role(self) -> str:
        return str(self.ports.store.get([refs.user(UID)])[refs.user(UID)].data["role"])

    def trail(self) -> list[tuple[str, dict[str, object]]]:
        entries, _ = Trail(self.ports.store, self.ports.clock).page(UID, None, 10)
        return [(entry["by"], entry["about"]) for entry in entries if entry["action"] == "role"]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_somebody_becomes_an_admin_and_an_owner_again(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert folder.run(UID, "admin") == 0
    assert "is admin from the next access token on" in capsys.readouterr().out
    assert folder.role == "admin"
    assert folder.run(UID, "admin") == 0
    assert "already" in capsys.readouterr().out
    assert folder.run(UID, "owner") == 0
    assert folder.role == "owner"
    assert folder.trail() == [
        ("operator", {"before": "owner", "role": "admin"}), ("operator", {"before": "admin", "role": "owner"}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("who", "role", "said"),
    [
        (UID, "root", "There is no role"),
        ("u_bob", "admin", "no such user"),
        ("../x", "admin", "no such user"),
        ("bob@example.org", "admin", "Name a user_id"),
        ("ann@example.org", "admin", "Name a user_id"),
        ("@", "admin", "Name a user_id"),
    ],
)
def test_what_makes_no_sense_is_said_and_changes_nothing(
    folder: Folder, who: str, role: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folder.run(who, role) == 2
    assert said in capsys.readouterr().err
    assert (folder.role, folder.trail()) == ("owner", [])


def test_who_it_is_is_said_before_a_role_is_given(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "eve@example.org\x1b[2K\nu_ann is admin"
    doc = folder.ports.store.get([refs.user(UID)])[refs.user(UID)]
    folder.ports.store.commit([Update(doc.ref, {"email": hostile, "created_at": 1_790_000_000.0}, doc.version)])
    assert folder.run(UID, "service") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"User     {UID}",
        "Signs in email",
        "Since    2026-09-21 14:13 UTC",
        "Email    'eve@example.org\\x1b[2K\\nu_ann is admin', which nobody has proven here",
        f"{UID} is service from the next access token on.",
    ]


@pytest.mark.parametrize("uid", [uid_apart("https://clerk.example.com", "u1"), uid_of("user_demo"), "u_ann"])
@pytest.mark.parametrize("role", ["admin", "owner"])
def test_whom_another_issuer_signs_in_is_given_no_role_here(
    folder: Folder, uid: str, role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = {"uid": uid, "email": None, "name": None, "created_at": 1.0, "rev": 1}
    folder.ports.store.commit([Create(refs.user(uid), profile)])
    assert folder.run(uid, role) == 2
    assert "Their issuer says what role they have." in capsys.readouterr().err
    assert folder.ports.store.get([refs.user(uid)])[refs.user(uid)].data == profile
    assert Trail(folder.ports.store, folder.ports.clock).page(uid, None, 10)[0] == []


def test_nobody_who_is_being_deleted_gets_a_role(folder: Folder) -> None:
    doc = folder.ports.store.get([refs.user(UID)])[refs.user(UID)]
    folder.ports.store.commit([Update(refs.user(UID), {"erasing": 2.0}, doc.version)])
    assert folder.run(UID, "admin") == 2
    assert folder.role == "owner"


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--data", str(tmp_path / "none"), UID, "admin"], {}) == 2
    assert "There is no data folder" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
