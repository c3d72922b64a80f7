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
from shared.mail.folders.places import FIRST
from shared.ports import BusMessage, Check, Create, Data, Delete, Put, Update, Write
from tests.chaos.simulation.host import Crossing
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
    told: dict[str, dict[str, Data]] = field(default_factory=lambda: defaultdict(dict))
    deleted: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    erased: set[str] = field(default_factory=set)
    chains: dict[tuple[Any, ...], list[int]] = field(default_factory=lambda: defaultdict(list))
    looks: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    hinted: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    looked: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    walks: dict[str, float] = field(default_factory=dict)
    pages: set[tuple[str, str, int, str]] = field(default_factory=set)
    doubled: set[tuple[str, str]] = field(default_factory=set)
    crossings: list[Crossing] = field(default_factory=list)
    waits: dict[tuple[str, str], float] = field(default_factory=dict)
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

    def begun(self, function: str, body: Any) -> None:
        """Note a step of a chain that begins; one whose page is begun again may be out twice from now on."""
        if function == "sync" and body.get("page") is not None:
            page = body["mailbox"], body["kind"], body["epoch"], body["page"]
            if page in self.pages:
                self.doubled.add(page[:2])
            self.pages.add(page)

    def walked(self, commit: Commit) -> None:
        """Note walks over folders that a commit begins, and, as a look at the mailbox since their beginning, those it ends."""
        for change in commit.of("mailbox"):
            before, after = (data["walk"] if data else None for data in (change.before, change.after))
            if before is not None and (after is None or after["begun_at"] != before["begun_at"]):
                began = self.walks.pop(change.mailbox, None)
                if began is not None and change.after and change.after["pages"] != (change.before or {}).get("pages"):
                    self.looked[change.mailbox].append(began)
            begins = after is not None and (before is None or after["begun_at"] != before["begun_at"])
            # A folder in its first round is passed over, so such a walk says nothing of the whole mailbox.
            if begins and all(data["phase"] != FIRST for data in self.of(change.mailbox, "cursors")):
                self.walks[change.mailbox] = commit.at

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

    def rung_by(self, push: Any) -> list[tuple[str, str]]:
        """The mailboxes that a push of a provider means now, each with the message that it names, '' for none."""
        if "value" not in push:
            return [(mailbox, "") for mailbox in self._routed("GOOGLE", str(pushed(push)["emailAddress"]).lower())]
        return [
            (mailbox, "" if "lifecycleEvent" in notice else str(notice["resourceData"]["id"]))
            for notice in push["value"]
            if notice.get("lifecycleEvent") != "reauthorizationRequired"  # which is not about mail
            for mailbox in self._routed("MICROSOFT", notice["subscriptionId"])
        ]

    def _routed(self, provider: str, key: str) -> list[str]:
        return list(self.docs.get(refs.route(provider, key), {"mailboxes": []})["mailboxes"])

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
