"""What really happened, whatever anybody was told: a shadow of the store, what the bus has, which looks were taken.

Ports note here what was applied, not what was answered. ``checker`` judges each note as it comes and the whole at rest.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared import refs
from shared.events.push import pushed
from shared.ports import BusMessage, Check, Create, Data, Delete, Put, Update, Write
from tests.chaos.simulation.scheduler import Call


@dataclass(frozen=True, slots=True)
class Change:
    """One document before and after a commit; None where there is none. ``mailbox`` is '' outside of any."""

    ref: str
    mailbox: str
    part: str
    before: Data | None
    after: Data | None


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit that was applied."""

    at: float
    call: Call | None
    writes: tuple[Write, ...]
    changes: tuple[Change, ...]

    def of(self, part: str) -> list[Change]:
        """The changes of one kind of document: ``mailbox``, ``messages``, ``log``, ``gaps``, ``watermarks`` ..."""
        return [change for change in self.changes if change.part == part]


@dataclass(frozen=True, slots=True)
class Published:
    """Messages that the bus took, in order."""

    topic: str
    messages: Sequence[BusMessage]
    key: str


@dataclass(frozen=True, slots=True)
class Enqueue:
    """A task that the queue took."""

    at: float
    name: str | None
    body: Data
    due: float


@dataclass(frozen=True, slots=True)
class Answered:
    """A delivery that a function has answered: which function, with which status, when it had begun, what came of it."""

    function: str
    body: Any
    status: int
    began: float
    call: Call
    skew: float


@dataclass(slots=True)
class Record:
    """Everything that was noted so far."""

    faultless: bool
    docs: dict[str, Data] = field(default_factory=dict)
    parts: dict[str, dict[str, dict[str, Data]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(dict)))
    sent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    belled: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    event_ids: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    announced: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    erased: set[str] = field(default_factory=set)
    chains: dict[tuple[Any, ...], list[int]] = field(default_factory=lambda: defaultdict(list))
    looks: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    looked: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    totals: Counter[str] = field(default_factory=Counter)

    def commit(self, at: float, call: Call | None, writes: Sequence[Write]) -> Commit:
        """Note writes that the store has applied."""
        commit = Commit(at, call, tuple(writes), tuple(self._change(write) for write in writes))
        for change in commit.changes:
            if change.after is None:
                self.docs.pop(change.ref, None)
                self.parts[change.mailbox][change.part].pop(change.ref, None)
            else:
                self.docs[change.ref] = change.after
                self.parts[change.mailbox][change.part][change.ref] = change.after
        return commit

    def mailbox(self, mailbox: str) -> Data | None:
        """The document of a mailbox."""
        return self.docs.get(f"users/{mailbox.partition(':')[0]}/mailboxes/{mailbox}")

    def mailboxes(self) -> dict[str, Data]:
        """All mailboxes that there are, by id."""
        found = {name: parts.get("mailbox", {}) for name, parts in self.parts.items() if name}
        return {name: data for name, docs in found.items() for data in docs.values()}

    def of(self, mailbox: str, part: str) -> list[Data]:
        """The documents of one kind below a mailbox; with '' those outside of any."""
        return list(self.parts.get(mailbox, {}).get(part, {}).values())

    def rung_by(self, push: Any) -> list[str]:
        """The mailboxes that a push of the provider means now."""
        route = refs.route("GOOGLE", str(pushed(push)["emailAddress"]).lower())
        return list(self.docs.get(route, {"mailboxes": []})["mailboxes"])

    def _change(self, write: Write) -> Change:
        mailbox, part = place(write.ref)
        before = self.docs.get(write.ref)
        match write:
            case Create() | Put():
                after: Mapping[str, Any] | None = orjson.loads(orjson.dumps(write.data))
            case Update():
                after = {**(before or {}), **orjson.loads(orjson.dumps(write.data))}
            case Delete():
                after = None
            case Check():
                after = before
        return Change(write.ref, mailbox, part, before, None if after is None else dict(after))


def place(ref: str) -> tuple[str, str]:
    """The mailbox that a document belongs to, and what kind of document it is."""
    parts = ref.split("/")
    if parts[0] == "users" and len(parts) >= 4 and parts[2] == "mailboxes":
        return parts[3], parts[4] if len(parts) > 4 else "mailbox"
    if parts[0] == "users" and len(parts) >= 4 and parts[2] == "streams":
        return "", "applog" if len(parts) > 4 else "streams"
    if parts[0] == "consumers":
        return "", parts[2]
    return "", parts[-2]
