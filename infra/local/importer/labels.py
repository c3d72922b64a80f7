"""From the flags and labels of other systems to Gmail's: Takeout's header, Maildir's flags, folder names."""

from __future__ import annotations

import csv
import re
from email.parser import BytesHeaderParser
from email.policy import compat32

from infra.local.simulated.words import decode_words

_HEADERS = ("X-Gmail-Labels", "X-GM-LABELS")
_SYSTEM = {
    "inbox": "INBOX", "sent": "SENT", "sent mail": "SENT", "draft": "DRAFT", "drafts": "DRAFT", "spam": "SPAM",
    "junk": "SPAM", "trash": "TRASH", "bin": "TRASH", "unread": "UNREAD", "starred": "STARRED",
    "important": "IMPORTANT", "chat": "CHAT", "chats": "CHAT",
}  # fmt: skip
_NO_LABEL = frozenset({"opened", "archived", "all mail"})
_CATEGORY = re.compile(r"category[ _](personal|social|promotions|updates|forums)", re.IGNORECASE)
_MAX_LABELS = 100
_HEAD = 65_536


def gmail_labels(raw: bytes) -> tuple[str, ...] | None:
    """The labels that a Takeout export wrote into the mail's header; None where it wrote none."""
    head = raw[:_HEAD]
    if not any(name.lower().encode() in head.lower() for name in _HEADERS):
        return None
    message = BytesHeaderParser(policy=compat32).parsebytes(head)
    for name in _HEADERS:
        if message[name] is not None:
            value = str(message[name]).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            return _labels(_names(" ".join(decode_words(value).split())))
    return None


def folder_labels(folder: str) -> tuple[str, ...]:
    """The label of a Maildir folder such as ``.Sent`` or ``.Work.Invoices``; the root is the inbox."""
    name = folder.strip(".").removeprefix("INBOX.").replace(".", "/")
    return _labels([name]) if name else ("INBOX",)


def maildir_labels(folder: str, is_new: bool, flags: str) -> tuple[str, ...]:
    """Labels by Maildir flags: S seen, F flagged, T trashed, D draft. R (replied) and P (passed) have no label."""
    labels = set(folder_labels(folder))
    if is_new or "S" not in flags:
        labels.add("UNREAD")
    if "F" in flags:
        labels.add("STARRED")
    if "D" in flags:
        labels = labels - {"INBOX", "UNREAD"} | {"DRAFT"}
    if "T" in flags:
        labels = labels - {"INBOX"} | {"TRASH"}
    return tuple(sorted(labels))


def _names(value: str) -> list[str]:
    """Names from ``Inbox,Unread,"A, B"`` (Takeout) or ``\\Inbox "My label" Work`` (IMAP)."""
    if "\\" in value and "," not in value:
        return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', value.replace("\\\\", "\\"))]
    return next(csv.reader([value], skipinitialspace=True), [])


def _labels(names: list[str]) -> tuple[str, ...]:
    labels: dict[str, None] = {}
    for name in names[:_MAX_LABELS]:
        plain = "".join(mark for mark in name if mark.isprintable()).strip().lstrip("\\")[:200]
        if category := _CATEGORY.fullmatch(plain):
            labels[f"CATEGORY_{category[1].upper()}"] = None
        elif plain and plain.lower() not in _NO_LABEL:
            labels[_SYSTEM.get(plain.lower(), plain)] = None
    return tuple(labels)
