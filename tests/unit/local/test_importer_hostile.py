"""Any folder of broken mail: the importer never stops, and what it loads and what it names add up to what is there."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from infra.local.google.simulator import GoogleSimulator
from infra.local.importer import Imported, NoMailHere, Unreadable, load, mbox, read
from shared.providers.base import Upsert
from shared.providers.gmail.normalise import normalise
from shared.settings import Settings
from tests.unit.local.conftest import World
from tests.unit.local.inprocess import ADDRESS
from tests.unit.providers import hostile_mail

MAIL = b"From: Bob <bob@x.example>\nSubject: one\nDate: Tue, 14 Nov 2023 22:13:20 +0000\n\nText\n"
SEPARATOR = b"\nFrom bob@x.example Tue Nov 14 22:13:20 2023\n"
NAMES = (
    "a", "ü", "日本", "with space", "new\nline", "quo\"te'", "-rf", "%s{}", "\u202egnp", "e\u0301", "x" * 200, ".hidden",
    os.fsdecode(b"raw\xff\xfe"), os.fsdecode(b"\xc0\xaf"),
)  # fmt: skip


class Folder:
    """A folder that a seed fills with whatever goes wrong; ``mails`` is how many items it has to give."""

    def __init__(self, root: Path, seed: int) -> None:
        self.mails = 0
        self._root = root
        self._chance = random.Random(seed)
        self._number = 0
        kinds = (
            self._hostile, self._hostile, self._hostile, self._mutilated, self._bytes, self._empty, self._foreign,
            self._mbox, self._mbox, self._huge_header, self._deep, self._folder, self._link, self._endless, self._locked,
        )  # fmt: skip
        for _ in range(self._chance.randint(1, 25)):
            self._chance.choice(kinds)()

    def _path(self, ending: str = ".eml", mails: int = 1) -> Path:
        self._number += 1
        folder = self._root.joinpath(*self._chance.choices(("deep", "er.eml", "ü"), k=self._chance.randint(0, 2)))
        folder.mkdir(parents=True, exist_ok=True)
        self.mails += mails
        return folder / f"{self._chance.choice(NAMES)}{self._number}{self._chance.choice((ending, ending.upper()))}"

    def _hostile(self) -> None:
        self._path().write_bytes(hostile_mail.message_of(self._chance.randbytes(self._chance.randint(10, 160))))

    def _mutilated(self) -> None:
        mail = bytearray(MAIL * 3)
        for _ in range(self._chance.randint(0, 30)):
            mail[self._chance.randrange(len(mail))] = self._chance.randrange(256)
        del mail[self._chance.randrange(len(mail)) :]
        if not mbox.looks_like_mbox(bytes(mail)):
            self._path().write_bytes(mail)

    def _bytes(self) -> None:
        self._path().write_bytes(b"\x00" + self._chance.randbytes(self._chance.randint(0, 3_000)))

    def _empty(self) -> None:
        self._path(self._chance.choice((".eml", ".mbox"))).write_bytes(b"\n" * self._chance.randint(0, 3))

    def _foreign(self) -> None:
        text = MAIL.decode()
        self._path().write_bytes(text.encode(self._chance.choice(("utf-16", "utf-32", "utf-8-sig", "cp037"))))

    def _mbox(self) -> None:
        count = self._chance.randint(1, 4)
        bodies = [self._chance.choice((MAIL, b"rubbish\n", b"", b"\xff\x00\n")) for _ in range(count)]
        content = b"".join(SEPARATOR + body for body in bodies)
        self._path(self._chance.choice((".mbox", ".eml")), count).write_bytes(content)

    def _huge_header(self) -> None:
        name = self._chance.choice((b"Subject: ", b"X: ", b""))
        self._path().write_bytes(name + b"x" * self._chance.choice((100_000, 2_200_000)) + b"\n\n")

    def _deep(self) -> None:
        part = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n"
        self._path().write_bytes(b"Subject: deep\n" + part * self._chance.choice((10, 500)))

    def _folder(self) -> None:
        self._path(mails=0).mkdir()

    def _link(self) -> None:
        target = self._chance.choice(("nowhere", "itself", "folder", "device"))
        path = self._path(mails=target != "folder")
        there = {"nowhere": "gone", "itself": path.name, "folder": self._root, "device": "/dev/zero"}[target]
        path.symlink_to(there)

    def _endless(self) -> None:
        path = self._path()
        if self._chance.random() < 0.5:
            os.mkfifo(path)
            return
        with socket.socket(socket.AF_UNIX) as listener:
            here = Path.cwd()
            os.chdir(path.parent)  # a socket's path is bounded; its name alone is short enough
            try:
                listener.bind(f"s{self._number}.eml")
            finally:
                os.chdir(here)

    def _locked(self) -> None:
        path = self._path()
        path.write_bytes(MAIL)
        path.chmod(0)  # still readable for root, which is as good a mail


def _fill(root: Path, seed: int) -> Folder:
    try:
        return Folder(root, seed)
    except OSError as error:  # pragma: no cover
        pytest.skip(f"This file system does not take such names: {error.strerror}.")


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_in_a_folder_is_loaded_or_named(world: World, tmp_path: Path, seed: int) -> None:
    root = tmp_path / "mail"
    root.mkdir()
    folder = _fill(root, seed)
    if not folder.mails:
        with pytest.raises(NoMailHere):
            read(root)
        return
    steps: list[int] = []
    loaded, unreadable = load(world.sim, ADDRESS, read(root), steps.append)
    assert loaded + unreadable == folder.mails
    assert steps == list(range(1, folder.mails + 1))
    _assert_accounted_for(world, loaded, unreadable)


@pytest.mark.parametrize("seed", range(20))
def test_a_maildir_of_anything_is_loaded_or_named(world: World, tmp_path: Path, seed: int) -> None:
    folders = [tmp_path / kind for kind in ("cur", "new", ".Sent/cur", ".Sent/new", ".\udcff/cur", ".\udcff/new")]
    for folder in folders:
        folder.mkdir(parents=True)
    _fill(random.Random(seed).choice(folders), seed)
    loaded, unreadable = load(world.sim, ADDRESS, read(tmp_path))
    assert loaded + unreadable == sum(name[0] != "." for folder in folders for name in os.listdir(folder))
    _assert_accounted_for(world, loaded, unreadable)


def _assert_accounted_for(world: World, loaded: int, unreadable: int) -> None:
    truth = world.sim.truth(ADDRESS)
    assert len(truth["mails"]) == loaded
    assert len(truth["unreadable"]) == unreadable
    for entry in truth["unreadable"]:
        assert entry["reason"].endswith(".")
        assert entry["name"].encode()
    for mail in truth["mails"]:
        headers = list(Settings().headers)
        served = world.get(mail["id"], format="metadata", metadataHeaders=headers)
        assert isinstance(normalise(served, headers, mail["id"]), Upsert)


@pytest.mark.parametrize("ending", [".eml", ".mbox"])
def test_a_file_that_vanishes_while_others_are_read_is_named(tmp_path: Path, ending: str) -> None:
    for name in "abc":
        (tmp_path / f"{name}{ending}").write_bytes(SEPARATOR + MAIL)
    items = read(tmp_path)
    assert isinstance(next(items), Imported)
    (tmp_path / f"b{ending}").unlink()
    gone, last = items
    assert isinstance(gone, Unreadable)
    assert gone.name.startswith(f"b{ending}")
    assert "No such file" in gone.reason
    assert isinstance(last, Imported)


def test_a_folder_that_vanishes_while_others_are_read_is_named(tmp_path: Path) -> None:
    for name in ("a.eml", "b/b.eml", "c/c.eml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(MAIL)
    items = read(tmp_path)
    assert isinstance(next(items), Imported)
    (tmp_path / "b/b.eml").unlink()
    (tmp_path / "b").rmdir()
    assert [type(item).__name__ for item in items] == ["Unreadable", "Imported"]


def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.eml", "locked/b.eml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(MAIL)
    _lock(tmp_path / "locked", monkeypatch)
    one, locked = read(tmp_path)
    assert isinstance(one, Imported)
    assert locked == Unreadable("locked", "The folder cannot be read: Permission denied.")
    with pytest.raises(NoMailHere, match="cannot be read: Permission denied"):
        read(tmp_path / "locked")


def test_a_maildir_folder_that_may_not_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cur/1:2,S", "new/2"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(MAIL)
    _lock(tmp_path / "cur", monkeypatch)
    locked, two = read(tmp_path)
    assert locked == Unreadable("cur", "The folder cannot be read: Permission denied.")
    assert isinstance(two, Imported)


def _lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads what has no permissions, so the refusal is played."""

    def refuse(call: Callable[..., object]) -> Callable[..., object]:
        def answer(path: object = ".") -> object:
            if str(path) == str(folder):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path)

        return answer

    monkeypatch.setattr(os, "scandir", refuse(os.scandir))
    monkeypatch.setattr(os, "listdir", refuse(os.listdir))


def test_a_file_that_grows_beyond_the_bound_is_not_read_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mbox, "MAX_MESSAGE", 1_000)
    (tmp_path / "a.eml").write_bytes(MAIL + b"x" * 1_000)
    (item,) = read(tmp_path)
    assert isinstance(item, Unreadable)
    assert "larger than" in item.reason


def test_an_eml_that_holds_an_mbox_gives_all_its_mails(tmp_path: Path) -> None:
    (tmp_path / "all.eml").write_bytes(SEPARATOR + MAIL + SEPARATOR + MAIL)
    assert [item.name for item in read(tmp_path)] == ["all.eml#1", "all.eml#2"]


def test_text_that_no_store_takes_makes_one_mail_unreadable_and_no_other(world: World, tmp_path: Path) -> None:
    class Choosy(GoogleSimulator):
        def add_mails(self, address: str, mails: object, silent: bool = False) -> list[str]:
            (mail,) = mails  # type: ignore[misc,attr-defined]
            if b"half" in mail["raw"]:
                raise TypeError("str is not valid UTF-8: surrogates not allowed")
            return super().add_mails(address, [mail], silent)

    (tmp_path / "a.eml").write_bytes(MAIL)
    (tmp_path / "b.eml").write_bytes(b"Subject: half\n\n")
    (tmp_path / "c.eml").write_bytes(MAIL)
    choosy = Choosy(world.path, world.clock, lambda topic, data: None)
    assert load(choosy, ADDRESS, read(tmp_path)) == (2, 1)
    choosy.close()


@settings(derandomize=True, database=None, deadline=None, max_examples=1_000, suppress_health_check=list(HealthCheck))
@given(raw=hostile_mail.raw_messages)
def test_any_eml_is_one_mail_or_has_one_reason(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.eml"
    path.write_bytes(raw)
    (item,) = read(path)
    if isinstance(item, Unreadable):
        assert item.reason
        return
    assert item.received_at > 0
    for label in item.labels:
        assert label
        assert label.isprintable()
