"""Opens a mailbox for changes: one transaction each, and afterwards the pushes that it caused and that are due."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from infra.local.google.ledger import Constants, Ledger
from infra.local.google.mailbox import Mailbox
from infra.local.google.pushes import Pushes
from infra.local.google.state import State
from shared.ports import Clock


class Changes:
    """The one way to a ``Mailbox``, for clients of the API and for whoever drives the simulator alike."""

    def __init__(self, state: State, clock: Clock, pushes: Pushes, constants: Constants) -> None:
        self._state = state
        self._clock = clock
        self._pushes = pushes
        self.constants = constants

    @contextmanager
    def of(self, address: str) -> Iterator[Mailbox]:
        """One mailbox; whatever is raised inside undoes everything. Raises ``UnknownThing``."""
        now = self._clock.now()
        with self._state.transaction() as db:
            ledger = Ledger(self._state, db, self._pushes, self.constants, address, now)
            yield Mailbox(db, ledger, address)
        self._pushes.send_due(self._clock.now())  # outside of the lock: publishing may take its time
