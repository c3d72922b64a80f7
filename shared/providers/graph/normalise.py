"""Turn one Graph message resource into a ``Message``, whatever it holds: hostile mail is the ordinary case here.

``normalise`` never raises. What cannot be read becomes empty where the message is still itself without it, and
``Refused`` where it is not: without its id, its change key, or the folder that it is in.

Graph has read the headers itself, so what a message is made of is what it says of sender, recipients and subject; the
headers step in where it says nothing. Of the headers that are kept it is the other way round: they are taken as they were
sent, and written anew only where a message has none, as drafts and what was sent from here may have not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate

from shared.providers import words
from shared.providers.base import FOLDER, Message, Refused, Upsert
from shared.providers.bounds import MAX_ID, MAX_LABEL, MAX_SNIPPET, fit
from shared.providers.dates import EARLIEST, LATEST, first_date, iso_date
from shared.providers.headers import Fields, canonical, collect, decoded, kept, recipients
from shared.providers.text import clean, unfold

MAX_FOLDER_ID = MAX_LABEL - len(FOLDER)
CATEGORY = "category:"
RECOVERABLE = "RECOVERABLE"
"""What a folder is called here that holds what was deleted: no folder of the person's, and never on a message."""

_MAX_CATEGORIES = 60  # so that with any names they leave room for the labels that mean something
_MAX_RECIPIENTS = 10_000
_TRACE = "Received"  # every server that a mail comes by adds one
_SNIPPET_SOURCE = 4 * MAX_SNIPPET
_ADDRESSED = {"from": "from", "to": "toRecipients", "cc": "ccRecipients", "bcc": "bccRecipients", "reply-to": "replyTo"}


@dataclass(frozen=True, slots=True)
class Reader:
    """What a message is read by: the allow-list, whose mailbox it is in, and the folders that have well-known names."""

    headers: tuple[str, ...]
    address: str = ""
    folders: Mapping[str, str] | None = None


def normalise(raw: object, reader: Reader, expected_id: str | None = None) -> Upsert | Refused:
    """Read a message resource; with ``expected_id`` one of another message is refused under the id that was asked for."""
    if not isinstance(raw, Mapping):
        return Refused(expected_id or "", "The message is not an object.")
    id, version = identifier(raw.get("id")), identifier(raw.get("changeKey"))
    folder = identifier(raw.get("parentFolderId"))
    if problem := _problem(id, version, folder, expected_id):
        return Refused(expected_id or id, problem)
    allowed, _ = canonical(reader.headers)
    _, wanted = canonical((*reader.headers, _TRACE))
    fields = collect(raw.get("internetMessageHeaders"), wanted)
    sender = _one(raw.get("from")) or _one(raw.get("sender")) or _addresses(fields, "from")[:1]
    message = Message(
        id,
        identifier(raw.get("conversationId")),
        version,
        _labels(raw, reader, folder, sender[0] if sender and _TRACE.lower() not in fields else ""),
        _received_at(raw, fields),
        _subject(raw, fields),
        sender[0] if sender else "",
        _recipients(raw, fields, "to"),
        _recipients(raw, fields, "cc"),
        _recipients(raw, fields, "bcc"),
        " ".join(_text(raw.get("bodyPreview"))[:_SNIPPET_SOURCE].split()),
        kept({**_written(raw, {key for key, _ in allowed}), **fields}, allowed),
    )
    return Upsert(fit(message))


def is_discarded(raw: Mapping[str, object], folders: Mapping[str, str] | None) -> bool:
    """Whether a message is where deleted ones are kept: its id still finds it there (docs/graph.md, 23)."""
    return (folders or {}).get(identifier(raw.get("parentFolderId"))) == RECOVERABLE


def identifier(value: object) -> str:
    """An id as Graph gives it, '' for what can be none: it is never changed, for it has to be the same when it is sent back."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
        return ""
    return value if value.isascii() and value.isprintable() and " " not in value else ""


def _problem(id: str, version: str, folder: str, expected_id: str | None) -> str:
    if not id:
        return "The message has no usable id."
    if expected_id is not None and id != expected_id:
        return "The answer is about another message."
    if not version:
        return "The message has no change key."
    return "" if 0 < len(folder) <= MAX_FOLDER_ID else "The message is in no folder."


def _labels(raw: Mapping[str, object], reader: Reader, folder: str, unreceived: str) -> tuple[str, ...]:
    """Where the message is and what is marked on it; ``unreceived`` is the sender of one that never came in by mail."""
    labels = {FOLDER + folder}
    if name := (reader.folders or {}).get(folder):
        labels.add(name)
    if raw.get("isRead") is False:
        labels.add("UNREAD")
    flag = raw.get("flag")
    if isinstance(flag, Mapping) and flag.get("flagStatus") == "flagged":
        labels.add("STARRED")
    if raw.get("importance") == "high":
        labels.add("IMPORTANT")
    if raw.get("isDraft") is True:
        labels.add("DRAFT")
    elif unreceived and unreceived.lower() == reader.address.lower():
        labels.add("SENT")
    return tuple(sorted(labels | set(_categories(raw.get("categories")))))


def _categories(value: object) -> Iterator[str]:
    names = [_text(name) for name in value[:_MAX_CATEGORIES]] if isinstance(value, list) else []
    return (f"{CATEGORY}{name}"[:MAX_LABEL] for name in names if name)


def _received_at(raw: Mapping[str, object], fields: Fields) -> float:
    """Take the time of receipt, else that of sending, else the sender's word, else 0, which is no date at all."""
    for name in ("receivedDateTime", "sentDateTime"):
        seconds = _time(raw.get(name))
        if seconds is not None:
            return seconds
    return first_date(fields.get("date", ()))


def _time(value: object) -> float | None:
    seconds = iso_date(value) if isinstance(value, str) else None
    return seconds if seconds is not None and EARLIEST <= seconds <= LATEST else None


def _subject(raw: Mapping[str, object], fields: Fields) -> str:
    subject = unfold(_text(raw.get("subject")))
    return subject or (decoded(fields["subject"])[0] if "subject" in fields else "")


def _recipients(raw: Mapping[str, object], fields: Fields, key: str) -> tuple[str, ...]:
    said = tuple([address for entry in _entries(raw.get(_ADDRESSED[key])) for address in _one(entry)])
    return said or _addresses(fields, key)


def _addresses(fields: Fields, key: str) -> tuple[str, ...]:
    return recipients(fields[key]) if key in fields else ()


def _entries(value: object) -> list[object]:
    return value[:_MAX_RECIPIENTS] if isinstance(value, list) else []


def _one(entry: object) -> tuple[str, ...]:
    """The address of a recipient; nothing where it is one that only its own organisation understands (X.500)."""
    return recipients([address]) if (address := _mailbox(entry)[1]) else ()


def _mailbox(entry: object) -> tuple[str, str]:
    """Name and address of a recipient, each on one line."""
    said = entry.get("emailAddress") if isinstance(entry, Mapping) else None
    if not isinstance(said, Mapping):
        return "", ""
    name, address = (" ".join(_text(said.get(part)).split()) for part in ("name", "address"))
    return name, address


def _written(raw: Mapping[str, object], allowed: set[str]) -> Fields:
    """The headers that Graph tells of in its own way, written as a sender would."""
    fields: Fields = {}
    for key in allowed & _ADDRESSED.keys():
        value = raw.get(_ADDRESSED[key])
        entries = [_mailbox(entry) for entry in ([value] if key == "from" else _entries(value))]
        fields[key] = [", ".join([_spelled(name, address) for name, address in entries if name or address])]
    fields["subject"] = [unfold(_text(raw.get("subject")))]
    fields["message-id"] = [unfold(_text(raw.get("internetMessageId")))]
    sent = _time(raw.get("sentDateTime"))
    fields["date"] = ["" if sent is None else formatdate(sent)]
    return {key: values for key, values in fields.items() if values[0]}


def _spelled(name: str, address: str) -> str:
    if not address:
        return words.quoted(name)
    return address if name in ("", address) else f"{words.quoted(name)} <{address}>"


def _text(value: object) -> str:
    return clean(value) if isinstance(value, str) else ""
