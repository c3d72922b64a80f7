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

from infra.local.importer import mbox
from infra.local.importer.labels import gmail_labels, maildir_labels
from infra.local.simulated.errors import UnreadableMail
from infra.local.simulated.reading import date_of

FALLBACK_DATE = 946_684_800.0
"""When a mail arrived about which nothing says when: 2000-01-01."""

_FIRST_FIELD = re.compile(rb"^[!-9;-~]+[ \t]*:", re.MULTILINE)
_HEAD = 65_536
_TOO_LARGE = f"It is larger than {mbox.MAX_MESSAGE // 2**20} MiB."


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
    shown = _printable(str(path))
    try:
        if not path.exists():
            raise NoMailHere(f"{shown} does not exist.")
        if path.is_dir():
            return _read_folder(path)
        with mbox.opened(path) as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise NoMailHere(f"{shown} cannot be read: {error.strerror}.") from error
    if mbox.looks_like_mbox(head) or (path.suffix.lower() in (".mbox", ".mbx") and _is_mail(head)):
        return _read_mbox(path, path.name)
    if path.suffix.lower() == ".eml" or _is_mail(head):
        return iter([_read_file(path, path.name, ("INBOX",))])
    raise NoMailHere(f"{shown} is no mail: expected an mbox, a Maildir, a folder of .eml files or an .eml file.")


def _read_folder(path: Path) -> Iterator[Item]:
    with os.scandir(path):  # a folder that cannot be listed is said at once
        pass
    if _is_maildir(path):
        return _read_maildir(path)
    if any(_mail_files(path)):
        return _read_files(path)
    raise NoMailHere(
        f"{_printable(str(path))} holds no mail: it has neither cur/ and new/ (a Maildir) nor any .eml or .mbox file."
    )


def _read_mbox(path: Path, name: str) -> Iterator[Item]:
    name = _printable(name)
    count = 0
    try:
        for piece in mbox.pieces(path):
            count = piece.number
            label = f"{name}#{piece.number}"
            if piece.too_large:
                yield Unreadable(label, _TOO_LARGE)
            else:
                yield _item(piece.raw, label, ("INBOX",), piece.dated)
    except OSError as error:
        yield Unreadable(f"{name}#{count + 1}", f"The file cannot be read from here on: {error.strerror}.")
    else:
        if not count:
            yield Unreadable(name, "It is empty.")


def _read_maildir(root: Path) -> Iterator[Item]:
    folders = [root]
    for child in _children(root, root):
        if isinstance(child, Unreadable):
            yield child
        elif child.name.startswith(".") and _is_maildir(child):
            folders.append(child)
    for folder in folders:
        inner = "" if folder == root else folder.name
        for kind in ("cur", "new"):
            for file in _children(folder / kind, root):
                if isinstance(file, Unreadable):
                    yield file
                elif not file.name.startswith("."):
                    flags = re.search(r"[:!;]2,([A-Za-z]*)$", file.name)
                    labels = maildir_labels(inner, kind == "new", flags[1] if flags else "")
                    yield _read_file(file, str(file.relative_to(root)), labels)


def _children(folder: Path, root: Path) -> Iterator[Path | Unreadable]:
    try:
        yield from sorted(folder.iterdir())
    except OSError as error:
        yield _unlisted(folder, root, error)


def _read_files(root: Path) -> Iterator[Item]:
    for file in _mail_files(root):
        if isinstance(file, Unreadable):
            yield file
            continue
        name = str(file.relative_to(root))
        if file.suffix.lower() == ".eml" and not _holds_mbox(file):
            yield _read_file(file, name, ("INBOX",))
        else:
            yield from _read_mbox(file, name)


def _mail_files(root: Path) -> Iterator[Path | Unreadable]:
    """All .eml and .mbox files below a folder, in a stable order; links to folders are not followed.

    A folder that cannot be listed is among them as ``Unreadable``.
    """
    failures: list[OSError] = []
    for folder, inner, names in os.walk(root, onerror=failures.append):
        inner.sort()
        yield from _unlisted_all(failures, root)
        for name in sorted(names):
            if Path(name).suffix.lower() in (".eml", ".mbox"):
                yield Path(folder) / name
    yield from _unlisted_all(failures, root)


def _unlisted_all(failures: list[OSError], root: Path) -> Iterator[Unreadable]:
    while failures:
        error = failures.pop(0)
        yield _unlisted(Path(os.fsdecode(error.filename)), root, error)


def _unlisted(folder: Path, root: Path, error: OSError) -> Unreadable:
    return Unreadable(_printable(str(folder.relative_to(root))), f"The folder cannot be read: {error.strerror}.")


def _holds_mbox(path: Path) -> bool:
    """Whether an .eml holds several mails after all, as some exporters have it."""
    try:
        with mbox.opened(path) as file:
            return mbox.looks_like_mbox(file.read(_HEAD))
    except OSError:
        return False  # whoever reads the whole file says why it cannot be read


def _read_file(path: Path, name: str, labels: tuple[str, ...]) -> Item:
    try:
        with mbox.opened(path) as file:
            raw = file.read(mbox.MAX_MESSAGE + 1)
            dated = os.fstat(file.fileno()).st_mtime
    except OSError as error:
        return Unreadable(_printable(name), f"The file cannot be read: {error.strerror}.")
    if len(raw) > mbox.MAX_MESSAGE:
        return Unreadable(_printable(name), _TOO_LARGE)
    return _item(raw, name, labels, dated)


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
    return os.path.isdir(path / "cur") and os.path.isdir(path / "new")  # no error, whatever the permissions


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
