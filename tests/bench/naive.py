"""A pipeline as one would write it first: per mail one event row, one outbox row, one state row and one mark.

Transport, provider adapter (in batches, but without threads), JSON library, documents, event bodies, store, bus and disk
are those of the product, and the bus is given whole pages as the product gives them. Only the write pattern differs: each
row is its own commit, and the state is read for every mail. There is no task queue and no HTTP function around it, which is
in its favour.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from shared import refs
from shared.adapters.embedded.clock import VirtualClock
from shared.adapters.embedded.subscriptions import Subscription
from shared.errors import BrainstemError
from shared.events.envelope import Event, bus_message
from shared.mail import message as mail
from shared.mail.state import MailboxState
from shared.ports import Create, Update
from shared.providers.base import Listing, Message, Upsert
from shared.providers.gmail.provider import GmailProvider
from shared.sets import embedded
from shared.settings import Settings
from tests.bench.ledger import CountingBus, CountingStore, Ledger, Tally
from tests.bench.rig import TimedPage
from tests.bench.tape import PAGE, Tape
from tests.meter import free
from tests.world import MAILBOX, UID

_ROOT = refs.stream(MAILBOX)
_STATE = f"{_ROOT}/naive/state"


class Unexpected(BrainstemError):
    """A recorded page holds what the naive pipeline has no row for."""


class Naive:
    """One mailbox, walked page by page."""

    def __init__(self, folder: Path, settings: Settings, clock: VirtualClock, tape: Tape) -> None:
        ports = embedded(replace(settings, data_dir=str(folder)), clock)
        self._ledger = Ledger()
        self._store = CountingStore(ports.store, self._ledger)
        self._bus = CountingBus(ports.bus, self._ledger)
        self._clock = clock
        self._provider = GmailProvider(settings, clock, lambda: "secret", lambda: tape)
        now = clock.now()
        self._mailbox = MailboxState(MAILBOX, UID, "GOOGLE", "primary", "google:primary", now, now, followed_since=now)
        bus = ports.bus
        bus.subscribe(Subscription("outside", "events", "/outside"))  # type: ignore[attr-defined]

    def backfill(self, pages: int) -> list[TimedPage]:
        """Walk so many pages of the past."""
        self._store.commit([Create(_STATE, {"id": MAILBOX, "head": 0, "messages": 0, "updated_at": self._clock.now()})])
        token: str | None = None
        timed: list[TimedPage] = []
        for _ in range(pages):
            self._ledger.tally = Tally()
            wall, cpu = time.perf_counter(), time.process_time()
            listing = self._page(token)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            timed.append(TimedPage(cpu, wall, self._ledger.tally, {}))
            token = listing.next
        return timed

    def _page(self, token: str | None) -> Listing:
        listing = self._provider.list_ids(free(), token, PAGE)
        events = []
        for change in self._provider.fetch(free(), listing.ids):
            if not isinstance(change, Upsert):
                raise Unexpected("The recorded mailbox has a message that cannot be read.")
            events.append(self._mail(change.message))
        told = [event for event in events if event is not None]
        self._bus.publish("events", [bus_message(event) for event in told], MAILBOX)
        for change_id in listing.ids:
            self._mark(change_id)
        return listing

    def _mail(self, message: Message) -> Event | None:
        """State read; then event row, outbox row and state row, each for itself."""
        doc = self._store.get([_STATE])[_STATE]
        now = self._clock.now()
        row = {**mail.present(message), "announced": mail.announcement(list(message.labels))}
        event = mail.event_of(self._mailbox, None, row, doc.data["head"] + 1, now)
        told = None if event is None else {"id": event.id, "type": event.type, "data": event.data}
        self._store.commit([Create(f"{_ROOT}/events/{message.id}", {**row, "event": told})])
        self._store.commit([Create(f"{_ROOT}/outbox/{message.id}", {"event": told, "at": now})])
        after = {
            "head": doc.data["head"] + (event is not None),
            "messages": doc.data["messages"] + 1,
            "updated_at": now,
        }
        self._store.commit([Update(_STATE, after, doc.version)])
        return event

    def _mark(self, message: str) -> None:
        """The mark that it has been sent."""
        self._store.commit([Create(f"{_ROOT}/marks/{message}", {"id": message, "sent_at": self._clock.now()})])
