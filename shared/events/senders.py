"""The sample consumer, and the pattern for yours: how many mails each sender sent on each day.

A consumer is a name and one method. It gets a segment (consecutive events of one commit), reads the documents that it
wants to change, and answers what to write; the harness commits that together with the watermark, so each event counts
once, whatever the bus drops, repeats or reorders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shared import queries, refs
from shared.events import types
from shared.events.consume import Effects, scope_of
from shared.events.envelope import Segment
from shared.events.log import streams_of
from shared.ports import Create, Doc, Store, Update, Write

NAME = "senders"


class Senders:
    """Counts ``email.received`` per UTC day of the mail and sender."""

    name = NAME

    def apply(self, segment: Segment, scope: str, read: Callable[[Sequence[str]], dict[str, Doc]]) -> Effects:
        """One count document per day and sender; read, raised, and written back at the version that was read."""
        counts = Counter(
            (event.data["msg_date"][:10], event.data["sender"])
            for event in segment.events
            if event.type == types.RECEIVED
        )
        by_ref = {refs.effect(NAME, scope, *key): key for key in counts}
        known = read(list(by_ref)) if by_ref else {}
        writes: list[Write] = []
        for ref, (day, sender) in by_ref.items():
            doc, mails = known.get(ref), counts[day, sender]
            if doc is None:
                writes.append(Create(ref, {"scope": scope, "day": day, "sender": sender, "mails": mails}))
            else:
                writes.append(Update(ref, {"mails": doc.data["mails"] + mails}, doc.version))
        return Effects(tuple(writes))


@dataclass(frozen=True, slots=True)
class SenderCounts:
    """The counts, for those who read them."""

    store: Store

    def page(self, uid: str, after: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """A page of a user's counts, stream by stream in the generation that is in force, and the position behind it.

        The same day and sender may appear once per mailbox; readers add up.
        """
        rows: list[dict[str, Any]] = []
        start, _, last = (after or "").partition("|")
        for stream in sorted(streams_of(self.store, uid)):
            ref = refs.watermark(NAME, stream)
            mark = self.store.get([ref]).get(ref) if stream >= start else None
            if mark is None:
                continue
            scope = scope_of(stream, mark.data["generation"])
            position = last if stream == start and last else None
            docs = self.store.query(queries.effects_of(NAME, scope, limit - len(rows), position))
            rows += [{name: doc.data[name] for name in ("day", "sender", "mails")} for doc in docs]
            if len(rows) == limit:
                return rows, f"{stream}|{refs.key(docs[-1].ref)}"
        return rows, None
