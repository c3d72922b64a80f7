"""Worlds under strain: ports that fail for a while or at random, a second instance whose clock is wrong, several people.

The faults sit between the product and its ports; what the tests themselves read and deliver goes past them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from infra.local.collect import Seen, collect
from infra.local.generator import generate
from infra.local.verify import Report, verify
from infra.local.world import UID, World, WorldClient
from shared.adapters.embedded import database
from shared.errors import Retry, Unknown
from shared.ports import BusMessage, Clock, Doc, Query, Store, Write
from shared.wiring import Brainstem, Ports

TOKENS = ("access_token", "refresh_token", "expires_in")
STORE_FAULTS = ("retry", "slow", "unknown, not applied", "unknown, applied")


@dataclass(slots=True)
class FaultyStore:
    """A store of which a share of all calls goes wrong, drawn from ``random``; ``fired`` counts by kind.

    Retry comes before anything was applied, Unknown as often without as with the commit, and a slow call takes ``seconds``
    at most. Copies around other stores fail alike.
    ``most`` is the largest so far: documents ``read`` by one call; where it is to ``weigh`` also bytes of JSON in one
    ``commit``, and brought by one write to a document of each collection.
    """

    inner: Store
    clock: Clock
    random: random.Random
    share: list[float] = field(default_factory=lambda: [0.0])
    seconds: float = 8.0
    fired: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    weigh: bool = False

    def get(self, refs: Sequence[str]) -> dict[str, Doc]:
        self._before("retry", "slow")
        found = self.inner.get(refs)
        self._note("read", len(found))
        return found

    def query(self, query: Query) -> list[Doc]:
        self._before("retry", "slow")
        found = self.inner.query(query)
        self._note("read", len(found))
        return found

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        if self.weigh:
            weights = [(write.ref, len(orjson.dumps(getattr(write, "data", None)))) for write in writes]
            self._note("commit", sum(weight for _, weight in weights))
            for ref, weight in weights:
                self._note(ref.split("/")[-2], weight)
        kind = self._before(*STORE_FAULTS)
        if kind == "unknown, not applied":
            raise Unknown
        versions = self.inner.commit(writes)
        if kind == "unknown, applied":
            raise Unknown
        return versions

    def fail(self, share: float) -> None:
        """From now on such a share of all calls goes wrong, here and in the copies of this store."""
        self.share[0] = share

    def _note(self, what: str, size: int) -> None:
        self.most[what] = max(self.most[what], size)

    def _before(self, *kinds: str) -> str:
        if self.random.random() >= self.share[0]:
            return ""
        kind = self.random.choice(kinds)
        self.fired[kind] += 1
        if kind == "retry":
            raise Retry("The store is overloaded.")
        if kind == "slow":
            self.clock.sleep(self.random.uniform(0.1, self.seconds))
        return kind


class SwitchedBus:
    """A bus that can be taken away: nothing can be published, and nothing is delivered."""

    def __init__(self, inner: Any) -> None:
        self.down = False
        self.refused = 0
        self._inner = inner

    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        if self.down:
            self.refused += 1
            raise Retry("The bus is away.")
        self._inner.publish(topic, messages, ordering_key)

    def claim(self, limit: int) -> list[Any]:
        return [] if self.down else self._inner.claim(limit)

    def next_due(self) -> float | None:
        return None if self.down else self._inner.next_due()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@dataclass(frozen=True, slots=True)
class SkewedClock:
    """The clock of an instance that is wrong by so many seconds."""

    inner: Clock
    offset: float

    def now(self) -> float:
        return self.inner.now() + self.offset

    def sleep(self, seconds: float) -> None:
        self.inner.sleep(seconds)

    def entropy(self, size: int) -> bytes:
        return self.inner.entropy(size)


class Strained(World):
    """A world of several people whose ports may fail; ``taken`` counts the calls of each function and their answers.

    What its process cannot do now it does later, as the gateway's pumps and the scheduler would.
    """

    def __init__(self, folder: Path, seed: int = 0, **settings: Any) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        super().__init__(folder, seed, jwt_public_key=public.decode(), **settings)
        self.bus = SwitchedBus(self.ports.bus)
        self.ports = replace(self.ports, bus=self.bus)
        self.store = FaultyStore(self.ports.store, self.clock, random.Random(seed))
        self.others: list[Brainstem] = []
        self.taken: Counter[tuple[str, int]] = Counter()
        self.deepest = 0
        self._unsettled: list[tuple[Any, Any, int]] = []
        self.product = self.instance()
        self.sign_in(UID)

    def instance(self, change: Callable[[Ports], Ports] = lambda ports: ports) -> Brainstem:
        """An instance of the product on the faulty ports."""
        faulty = replace(self.ports, store=self.store, keys=replace(self.store, inner=self.ports.keys))
        return self.brainstem(change(faulty))

    def skewed(self, offset: float) -> None:
        """From now on an instance whose clock is wrong takes every other call or so."""
        self.others.append(self.instance(lambda ports: replace(ports, clock=SkewedClock(self.clock, offset))))

    def sign_in(self, uid: str) -> None:
        """From now on the API is called as this person."""
        claims = {"iss": "https://issuer.test", "aud": "brainstem", "sub": uid, "exp": self.clock.now() + 10**9}
        self.uid, self.token = uid, jwt.encode(claims, self._key, algorithm="ES256")

    def join(self, uid: str, address: str, mails: int) -> None:
        """A person with so many old mails connects; tried again as long as the product says that it is worth it."""
        self.sign_in(uid)
        tokens = self.google.add_mailbox(address)
        seed = self.random.randint(0, 10**6)
        self.google.add_mails(address, generate(seed, mails, address, self.clock.now() - 60), silent=True)
        body = {"provider": "google", **{name: tokens[name] for name in TOKENS}}
        self.persist("POST", "/mail/connect", body)

    def persist(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API as a patient program does: again for as long as it says that it is worth it."""
        for _ in range(50):
            status, answer = self.call("api", method, path, body, Authorization=f"Bearer {self.token}")
            if status < 300:
                return answer
            assert status in (503, 507), (status, answer)
            self.clock.advance(1.0)
        raise AssertionError("The API never came back.")

    def status(self) -> dict[str, Any]:
        """What the status says of the person's one mailbox."""
        [mailbox] = self.api("GET", "/mail/status")["mailboxes"]
        return dict(mailbox)

    def call(self, function: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One call of a function of one instance; a tick that fails is one that never came."""
        first = self.product
        if self.others and function != "api":
            self.product = self.random.choice([first, *self.others])
        try:
            status, answer = super().call(function, method, path, body, **headers)
        finally:
            self.product = first
        self.taken[function, status] += 1
        return (200 if function == "tick" and status in (503, 507) else status), answer

    def judge(self, address: str, anchor: float | None = None) -> Report:
        """Demand the verdict of ``make demo`` of the person's mailbox; answers the figures."""
        seen = collect(WorldClient(self))
        report = self.verdict(address, seen, anchor)
        assert report.differences == ()
        assert report.ok, report
        return report

    def verdict(self, address: str, seen: Seen, anchor: float | None = None) -> Report:
        """The verdict of ``make demo`` of the person's mailbox."""
        received = [one for one in self.received if one.attributes.get("user_id") == self.uid]
        truth = self.google.truth(address)
        return verify(truth, seen.messages, seen.gaps, seen.status, seen.events, received, seen.senders, anchor)

    def depth(self) -> int:
        """How many tasks wait or are under way."""
        tasks: Any = self.ports.tasks
        return int(tasks.depth())

    def _deliver_all(self) -> None:
        """Settle what could not be settled before, then deliver; a queue that cannot be used is left for a second."""
        try:
            while self._unsettled:
                source, delivery, status = self._unsettled[-1]
                source.settle(delivery, status)
                self._unsettled.pop()
            super()._deliver_all()
        except Retry:
            self.clock.advance(1.0)
        self.deepest = max(self.deepest, self.depth())

    def _handle(self, source: Any, delivery: Any) -> None:
        status = self._deliver(delivery)
        try:
            source.settle(delivery, status)
        except Retry:
            self._unsettled.append((source, delivery, status))

    def _publish(self, topic: str, data: bytes) -> None:
        self.ports.bus.publish(topic, [BusMessage(data)])


class Disk:
    """The disk under every SQLite file of the product, which may be full.

    Full means that no file can grow by a page; SQLite says so itself.
    """

    def __init__(self) -> None:
        self.full = False

    def prepare(self, connection: Any) -> None:
        """Before a transaction: allow growth or not. The limit is each connection's own."""
        [pages] = connection.execute("PRAGMA page_count").fetchone()
        most = max(pages, 1) if self.full else 2**31
        connection.execute(f"PRAGMA max_page_count = {most}").fetchone()


@contextmanager
def limited_disk() -> Iterator[Disk]:
    """A disk that tests can fill."""
    disk = Disk()
    synchronise = database._Connection.synchronise

    def prepared(self: Any, mode: str) -> None:
        synchronise(self, mode)
        disk.prepare(self.raw)

    database._Connection.synchronise = prepared  # type: ignore[method-assign]
    try:
        yield disk
    finally:
        database._Connection.synchronise = synchronise  # type: ignore[method-assign]
