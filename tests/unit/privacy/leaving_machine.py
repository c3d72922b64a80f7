"""The engine on embedded adapters with deletions beside it, driven task by task, that may die at any call of a port."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from shared import queries
from shared.adapters.embedded.database import Database
from shared.adapters.embedded.store import EmbeddedStore
from shared.adapters.embedded.tasks import EmbeddedTasks, QueueConfig
from shared.errors import BrainstemError
from shared.events.app import AppStream
from shared.events.senders import NAME
from shared.identity.tokens import Principal
from shared.mail.accounts import Accounts
from shared.mail.context import Context
from shared.mail.tick import tick
from shared.privacy.deletion import Deletion, rescue
from shared.privacy.erasure import Erasure
from shared.privacy.tasks import parse
from shared.privacy.tombstones import TombstoneKey, Tombstones
from shared.vault.grants import Grants
from shared.vault.seal import Vault
from tests.machine import SCHEDULE, UID, HookedStore, HookedTasks, Machine, no_hook
from tests.unit.fakes import FakeSecrets

ANN = Principal(UID)


class LeavingMachine(Machine):
    """``revoked`` are the tokens that were given back; ``refusing`` is raised instead, once for each that is in it."""

    def __init__(self, folder: Path) -> None:
        self.secrets = FakeSecrets()
        self.keys_database = Database(folder / "keys.sqlite", synchronous="OFF")
        self.revoked: list[str] = []
        self.refusing: list[BrainstemError] = []
        super().__init__(folder, page_size=5)

    def start(self, around: Callable[[str], None] = no_hook) -> None:
        super().start(around)
        self.queue = EmbeddedTasks(
            self.database, self.clock, {name: QueueConfig(max_concurrent=64) for name in ("sync", "privacy")}
        )
        self.tasks = HookedTasks(self.queue, around)
        self.ctx = Context(
            self.store, self.bus, self.tasks, self.clock, self.ctx.grants, self.ctx.providers, 5, (NAME,)
        )
        self.accounts = Accounts(self.ctx)
        keys = HookedStore(EmbeddedStore(self.keys_database, ()), around)
        self.grants = Grants(self.store, Vault(keys, self.secrets, self.clock), self.clock)
        self.tombstones = Tombstones(self.store, TombstoneKey(self.secrets, self.clock, may_create=True))
        self.deletion = Deletion(self.store, self.tasks, self.clock, self.tombstones)
        self.app = AppStream(self.store, self.bus, self.clock)

        def revoke(token: str) -> None:
            around("before revoke")
            if self.refusing:
                raise self.refusing.pop(0)
            self.revoked.append(token)
            around("after revoke")

        self.erasure = Erasure(
            self.store,
            self.tasks,
            self.clock,
            self.tombstones,
            self.accounts,
            self.grants,
            self.app,
            revoke={"google": revoke},
            forget=(),
            consumers=(NAME,),
        )

    def settle_in(self) -> None:
        """A mailbox in mid-backfill, a grant, a stream of the person's own."""
        for number in range(20):
            self.provider.deliver(f"old{number}", at=self.clock.now() - 86_400 - number)
        self.connect()
        self.grants.put(UID, "google:primary", "google", "access", "refresh", 3600)
        self.app.post(UID, "note.written", {})
        while self.state.backfill.page < 2:
            [delivery] = self.queue.claim(1)
            self.deliver(delivery)

    def deliver(self, delivery: Any) -> int:
        if not delivery.target.startswith("/privacy"):
            return super().deliver(delivery)
        try:
            self.erasure.step(parse(orjson.loads(delivery.body)))
            status = 200
        except BrainstemError as error:
            self.failures.append(error)
            status = 503
        self.queue.settle(delivery, status)
        return status

    def run(self, seconds: float, ticks: bool = True) -> None:
        """Let virtual time pass; the tick rescues deletions too."""
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            super().run(min(300.0, end - self.clock.now()))
            if ticks:
                tick(self.ctx, SCHEDULE)
                rescue(self.store, self.tasks, self.clock.now())

    def documents_left(self) -> set[str]:
        """The references of everything in the store of documents, and in that of keys but for claims."""
        found: set[str] = set()
        for database in (self.database, self.keys_database):
            with database.read() as connection:
                for parent, group, key in connection.execute("SELECT parent, grp, key FROM doc"):
                    found.add(f"{parent}/{group}/{key}".strip("/"))
        return {ref for ref in found if not ref.startswith("claims/")}

    def is_gone(self) -> bool:
        """Whether all that is left is one tombstone."""
        return [ref.partition("/")[0] for ref in self.documents_left()] == ["tombstones"]

    def told(self) -> list[tuple[str, str]]:
        """Ids and types of what was published of the person's own stream."""
        return [
            (message.attributes["ce-id"], message.attributes["ce-type"])
            for topic, message, key in self.published
            if topic == "events" and key == queries.refs.app_stream(UID)
        ]
