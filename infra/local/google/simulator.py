"""The Google simulator as Python sees it: the same operations that the control endpoints offer.

Everything is decided by the seed and the order of operations; time comes only from the clock that is handed in. All
methods are safe to call from many threads. Request and push counts are of this process; everything else is in the file.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

from infra.local.google.changes import Changes
from infra.local.google.faults import GMAIL, arrival_age
from infra.local.google.gmail import Gmail
from infra.local.google.ledger import Constants, find_mailbox
from infra.local.google.mailbox import Arrival
from infra.local.google.oauth import OAuth
from infra.local.google.pushes import Pushes
from infra.local.google.quota import Quota
from infra.local.google.state import State
from infra.local.google.topics import Topics
from infra.local.simulated import truth as truth_of
from infra.local.simulated.chance import stream
from infra.local.simulated.errors import BadPlan, ControlError
from infra.local.simulated.fates import Faults
from infra.local.simulated.faults import CallFaults
from infra.local.simulated.plan import Plan, labels_of
from infra.local.simulated.reading import from_plan, from_raw
from infra.local.simulated.rules import read_rules
from shared.ports import Clock

PLAN: TypeAlias = Mapping[str, Any]
Publish: TypeAlias = Callable[[str, bytes], None]


class GoogleSimulator:
    """Mailboxes in one SQLite file; ``publish(topic, data)`` carries the pushes. Errors are ``ControlError``.

    ``history_base`` is added to every history id that clients see; 10**20 makes them longer than 64 bits.
    Without ``batch`` there is no batch endpoint: it answers 404.
    """

    def __init__(
        self,
        path: str | Path,
        clock: Clock,
        publish: Publish,
        seed: int = 0,
        token_seconds: float = 3600.0,
        history_base: int = 0,
        batch: bool = True,
    ) -> None:
        self.clock = clock
        self._seed = seed
        self._state = State(path)
        self._requests: Counter[str] = Counter()
        self._requests_lock = threading.Lock()
        self.topics = Topics(self._state)
        self.pushes = Pushes(self.topics.guard(publish), Faults())
        self.rung = self.pushes.rung
        self.faults = CallFaults()
        self.quota = Quota(clock, seed)
        self.batch = batch
        self._put_faults(self._state.setting("faults") or {})
        self.quota.put(self._state.setting("quota") or {})
        self.oauth = OAuth(self._state, clock, seed, token_seconds)
        self.accounts = self.oauth.accounts
        self._changes = Changes(self._state, clock, self.pushes, Constants(seed, history_base))
        self.gmail = Gmail(self._state, clock, self.pushes, self._changes, self.topics)

    def add_mailbox(self, address: str) -> dict[str, Any]:
        """Create a mailbox (or find it) and answer address, access_token, refresh_token, expires_in."""
        if not isinstance(address, str) or "@" not in address or not address.isprintable() or len(address) > 254:
            raise BadPlan("address must be a mail address.")
        return self.accounts.add(address)

    def add_mails(self, address: str, mails: Iterable[PLAN], silent: bool = False) -> list[str]:
        """Deliver planned or raw mails and answer their ids; ``silent`` ones were there before: no history, no push.

        Raises ``BadPlan``, ``UnreadableMail``, ``UnknownThing``; then none of them was delivered.
        """
        arrivals = [self._arrival(mail) for mail in mails]
        with self._changes.of(address) as mailbox:
            return [mailbox.add(arrival, silent) for arrival in arrivals]

    def save_draft(self, address: str, mail: PLAN, draft: str = "") -> dict[str, str]:
        """Save a new draft or an old one's new content, and answer ``{"id": draft id, "message": message id}``."""
        arrival = self._arrival(mail)
        arrival = replace(arrival, labels=(*arrival.labels, "DRAFT"))
        with self._changes.of(address) as mailbox:
            message_id = mailbox.save_draft(draft, arrival) if draft else mailbox.add(arrival)
            return {"id": mailbox.draft_of(message_id), "message": message_id}

    def send_draft(self, address: str, draft: str) -> str:
        """Send a draft, and answer the id of the message, which is the one that it had."""
        with self._changes.of(address) as mailbox:
            return mailbox.send_draft(draft)

    def change_labels(self, address: str, message_id: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Add and remove labels of one message."""
        with self._changes.of(address) as mailbox:
            mailbox.relabel(message_id, add, remove)

    def trash(self, address: str, message_id: str) -> None:
        """Move a message to the trash."""
        with self._changes.of(address) as mailbox:
            mailbox.trash(message_id)

    def untrash(self, address: str, message_id: str) -> None:
        """Take a message back from the trash."""
        with self._changes.of(address) as mailbox:
            mailbox.untrash(message_id)

    def delete(self, address: str, message_id: str) -> None:
        """Delete a message for good."""
        with self._changes.of(address) as mailbox:
            mailbox.delete(message_id)

    def empty(self, address: str) -> None:
        """Delete every message for good."""
        with self._changes.of(address) as mailbox:
            mailbox.delete_all()

    def rename_label(self, address: str, label: str, name: str) -> None:
        """Give a person's label (by id or name) another name; the history does not say so."""
        with self._changes.of(address) as mailbox:
            mailbox.rename_label(label, name)

    def delete_label(self, address: str, label: str) -> None:
        """Delete a person's label (by id or name); every message loses it."""
        with self._changes.of(address) as mailbox:
            mailbox.delete_label(label)

    def deny_topic(self, topic: str) -> None:
        """Take Gmail's permission to publish to a topic away: ``watch`` answers 403, and pushes fail."""
        self.topics.deny(topic)

    def allow_topic(self, topic: str) -> None:
        """Give the permission back."""
        self.topics.allow(topic)

    def refuse(self, address: str, message_id: str, status: int) -> None:
        """Let ``messages.get`` of one message answer an HTTP status from now on; 0 lifts it."""
        if status != 0 and not 400 <= status <= 599:
            raise ControlError("status must be 0 or from 400 to 599.")
        with self._changes.of(address) as mailbox:
            mailbox.refuse(message_id, status)

    def expire_history(self, address: str) -> None:
        """Let every cursor older than now answer 404."""
        with self._changes.of(address) as mailbox:
            mailbox.forget_history()

    def revoke(self, address: str) -> None:
        """Withdraw all tokens of an account: 401 from the API, ``invalid_grant`` from the token endpoint."""
        self.accounts.revoke(address)

    def note_unreadable(self, address: str, name: str, reason: str) -> None:
        """Remember something that an import could not read."""
        with self._state.transaction() as db:
            find_mailbox(db, address)
            db.execute("INSERT INTO unreadable VALUES (?, ?, ?)", (address, name, reason))

    def set_faults(self, faults: Mapping[str, Any]) -> dict[str, Any]:
        """Replace the fault plan; what is absent has its default. Answers the whole plan. Raises ``ControlError``.

        ``{…the numbers of fates.Faults…, "calls": [rules as in rules.Rule]}``.
        """
        whole = self._put_faults(faults)
        self._state.remember("faults", whole)
        return whole

    def set_quota(self, quota: Mapping[str, Any]) -> dict[str, Any]:
        """Enforce another quota, ``{"profile", "concurrency"}``, and begin to account anew. Answers the whole of it."""
        whole = self.quota.put(quota)
        self._state.remember("quota", whole)
        return whole

    def age(self, address: str, target: str) -> float | None:
        """How many seconds ago the message at the end of a path arrived; None if it was there all along."""
        message_id = unquote(target.partition("?")[0].rpartition("/")[2])
        return arrival_age(self._state, address, message_id, self.clock.now())

    def truth(self, address: str) -> dict[str, Any]:
        """What a faithful client should know by now; see ``truth`` for its shape."""
        return truth_of.whole(self._state, address)

    def truth_json(self, address: str) -> Iterator[bytes]:
        """The same as JSON, piece by piece, so that a large mailbox needs little memory."""
        with self._state.reading() as db:
            find_mailbox(db, address)
        return truth_of.pieces(self._state, address)

    def report(self) -> dict[str, Any]:
        """How often each method was called, what became of the pushes, which faults fired, what was spent.

        All since this process started; ``quota`` (see ``Quota.report``) since it was set.
        """
        with self._requests_lock:
            requests = dict(sorted(self._requests.items()))
        return {
            "requests": requests,
            "pushes": self.pushes.counts(),
            "faults": self.pushes.fates() | self.faults.counts(),
            "quota": self.quota.report(),
        }

    def count_request(self, method: str) -> None:
        """Count one call of a method of the API."""
        with self._requests_lock:
            self._requests[method] += 1

    def pump(self) -> float | None:
        """Send the pushes that are due; answer when the next one is, None if none waits."""
        return self.pushes.send_due(self.clock.now())

    def close(self) -> None:
        """Close the file."""
        self._state.close()

    def _put_faults(self, faults: Mapping[str, Any]) -> dict[str, Any]:
        rules = read_rules(faults.get("calls", ()), GMAIL)
        plan = Faults.from_json({name: value for name, value in faults.items() if name != "calls"})
        self.pushes.faults = plan
        self.faults.put(rules, plan.seed)
        return plan.to_json() | {"calls": [rule.to_json() for rule in rules]}

    def _arrival(self, data: PLAN) -> Arrival:
        now = self.clock.now()
        if "raw" in data:
            mail = from_raw(_bytes(data["raw"]))
            received = data.get("received_at")
            return Arrival(labels_of(data), now if received is None else float(received), lambda _: mail)
        plan = Plan.from_json(data)
        return Arrival(plan.labels, now if plan.received_at is None else plan.received_at, partial(self._render, plan))

    def _render(self, plan: Plan, message_id: str) -> Any:
        return from_plan(plan, f"<{message_id}@simulator.example>", stream(self._seed, "mime", message_id))


def _bytes(raw: Any) -> bytes:
    if isinstance(raw, bytes):
        return raw
    try:
        return base64.b64decode(raw, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise BadPlan("raw must be a message in base64.") from None
