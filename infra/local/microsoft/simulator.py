"""The Microsoft simulator as Python sees it: the same operations that the control endpoints offer.

Everything is decided by the seed and the order of operations; time comes only from the clock that is handed in. All
methods are safe to call from many threads. Request counts are of this process; everything else is in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from infra.local.microsoft import folders
from infra.local.microsoft.arrivals import PLAN, arrival
from infra.local.microsoft.changes import Changes
from infra.local.microsoft.counts import IN_FOLDERS, Counts
from infra.local.microsoft.faults import GRAPH
from infra.local.microsoft.folders import KNOWN, RECOVERABLE
from infra.local.microsoft.hindrances import NAMES, Hindrances
from infra.local.microsoft.hindrances import Plan as Hindering
from infra.local.microsoft.identity import Identity
from infra.local.microsoft.ledger import find_mailbox
from infra.local.microsoft.notifications import Notify
from infra.local.microsoft.outlook import Outlook
from infra.local.microsoft.placement import FOLDER
from infra.local.microsoft.state import State
from infra.local.microsoft.subscriptions import Subscriptions
from infra.local.microsoft.throttle import Throttle
from infra.local.simulated import truth as truth_of
from infra.local.simulated.errors import BadPlan, ControlError
from infra.local.simulated.faults import CallFaults
from infra.local.simulated.rules import read_rules
from shared.ports import Clock


class MicrosoftSimulator:
    """Mailboxes in one SQLite file; ``notify`` carries the notifications. Errors are ``ControlError``."""

    def __init__(
        self, path: str | Path, clock: Clock, seed: int = 0, token_seconds: float = 3600.0, notify: Notify | None = None
    ) -> None:
        self.clock = clock
        self._seed = seed
        self._state = State(path)
        self._counts = Counts()
        self.identity = Identity(self._state, clock, seed, token_seconds)
        self.subscriptions = Subscriptions(self._state, clock, seed, notify or _nobody)
        self.rung = self.subscriptions.rung
        self.faults = CallFaults()
        self.hindrances = Hindrances()
        self.throttle = Throttle(clock)
        self._changes = Changes(self._state, clock, seed, self.subscriptions, self.hindrances)
        self.outlook = Outlook(
            self._state, clock, self._changes, self.identity, self.subscriptions, self.hindrances
        )  # fmt: skip
        self._put_faults(self._state.setting("faults") or {})
        self.throttle.put(self._state.setting("quota") or {})

    def add_mailbox(self, address: str) -> dict[str, Any]:
        """Create a mailbox (or find it) and answer address, access_token, refresh_token, expires_in."""
        if not isinstance(address, str) or "@" not in address or not address.isprintable() or len(address) > 254:
            raise BadPlan("address must be a mail address.")
        with self._state.transaction() as db:
            made = db.execute("INSERT OR IGNORE INTO mailboxes (address) VALUES (?)", (address,)).rowcount
            if made:
                folders.furnish(db, self._seed, address)
        return self.identity.accounts.add(address)

    def add_mails(self, address: str, mails: Iterable[PLAN], silent: bool = False) -> list[str]:
        """Deliver planned or raw mails and answer their immutable ids; ``silent`` ones were there before.

        Beside what ``Plan`` knows, a mail may have ``folder`` (a path such as ``A/B``, made as needed) and ``categories``.
        Raises ``BadPlan``, ``UnreadableMail``, ``UnknownThing``; then none of them was delivered.
        """
        arrivals = [arrival(mail, self._seed, self.clock.now()) for mail in mails]
        with self._changes.of(address) as mailbox:
            return [mailbox.add(arrival, silent) for arrival in arrivals]

    def save_draft(self, address: str, mail: PLAN, draft: str = "") -> dict[str, str]:
        """Save a new draft or an old one's new content, and answer ``{"id": id, "message": id}``: here they are one."""
        draft_mail = {**mail, "labels": [*(mail.get("labels") or ()), "DRAFT"]}
        saved = arrival(draft_mail, self._seed, self.clock.now())
        with self._changes.of(address) as mailbox:
            if draft:
                mailbox.rewrite(draft, saved.build(draft))
            message_id = draft or mailbox.add(saved)
        return {"id": message_id, "message": message_id}

    def send_draft(self, address: str, draft: str) -> str:
        """Send a draft, and answer the id of the message, which is the one that it had."""
        with self._changes.of(address) as mailbox:
            mailbox.send(draft)
        return draft

    def change_labels(self, address: str, message_id: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Do what adding and removing labels means in Outlook: marks, categories, another folder."""
        with self._changes.of(address) as mailbox:
            mailbox.relabel(message_id, add, remove)

    def trash(self, address: str, message_id: str) -> None:
        """Move a message to Deleted Items."""
        self.move(address, message_id, "deleteditems")

    def untrash(self, address: str, message_id: str) -> None:
        """Move a message to the inbox."""
        self.move(address, message_id, "inbox")

    def move(self, address: str, message_id: str, folder: str) -> None:
        """Move a message to a folder, by its id or well-known name."""
        with self._changes.of(address) as mailbox:
            mailbox.move(message_id, folder)

    def delete(self, address: str, message_id: str) -> None:
        """Delete a message for good."""
        with self._changes.of(address) as mailbox:
            mailbox.delete(message_id)

    def empty(self, address: str) -> None:
        """Delete every message for good."""
        with self._changes.of(address) as mailbox:
            mailbox.delete_all()

    def create_folder(self, address: str, name: str, parent: str = "", search: bool = False) -> str:
        """Create a folder, at the top unless a parent is named; answer its id. ``search``: one that only finds mail."""
        with self._changes.of(address) as mailbox:
            return mailbox.create_folder(name, parent, search)

    def rename_folder(self, address: str, folder: str, name: str) -> None:
        """Give a folder another name."""
        with self._changes.of(address) as mailbox:
            mailbox.rename_folder(folder, name)

    def move_folder(self, address: str, folder: str, parent: str = "") -> None:
        """Move a folder into another one, or to the top."""
        with self._changes.of(address) as mailbox:
            mailbox.move_folder(folder, parent)

    def delete_folder(self, address: str, folder: str) -> None:
        """Delete a folder for good, with all that it holds."""
        with self._changes.of(address) as mailbox:
            mailbox.delete_folder(folder)

    def folders(self, address: str) -> list[dict[str, Any]]:
        """All folders: ``{"id", "name", "parent", "well_known" ('' for a person's own)}``, the oldest first."""
        with self._state.reading() as db:
            find_mailbox(db, address)
            return [
                {"id": row["id"], "name": row["name"], "parent": row["parent"], "well_known": row["known"]}
                for row in folders.everyone(db, address)
            ]

    def is_alive(self, address: str, message_id: str) -> bool:
        """Whether a message exists."""
        with self._state.reading() as db:
            return bool(
                db.execute(
                    "SELECT 1 FROM messages WHERE address = ? AND id = ? AND alive = 1", (address, message_id)
                ).fetchone()
            )

    def refuse(self, address: str, message_id: str, status: int) -> None:
        """Let reading one message answer an HTTP status from now on, and deltas leave it empty; 0 lifts it."""
        if status != 0 and not 400 <= status <= 599:
            raise ControlError("status must be 0 or from 400 to 599.")
        with self._changes.of(address) as mailbox:
            mailbox.refuse(message_id, status)

    def expire_delta(self, address: str, folders: Sequence[str] | str | None = None) -> None:
        """Forget the delta tokens of folders (ids or well-known names; '' is the hierarchy), or of all and the hierarchy."""
        names = [folders] if isinstance(folders, str) else folders
        with self._changes.of(address) as mailbox:
            scopes = None if names is None else [mailbox.folder(name)["id"] if name else "" for name in names]
            mailbox.forget_deltas(scopes)

    def revoke(self, address: str) -> None:
        """Withdraw all tokens of an account: 401 from Graph, ``invalid_grant`` from the token endpoint."""
        self.identity.accounts.revoke(address)
        self.subscriptions.revoked(address)

    def note_unreadable(self, address: str, name: str, reason: str) -> None:
        """Remember something that an import could not read."""
        with self._state.transaction() as db:
            find_mailbox(db, address)
            db.execute("INSERT INTO unreadable VALUES (?, ?, ?)", (address, name, reason))

    def set_faults(self, faults: Mapping[str, Any]) -> dict[str, Any]:
        """Replace the fault plan; what is absent has its default. Answers the whole plan. Raises ``ControlError``.

        ``{…hindrances.Plan…, …what Subscriptions.put_faults takes…, "calls": [rules as in simulated.rules]}``.
        """
        whole = self._put_faults(faults)
        self._state.remember("faults", whole)
        return whole

    def set_quota(self, quota: Mapping[str, Any]) -> dict[str, Any]:
        """Enforce other limits (see ``Throttle.put``), and begin to account anew. Answers the whole of it."""
        whole = self.throttle.put(quota)
        self._state.remember("quota", whole)
        return whole

    def storm(self, seconds: float, retry_after: int = 30, address: str = "") -> None:
        """Answer 429 to every request of a mailbox, or of all, for a while."""
        self.throttle.storm(seconds, retry_after, address)

    def age(self, address: str, message_id: str) -> float | None:
        """How many seconds ago a message could first be read; None if it was there all along, was changed since, or is gone."""
        with self._state.reading() as db:
            row = db.execute(
                "SELECT visible, state FROM messages WHERE address = ? AND (id = ? OR shown_mutable = ?) AND alive = 1",
                (address, message_id, message_id),
            ).fetchone()
        if row is None or row["visible"] is None or orjson.loads(row["state"])["key"]:
            return None
        return self.clock.now() - float(row["visible"])

    def truth(self, address: str) -> dict[str, Any]:
        """What a faithful client should know by now; see ``simulated.truth``. Each mail also has its ``folder``."""
        return truth_of.whole(self._state, address, _labels)

    def truth_json(self, address: str) -> Iterator[bytes]:
        """The same as JSON, piece by piece, so that a large mailbox needs little memory."""
        with self._state.reading() as db:
            find_mailbox(db, address)
        return truth_of.pieces(self._state, address, _labels)

    def report(self) -> dict[str, Any]:
        """How often each method was called, and per folder; what became of notifications, which faults fired, the throttle.

        ``folders`` is ``{address: {folder id: {method: count}}}``. All since this process started; ``quota`` (see
        ``Throttle.report``) since it was set.
        """
        return {
            **self._counts.report(),
            "pushes": self.subscriptions.counts(),
            "faults": self.subscriptions.fates() | self.hindrances.counts() | self.faults.counts(),
            "quota": self.throttle.report(),
        }

    def count_request(self, method: str) -> None:
        """Count one call of a method."""
        self._counts.add(method)

    def count_call(self, address: str, method: str, words: Sequence[str]) -> str:
        """Count one call of Graph, also for the folder in its path; answer that folder's id, '' where there is none."""
        folder = words[0] if words and method in IN_FOLDERS else ""
        if folder.lower() in RECOVERABLE:
            folder = ""  # nobody follows them
        elif folder.lower() in KNOWN:
            with self._state.reading() as db:
                folder = folders.find(db, address, folder)["id"]
        self._counts.add(method, address, folder)
        return folder

    def pump(self) -> float | None:
        """Send the notifications that are due; answer when the next one is, None if none waits."""
        return self.subscriptions.send_due(self.clock.now())

    def close(self) -> None:
        """Close the file."""
        self._state.close()

    def _put_faults(self, faults: Mapping[str, Any]) -> dict[str, Any]:
        rules = read_rules(faults.get("calls", ()), GRAPH)
        plan = Hindering.of(faults)
        rest = {name: value for name, value in faults.items() if name != "calls" and name not in NAMES}
        of_notifications = self.subscriptions.put_faults(rest | {"seed": plan.seed})
        self.hindrances.plan = plan
        self.faults.put(rules, plan.seed)
        return of_notifications | plan.to_json() | {"calls": [rule.to_json() for rule in rules]}


def _labels(stored: str | bytes) -> dict[str, Any]:
    labels = orjson.loads(stored)
    return {"labels": labels, "folder": next(one[len(FOLDER) :] for one in labels if one.startswith(FOLDER))}


def _nobody(*_: object, **__: object) -> Any:
    raise ConnectionRefusedError("Nobody listens to the notifications of this simulator.")
