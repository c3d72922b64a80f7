"""Read one page of Gmail's history: which changes it names, and where to go on from.

Sources, docs/gmail.md: records come in increasing id order, so the last record's id is a cursor as good as a page token
and outlives it (3); an empty page with a token is normal and the walk goes on (3); behind a walk
of empty pages the mailbox's id *of the first one* is safe, since later ones step over what arrived meanwhile; ids are
integers (1); the typed arrays are used, never ``messages`` (7), and carry the labels, so that a change of labels costs no
get (7); ``messagesDeleted`` is permanent, trash is a label (8).

Where a page has records, the cursor behind it is the last record's id and never the mailbox's own: a push can arrive
before its record can be queried (4), so the mailbox's id may be ahead of records that are still to appear.

A page can be cut between records of different ids, where the quota does not allow to fetch all that it adds. What a later
part of it deletes is left out before the cut all the same: that it is gone is known by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

from shared.errors import CursorExpired, ProviderUnavailable
from shared.providers.base import Deleted, LabelsChanged
from shared.providers.bounds import MAX_ID
from shared.providers.gmail.normalise import history_id
from shared.providers.text import clean

TYPES = ("messageAdded", "messageDeleted", "labelAdded", "labelRemoved")


@dataclass(frozen=True, slots=True)
class Added:
    """A message that has to be fetched to know what was added."""

    id: str


Record: TypeAlias = Added | LabelsChanged | Deleted


@dataclass(frozen=True, slots=True)
class Position:
    """Where a walk stands: after which record, and within empty pages also the token and the first mailbox id."""

    start: int
    first: int | None = None
    token: str | None = None

    @classmethod
    def parse(cls, cursor: str) -> Position:
        """Read a cursor. Raises ``CursorExpired`` for one that Gmail cannot have given."""
        start, _, rest = cursor.partition("|")
        first, _, token = rest.partition("|")
        ids = [history_id(part) for part in ((start, first) if rest else (start,))]
        if None in ids or (rest and not token):
            raise CursorExpired("The stored cursor is no history id.")
        numbers = [int(id or "") for id in ids]
        return cls(numbers[0], numbers[1], token) if rest else cls(numbers[0])

    def __str__(self) -> str:
        return f"{self.start}" if self.token is None else f"{self.start}|{self.first}|{self.token}"


@dataclass(frozen=True, slots=True)
class End:
    """A place between two records where a page may as well end: how many changes are before it, and where that is."""

    changes: int
    position: Position


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """The changes of one answer in order, the position behind them, and whether more are waiting there."""

    records: tuple[Record, ...]
    position: Position
    more: bool
    ends: tuple[End, ...] = ()

    @property
    def added(self) -> list[str]:
        """The ids of the messages that have to be fetched."""
        return [record.id for record in self.records if isinstance(record, Added)]

    def within(self, additions: float) -> HistoryPage:
        """Keep as much as adds at most so many messages, but something: at the least what is before the first end."""
        counts = list(accumulate((isinstance(record, Added) for record in self.records), initial=0))
        if counts[-1] <= additions or not self.ends:
            return self
        fitting = [end for end in self.ends if counts[end.changes] <= additions]
        end = fitting[-1] if fitting else self.ends[0]
        return HistoryPage(self.records[: end.changes], end.position, more=True)


def read_page(answer: Mapping[str, Any], position: Position) -> HistoryPage:
    """Read the answer of ``history.list`` that was asked for at a position.

    Raises ``ProviderUnavailable`` for an answer that does not name its records and messages: to go on would skip them.
    """
    records: list[list[Record]] = []
    ids: list[int] = []
    for record in _objects(answer, "history"):
        ids.append(_number(record.get("id")))
        records.append(list(_changes(record, str(ids[-1]))))
    last = ids[-1] if ids else position.start
    first = position.first if position.first is not None else _first(answer, position.start)
    token = _token(answer.get("nextPageToken"))
    if last > position.start:
        behind, more = Position(last), bool(token)
    elif not token:  # never back: a lagging replica can answer an older id than the one we start from
        behind, more = Position(max(position.start, first)), False
    elif token != position.token:
        behind, more = Position(position.start, first, token), True
    else:  # the same token again leads nowhere: look again from the start, later
        behind, more = Position(position.start), False
    kept = _without_the_short_lived(records)
    changes = tuple([change for record in kept for change in record])
    return HistoryPage(changes, behind, more, tuple(_ends(ids, kept, position.start)))


def _ends(ids: Sequence[int], records: Sequence[Sequence[Record]], start: int) -> Iterator[End]:
    """Yield where a page may be cut: behind a record that leads on and that every later one follows."""
    following = list(accumulate(reversed(ids), min))[::-1][1:]
    changes = 0
    for id, record, least in zip(ids, records, following, strict=False):  # nothing follows the last one
        changes += len(record)
        if start < id < least:
            yield End(changes, Position(id))


def _changes(record: Mapping[str, Any], version: str) -> Iterator[Record]:
    """Yield what one record did; all labels of a message in one change, since they share one version."""
    yield from (Added(_message_id(entry)) for entry in _objects(record, "messagesAdded"))
    labels: dict[str, tuple[set[str], set[str]]] = {}
    for key, which in (("labelsAdded", 0), ("labelsRemoved", 1)):
        for entry in _objects(record, key):
            labels.setdefault(_message_id(entry), (set(), set()))[which].update(_labels(entry.get("labelIds")))
    for id, (added, removed) in labels.items():
        if added & removed or not added | removed:  # not said which came last, or which they were
            yield Added(id)
        else:
            yield LabelsChanged(id, version, tuple(sorted(added)), tuple(sorted(removed)))
    yield from (Deleted(_message_id(entry), version) for entry in _objects(record, "messagesDeleted"))


def _without_the_short_lived(records: Sequence[Sequence[Record]]) -> list[list[Record]]:
    """Name each added message once, and one that the same page deletes by its deletion only."""
    changes = [change for record in records for change in record]
    deleted = {change.id for change in changes if isinstance(change, Deleted)}
    short_lived = deleted & {change.id for change in changes if isinstance(change, Added)}
    seen: set[Record] = set()
    kept: list[list[Record]] = []
    for record in records:
        kept.append([])
        for change in record:
            if change not in seen and (isinstance(change, Deleted) or change.id not in short_lived):
                seen.add(change)
                kept[-1].append(change)
    return kept


def _first(answer: Mapping[str, Any], start: int) -> int:
    id = history_id(answer.get("historyId"))
    return start if id is None else int(id)


def _token(value: object) -> str:
    return clean(value) if isinstance(value, str) else ""


def _objects(parent: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    entries = parent.get(key)
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise _unreadable()
    return entries


def _number(value: object) -> int:
    id = history_id(value)
    if id is None:
        raise _unreadable()
    return int(id)


def _message_id(entry: Mapping[str, Any]) -> str:
    message = entry.get("message")
    id = message.get("id") if isinstance(message, Mapping) else None
    if not isinstance(id, str) or not 0 < len(clean(id)) <= MAX_ID:
        raise _unreadable()
    return clean(id)


def _labels(value: object) -> list[str]:
    return [clean(label) for label in value if isinstance(label, str) and label] if isinstance(value, list) else []


def _unreadable() -> ProviderUnavailable:
    return ProviderUnavailable("Gmail's answer is no page of history.")
