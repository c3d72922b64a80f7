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
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from infra.local.google import truth as truth_of
from infra.local.google.accounts import Accounts
from infra.local.google.chance import stream
from infra.local.google.errors import BadPlan, ControlError
from infra.local.google.gmail import Gmail
from infra.local.google.mailbox import Arrival, Mailbox, find_mailbox
from infra.local.google.plan import Plan, labels_of
from infra.local.google.pushes import Faults, Pushes
from infra.local.google.reading import from_plan, from_raw
from infra.local.google.state import State
from shared.ports import Clock

PLAN: TypeAlias = Mapping[str, Any]
Publish: TypeAlias = Callable[[str, bytes], None]


class GoogleSimulator:
    """Mailboxes in one SQLite file; ``publish(topic, data)`` carries the pushes. Errors are ``ControlError``."""

    def __init__(
        self, path: str | Path, clock: Clock, publish: Publish, seed: int = 0, token_seconds: float = 3600.0
    ) -> None:
        self.clock = clock
        self._seed = seed
        self._state = State(path)
        self._requests: Counter[str] = Counter()
        self._requests_lock = threading.Lock()
        self.pushes = Pushes(publish, Faults(**(self._state.setting("faults") or {})))
        self.accounts = Accounts(self._state, clock, seed, token_seconds)
        self.gmail = Gmail(self._state, clock, self.pushes)

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
        with self._change(address) as mailbox:
            return [mailbox.add(arrival, silent) for arrival in arrivals]

    def change_labels(self, address: str, message_id: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Add and remove labels of one message."""
        with self._change(address) as mailbox:
            mailbox.relabel(message_id, add, remove)

    def trash(self, address: str, message_id: str) -> None:
        """Move a message to the trash."""
        self.change_labels(address, message_id, ["TRASH"], ["INBOX"])

    def untrash(self, address: str, message_id: str) -> None:
        """Take a message back from the trash."""
        self.change_labels(address, message_id, ["INBOX"], ["TRASH"])

    def delete(self, address: str, message_id: str) -> None:
        """Delete a message for good."""
        with self._change(address) as mailbox:
            mailbox.delete(message_id)

    def refuse(self, address: str, message_id: str, status: int) -> None:
        """Let ``messages.get`` of one message answer an HTTP status from now on; 0 lifts it."""
        if status != 0 and not 400 <= status <= 599:
            raise ControlError("status must be 0 or from 400 to 599.")
        with self._change(address) as mailbox:
            mailbox.refuse(message_id, status)

    def expire_history(self, address: str) -> None:
        """Let every cursor older than now answer 404."""
        with self._change(address) as mailbox:
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
        """Replace the fault plan; what is absent has its default. Answers the whole plan."""
        plan = Faults.from_json(faults)
        self._state.remember("faults", plan.to_json())
        self.pushes.faults = plan
        return plan.to_json()

    def truth(self, address: str) -> dict[str, Any]:
        """What a faithful client should know by now; see ``truth`` for its shape."""
        return truth_of.whole(self._state, address)

    def truth_json(self, address: str) -> Iterator[bytes]:
        """The same as JSON, piece by piece, so that a large mailbox needs little memory."""
        with self._state.reading() as db:
            find_mailbox(db, address)
        return truth_of.pieces(self._state, address)

    def report(self) -> dict[str, Any]:
        """How often each method was called and what became of the pushes, since this process started."""
        with self._requests_lock:
            requests = dict(sorted(self._requests.items()))
        return {"requests": requests, "pushes": self.pushes.counts()}

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

    @contextmanager
    def _change(self, address: str) -> Iterator[Mailbox]:
        now = self.clock.now()
        with self._state.transaction() as db:
            yield Mailbox(self._state, db, self.pushes, self._seed, address, now)
        self.pump()  # outside of the lock: publishing may take its time

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
