"""Opens a mailbox for changes: one transaction each, and afterwards the notifications that it caused are queued."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from infra.local.microsoft.hindrances import Hindrances
from infra.local.microsoft.ledger import Ledger
from infra.local.microsoft.mailbox import Mailbox
from infra.local.microsoft.state import State
from infra.local.microsoft.subscriptions import Subscriptions
from shared.ports import Clock


class Changes:
    """The one way to a ``Mailbox``, for clients of the API and for whoever drives the simulator alike."""

    def __init__(
        self, state: State, clock: Clock, seed: int, subscriptions: Subscriptions, hindrances: Hindrances
    ) -> None:
        self._state = state
        self._clock = clock
        self._subscriptions = subscriptions
        self._hindrances = hindrances
        self.seed = seed

    @contextmanager
    def of(self, address: str) -> Iterator[Mailbox]:
        """One mailbox; whatever is raised inside undoes everything. Raises ``UnknownThing``."""
        now = self._clock.now()
        with self._state.transaction() as db:
            ledger = Ledger(self._state, db, self._lag, address, now)
            yield Mailbox(db, ledger, self.seed, address)
        for notice in ledger.notices:
            self._subscriptions.changed(
                address, notice.message, notice.folder, notice.kind, notice.mutable, notice.etag, notice.number
            )

    def _lag(self, address: str, number: int) -> float:
        own = self._hindrances.plan.late_seconds if self._hindrances.strikes("late", address, number) else 0.0
        return max(own, self._subscriptions.lag(address, number))
