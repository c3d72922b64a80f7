"""What happens to mailboxes: mail arrives, is marked, moved, sent, deleted; a folder goes with its mail.

Whatever happens to a message leaves a record in the ``Ledger``. ``delete`` is for good; what Graph's own DELETE does is
``discard``. Raises ``UnknownThing`` for what does not exist and ``ControlError`` for what cannot be done.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from infra.local.microsoft import folders, rounds
from infra.local.microsoft.cabinet import Cabinet
from infra.local.microsoft.content import dated_header, describe, moment
from infra.local.microsoft.ids import change_key, conversation_id, immutable_id, mutable_id
from infra.local.microsoft.placement import Placement, labels_of, relabelled
from infra.local.simulated.bodies import pack, unpack
from infra.local.simulated.conversations import conversation
from infra.local.simulated.errors import ControlError, UnknownThing
from infra.local.simulated.reading import Mail

Json = dict[str, Any]
FLAGS = ("notFlagged", "complete", "flagged")
IMPORTANCE = ("low", "normal", "high")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail about to arrive: where it goes, when it was received, how to build it once its id is known.

    ``path`` is a folder such as ``A/B``, made as needed; it takes the place of the placement's folder.
    """

    placement: Placement
    received_at: float
    build: Callable[[str], Mail]
    path: str = ""


class Mailbox(Cabinet):
    """One mailbox within one transaction."""

    def add(self, arrival: Arrival, silent: bool = False) -> str:
        """A mail arrives; ``silent`` means that it was there all along: no record, no notification."""
        folder = self.make_path(arrival.path) if arrival.path else self.folder(arrival.placement.folder)["id"]
        number = self._ledger.step("ordinal")
        message_id = immutable_id(self._seed, self.address, number)
        received = int(arrival.received_at)
        mail = arrival.build(message_id)
        fixed, truth = describe(mail, arrival.placement.inbound, received, message_id)
        thread = conversation(self._db, self.address, mail, conversation_id(self._seed, self.address, number))
        place = arrival.placement
        state = {
            "folder": folder, "mutable": mutable_id(self._seed, self.address, message_id, 0), "moves": 0, "key": 0,
            "modified": received if silent else self.now, "inbound": place.inbound, "isDraft": place.draft,
            "isRead": place.read, "flag": "flagged" if place.flagged else "notFlagged",
            "importance": "high" if place.important else "normal", "categories": list(place.categories),
        }  # fmt: skip
        row = self._db.execute(
            "INSERT INTO messages (address, id, thread, received, folder, state, labels, alive, fixed, truth)"
            " VALUES (?, ?, ?, ?, ?, '', '', 1, ?, ?)",
            (self.address, message_id, thread, received * 1000, folder, orjson.dumps(fixed), orjson.dumps(truth)),
        ).lastrowid
        self._db.execute("INSERT INTO bodies VALUES (?, ?)", (row, pack(mail.raw)))
        self._keep(message_id, state, truth["sender"])
        if silent:
            self._db.execute(
                "UPDATE messages SET shown = state, shown_folder = folder, shown_mutable = ?, shown_read = ?"
                " WHERE rowid = ?",
                (state["mutable"], state["isRead"], row),
            )
        else:
            self._ledger.record(message_id, state, "created", self._etag(message_id, state))
        return message_id

    def mark(self, message_id: str, **marks: Any) -> None:
        """Set isRead, flag, importance and categories; no difference, no change."""
        message = self.message(message_id)
        state = orjson.loads(message["state"])
        if any(state[name] != value for name, value in marks.items()):
            self._change(message, state | marks)

    def relabel(self, message_id: str, add: Sequence[str], remove: Sequence[str]) -> None:
        """Do what adding and removing these labels means here; see ``placement``."""
        message = self.message(message_id)
        state = orjson.loads(message["state"])
        now = Placement(
            state["folder"], state["isRead"], state["flag"] == "flagged", state["importance"] == "high",
            tuple(state["categories"]),
        )  # fmt: skip
        then = relabelled(now, self.folder(state["folder"])["known"], add, remove)
        marks = {
            "isRead": then.read,
            "flag": state["flag"] if then.flagged == now.flagged else FLAGS[2 * then.flagged],
            "importance": state["importance"] if then.important == now.important else IMPORTANCE[1 + then.important],
            "categories": list(then.categories),
        }
        if then.folder != now.folder:
            marks |= self._moved(message_id, state, then.folder)
        if any(state[name] != value for name, value in marks.items()):
            self._change(message, state | marks)

    def move(self, message_id: str, folder: str) -> None:
        """A message goes into another folder; only its mutable id is another one there."""
        message = self.message(message_id)
        state = orjson.loads(message["state"])
        moved = self._moved(message_id, state, folder)
        if moved["folder"] != state["folder"]:
            self._change(message, state | moved)

    def copy(self, message_id: str, folder: str) -> str:
        """A second message with the same content, in a folder; answers its id."""
        message = self.message(message_id)
        state = orjson.loads(message["state"])
        destination = self._destination(folder)
        made = immutable_id(self._seed, self.address, self._ledger.step("ordinal"))
        state |= {
            "folder": destination, "mutable": mutable_id(self._seed, self.address, made, 0), "moves": 0, "key": 0,
            "modified": self.now,
        }  # fmt: skip
        row = self._db.execute(
            "INSERT INTO messages (address, id, thread, received, folder, state, labels, alive, fixed, truth)"
            " SELECT address, ?, thread, received, ?, '', '', 1, fixed, truth FROM messages WHERE rowid = ?",
            (made, destination, message["rowid"]),
        ).lastrowid
        self._db.execute("INSERT INTO bodies SELECT ?, raw FROM bodies WHERE message = ?", (row, message["rowid"]))
        self._keep(made, state, orjson.loads(message["truth"])["sender"])
        self._ledger.record(made, state, "created", self._etag(made, state))
        return made

    def discard(self, message_id: str) -> None:
        """What DELETE does: into Deleted Items, and for good only from there."""
        trash = self.folder("deleteditems")["id"]
        if self.message(message_id)["folder"] == trash:
            self.delete(message_id)
        else:
            self.move(message_id, trash)

    def delete(self, message_id: str) -> None:
        """A mail is gone for good; only its id is remembered."""
        message = self.message(message_id)
        state = orjson.loads(message["state"])
        self._db.execute("UPDATE messages SET alive = 0 WHERE rowid = ?", (message["rowid"],))
        self._ledger.record(message_id, state, "deleted", self._etag(message_id, state))

    def delete_all(self) -> None:
        """Every mail is gone for good, one record each."""
        for message_id in self._ids("1"):
            self.delete(message_id)

    def rewrite(self, message_id: str, mail: Mail) -> None:
        """A draft gets new content, and keeps its id."""
        message = self.message(message_id)
        state = orjson.loads(message["state"])
        if not state["isDraft"]:
            raise ControlError("Only a draft can be rewritten.")
        self._write(message, mail, message["received"] / 1000)
        self._change(self.message(message_id), state)

    def send(self, message_id: str) -> None:
        """A draft becomes a sent message under the immutable id that it has, dated now."""
        message = self.message(message_id)
        state = orjson.loads(message["state"])
        if not state["isDraft"]:
            raise ControlError("Only a draft can be sent.")
        fixed = orjson.loads(message["fixed"]) | {"sentDateTime": moment(self.now)}
        truth = orjson.loads(message["truth"])
        truth["headers"]["Date"] = dated_header(self.now)
        self._db.execute(
            "UPDATE messages SET received = ?, fixed = ?, truth = ? WHERE rowid = ?",
            (int(self.now) * 1000, orjson.dumps(fixed), orjson.dumps(truth), message["rowid"]),
        )
        self._change(message, state | self._moved(message_id, state, "sentitems") | {"isDraft": False, "isRead": True})

    def refuse(self, message_id: str, status: int) -> None:
        """From now on reading this mail answers an HTTP status; 0 lifts it."""
        self.message(message_id)
        self._db.execute(
            "UPDATE messages SET refused = ? WHERE address = ? AND id = ?", (status, self.address, message_id)
        )

    def message(self, message_id: str) -> sqlite3.Row:
        """What is true of a message now, whatever the API shows yet."""
        row: sqlite3.Row | None = self._db.execute(
            "SELECT rowid, * FROM messages WHERE address = ? AND id = ? AND alive = 1", (self.address, message_id)
        ).fetchone()
        if row is None:
            raise UnknownThing(f"There is no message {message_id!r}.")
        return row

    def raw(self, message_id: str) -> bytes:
        """The bytes of a message."""
        row = self._db.execute("SELECT raw FROM bodies WHERE message = ?", (self.message(message_id)["rowid"],))
        return unpack(row.fetchone()["raw"])

    def delete_folder(self, key: str) -> None:
        """A folder is gone for good, with all that it holds; nothing of that is late, for nobody could ask about it."""
        row = self._own_folder(key)
        for one in reversed(folders.below(self._db, self.address, row["id"])):
            for message_id in self._ids("folder = ?", one):
                self.delete(message_id)
            self._db.execute("UPDATE folders SET gone = 1 WHERE address = ? AND id = ?", (self.address, one))
            rounds.forget(self._db, self.address, one)
            self._ledger.record_folder(one)
        self._ledger.catch_up()

    def forget_deltas(self, scopes: Sequence[str] | None) -> None:
        """The delta tokens of folders ('' for the hierarchy) are forgotten, or all of them."""
        for scope in (None,) if scopes is None else scopes:
            rounds.forget(self._db, self.address, scope)

    def _moved(self, message_id: str, state: Json, folder: str) -> Json:
        destination = self._destination(folder)
        if destination == state["folder"]:
            return {"folder": destination}
        moves = state["moves"] + 1
        return {
            "folder": destination,
            "moves": moves,
            "mutable": mutable_id(self._seed, self.address, message_id, moves),
        }

    def _change(self, message: sqlite3.Row, state: Json) -> None:
        state |= {"key": state["key"] + 1, "modified": self.now}
        self._keep(message["id"], state, orjson.loads(message["truth"])["sender"])
        self._ledger.record(message["id"], state, "updated", self._etag(message["id"], state))

    def _keep(self, message_id: str, state: Json, sender: str) -> None:
        known = self.folder(state["folder"])["known"]
        labels = labels_of(state, known, sender.lower() == self.address.lower())
        self._db.execute(
            "UPDATE messages SET folder = ?, state = ?, labels = ? WHERE address = ? AND id = ?",
            (state["folder"], orjson.dumps(state), orjson.dumps(labels), self.address, message_id),
        )

    def _write(self, message: sqlite3.Row, mail: Mail, received: float) -> None:
        inbound = orjson.loads(message["state"])["inbound"]
        fixed, truth = describe(mail, inbound, received, message["id"])
        self._db.execute(
            "UPDATE messages SET fixed = ?, truth = ? WHERE rowid = ?",
            (orjson.dumps(fixed), orjson.dumps(truth), message["rowid"]),
        )
        self._db.execute("UPDATE bodies SET raw = ? WHERE message = ?", (pack(mail.raw), message["rowid"]))

    def _etag(self, message_id: str, state: Json) -> str:
        return f'W/"{change_key(self._seed, message_id, state["key"])}"'

    def _ids(self, condition: str, *values: str) -> list[str]:
        rows = self._db.execute(
            f"SELECT id FROM messages WHERE address = ? AND alive = 1 AND {condition} ORDER BY received, id",
            (self.address, *values),
        )
        return [row["id"] for row in rows]
