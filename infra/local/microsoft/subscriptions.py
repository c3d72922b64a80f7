"""Subscriptions of Graph: made after a handshake, renewed, gone at their end, and told of what changes in a mailbox.

Fates are drawn from the seed of the fault plan, the mailbox and the number of the change; delays from the simulator's seed.
Subscriptions and what is on its way to them are in the state file; counts are of this process. No method may be called
inside of a transaction, for the endpoints of a handshake and of ``send_due`` may call back.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Flask

from infra.local.microsoft import notifications, notifications_endpoints, subscriptions_control
from infra.local.microsoft.errors import GraphError
from infra.local.microsoft.identity_accounts import Account, find_account
from infra.local.microsoft.notifications import EVENTS, NOBODY, Heard, Notify
from infra.local.microsoft.notifications_queue import Queue
from infra.local.microsoft.state import State
from infra.local.microsoft.subscriptions_register import Register, shown
from infra.local.microsoft.subscriptions_wanted import matches, read, read_renewal
from infra.local.simulated.chance import digest, draw
from infra.local.simulated.errors import ControlError, UnknownThing
from infra.local.simulated.fates import FATES, REORDER_HOLD_SECONDS, Faults
from shared.ports import Clock

Json = dict[str, Any]
_FATES = ("wanted", "posts", "sent", "retried", "lost", "lifecycle", "slowed", "deaf", "withheld", "dropped",
          "duplicated", "delayed", "reordered", "early")  # fmt: skip
_GRACE_SECONDS = 600.0  # from the demand to reauthorize until nothing is told any more
_LAG_SECONDS = 1.0
_LAGS = (0.5, 1.0, 1.5)
_SETTING = "notifications"


class Subscriptions:
    """All subscriptions of all mailboxes. Thread-safe; refusals are ``GraphError``."""

    def __init__(self, state: State, clock: Clock, seed: int, notify: Notify) -> None:
        self._state = state
        self._clock = clock
        self._seed = seed
        self._notify = notify
        self._register = Register(state, clock, seed)
        self._queue = Queue(state, clock, notify)
        self._lag_seconds = _LAG_SECONDS
        self.faults = Faults()
        self.rung = self._queue.rung
        self._arrange(state.setting(_SETTING) or {})

    def create(self, address: str, body: Mapping[str, Any], immutable: bool) -> Json:
        """Make a subscription, once both of its endpoints have shaken hands; its ids are immutable where asked for."""
        with self._state.reading() as db:
            account = find_account(db, address)
            wanted = read(body, account, self._clock.now())
            self._register.require_room(db, address, wanted)
        for url in (wanted.url, wanted.lifecycle_url):
            if url:
                self._shake_hands(url)
        with self._state.transaction() as db:
            row = self._register.add(db, address, wanted, immutable)
        return shown(row, account) | {"clientState": row["client_state"]}

    def list(self, address: str) -> list[Json]:
        """The live subscriptions of a mailbox."""
        with self._state.reading() as db:
            account = find_account(db, address)
            return [shown(row, account) for row in self._register.living(db, address)]

    def read(self, address: str, name: str) -> Json:
        """A live subscription."""
        with self._state.reading() as db:
            return shown(self._register.find(db, address, name), find_account(db, address))

    def patch(self, address: str, name: str, body: Mapping[str, Any]) -> Json:
        """Renew a subscription, which reauthorizes it as well."""
        with self._state.transaction() as db:
            self._register.find(db, address, name)
            db.execute(
                "UPDATE subscriptions SET expires = ?, reauthorize_by = NULL WHERE id = ?",
                (read_renewal(body, self._clock.now()), name),
            )
            return shown(self._register.find(db, address, name), find_account(db, address))

    def delete(self, address: str, name: str) -> None:
        """End a subscription; what is on its way to it still arrives."""
        with self._state.transaction() as db:
            self._register.find(db, address, name)
            db.execute("DELETE FROM subscriptions WHERE id = ?", (name,))

    def reauthorize(self, address: str, name: str) -> None:
        """Say that the subscription may go on, without renewing it."""
        with self._state.transaction() as db:
            self._register.find(db, address, name)
            db.execute("UPDATE subscriptions SET reauthorize_by = NULL WHERE id = ?", (name,))

    def lag(self, address: str, number: int) -> float:
        """By how many seconds a change shows after its notification; the same however often it is asked."""
        return self.faults.early_seconds if "early" in self.faults.fate(address, number) else 0.0

    def changed(
        self,
        address: str,
        message_id: str,
        folder_id: str,
        kind: str,
        mutable_id: str = "",
        etag: str = "",
        number: int | None = None,
    ) -> None:
        """Tell the subscriptions of a mailbox that a message was created, updated or deleted, as their fate wills.

        ``number`` is unique to the change within the mailbox; without one changes are counted here.
        """  # fmt: skip
        with self._state.reading() as db:
            if not self._register.living(db, address):
                return
        with self._state.transaction() as db:
            about = self._register.number(db, address) if number is None else number
            account: Account | None = None
            for row in self._register.living(db, address):
                if not matches(row["changes"], row["folder"], kind, (folder_id,)):
                    continue
                account = account or find_account(db, address)
                item = message_id if row["immutable"] else mutable_id or message_id
                self._announce(
                    db, row, about, notifications.change(dict(row), kind, account.id, account.tenant, item, etag)
                )

    def lifecycle(self, address: str, event: str, name: str = "") -> Sequence[str]:
        """Let an event happen to one live subscription of a mailbox or all; answers which. Raises ``ControlError``."""
        if event not in EVENTS:
            raise ControlError(f"event must be one of {', '.join(EVENTS)}.")
        with self._state.transaction() as db:
            account = find_account(db, address)
            rows = [row for row in self._register.living(db, address) if name in ("", row["id"])]
            if name and not rows:
                raise UnknownThing(f"There is no live subscription {name!r}.")
            for row in rows:
                self._tell_of(db, row, event, account, self._clock.now() + self._lag_seconds)
                if event == "subscriptionRemoved":
                    db.execute("DELETE FROM subscriptions WHERE id = ?", (row["id"],))
                elif event == "reauthorizationRequired":
                    until = self._clock.now() + _GRACE_SECONDS
                    db.execute("UPDATE subscriptions SET reauthorize_by = ? WHERE id = ?", (until, row["id"]))
        return [row["id"] for row in rows]

    def revoked(self, address: str) -> None:
        """End all subscriptions of a mailbox whose grant was withdrawn; nobody is told."""
        with self._state.transaction() as db:
            db.execute("DELETE FROM subscriptions WHERE address = ?", (address,))

    def send_due(self, now: float) -> float | None:
        """Post the notifications that are due; answer when the next one is, None if none waits."""
        return self._queue.send_due(now)

    def put_faults(self, plan: Mapping[str, Any]) -> Json:
        """Replace the fates' part of the fault plan and answer the whole of it. Raises ``ControlError``."""
        self.faults = Faults.from_json(plan)
        return self.faults.to_json()

    def arrange(self, outage: bool | None = None, lag_seconds: float | None = None) -> Json:
        """Cut every webhook off or connect it again, and set how long notifications take; None leaves as it is."""
        plan = {
            "outage": self._queue.outage if outage is None else outage,
            "lag_seconds": self._lag_seconds if lag_seconds is None else lag_seconds,
        }
        self._arrange(plan)
        self._state.remember(_SETTING, plan)
        return plan

    @property
    def outage(self) -> bool:
        """Whether no notification and no handshake reaches anybody."""
        return self._queue.outage

    @outage.setter
    def outage(self, outage: bool) -> None:
        self.arrange(outage=outage)

    def live(self, address: str) -> Sequence[str]:
        """The ids of a mailbox's live subscriptions, the oldest first."""
        with self._state.reading() as db:
            return [row["id"] for row in self._register.living(db, address)]

    def most_live(self, address: str) -> int:
        """How many subscriptions of a mailbox were ever live at once."""
        with self._state.reading() as db:
            return self._register.most_live(db).get(address, 0)

    def counts(self) -> Json:
        """What became of notifications since the process started, and by mailbox how many subscriptions live and lived."""
        counted = self._queue.counts()
        with self._state.reading() as db:
            most = self._register.most_live(db)
            live = {address: len(self._register.living(db, address)) for address in most}
        return {fate: counted.get(fate, 0) for fate in _FATES} | {"live": live, "most_live": most}

    def fates(self) -> dict[str, int]:
        """How often each fault fired since the process started, by readable label; those in the plan are there with 0."""
        return self.faults.labelled(self._queue.counts())

    def add_control(self, app: Flask) -> None:
        """Add the control endpoints of subscriptions."""
        subscriptions_control.add_control(app, self)

    def _announce(self, db: sqlite3.Connection, row: sqlite3.Row, about: int, body: bytes) -> None:
        now = self._clock.now()
        self._queue.count("wanted")
        if row["reauthorize_by"] is not None and row["reauthorize_by"] <= now:
            self._queue.count("withheld")
            return
        fate = self.faults.fate(row["address"], about)
        for fault in fate:
            self._queue.count(FATES[fault][0])
        if "drop" in fate:
            return
        standing = notifications_endpoints.standing(db, row["url"])
        if standing.deaf_until > now:
            self._queue.count("deaf")
            self._tell_of(db, row, "missed", find_account(db, row["address"]), standing.deaf_until)
            return
        due = (
            now + ("early" not in fate) * self._lag_seconds * _LAGS[int(3 * draw(self._seed, "lag", row["id"], about))]
        )
        if "delay" in fate:
            due += self.faults.delay_seconds
        elif "reorder" in fate:
            due += REORDER_HOLD_SECONDS
        if standing.slow_until > now:
            self._queue.count("slowed")
            due += notifications_endpoints.PENALTY_SECONDS
        for _ in range(2 if "duplicate" in fate else 1):
            self._queue.put(db, row["url"], row["id"], body, due)

    def _tell_of(self, db: sqlite3.Connection, row: sqlite3.Row, event: str, account: Account, due: float) -> None:
        """Queue a lifecycle event, unless the same is on its way or nobody wants to hear of it."""
        if row["lifecycle_url"] and not self._queue.waits(db, row["id"], event):
            self._queue.count("lifecycle")
            body = notifications.lifecycle(dict(row), event, account.tenant)
            self._queue.put(db, row["lifecycle_url"], row["id"], body, due, event)

    def _shake_hands(self, url: str) -> None:
        request_id = uuid.UUID(bytes=digest(self._seed, "handshake", url, self._clock.now())[:16], version=4)
        token = f"Validation: Testing client application reachability for subscription Request-Id: {request_id}"
        objection = notifications.objection(_unreachable if self.outage else self._notify, url, token)
        if objection:
            raise GraphError(400, "ValidationError", f"Subscription validation request failed. {objection}")

    def _arrange(self, plan: Mapping[str, Any]) -> None:
        self._queue.outage = plan.get("outage", False)
        self._lag_seconds = plan.get("lag_seconds", _LAG_SECONDS)


def _unreachable(url: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> Heard:  # noqa: ARG001
    return NOBODY
