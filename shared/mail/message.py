"""The document of one message, and the events that its change means.

A document is ``present``; a ``placeholder`` (only a version is known: a change came before the message did, and nothing
older than that version may be stored); or a ``tombstone`` (permanently deleted; keeps late arrivals out).
"""

from __future__ import annotations

from typing import Any

import orjson

from shared import refs
from shared.events.envelope import Event, fact_id, iso
from shared.events.types import DELETED, RECEIVED, SENT, UPDATED
from shared.mail.state import MailboxState
from shared.ports import Data
from shared.providers.base import FOLDER, Message

PRESENT, PLACEHOLDER, TOMBSTONE = "present", "placeholder", "tombstone"

_UNANNOUNCED = frozenset({"DRAFT", "CHAT", "SPAM", "TRASH"})

_EMPTY: Data = {
    "thread_id": "", "labels": [], "received_at": 0.0, "subject": "", "sender": "", "to": [], "cc": [], "bcc": [],
    "snippet": "", "headers": {}, "truncated": [],
}  # fmt: skip

FIELDS = {
    "thread_id": "provider_thread_id", "labels": "labels", "received_at": "msg_date", "subject": "subject",
    "sender": "sender", "to": "to_addrs", "cc": "cc_addrs", "bcc": "bcc_addrs", "snippet": "snippet",
    "headers": "headers",
}  # fmt: skip
"""The fields of a document and what events and answers call them."""


def present(message: Message, before: Data | None = None) -> Data:
    """The document of a message as the provider has it now; with its folder by itself, where messages are in one.

    ``before`` is what was known of it. ``returned`` stands in the document of a message that was told of as deleted once.
    """
    folder = next((label for label in message.labels if label.startswith(FOLDER)), None)
    announced = before["announced"] if before else None
    returned = before is not None and ((before["state"] == TOMBSTONE and announced) or before.get("returned"))
    return {
        **({} if folder is None else {"folder": folder}),
        **({"returned": True} if returned else {}),
        "state": PRESENT,
        "id": message.id,
        "version": message.version,
        "announced": announced,
        "thread_id": message.thread_id,
        "labels": sorted(set(message.labels)),
        "received_at": message.received_at,
        "subject": message.subject,
        "sender": message.sender,
        "to": list(message.to),
        "cc": list(message.cc),
        "bcc": list(message.bcc),
        "snippet": message.snippet,
        "headers": dict(message.headers),
        "truncated": list(message.truncated),
    }


def placeholder(id_: str, version: str) -> Data:
    """The document of a message that changed before it was seen."""
    return {"state": PLACEHOLDER, "id": id_, "version": version, "announced": None, **_EMPTY}


def tombstone(id_: str, version: str, before: Data | None = None) -> Data:
    """The document of a message that is gone; its metadata goes with it."""
    kept: Data = {name: before[name] for name in ("announced", "returned") if name in before} if before else {}
    return {"state": TOMBSTONE, "id": id_, "version": version, "announced": None, **_EMPTY, **kept}


def removed(data: Data, version: str) -> Data:
    """The tombstone of a message that is stored in a folder."""
    return {**tombstone(data["id"], version, data), "folder": ""}


def announcement(labels: list[str]) -> str | None:
    """What a message with these labels is announced as: ``received``, ``sent``, or not yet.

    A mail to oneself (SENT and INBOX) is sent only.
    """
    if _UNANNOUNCED.intersection(labels):
        return None
    return "sent" if "SENT" in labels else "received"


def event_of(
    mailbox: MailboxState, before: Data | None, after: Data, sequence: int, at: float, repair: bool = False
) -> Event | None:
    """The event that turns one document into the other, or None where a consumer need not know.

    Nothing is said of a message before it is announced, and it is announced once in its life. ``repair``: the change is
    not the provider's; the store had lost what the provider has.
    """
    told = before["announced"] if before else None
    if after["state"] == PLACEHOLDER or after["announced"] is None:
        return None
    if told is None:
        type_ = RECEIVED if after["announced"] == "received" else SENT
        return _event(mailbox, after, type_, sequence, at, repair=repair)
    assert before is not None
    if after["state"] == TOMBSTONE:
        return _event(mailbox, before, DELETED, sequence, at, repair=repair) if before["state"] == PRESENT else None
    changed = sorted(FIELDS[name] for name in FIELDS if before.get(name) != after[name])
    if not changed:
        return None
    return _event(mailbox, after, UPDATED, sequence, at, changed, repair, back=before["state"] != PRESENT)


def public(mailbox_id: str, provider: str, data: Data) -> dict[str, Any]:
    """The fields of a message as events and answers show them."""
    return {
        "msg_date": iso(data["received_at"]),
        "provider": provider,
        "inbox_id": mailbox_id,
        "user_id": refs.owner(mailbox_id),
        "provider_message_id": data["id"],
        "provider_thread_id": data["thread_id"],
        "subject": data["subject"],
        "sender": data["sender"],
        "to_addrs": data["to"],
        "cc_addrs": data["cc"],
        "bcc_addrs": data["bcc"],
        "snippet": data["snippet"],
        "headers": data["headers"],
        "labels": data["labels"],
    }


def cut_fields(data: Data) -> list[str]:
    """Which of the public fields hold less than the provider's value, because that was over its bound."""
    return sorted(FIELDS[name] for name in data["truncated"])


def origin_of(mailbox: MailboxState, data: Data) -> str:
    """``live`` if the provider received the mail at or after the anchor's time, whichever chain commits it."""
    followed = mailbox.followed_since
    return "live" if followed is not None and data["received_at"] >= followed else "backfill"


def _event(
    mailbox: MailboxState,
    data: Data,
    type_: str,
    sequence: int,
    at: float,
    changed: list[str] | None = None,
    repair: bool = False,
    back: bool = False,
) -> Event:
    version = data["version"] if type_ == UPDATED else ""
    if type_ == DELETED and data.get("returned"):
        version = f"again|{sequence}"  # the fact that it was deleted has been told, and has an id already
    elif back:
        version = (
            f"{version}|again|{sequence}"  # what was denied comes back as it was: this version may have been told of
        )
    elif version and "folder" in data:
        version = f"{version}|{sequence}"  # where versions have no order, one may come back
    elif version and repair:
        version = f"{version}|repair|{sequence}"  # what the provider did at this version may have been told already
    id_ = fact_id(mailbox.id, data["id"], type_, version)
    origin = "repair" if repair else origin_of(mailbox, data)
    body = public(mailbox.id, mailbox.provider, data)
    body["event_id"] = id_
    body["ts"] = iso(at)
    body["sequence"] = sequence
    body["stream"] = mailbox.id
    body["origin"] = origin
    if changed is not None:
        body["changed"] = changed
    if data["truncated"]:
        body["truncated"] = cut_fields(data)
    return Event(id_, type_, mailbox.id, sequence, at, body, mailbox.provider, origin, orjson.dumps(body))
