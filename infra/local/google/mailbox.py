"""What happens to mailboxes: mail arrives, is sent or drafted, labels change, mail is deleted.

Whatever happens to a message leaves a record in the ``Ledger``; renaming a label touches no message and leaves none. A
draft is a message with DRAFT that has an id of its own beside: each save is a new message under the same draft id.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from infra.local.google import labels as labels_of
from infra.local.google.ledger import Entries, Ledger
from infra.local.simulated.bodies import pack
from infra.local.simulated.chance import digest
from infra.local.simulated.conversations import conversation
from infra.local.simulated.errors import UnknownThing
from infra.local.simulated.reading import Mail
from infra.local.simulated.state import joined, split


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail about to arrive: its labels by id or name, when it was received, how to build it once its id is known.

    Its thread follows from the mail unless one is named.
    """

    labels: tuple[str, ...]
    received_at: float
    build: Callable[[str], Mail]
    thread: str = ""


class Mailbox:
    """One mailbox within one transaction. Raises ``UnknownThing`` for what does not exist."""

    def __init__(self, db: sqlite3.Connection, ledger: Ledger, address: str):
        self._db = db
        self._ledger = ledger
        self._seed = ledger.constants.seed
        self.now = ledger.now
        self.address = address

    def add(self, arrival: Arrival, silent: bool = False, draft: str = "") -> str:
        """A mail arrives; ``silent`` means that it was there all along: no history record, no notification.

        With DRAFT it is a draft: a new one, or the new content of ``draft``.
        """
        ordinal = self._ledger.step("ordinal", 1)
        message_id = digest(self._seed, self.address, "message", ordinal)[:8].hex()
        mail = arrival.build(message_id)
        thread = conversation(self._db, self.address, mail, message_id, arrival.thread)
        labels = labels_of.resolve(self._db, self.address, arrival.labels)
        stored = joined(labels)
        history = self._ledger.pass_silently() if silent else 0
        row = self._db.execute(
            "INSERT INTO messages (address, id, thread, received, history, labels, alive, shown_labels, shown,"
            " mime_type, size, headers, truth) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)",
            (
                self.address, message_id, thread, int(arrival.received_at * 1000), history, stored, stored, silent,
                mail.mime_type, len(mail.raw), orjson.dumps([{"name": name, "value": value} for name, value in mail.headers]),
                orjson.dumps(mail.truth),
            ),
        ).lastrowid  # fmt: skip
        self._db.execute("INSERT INTO bodies VALUES (?, ?)", (row, pack(mail.raw)))
        if "DRAFT" in labels:
            self._name_draft(message_id, draft)
        if not silent:
            self._ledger.record(message_id, thread, stored, {"messagesAdded": [{}]})
        return message_id

    def relabel(self, message_id: str, add: Sequence[str], remove: Sequence[str]) -> None:
        """Add and remove labels (by id or name); TRASH and SPAM are labels too. No difference, no change."""
        message = self.message(message_id)
        before = set(split(message["labels"]))
        gone = before & labels_of.resolve(self._db, self.address, remove)
        new = labels_of.resolve(self._db, self.address, add) - before
        if not gone and not new:
            return
        after = joined((before - gone) | new)
        self._db.execute(
            "UPDATE messages SET labels = ? WHERE address = ? AND id = ?", (after, self.address, message_id)
        )
        if "DRAFT" in gone:
            self._drop_draft(message_id)
        elif "DRAFT" in new:
            self._name_draft(message_id, "")
        entries: Entries = {}
        if new:
            entries["labelsAdded"] = [{"labelIds": sorted(new)}]
        if gone:
            entries["labelsRemoved"] = [{"labelIds": sorted(gone)}]
        self._ledger.record(message_id, message["thread"], after, entries)

    def trash(self, message_id: str) -> None:
        """A message goes to the trash and leaves the inbox."""
        self.relabel(message_id, ["TRASH"], ["INBOX"])

    def untrash(self, message_id: str) -> None:
        """A message leaves the trash for the inbox."""
        self.relabel(message_id, ["INBOX"], ["TRASH"])

    def delete(self, message_id: str) -> None:
        """A mail is gone for good; only its id is remembered."""
        message = self.message(message_id)
        self._db.execute("UPDATE messages SET alive = 0 WHERE address = ? AND id = ?", (self.address, message_id))
        self._drop_draft(message_id)
        self._ledger.record(message_id, message["thread"], message["labels"], {"messagesDeleted": [{}]})

    def delete_all(self) -> None:
        """Every mail is gone for good, one record each."""
        for message_id in self._ids("1"):
            self.delete(message_id)

    def save_draft(self, draft: str, arrival: Arrival) -> str:
        """A draft gets new content: its message is deleted and another one takes its place in the same thread."""
        old = self.drafted(draft)
        arrival = replace(arrival, thread=arrival.thread or self.message(old)["thread"])
        self.delete(old)
        return self.add(arrival, draft=draft)

    def send_draft(self, draft: str) -> str:
        """A draft becomes a sent message under the message id that it has; the draft id is gone. Answers the former."""
        message_id = self.drafted(draft)
        truth = orjson.loads(self.message(message_id)["truth"])
        self.relabel(message_id, sent_labels(self.address, truth), ["DRAFT"])
        return message_id

    def drafted(self, draft: str) -> str:
        """The id of the message that holds a draft's content."""
        row = self._db.execute(
            "SELECT message FROM drafts WHERE address = ? AND id = ?", (self.address, draft)
        ).fetchone()
        if row is None:
            raise UnknownThing(f"There is no draft {draft!r}.")
        return str(row["message"])

    def draft_of(self, message_id: str) -> str:
        """The draft id that a message has."""
        row = self._db.execute(
            "SELECT id FROM drafts WHERE address = ? AND message = ?", (self.address, message_id)
        ).fetchone()
        if row is None:
            raise UnknownThing(f"The message {message_id!r} is no draft.")
        return str(row["id"])

    def create_label(self, name: str, look: dict[str, Any]) -> str:
        """A person's label; answers its id. Raises ``ControlError`` where there is one of that name."""
        labels_of.require_free(self._db, self.address, name)
        label = labels_of.create(self._db, self.address, name)
        labels_of.change(self._db, self.address, label, name, look)
        return label

    def rename_label(self, label: str, name: str, look: dict[str, Any] | None = None) -> None:
        """A person's label (by id or name) gets another name; no message changes, so no record says so."""
        row = labels_of.find(self._db, self.address, label)
        labels_of.change(self._db, self.address, row["id"], name, orjson.loads(row["look"]) if look is None else look)

    def delete_label(self, label: str) -> None:
        """A person's label (by id or name) is gone, and every message loses it."""
        label_id = str(labels_of.find(self._db, self.address, label)["id"])
        for message_id in self._ids("instr(labels, ?) > 0", f",{label_id},"):
            self.relabel(message_id, (), [label_id])
        labels_of.remove(self._db, self.address, label_id)

    def refuse(self, message_id: str, status: int) -> None:
        """From now on reading this mail answers an HTTP status; 0 lifts it."""
        self.message(message_id)
        self._db.execute(
            "UPDATE messages SET refused = ? WHERE address = ? AND id = ?", (status, self.address, message_id)
        )

    def forget_history(self) -> None:
        """Every cursor older than now is too old."""
        self._ledger.forget()

    def has(self, message_id: str) -> bool:
        """Whether there is such a message."""
        return bool(self._ids("id = ?", message_id))

    def message(self, message_id: str) -> sqlite3.Row:
        """What is true of a message now (id, thread, labels, truth), whatever the API shows yet."""
        row: sqlite3.Row | None = self._db.execute(
            "SELECT id, thread, labels, truth FROM messages WHERE address = ? AND id = ? AND alive = 1",
            (self.address, message_id),
        ).fetchone()
        if row is None:
            raise UnknownThing(f"There is no message {message_id!r}.")
        return row

    def thread(self, thread: str) -> list[str]:
        """The ids of a thread's messages, oldest first."""
        ids = self._ids("thread = ?", thread)
        if not ids:
            raise UnknownThing(f"There is no thread {thread!r}.")
        return ids

    def _ids(self, condition: str, *values: str) -> list[str]:
        rows = self._db.execute(
            f"SELECT id FROM messages WHERE address = ? AND alive = 1 AND {condition} ORDER BY received, id",
            (self.address, *values),
        )
        return [row["id"] for row in rows]

    def _name_draft(self, message_id: str, draft: str) -> None:
        draft = draft or f"r{int.from_bytes(digest(self._seed, self.address, 'draft', message_id)[:8], 'big')}"
        self._db.execute("INSERT INTO drafts VALUES (?, ?, ?)", (self.address, draft, message_id))

    def _drop_draft(self, message_id: str) -> None:
        self._db.execute("DELETE FROM drafts WHERE address = ? AND message = ?", (self.address, message_id))


def sent_labels(address: str, truth: dict[str, Any]) -> list[str]:
    """The labels of a sent mail: one to oneself is in the inbox, too, and unread."""
    recipients = {person.lower() for name in ("to", "cc", "bcc") for person in truth[name]}
    return ["SENT", "INBOX", "UNREAD"] if address.lower() in recipients else ["SENT"]
