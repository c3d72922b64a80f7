"""A person with two mailboxes who leaves in mid-backfill: the world for it, on either backend, and a look at what is left."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra.local import world as worlds
from infra.local.world import ask, token_for
from shared import queries, refs
from shared.ports import Check, Create, Data, Delete, Doc, Put, Query, Store, Update, Write
from shared.privacy.erasure import LONGEST_REQUEST
from shared.privacy.tasks import DELETE
from shared.sets import Ports, embedded
from shared.settings import Settings
from tests.world import ADDRESS, MAILBOX, OUTLOOK, UID, World

MAILS = 60
_PATH = DELETE.removeprefix("/privacy")


@dataclass(slots=True)
class WatchedStore:
    """Remembers every document that anybody tried to write, and calls back ahead of each commit."""

    inner: Store
    refs: set[str] = field(default_factory=set)
    before_commit: Callable[[Sequence[Write]], None] = lambda _: None
    written_since: list[str] | None = None

    def get(self, refs: Sequence[str]) -> dict[str, Doc]:
        return self.inner.get(refs)

    def query(self, query: Query) -> list[Doc]:
        return self.inner.query(query)

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        self.before_commit(writes)
        self.refs |= {write.ref for write in writes}
        versions = self.inner.commit(writes)
        if self.written_since is not None:
            self.written_since += [write.ref for write in writes if not isinstance(write, Check | Delete)]
        return versions

    def left(self) -> dict[str, Data]:
        """What there is of all that was ever written."""
        every = sorted(self.refs)
        found: dict[str, Data] = {}
        for start in range(0, len(every), 200):
            found |= {ref: doc.data for ref, doc in self.inner.get(every[start : start + 200]).items()}
        return found


class LeavingWorld(World):
    """A world whose stores are watched; ``on`` puts other stores in place of the embedded ones."""

    def __init__(
        self, folder: Path, on: Callable[[Ports], Ports] = lambda ports: ports, seed: int = 0, **settings: Any
    ) -> None:
        def watched(settings: Settings, *more: Any, **options: Any) -> Ports:
            ports = on(embedded(settings, *more, **options))
            return dataclasses.replace(ports, store=WatchedStore(ports.store), keys=WatchedStore(ports.keys))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(worlds, "embedded", watched)
            super().__init__(folder, seed, **{"page_size": 10, "graph_page_size": 10, **settings})

    @property
    def store(self) -> WatchedStore:
        store = self.ports.store
        assert isinstance(store, WatchedStore)
        return store

    @property
    def keys(self) -> WatchedStore:
        keys = self.ports.keys
        assert isinstance(keys, WatchedStore)
        return keys

    def settle_in(self) -> None:
        """Two mailboxes with old mail that nobody has read yet, and some of everything else that is kept of a person."""
        self.connect(mails=MAILS)
        self.connect_outlook(
            {"subject": f"s{n}", "sender": ["Bob", "bob@example.org"], "to": [["", ADDRESS]], "body": "b",
             "labels": ("INBOX",), "date": self.clock.now() - 60 - n}
            for n in range(MAILS)
        )  # fmt: skip
        self.api("POST", "/events", {"type": "note.written", "data": {"text": "x"}})
        answer = self.call("oauth", "POST", "/oauth/google/start", {}, Authorization=f"Bearer {self.token}")
        assert answer[0] == 200

    def leave_when(self, is_time: Callable[[Sequence[Write]], bool]) -> list[Sequence[Write]]:
        """Have the person leave just before the first commit for which it is time: in the middle of the step that commits.

        By the time that it does commit its mailbox is fenced. Answers the commit, once it was there.
        """
        struck: list[Sequence[Write]] = []

        def strike(writes: Sequence[Write]) -> None:
            if not struck and is_time(writes):
                struck.append(writes)
                assert self.leave() == 202
                self.fence_mailboxes()
                self.store.written_since = []

        self.store.before_commit = strike
        return struck

    def leave(self) -> int:
        return self.call("api", "DELETE", "/me", Authorization=f"Bearer {self.token}")[0]

    def fence_mailboxes(self) -> None:
        """Take the first steps of the deletion now, as another instance may."""
        for _ in range(2):
            profile = self.store.inner.get([refs.user(UID)])[refs.user(UID)].data
            task = {"uid": UID, "fenced_at": profile["erasing"], "turn": profile["turn"]}
            assert self.call("privacy", "POST", _PATH, task)[0] == 200
        fenced = self.store.inner.query(queries.mailboxes_of(UID))
        assert fenced
        assert all(doc.data["erasing"] for doc in fenced)

    def as_bob(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A call of somebody else."""
        token = token_for("bob", self.clock.now())
        return ask(self.product.api, method, path, body, {"Authorization": f"Bearer {token}"})


def backfills(mailbox: str, after: int) -> Callable[[Sequence[Write]], bool]:
    """Whether a commit is a page of a mailbox's backfill, some pages after its beginning."""

    def is_time(writes: Sequence[Write]) -> bool:
        ref = refs.stream(mailbox)
        pages = [write.data.get("backfill", {}) for write in writes if isinstance(write, Update) and write.ref == ref]
        return any(page.get("page", 0) >= after for page in pages) and any(
            isinstance(write, Create | Put) and write.ref.startswith(f"{ref}/messages/") for write in writes
        )

    return is_time


def alone(world: LeavingWorld) -> bool:
    """Whether nothing is left of all that was ever written but one tombstone; counts of requests expire by themselves."""
    left = {ref: data for ref, data in world.store.left().items() if not ref.startswith("limits/")}
    [(tombstone, data)] = left.items()
    assert tombstone.startswith("tombstones/")
    assert UID not in tombstone
    assert data.keys() == {"deleted_at"}
    assert not [ref for ref in world.keys.left() if ref.startswith("keys/")]
    return True


def tables_that_name(world: LeavingWorld, *uids: str) -> set[str]:
    """The tables of all embedded databases in which one of these stands in any column, in whatever form it is kept there."""
    found = set()
    for file in sorted(Path(world.settings.data_dir).rglob("*.sqlite")):
        with closing(sqlite3.connect(file)) as database:
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for row in database.execute(f'SELECT * FROM "{table}"'):
                    values = [value if isinstance(value, bytes) else str(value).encode() for value in row]
                    if any(uid.encode() in value for uid in uids for value in values):
                        found.add(f"{file.name}/{table}")
    return found


def expect_nothing_left(world: LeavingWorld, mailbox: str) -> None:
    """Have the person leave in the middle of a mailbox's backfill; the other one is read at the same time."""
    world.settle_in()
    struck = world.leave_when(backfills(mailbox, after=2))
    world.run(LONGEST_REQUEST - 60)
    assert struck, "the person left in the middle of a step"
    for name in (MAILBOX, OUTLOOK):
        assert refs.stream(name) in world.store.refs
    assert refs.user(UID) in world.store.left()
    world.run(240)
    assert alone(world)
