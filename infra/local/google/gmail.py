"""What every method of the simulated Gmail API works on: the state to look at, and the changes that it may make."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from infra.local.google.changes import Changes
from infra.local.google.errors import not_found
from infra.local.google.ledger import reveal
from infra.local.google.mailbox import Mailbox
from infra.local.google.pushes import Pushes
from infra.local.google.state import State
from infra.local.google.topics import Topics
from infra.local.simulated.errors import UnknownThing
from shared.ports import Clock

Answer = TypeVar("Answer")


class Gmail:
    """One Gmail for all mailboxes of a state; the methods are in ``infra.local.google.methods``."""

    def __init__(self, state: State, clock: Clock, pushes: Pushes, changes: Changes, topics: Topics) -> None:
        self.state = state
        self.clock = clock
        self.pushes = pushes
        self.topics = topics
        self._changes = changes

    def read(self, address: str, look: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Look at what shows of a mailbox by now."""
        if address in self.state.hidden_until:
            with self.state.transaction() as db:
                reveal(self.state, db, address, self.clock.now())
        with self.state.reading() as db:
            return look(db)

    @contextmanager
    def change(self, address: str) -> Iterator[Mailbox]:
        """Change a mailbox. Raises ``GoogleError`` 404 for what does not exist."""
        try:
            with self._changes.of(address) as mailbox:
                yield mailbox
        except UnknownThing:
            raise not_found() from None

    def shown_history(self, history: int) -> str:
        """A history id as clients see it."""
        return str(self._changes.constants.history_base + history)

    def asked_history(self, history: str) -> int:
        """A history id that a client names, as it is kept; one from before the first is negative."""
        return int(history) - self._changes.constants.history_base
