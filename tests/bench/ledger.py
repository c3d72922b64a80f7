"""Counting wrappers around the ports, and the book that they write in, call by call of a function.

What is counted is what Firestore bills; ``COUNTED`` says it in full.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.errors import StoreError
from shared.ports import Bus, BusMessage, Data, Doc, Enqueued, Query, Store, Tasks, Write

COUNTED = (
    "Counted around the ports: every write of an applied commit is one document write, a Check and a Delete included (the "
    "writes of a refused commit are none; it is shown as refused); a get is one read per reference, missing ones included; "
    "a query is one read per result, at least one; the store of data keys counts like the other. Tasks: those created. "
    "Requests: what the simulator was asked. Not counted: what the adapters keep for themselves (queue, bus, index rows)."
)


@dataclass(slots=True)
class Tally:
    """Operations; those on documents of a consumer's effects are counted apart, since they are the consumer's own."""

    reads: int = 0
    writes: int = 0
    effect_reads: int = 0
    effect_writes: int = 0
    commits: int = 0
    refused: int = 0
    tasks: int = 0
    publishes: int = 0
    messages: int = 0
    requests: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add what somebody else did."""
        for name in self.__slots__:
            if name == "requests":
                self.requests.update(other.requests)
            else:
                setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a function: ``what`` is the function's name, with kind and trigger of a step (``sync live settle``)."""

    what: str
    tally: Tally


@dataclass(slots=True)
class Ledger:
    """All calls in order; ``tally`` is that of the call under way, or of what happens outside of any."""

    calls: list[Call] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    @contextmanager
    def during(self, what: str, requests: Callable[[], Mapping[str, int]]) -> Iterator[None]:
        """Book what happens now under a name; ``requests`` tells how often the provider has been asked so far."""
        outer, self.tally = self.tally, Tally()
        before = Counter(requests())
        try:
            yield
        finally:
            self.tally.requests = Counter(requests()) - before
            self.calls.append(Call(what, self.tally))
            self.tally = outer

    def total(self, keep: Callable[[str], bool] = lambda what: True) -> Tally:
        """The sum of the calls whose name is kept."""
        total = Tally()
        for call in self.calls:
            if keep(call.what):
                total.add(call.tally)
        return total

    def named(self, what: str) -> list[Tally]:
        """The calls of this name, in order."""
        return [call.tally for call in self.calls if call.what == what]


@dataclass(frozen=True, slots=True)
class CountingStore:
    """A store that books what passes through it."""

    inner: Store
    ledger: Ledger

    def get(self, refs: Sequence[str]) -> dict[str, Doc]:
        self._read(refs)
        return self.inner.get(refs)

    def query(self, query: Query) -> list[Doc]:
        found = self.inner.query(query)
        self._read([doc.ref for doc in found] or [query.group])
        return found

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        tally = self.ledger.tally
        try:
            versions = self.inner.commit(writes)
        except StoreError:
            tally.refused += 1
            raise
        effects = sum(_is_effect(write.ref) for write in writes)
        tally.commits += 1
        tally.effect_writes += effects
        tally.writes += len(writes) - effects
        return versions

    def _read(self, refs: Iterable[str]) -> None:
        for ref in refs:
            if _is_effect(ref):
                self.ledger.tally.effect_reads += 1
            else:
                self.ledger.tally.reads += 1


@dataclass(frozen=True, slots=True)
class CountingBus:
    """A bus that books publishes."""

    inner: Bus
    ledger: Ledger

    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        self.inner.publish(topic, messages, ordering_key)
        self.ledger.tally.publishes += 1
        self.ledger.tally.messages += len(messages)


@dataclass(frozen=True, slots=True)
class CountingTasks:
    """A queue that books the tasks that were created; names that were taken already cost no task."""

    inner: Tasks
    ledger: Ledger

    def enqueue(
        self, queue: str, path: str, body: Data, name: str | None = None, not_before: float | None = None
    ) -> Enqueued:
        result = self.inner.enqueue(queue, path, body, name, not_before)
        self.ledger.tally.tasks += result is Enqueued.CREATED
        return result


def _is_effect(ref: str) -> bool:
    return ref.startswith("consumers/") and ref.split("/")[2] in ("effects", "intents")
