"""What comes next into an archive: place after place, page by page, from a position that can be kept.

::

    archive, profile, grants, audit trail, own stream
    of each mailbox:  log --> messages --> gaps --> close
                               ^                      |  the messages that the log names meanwhile, and what it has got
                               +--- once more, if ----+  the mailbox has changed since its messages were begun
    end

A part ends with the record that makes it heavy enough, in the middle of a page, and the next one begins with the record after
that. What is in memory at a time is a part and a page, however much somebody's senders have put into their mails.

A mailbox that nobody wrote to from the first of its messages to its close is there as it was at one moment: ``exact``. In
one that keeps changing the stream is whole up to its ``head`` all the same, and so is every message that the log tells of;
only what it tells nothing of (drafts, chats, spam, trash) may be as it was when it was read. Then ``exact`` is false.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from shared import queries, refs
from shared.events.envelope import iso
from shared.ports import Data, Doc, Store
from shared.privacy import records

PART_BYTES = 2_097_152
"""A part is closed once its lines weigh this much; the record that makes it so is still in it."""

MESSAGES_AT_ONCE, SEGMENTS_AT_ONCE = 25, 4
"""Documents of a page. One of either may weigh up to a megabyte; most messages weigh some kilobytes."""

TURNS = 2
"""How often the messages and gaps of a mailbox that keeps changing are read."""


@dataclass(slots=True)
class Draft:
    """The part in the making, and the position behind it."""

    uid: str
    export_id: str
    begun_at: float
    mailboxes: list[str]
    at: Data = field(default_factory=lambda: {"place": 0})
    streams: dict[str, Data] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    events: int = 0
    lines: list[bytes] = field(default_factory=list)
    weight: int = 0

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to come."""
        return bool(self.at["place"] >= len(_places(self)))

    @property
    def is_full(self) -> bool:
        """Whether the part is heavy enough to be closed."""
        return self.weight >= PART_BYTES

    def add(self, record: Data) -> None:
        """One record more."""
        text = records.line(record)
        self.lines.append(text)
        self.weight += len(text)
        self.counts[record["kind"]] = self.counts.get(record["kind"], 0) + 1

    def stay(self, **position: Any) -> None:
        """Go on here."""
        self.at = {**self.at, **position}

    def leave(self, by: int = 1, **position: Any) -> None:
        """Go on at another place; only what is named goes along."""
        self.at = {"place": self.at["place"] + by, **position}


def gather(store: Store, draft: Draft) -> None:
    """Fill the part, from its position on. Raises ``Retry``."""
    places = _places(draft)
    while not draft.ended and not draft.is_full:
        read, name = places[draft.at["place"]]
        read(store, draft, name)


def _archive(_: Store, draft: Draft, _name: str) -> None:
    draft.add(
        {
            "kind": "archive",
            "format": records.FORMAT,
            "export_id": draft.export_id,
            "user_id": draft.uid,
            "begun_at": iso(draft.begun_at),
        }
    )
    draft.leave()


def _profile(store: Store, draft: Draft, _name: str) -> None:
    ref = refs.user(draft.uid)
    for doc in store.get([ref]).values():
        draft.add(records.profile(doc))
    draft.leave()


def _grants(store: Store, draft: Draft, _name: str) -> None:
    for doc in queries.scan(store, queries.grants_of(draft.uid)):
        draft.add(records.grant(doc))
    draft.leave()


def _trail(store: Store, draft: Draft, _name: str) -> None:
    docs = store.query(queries.trail_of(draft.uid, MESSAGES_AT_ONCE, draft.at.get("after")))
    if _added(draft, docs, records.audit):
        draft.leave()


def _log(store: Store, draft: Draft, stream: str) -> None:
    """The log up to the head that its stream has when it is begun."""
    if "goal" not in draft.at:
        head = store.get([refs.stream(stream)]).get(refs.stream(stream))
        if head is None:
            return draft.leave()
        draft.stay(goal=head.data["head"])
        draft.streams.setdefault(stream, {"first": None, "head": 0, "hash": records.beginning(stream), "missing": 0})
    docs = _segments(store, draft, stream)
    for doc in docs:
        if draft.is_full:
            break
        _add_segment(draft, stream, doc)
    if not docs:
        draft.leave()
    return None


def _messages(store: Store, draft: Draft, mailbox: str) -> None:
    if "after" not in draft.at:
        found = store.get([refs.stream(mailbox)]).get(refs.stream(mailbox))
        draft.stay(after=None, rev=None if found is None else found.data["rev"])
    docs = store.query(queries.messages_of(mailbox, MESSAGES_AT_ONCE, draft.at["after"]))
    if _added(draft, docs, partial(records.message, mailbox)):
        draft.leave(rev=draft.at["rev"], turn=draft.at.get("turn", 1))


def _gaps(store: Store, draft: Draft, mailbox: str) -> None:
    """The gaps, in every turn: one may have come, or been resolved, since the one before."""
    docs = store.query(queries.gaps_of(mailbox, MESSAGES_AT_ONCE, draft.at.get("after")))
    if _added(draft, docs, partial(records.gap, mailbox)):
        draft.leave(rev=draft.at["rev"], turn=draft.at["turn"])


def _close(store: Store, draft: Draft, mailbox: str) -> None:
    """What has come since the log was read, then the mailbox itself; or its messages again."""
    found = store.get([refs.stream(mailbox)]).get(refs.stream(mailbox))
    if found is None or found.data.get("erasing"):
        if mailbox in draft.streams:
            draft.streams[mailbox]["erased"] = True
        return draft.leave()
    if "goal" not in draft.at:
        draft.stay(goal=found.data["head"])
        draft.streams.setdefault(mailbox, {"first": None, "head": 0, "hash": records.beginning(mailbox), "missing": 0})
    if fresh := _segments(store, draft, mailbox):
        for segment in fresh:
            if not _named_added(store, draft, mailbox, segment):
                break
            _add_segment(draft, mailbox, segment)
        return None
    exact = found.data["rev"] == draft.at["rev"]
    if not exact and draft.at["turn"] < TURNS:
        return draft.leave(-2, turn=draft.at["turn"] + 1)
    draft.streams[mailbox]["exact"] = exact
    record = records.mailbox(found)
    record["data"]["head"] = draft.streams[mailbox]["head"]
    draft.add(record)
    return draft.leave()


def _named_added(store: Store, draft: Draft, mailbox: str, segment: Doc) -> bool:
    """Add the messages that a segment names, a page at a time; False where the part was full before the last of them."""
    first, after = draft.at.get("named") or (segment.data["first"], "")
    if first != segment.data["first"]:  # that one has expired from the log meanwhile
        after = ""
    ids = {event["data"].get("provider_message_id") for event in segment.data["events"]} - {None}
    left = [id_ for id_ in sorted(ids) if id_ > after]
    for start in range(0, len(left), MESSAGES_AT_ONCE):
        page = left[start : start + MESSAGES_AT_ONCE]
        found = store.get([refs.message(mailbox, id_) for id_ in page])
        for id_ in page:
            if draft.is_full:
                return False
            if (doc := found.get(refs.message(mailbox, id_))) is not None:
                draft.add(records.message(mailbox, doc))
            draft.stay(named=[segment.data["first"], id_])
    return not draft.is_full


def _segments(store: Store, draft: Draft, stream: str) -> list[Doc]:
    """The next segments up to the goal; none once it is reached. What has expired while it was to be read is ``missing``."""
    mark = draft.streams[stream]
    docs = [
        doc
        for doc in store.query(queries.segments_after(stream, mark["head"], SEGMENTS_AT_ONCE))
        if doc.data["last"] <= draft.at["goal"]
    ]
    if not docs and mark["head"] < draft.at["goal"]:
        mark["missing"] += draft.at["goal"] - mark["head"]
        mark["head"] = draft.at["goal"]
    return docs


def _add_segment(draft: Draft, stream: str, doc: Doc) -> None:
    mark = draft.streams[stream]
    record = records.segment(doc, mark["hash"])
    draft.add(record)
    if mark["first"] is None:
        mark["first"] = doc.data["first"]
    else:
        mark["missing"] += doc.data["first"] - mark["head"] - 1
    mark["head"], mark["hash"] = doc.data["last"], record["hash"]
    draft.events += len(doc.data["events"])


def _added(draft: Draft, docs: Sequence[Doc], record: Callable[[Doc], Data]) -> bool:
    """Add a page until the part is full, and go on behind it; True once the last record of the last page is in."""
    for doc in docs:
        draft.add(record(doc))
        draft.stay(after=refs.key(doc.ref))
        if draft.is_full:
            return False
    return len(docs) < MESSAGES_AT_ONCE


def _places(draft: Draft) -> list[tuple[Callable[[Store, Draft, str], None], str]]:
    of_mailboxes = [(read, name) for name in draft.mailboxes for read in (_log, _messages, _gaps, _close)]
    return [
        (_archive, ""),
        (_profile, ""),
        (_grants, ""),
        (_trail, ""),
        (_log, refs.app_stream(draft.uid)),
        *of_mailboxes,
    ]
