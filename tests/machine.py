"""The engine on embedded adapters under a virtual clock, driven task by task, with hooks to interleave and to break it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from shared import queries, refs
from shared.adapters.embedded.bus import EmbeddedBus
from shared.adapters.embedded.clock import VirtualClock
from shared.adapters.embedded.database import Database
from shared.adapters.embedded.store import EmbeddedStore
from shared.adapters.embedded.subscriptions import Subscription
from shared.adapters.embedded.tasks import EmbeddedTasks, QueueConfig
from shared.errors import BrainstemError, Unknown
from shared.events.consume import Harness
from shared.events.envelope import Event, segment_of
from shared.events.push import pushed
from shared.events.senders import NAME, SenderCounts, Senders
from shared.mail.accounts import Accounts
from shared.mail.context import Context, load
from shared.mail.state import MailboxState
from shared.mail.sync import step
from shared.mail.tasks import parse, ring
from shared.mail.tick import Schedule, tick
from shared.ports import BusMessage, Create, Data, Doc, Enqueued, Query, Store, Write
from tests.invariants import check
from tests.provider import MemoryProvider

UID = "user_abc123"
MAILBOX = f"{UID}:primary:GOOGLE"
SCHEDULE = Schedule(poll=900.0, poll_unchannelled=30.0, tick=60.0)


class FreshGrants:
    """Grants that always have a token, for tests that are not about grants."""

    def usable(self, uid: str, grant_id: str) -> bool:
        return True

    def access_token(self, uid: str, grant_id: str, refresh: Callable[[str], Any], **options: Any) -> str:
        if options.get("rejected") is not None:
            return str(refresh("refresh").access)
        return "token"

    def inherit(self, uid: str, grant_id: str, old_id: str) -> None:
        """There is nothing to inherit."""

    def revoked(self, uid: str, grant_id: str, token: str | None = None) -> bool:
        return True


def no_hook(call: str) -> None:
    """Nothing happens at a port call."""


@dataclass(slots=True)
class HookedStore:
    """A store that counts, and that runs a test's code around commits: others' work before, a lost answer after."""

    inner: Store
    around: Callable[[str], None] = no_hook
    before_commit: list[Callable[[Sequence[Write]], None]] = field(default_factory=list)
    after_commit: list[Callable[[Sequence[Write]], None]] = field(default_factory=list)
    reads: int = 0
    writes: int = 0
    commits: list[Sequence[Write]] = field(default_factory=list)

    def get(self, refs_: Sequence[str]) -> dict[str, Doc]:
        self.around("get")
        self.reads += len(refs_)
        return self.inner.get(refs_)

    def query(self, query: Query) -> list[Doc]:
        self.around("query")
        found = self.inner.query(query)
        self.reads += max(1, len(found))
        return found

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        if self.before_commit:
            self.before_commit.pop(0)(writes)
        self.around("before commit")
        versions = self.inner.commit(writes)
        self.around("after commit")
        self.writes += len(writes)
        self.commits.append(tuple(writes))
        if self.after_commit:
            self.after_commit.pop(0)(writes)
        return versions


@dataclass(slots=True)
class HookedBus:
    """A bus that remembers what was published, and that can fail."""

    inner: EmbeddedBus
    around: Callable[[str], None] = no_hook
    published: list[tuple[str, BusMessage, str]] = field(default_factory=list)
    before_publish: list[Callable[[], None]] = field(default_factory=list)

    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        if self.before_publish:
            self.before_publish.pop(0)()
        self.around("before publish")
        self.inner.publish(topic, messages, ordering_key)
        self.published += [(topic, message, ordering_key) for message in messages]
        self.around("after publish")

    def sequences(self, stream: str = MAILBOX) -> list[int]:
        """The sequences of the events published on a stream, in order, repeats included."""
        return [
            int(m.attributes["ce-sequence"]) for topic, m, key in self.published if topic == "events" and key == stream
        ]


@dataclass(slots=True)
class HookedTasks:
    """A queue that remembers what was enqueued, and that can fail."""

    inner: EmbeddedTasks
    around: Callable[[str], None] = no_hook
    enqueued: list[tuple[str | None, Data, Enqueued]] = field(default_factory=list)
    before_enqueue: list[Callable[[], None]] = field(default_factory=list)

    def enqueue(
        self, queue: str, path: str, body: Data, name: str | None = None, not_before: float | None = None
    ) -> Enqueued:
        if self.before_enqueue:
            self.before_enqueue.pop(0)()
        self.around("before enqueue")
        result = self.inner.enqueue(queue, path, body, name, not_before)
        self.enqueued.append((name, body, result))
        self.around("after enqueue")
        return result


class Machine:
    """One user, one mailbox at a provider in memory, and everything that follows it."""

    def __init__(
        self, folder: Path, seed: int = 0, page_size: int = 100, provider: type[MemoryProvider] = MemoryProvider
    ) -> None:
        self.clock = VirtualClock(seed=seed)
        self.random = random.Random(seed)
        self.database = Database(folder / "brainstem.sqlite", synchronous="OFF")
        self.provider = provider(self.clock)
        self.published: list[tuple[str, BusMessage, str]] = []
        self.failures: list[BrainstemError] = []
        self._page_size = page_size
        self.start()

    def start(self, around: Callable[[str], None] = no_hook) -> None:
        """A new process on the same file: what was in flight is delivered again. ``around`` runs at every port call."""
        self.store = HookedStore(EmbeddedStore(self.database, queries.SHAPES), around)
        self.queue = EmbeddedTasks(self.database, self.clock, {"sync": QueueConfig(max_concurrent=64)})
        self.tasks = HookedTasks(self.queue, around)
        self.inner_bus = EmbeddedBus(self.database, self.clock)
        self.inner_bus.subscribe(Subscription("senders", "segments", "/senders"))
        self.bus = HookedBus(self.inner_bus, around, self.published)
        self.provider.on_call = around
        self.ctx = Context(
            self.store,
            self.bus,
            self.tasks,
            self.clock,
            FreshGrants(),
            {"GOOGLE": self.provider},
            self._page_size,
            (NAME,),
        )
        self.accounts = Accounts(self.ctx)
        self.harness = Harness(self.store, self.tasks, self.clock, Senders())

    def connect(self) -> None:
        """Sign the user up and connect the mailbox; nothing has run yet."""
        if refs.user(UID) not in self.store.get([refs.user(UID)]):
            self.store.commit([Create(refs.user(UID), {"uid": UID})])
        self.accounts.connect(UID, "google", "google:primary")

    def followed(self, mails: int = 0) -> None:
        """Connect a mailbox of so many old mails and let everything come to rest."""
        for number in range(mails):
            self.provider.deliver(f"old{number}", at=self.clock.now() - 86_400 - number)
        self.connect()
        self.run(20)

    def ring(self, *hints: str) -> None:
        """A doorbell of the mailbox, which may name messages."""
        ring(self.tasks, self.clock, MAILBOX, hints)

    def steps(self, limit: int = 1000) -> int:
        """Run what is due now, one task or delivery at a time in a seeded order; answer how many ran."""
        for done in range(limit):
            claimed = self.queue.claim(1000)
            pushes = self.inner_bus.claim(1000)
            work: list[Any] = [*claimed, *pushes]
            if not work:
                return done
            self.random.shuffle(work)
            for delivery in work:
                self.deliver(delivery)
        raise AssertionError("It does not come to rest.")

    def deliver(self, delivery: Any) -> int:
        """Hand one task or push to its function and settle it as its trigger would."""
        is_task = delivery.target.startswith("/sync")
        try:
            body = orjson.loads(delivery.body)
            if is_task:
                step(self.ctx, parse(body))
            else:
                bell = pushed(body)
                self.harness.follow(bell["stream"], bell["last"])
            status = 200
        except BrainstemError as error:
            self.failures.append(error)
            status = 503
        (self.queue if is_task else self.inner_bus).settle(delivery, status)
        return status

    def run(self, seconds: float, ticks: bool = False) -> None:
        """Let virtual time pass, doing what falls due."""
        end = self.clock.now() + seconds
        next_tick = self.clock.now()
        while True:
            if ticks and next_tick <= self.clock.now():
                tick(self.ctx, SCHEDULE)
                next_tick += SCHEDULE.tick
            self.steps()
            moments = [self.queue.next_due(), self.inner_bus.next_due(), next_tick if ticks else None]
            following = min((moment for moment in moments if moment is not None), default=end)
            if following >= end:
                self.clock.advance_to(end)
                return
            self.clock.advance_to(following)

    def claim(self, **wanted: Any) -> Any:
        """Take the one due task whose body has these values, leaving the others."""
        found = None
        for delivery in self.queue.claim(1000):
            body = orjson.loads(delivery.body)
            if found is None and all(body[name] == value for name, value in wanted.items()):
                found = delivery
            else:
                self.queue.settle(delivery, 503)
        assert found is not None, f"No task has {wanted}."
        return found

    @property
    def state(self) -> MailboxState:
        loaded = load(self.ctx, MAILBOX)
        assert loaded is not None
        return loaded.state

    def log(self, stream: str = MAILBOX) -> list[Event]:
        """Every event of a stream, by walking its segments."""
        docs = queries.scan(self.store.inner, queries.segments_after(stream, 0, 100))
        return [event for doc in docs for event in segment_of(doc.data).events]

    def documents(self, mailbox: str = MAILBOX) -> dict[str, Data]:
        """The message documents by provider id."""
        return {doc.data["id"]: doc.data for doc in queries.scan(self.store.inner, queries.messages_of(mailbox))}

    def counts(self, stream: str = MAILBOX) -> dict[tuple[str, str], int]:
        """What the sample consumer shows."""
        rows, _ = SenderCounts(self.store.inner).page(UID, None, 10_000)
        return {(row["day"], row["sender"]): row["mails"] for row in rows}

    def lose_answer(self, _writes: Sequence[Write]) -> None:
        """As a commit hook: it was applied, and nobody heard."""
        raise Unknown

    def verify(self) -> None:
        """Everything that must hold once a mailbox has come to rest."""
        check(self)
