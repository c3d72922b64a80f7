"""The pure core: what one page of changes means for a mailbox, as commits that each leave it consistent.

``fold(mailbox, known, work)`` reads no clock, no store and no provider. Of the commits that it answers only the last
moves the mailbox's position (``Work.advance``), so a crash between two of them repeats work and loses none; what is
already applied folds to nothing, because a change applies only if it is newer than the document. Over 300 lines, because
what a page means is one set of rules that have to be read together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import orjson

from shared import refs
from shared.events.envelope import Event, Segment, numbered_id, segments
from shared.mail import message as mail
from shared.mail.findings import Told
from shared.mail.state import OUTBOX_DEADLINE, MailboxState
from shared.ports import Create, Data, Delete, Doc, Put, Update, Write
from shared.providers.base import Change, Deleted, LabelsChanged, Left, Message, Missing, Refused, Upsert, newer

Kind: TypeAlias = Literal["live", "backfill", "resync", "gaps", "audit", "notice"]
"""The chain that a page belongs to; ``notice`` where there is no page, only something to tell."""

COMMIT_BYTES = 2_500_000
"""Documents and segments of one commit, as JSON; encoded for the wire they stay below the port's 3.5 MiB."""

_FRAME_BYTES = 1_500
"""More than the field names, ids and framing of a document and of its event, without their texts, and its reference."""

_ESCAPED = 6
"""Bytes that one character can take in JSON."""

MESSAGE_BYTES = 700_000
"""A heavier message would fit no document next to its event: it becomes a gap."""

REFUSALS_IN_ROW = 10
"""So many refused messages in a row stop the mailbox: then it is not the messages that are wrong."""

TOO_LARGE = "it is too large even after its fields were cut"

FIRST_GAP_RETRY = 5.0

UNWALKED = 100
"""Messages read by their ids that a mailbox remembers until its folders have named them, or a walk asks for them again."""


@dataclass(frozen=True, slots=True)
class Notice:
    """An event that is not about a message; it goes out with the last commit."""

    type: str
    data: Data


@dataclass(frozen=True, slots=True)
class Work:
    """What one step has to apply: changes in the provider's order and what they do to the mailbox once all are in.

    ``writes`` go with the last commit; they may not touch messages or segments. ``told`` is what the log says of messages
    whose documents may not know it.

    ``unordered``: the provider's versions have no order, so what a page says of a message is newer than its document only if
    that was written before the page was fetched, when the mailbox had the revision ``since``; or before the message was read
    again, at one of ``read``. ``places`` are what becomes of folders, and go with the last commit. Of a page that is of no
    folder (``loose``) nothing will tell what has become of a message that is not stored, if its folder was walked meanwhile:
    ``walked_at`` has the revisions at which folders were, by label. ``begins`` are folders whose first round begins with the
    page, ``walked`` all that it is of, by label. ``named`` are messages that were read again although the page had named them,
    with the folder in which it did.
    """

    kind: Kind
    at: float
    changes: tuple[Change, ...] = ()
    advance: Callable[[MailboxState], MailboxState] = lambda state: state
    notices: tuple[Notice, ...] = ()
    writes: tuple[Write, ...] = ()
    told: Mapping[str, Told] = field(default_factory=dict)
    unordered: bool = False
    since: int = 0
    read: Mapping[str, int] = field(default_factory=dict)
    places: tuple[Create | Update | Delete, ...] = ()
    loose: bool = False
    walked: frozenset[str] = frozenset()
    walked_at: Mapping[str, int] = field(default_factory=dict)
    begins: tuple[str, ...] = ()
    named: frozenset[tuple[str, str]] = frozenset()

    def names(self) -> frozenset[tuple[str, str]]:
        """The messages that a folder's changes name, each with the folder; not those that were read by their ids."""
        upserts = [
            change.message for change in self.changes if isinstance(change, Upsert) and change.id not in self.read
        ]
        return frozenset((one.id, label) for one in upserts for label in one.labels if label in self.walked)

    def doubts(self, item: _Item, id_: str, labels: Sequence[str] = ()) -> bool:
        """Whether what the page says of a message may be older than what is stored of it, or than its end."""
        since = self.read.get(id_, self.since)
        if item.now is not None:
            return item.rev > since
        return self.loose and any(self.walked_at.get(label, 0) > since for label in labels)


@dataclass(frozen=True, slots=True)
class Commit:
    """One atomic write: message and gap documents, the segments that tell of them, and the mailbox afterwards."""

    writes: tuple[Write, ...]
    segments: tuple[Segment, ...]
    state: MailboxState


@dataclass(frozen=True, slots=True)
class Folded:
    """Commits in order; or the ids to fetch before the page can be judged; or the reason to stop the mailbox."""

    commits: tuple[Commit, ...] = ()
    wanted: tuple[str, ...] = ()
    stop: str | None = None


@dataclass(slots=True)
class _Item:
    """One message while the changes of a page pass over it."""

    before: Data | None
    now: Data | None
    rev: int = 0  # the mailbox's when the document was written, where versions have no order
    counted: int = 0  # whether the mailbox counts it among its messages
    fresh: bool = False  # fetched within this page: newer than anything a resync distrusts
    trouble: str | None = None  # why it could not be read
    record: str | None = None  # the history record being applied: one record may both add and remove labels
    wanted: bool = False


def fold(mailbox: MailboxState, known: Mapping[str, Doc], work: Work) -> Folded:
    """Decide what to write. ``known`` maps provider ids to the documents read after the mailbox."""
    items: dict[str, _Item] = {}
    row = mailbox.refused_in_row
    for change in work.changes:
        item = items.get(change.id)
        if item is None:
            item = items[change.id] = _item(known.get(change.id), work, change)
        _apply(mailbox, work, item, change)
        if work.kind not in ("gaps", "audit"):
            row = row + 1 if isinstance(change, Refused) else 0 if isinstance(change, Upsert) else row
        if row >= REFUSALS_IN_ROW:
            return Folded(stop=f"{row} messages in a row could not be read, the last because: {item.trouble}")
    wanted = tuple(id_ for id_, item in items.items() if item.wanted)
    if wanted:
        return Folded(wanted=wanted)
    if row != mailbox.refused_in_row:
        mailbox = replace(mailbox, refused_in_row=row)
    return Folded(tuple(_commits(mailbox, known, work, items)))


def fits(message: Message) -> bool:
    """Whether a message can be stored and told of; only one that may be too heavy is weighed exactly."""
    headers = message.headers
    addresses = (message.sender, *message.to, *message.cc, *message.bcc)
    names = (message.id, message.thread_id, message.version, *message.truncated)
    texts = (message.subject, message.snippet, *addresses, *message.labels, *headers, *headers.values(), *names)
    most = _ESCAPED * len("".join(texts)) + 4 * len(texts) + _FRAME_BYTES
    return most <= MESSAGE_BYTES or len(orjson.dumps(mail.present(message))) <= MESSAGE_BYTES


def _item(doc: Doc | None, work: Work, change: Change) -> _Item:
    """The document that a change meets, with what the log knows better."""
    told = work.told.get(change.id)
    rev = 0 if doc is None else int(doc.data.get("rev", 0))
    if told is None or not isinstance(change, Upsert):
        data = None if doc is None else doc.data
        if data is not None and rev:
            data = {name: value for name, value in data.items() if name != "rev"}
        return _Item(data, data, rev, _counts(data))
    data = mail.placeholder(change.id, change.message.version) if doc is None else doc.data
    # What was announced and is not gone was counted when it was stored, whatever has become of its document.
    counted = int(bool(told.announced) and not told.gone)
    data = {**data, "announced": told.announced or data["announced"]}
    if told.deleted:
        data = {**data, "returned": True}
    return _Item(data, data, rev, max(counted, _counts(data)))


def _apply(mailbox: MailboxState, work: Work, item: _Item, change: Change) -> None:
    match change:
        case Upsert(message) if work.unordered:
            _replace(work, item, message)
        case Upsert(message):
            _upsert(work, item, message)
        case LabelsChanged():
            _relabel(mailbox, work, item, change)
        case Left(id_):
            # Whatever folder it is stored in: that one's changes need not have told of it, nor tell that it went.
            present = item.now is not None and item.now["state"] == mail.PRESENT
            item.wanted |= present and id_ not in work.read
        case Deleted(id_, version) if work.unordered:
            item.wanted = item.now is not None and work.doubts(item, id_)
            if item.now is not None and item.now["state"] == mail.PRESENT and not item.wanted:
                item.now = mail.removed(item.now, version)
        case Deleted(id_, version):
            if item.now is None or not newer(item.now["version"], version):
                item.now = mail.tombstone(id_, version, item.now)
                item.wanted = False
        case Missing(_, certain) if certain and item.now is None:
            pass  # it came and went, and nobody has been told of it
        case Missing():
            item.trouble = "the provider answered 404 for an id that it had named"
        case Refused(_, reason):
            item.trouble = reason


def _upsert(work: Work, item: _Item, message: Message) -> None:
    now = item.now
    item.fresh = True
    if now is not None:
        if now["state"] == mail.PLACEHOLDER:
            if newer(now["version"], message.version):
                item.wanted = True  # older than a change that live sync has already seen: read it again
                return
        elif now["state"] == mail.TOMBSTONE:
            if work.kind == "backfill" or newer(now["version"], message.version):
                return
        elif not newer(message.version, now["version"]) and not _restores(work, message, now):
            return
    item.wanted = False
    if not fits(message):
        item.trouble = TOO_LARGE
        return
    item.now = mail.present(message, item.before)
    item.trouble = None


def _replace(work: Work, item: _Item, message: Message) -> None:
    """Take over a message whose version cannot be compared, unless it has to be read first.

    What is gone comes back only if it can be read, and what others have written since the page was fetched may be newer.
    """
    now = item.now
    item.wanted = False
    if not fits(message):
        item.trouble = TOO_LARGE
        return
    fresh = mail.present(message, item.before)
    back = now is not None and now["state"] == mail.TOMBSTONE and message.id not in work.read
    # A folder may tell of what it held before; that it is there again is only known by reading it.
    moved = bool(work.walked) and now is not None and now.get("folder", "") not in ("", fresh["folder"])
    unread = message.id not in work.read
    if fresh != now and (back or (moved and unread) or work.doubts(item, message.id, message.labels)):
        item.wanted = True
        return
    item.now, item.trouble = fresh, None


def _restores(work: Work, message: Message, now: Data) -> bool:
    """Whether an audit puts back what was stored of this very version."""
    return work.kind == "audit" and message.version == now["version"]


def _relabel(mailbox: MailboxState, work: Work, item: _Item, change: LabelsChanged) -> None:
    now = item.now
    if now is None:
        if item.trouble is not None or _will_be_listed(mailbox):
            item.now = mail.placeholder(change.id, change.version)
        else:
            item.wanted = True  # no listing will ever name it again: it has to be read now
        return
    if not (newer(change.version, now["version"]) or item.record == change.version):
        return
    if now["state"] == mail.TOMBSTONE:  # what is gone does not change: read it, perhaps it was never gone
        item.wanted = item.trouble is None
        return
    if now["state"] == mail.PLACEHOLDER:
        item.now = {**now, "version": change.version}
        return
    if work.kind != "resync" and _distrusted(mailbox, item):
        item.wanted = True
        return
    labels = sorted(set(now["labels"]).difference(change.removed).union(change.added))
    item.now = {**now, "labels": labels, "version": change.version}
    item.record = change.version


def _will_be_listed(mailbox: MailboxState) -> bool:
    """Whether a listing is under way that names every message which was there when it started."""
    return mailbox.backfill.listing or (mailbox.resync is not None and mailbox.resync.phase == "list")


def _distrusted(mailbox: MailboxState, item: _Item) -> bool:
    """Whether the document may lack changes of a lost window, so that a difference cannot be applied to it."""
    if mailbox.resync is None or item.fresh or item.trouble is not None or item.now is None:
        return False
    return newer(mailbox.resync.floor, item.now["version"])


def _commits(mailbox: MailboxState, known: Mapping[str, Doc], work: Work, items: dict[str, _Item]) -> Iterator[Commit]:
    """Cut the page into commits below their limit; the state of each follows from the one before."""
    begun = replace(mailbox, unwalked=_unwalked(mailbox, work, items)) if work.unordered else mailbox
    state = begun
    head, messages, due_gaps = mailbox.head, mailbox.messages, mailbox.due_gaps
    writes: list[Write] = []
    events: list[Event] = []
    weight = 0
    for id_, item in items.items():
        if (gap := _gap(mailbox, work, id_, item)) is not None:
            writes.append(gap)
            due_gaps = _earliest(due_gaps, work.at + FIRST_GAP_RETRY)
        if item.now is None or item.now == item.before:
            continue
        now = item.now
        if now["state"] == mail.PRESENT and now["announced"] is None:
            now = {**now, "announced": mail.announcement(now["labels"])}
        event = mail.event_of(mailbox, item.before, now, head + 1, work.at, repair=work.kind == "audit")
        size = _weight(now, event)
        if weight and weight + size > COMMIT_BYTES:
            state = _written(state, work.at, events, head, messages, due_gaps)
            yield _commit(state, writes, events)
            writes, events, weight = [], [], 0
        weight += size
        if work.unordered:
            now = {**now, "rev": mailbox.rev + 1}
        writes.append(_write(mailbox, known.get(id_), id_, now))
        if event is not None:
            events.append(event)
            head += 1
        messages += _counts(now) - item.counted
    for notice in work.notices:
        head += 1
        events.append(_notice(mailbox, notice, head, work.at))
    state = _written(state, work.at, events, head, messages, due_gaps)
    last = (*work.writes, *_stamped(work.places, mailbox.rev + 1))
    if writes or events or last or work.advance(begun) != mailbox:
        yield _commit(work.advance(state), [*writes, *last], events)


def _unwalked(mailbox: MailboxState, work: Work, items: dict[str, _Item]) -> dict[str, int]:
    """The messages of which no folder's changes have told that they are where they are stored: at most ``UNWALKED``."""
    named = work.named | work.names()
    after = dict(mailbox.unwalked)
    for id_, item in items.items():
        if item.now is None or item.now["state"] != mail.PRESENT or (id_, item.now.get("folder", "")) in named:
            after.pop(id_, None)
        elif item.now != item.before:
            after[id_] = mailbox.rev + 1
    if len(after) > UNWALKED:  # the others are left to audits
        after = dict(sorted(after.items(), key=lambda kept: (kept[1], kept[0]))[-UNWALKED:])
    return after


def _stamped(places: tuple[Create | Update | Delete, ...], rev: int) -> Iterator[Write]:
    """The writes of folders, with the revision that tells others when they were walked, where they were."""
    for write in places:
        if isinstance(write, Delete) or "rev" not in write.data:
            yield write
        else:
            yield replace(write, data={**write.data, "rev": rev})


def _weight(now: Data, event: Event | None) -> int:
    """At least what a document and its event weigh as JSON; the exact sum would take encoding the document, too.

    The event of a message that is there has all the texts of its document but the version, under longer names. That of
    a deletion has what the tombstone has lost.
    """
    told = len(event.json()) if event else 0
    if event is None or now["state"] != mail.PRESENT:
        return len(orjson.dumps(now)) + told + _FRAME_BYTES
    return 2 * told + _ESCAPED * len(now["version"]) + _FRAME_BYTES


def _write(mailbox: MailboxState, doc: Doc | None, id_: str, now: Data) -> Write:
    ref = refs.message(mailbox.id, id_)
    if doc is None:
        return Create(ref, now)
    return Update(ref, {name: value for name, value in now.items() if doc.data.get(name) != value}, doc.version)


def _counts(data: Data | None) -> int:
    return int(data is not None and data["state"] == mail.PRESENT)


def _gap(mailbox: MailboxState, work: Work, id_: str, item: _Item) -> Put | None:
    """The record of a message that could not be read; the chain of gaps keeps its own."""
    if item.trouble is None or work.kind == "gaps" or (item.now is not None and item.now["state"] == mail.TOMBSTONE):
        return None
    return Put(
        refs.gap(mailbox.id, id_),
        {
            "id": id_,
            "reason": item.trouble[:500],
            "status": "open",
            "attempts": 0,
            "first_at": work.at,
            "next_at": work.at + FIRST_GAP_RETRY,
        },
    )


def _notice(mailbox: MailboxState, notice: Notice, sequence: int, at: float) -> Event:
    id_ = numbered_id(mailbox.id, sequence)
    data = {"provider": mailbox.provider, "inbox_id": mailbox.id, "user_id": mailbox.uid, **notice.data}
    return Event(id_, notice.type, mailbox.id, sequence, at, data, mailbox.provider)


def _written(
    state: MailboxState, at: float, events: list[Event], head: int, messages: int, due_gaps: float | None
) -> MailboxState:
    """What every commit leaves behind in the mailbox, whatever else was in it."""
    due = _earliest(state.due_outbox, at + OUTBOX_DEADLINE) if events else state.due_outbox
    return replace(state, updated_at=at, head=head, messages=messages, due_gaps=due_gaps, due_outbox=due)


def _commit(state: MailboxState, writes: list[Write], events: list[Event]) -> Commit:
    cut = tuple(segments(state.id, f"{state.epoch}-{state.rev + 1}", events))
    return Commit((*writes, *(segment.create() for segment in cut)), cut, state)


def _earliest(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)
