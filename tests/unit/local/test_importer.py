"""The importer: every mail in, or its reason; nothing in a file stops it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from infra.local.importer import Imported, NoMailHere, Unreadable, load, mbox, read
from infra.local.importer.read import FALLBACK_DATE
from tests.unit.local.conftest import World
from tests.unit.local.inprocess import ADDRESS

MAIL = b"From: Bob <bob@x.example>\nSubject: %b\nDate: Tue, 14 Nov 2023 22:13:20 +0000\n\nText %b\n"


def _mail(subject: str) -> bytes:
    return MAIL.replace(b"%b", subject.encode())


def _mails(items: Iterable[Imported | Unreadable]) -> list[Imported]:
    kept = []
    for item in items:
        assert isinstance(item, Imported), item
        kept.append(item)
    return kept


def _write(path: Path, *parts: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(parts))
    return path


def test_an_mbox_is_cut_at_its_separators(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a.mbox",
        b"From bob@x.example Tue Nov 14 22:13:20 2023\n", _mail("one"), b"\nFrom - Wed Nov 15 00:00:00 2023 +0000\n",
        _mail("two").replace(b"Date: Tue, 14 Nov 2023 22:13:20 +0000\n", b""), b"\n",
    )  # fmt: skip
    one, two = _mails(read(path))
    assert (one.name, one.labels, one.received_at) == ("a.mbox#1", ("INBOX",), 1_700_000_000.0)
    assert one.raw == _mail("one") + b"\n"
    assert two.received_at == 1_700_006_400.0


def test_lines_that_only_look_like_separators_stay_in_the_body(tmp_path: Path) -> None:
    body = b"\nFrom here on it rains.\n\nFrom here too.\n>From there\n>>From afar\n"
    path = _write(
        tmp_path / "m", b"From a Tue Nov 14 22:13:20 2023\n", _mail("one"), body, b"\nFrom b x\n", _mail("two")
    )
    one, two = _mails(read(path))
    assert b"From here on it rains.\n\nFrom here too.\nFrom there\n>From afar\n" in one.raw
    assert two.raw == _mail("two")


def test_a_broken_separator_or_message_stops_nothing(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "bad.mbox",
        b"From \xff\xfe\x00\n", _mail("one"), b"\nFrom x Tue Nov 14 22:13:20 2023\n",
        b"\nFrom y Tue Nov 14 22:13:20 2023\n",
        b"garbage without header\n\x00\xff\n", b"\nFrom \n", _mail("two"),
        b"\nFrom z Thu Foo 99 99:99:99 9999\n", _mail("three"),
    )  # fmt: skip
    items = list(read(path))
    assert [type(item).__name__ for item in items] == ["Imported", "Unreadable", "Unreadable", "Imported", "Imported"]
    assert items[1] == Unreadable("bad.mbox#2", "It is empty.")
    assert items[2] == Unreadable("bad.mbox#3", "It has no header, so it is not a mail.")


def test_an_mbox_with_dos_line_ends(tmp_path: Path) -> None:
    parts = b"From a Tue Nov 14 22:13:20 2023\n" + _mail("one") + b"\nFrom b Tue Nov 14 22:13:20 2023\n" + _mail("two")
    assert len(_mails(read(_write(tmp_path / "dos.mbox", parts.replace(b"\n", b"\r\n"))))) == 2


def test_an_mbox_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mbox, "MAX_MESSAGE", 1_000)
    separator = b"\nFrom a Tue Nov 14 22:13:20 2023\n"
    path = _write(
        tmp_path / "big.mbox",
        separator,
        _mail("one"),
        separator,
        _mail("x"),
        b"y" * 5_000,
        b"\n",
        separator,
        _mail("two"),
    )
    one, big, two = read(path)
    assert isinstance(one, Imported)
    assert isinstance(two, Imported)
    assert isinstance(big, Unreadable)
    assert "larger than" in big.reason


@pytest.mark.parametrize(
    ("header", "labels"),
    [
        (b"X-Gmail-Labels: Inbox,Unread,Important", ("INBOX", "UNREAD", "IMPORTANT")),
        (b"X-Gmail-Labels: Category Promotions,\"Work, urgent\"", ("CATEGORY_PROMOTIONS", "Work, urgent")),
        (b"X-Gmail-Labels: =?UTF-8?Q?Sent,Projekte/=C3=84pfel?=", ("SENT", "Projekte/Äpfel")),
        (b"X-GM-LABELS: \\\\Inbox \\\\Starred \"My label\" Work", ("INBOX", "STARRED", "My label", "Work")),
        (b"X-Gmail-Labels: Archived,Opened", ()),
        (b"X-Gmail-Labels: Spam", ("SPAM",)),
        (b"X-Gmail-Labels: Draft", ("DRAFT",)),
        (b"X-Gmail-Labels: Trash,\x00\xff", ("TRASH", "�")),
    ],
)  # fmt: skip
def test_labels_of_a_takeout_export_are_honoured(tmp_path: Path, header: bytes, labels: tuple[str, ...]) -> None:
    path = _write(tmp_path / "t.mbox", b"From 17@xxx Tue Nov 14 22:13:20 +0000 2023\n", header, b"\n", _mail("one"))
    (item,) = _mails(read(path))
    assert item.labels == labels


def test_a_maildir_with_flags_and_folders(tmp_path: Path) -> None:
    for name, labels in {
        "cur/1:2,S": ("INBOX",),
        "cur/2:2,": ("INBOX", "UNREAD"),
        "cur/3:2,FRS": ("INBOX", "STARRED"),
        "cur/4:2,ST": ("TRASH",),
        "cur/5:2,D": ("DRAFT",),
        "new/6": ("INBOX", "UNREAD"),
        ".Sent/cur/7:2,S": ("SENT",),
        ".Work.Bills/cur/8:2,S": ("Work/Bills",),
    }.items():
        _write(tmp_path / name, _mail("|".join(labels)))
    for folder in (".", ".Sent", ".Work.Bills"):
        for kind in ("cur", "new", "tmp"):
            (tmp_path / folder / kind).mkdir(exist_ok=True)
    items = _mails(read(tmp_path))
    assert len(items) == 8
    for item in items:
        assert f"Subject: {'|'.join(item.labels)}\n".encode() in item.raw


def test_a_folder_of_eml_files_is_read_to_its_depth(tmp_path: Path) -> None:
    _write(tmp_path / "a.eml", _mail("one"))
    _write(tmp_path / "deep/er/b.EML", _mail("two"))
    _write(tmp_path / "deep/notes.txt", b"Not: mail\n")
    _write(tmp_path / "deep/empty.eml")
    (tmp_path / "deep/folder.eml").mkdir()
    items = {item.name: item for item in read(tmp_path)}
    assert set(items) == {"a.eml", "deep/er/b.EML", "deep/empty.eml"}
    assert items["deep/empty.eml"] == Unreadable("deep/empty.eml", "It is empty.")


def test_a_single_eml_and_its_dates(tmp_path: Path) -> None:
    (dated,) = _mails(read(_write(tmp_path / "a.eml", _mail("one"))))
    assert (dated.received_at, dated.labels) == (1_700_000_000.0, ("INBOX",))
    undated = _write(tmp_path / "b.eml", b"Subject: x\nDate: some day\n\n")
    os.utime(undated, (1_600_000_000, 1_600_000_000))
    assert _mails(read(undated))[0].received_at == 1_600_000_000.0
    os.utime(undated, (0, 0))
    assert _mails(read(undated))[0].received_at == FALLBACK_DATE


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    _write(tmp_path / "a.eml", _mail("one"))
    (tmp_path / "b.eml").symlink_to(tmp_path / "nowhere")
    _, broken = read(tmp_path)
    assert isinstance(broken, Unreadable)
    assert broken.reason.startswith("The file cannot be read")


def test_a_path_without_mail_is_said_at_once(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    picture = _write(tmp_path / "p.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    for path, sentence in ((empty, "holds no mail"), (picture, "is no mail"), (tmp_path / "gone", "does not exist")):
        with pytest.raises(NoMailHere, match=sentence):
            read(path)


def test_loading_fills_the_mailbox_and_keeps_what_could_not_be_read(world: World, tmp_path: Path) -> None:
    _write(tmp_path / "a.eml", _mail("one"))
    _write(tmp_path / "b.eml", b"\n\nnothing")
    _write(tmp_path / "c.eml", b"Subject: \xff\xfe =?utf-8?B?w7w=?= \x00\nTo: a@x.example\n\nhi")
    _write(tmp_path / "d.eml", b"Subject: answer\nReferences: <1@x>\n\n")
    _write(tmp_path / "e.eml", b"Subject: first\nMessage-ID: <1@x>\n\n")
    steps: list[int] = []
    cursor = world.cursor()
    assert load(world.sim, ADDRESS, read(tmp_path), steps.append) == (4, 1)
    truth = world.sim.truth(ADDRESS)
    assert steps == [1, 2, 3, 4, 5]
    assert truth["unreadable"] == [{"name": "b.eml", "reason": "It has no header, so it is not a mail."}]
    assert truth["mails"][0]["subject"] == "one"
    assert truth["mails"][0]["received_at"] == 1_700_000_000.0
    assert truth["mails"][2]["thread_id"] == truth["mails"][3]["thread_id"]
    assert world.since(cursor) == []
    assert len(world.list_ids()) == 4
