"""Mail from a file or folder: an mbox (a Takeout export above all), a Maildir, a folder of .eml files, one .eml.

Each mail comes out as ``Imported``, or as ``Unreadable`` with the reason; a broken one never hides its neighbours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from infra.local.google.errors import UnreadableMail
from infra.local.google.reading import date_of
from infra.local.importer import mbox
from infra.local.importer.labels import gmail_labels, maildir_labels

FALLBACK_DATE = 946_684_800.0
"""When a mail arrived about which nothing says when: 2000-01-01."""

_FIRST_FIELD = re.compile(rb"^[!-9;-~]+[ \t]*:", re.MULTILINE)
_HEAD = 65_536


class NoMailHere(Exception):
    """The path holds no mail in any form that the importer knows; the message says what was found."""


@dataclass(frozen=True, slots=True)
class Imported:
    """One mail: its bytes, its labels (Gmail's ids or the person's names), when it was received, where it is."""

    raw: bytes
    labels: tuple[str, ...]
    received_at: float
    name: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something that should have been a mail."""

    name: str
    reason: str


Item: TypeAlias = Imported | Unreadable


def read(path: str | Path) -> Iterator[Item]:
    """Find out what the path is and read it, one mail at a time. Raises ``NoMailHere`` at once, not while iterating."""
    path = Path(path)
    if not path.exists():
        raise NoMailHere(f"{path} does not exist.")
    if path.is_dir():
        return _read_folder(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise NoMailHere(f"{path} cannot be read: {error.strerror}.") from error
    if mbox.looks_like_mbox(head) or (path.suffix.lower() in (".mbox", ".mbx") and _is_mail(head)):
        return _read_mbox(path, path.name)
    if path.suffix.lower() == ".eml" or _is_mail(head):
        return iter([_read_file(path, path.name, ("INBOX",))])
    raise NoMailHere(f"{path} is no mail: expected an mbox, a Maildir, a folder of .eml files or an .eml file.")


def _read_folder(path: Path) -> Iterator[Item]:
    if _is_maildir(path):
        return _read_maildir(path)
    if any(_mail_files(path)):
        return _read_files(path)
    raise NoMailHere(f"{path} holds no mail: it has neither cur/ and new/ (a Maildir) nor any .eml or .mbox file.")


def _read_mbox(path: Path, name: str) -> Iterator[Item]:
    count = 0
    try:
        for piece in mbox.pieces(path):
            count = piece.number
            label = f"{name}#{piece.number}"
            if piece.too_large:
                yield Unreadable(label, f"It is larger than {mbox.MAX_MESSAGE // 2**20} MiB.")
            else:
                yield _item(piece.raw, label, ("INBOX",), piece.dated)
    except OSError as error:
        yield Unreadable(f"{name}#{count + 1}", f"The file cannot be read from here on: {error.strerror}.")


def _read_maildir(root: Path) -> Iterator[Item]:
    folders = [root, *sorted(child for child in root.iterdir() if child.name.startswith(".") and _is_maildir(child))]
    for folder in folders:
        inner = "" if folder == root else folder.name
        for kind in ("cur", "new"):
            for file in sorted(child for child in (folder / kind).glob("*") if not child.name.startswith(".")):
                flags = re.search(r"[:!;]2,([A-Za-z]*)$", file.name)
                labels = maildir_labels(inner, kind == "new", flags[1] if flags else "")
                yield _read_file(file, str(file.relative_to(root)), labels)


def _read_files(root: Path) -> Iterator[Item]:
    for file in _mail_files(root):
        name = str(file.relative_to(root))
        if file.suffix.lower() == ".eml":
            yield _read_file(file, name, ("INBOX",))
        else:
            yield from _read_mbox(file, name)


def _mail_files(root: Path) -> Iterator[Path]:
    """All .eml and .mbox files below a folder, in a stable order; links to folders are not followed."""
    for folder, inner, names in os.walk(root):
        inner.sort()
        for name in sorted(names):
            if Path(name).suffix.lower() in (".eml", ".mbox"):
                yield Path(folder) / name


def _read_file(path: Path, name: str, labels: tuple[str, ...]) -> Item:
    try:
        status = path.stat()
        if status.st_size > mbox.MAX_MESSAGE:
            return Unreadable(_printable(name), f"It is larger than {mbox.MAX_MESSAGE // 2**20} MiB.")
        raw = path.read_bytes()
    except OSError as error:
        return Unreadable(_printable(name), f"The file cannot be read: {error.strerror}.")
    return _item(raw, name, labels, status.st_mtime)


def _item(raw: bytes, name: str, labels: tuple[str, ...], dated: float | None) -> Item:
    name = _printable(name)
    raw = raw.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")  # what some exporters put before the first header
    if not raw.strip():
        return Unreadable(name, "It is empty.")
    if not _is_mail(raw[:_HEAD]):
        return Unreadable(name, "It has no header, so it is not a mail.")
    try:
        received = date_of(raw) or (dated if dated and 0 < dated < 2**32 else FALLBACK_DATE)
        exported = gmail_labels(raw)  # an archived mail has no label at all, which is not the same as saying nothing
        return Imported(raw, labels if exported is None else exported, received, name)
    except UnreadableMail as error:
        return Unreadable(name, str(error))


def _is_mail(head: bytes) -> bool:
    """Whether a header field stands where a mail's first line belongs."""
    return _FIRST_FIELD.match(head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")) is not None


def _is_maildir(path: Path) -> bool:
    return (path / "cur").is_dir() and (path / "new").is_dir()


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
