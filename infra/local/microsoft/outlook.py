"""What every method of the simulated Graph works on: the state to look at, and the changes that it may make."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from infra.local.microsoft.changes import Changes
from infra.local.microsoft.errors import GraphError, not_found
from infra.local.microsoft.hindrances import Hindrances
from infra.local.microsoft.identity import Identity
from infra.local.microsoft.ledger import reveal
from infra.local.microsoft.mailbox import Mailbox
from infra.local.microsoft.state import State
from infra.local.microsoft.subscriptions import Subscriptions
from infra.local.simulated.errors import ControlError, UnknownThing
from shared.ports import Clock

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Outlook:
    """One Outlook for all mailboxes of a state; the methods are in ``infra.local.microsoft.methods``."""

    state: State
    clock: Clock
    changes: Changes
    identity: Identity
    subscriptions: Subscriptions
    hindrances: Hindrances

    def read(self, address: str, look: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Look at what shows of a mailbox by now. Raises ``GraphError`` 404 for what does not exist."""
        if address in self.state.hidden_until:
            with self.state.transaction() as db:
                reveal(self.state, db, address, self.clock.now())
        try:
            with self.state.reading() as db:
                return look(db)
        except UnknownThing:
            raise not_found() from None

    def write(self, address: str, note: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Look, and write down something that changes no mail. Raises ``GraphError`` 404 for what does not exist."""
        try:
            with self.state.transaction() as db:
                reveal(self.state, db, address, self.clock.now())
                return note(db)
        except UnknownThing:
            raise not_found() from None

    @contextmanager
    def change(self, address: str) -> Iterator[Mailbox]:
        """Change a mailbox. Raises ``GraphError``: 404 for what does not exist, 409 for what cannot be done."""
        try:
            with self.changes.of(address) as mailbox:
                yield mailbox
        except UnknownThing:
            raise not_found() from None
        except ControlError as error:
            raise GraphError(
                409, "ErrorFolderExists" if "exists" in str(error) else "ErrorInvalidOperation", str(error)
            ) from None
