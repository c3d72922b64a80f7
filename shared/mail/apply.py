"""Writing what a page means: fold, commit, fold again on what others wrote meanwhile, and publish.

The order in which a step reads is part of the protocol: mailbox, token, provider page, documents. After a Conflict or an
Unknown the mailbox is read first and the documents after it; if the position is no longer the one that the page was
fetched with, the page is spent, perhaps by our own commit whose answer was lost, and is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from shared import refs
from shared.errors import Busy, Conflict, ProviderRefused, Retry, Unknown
from shared.events.envelope import Segment
from shared.events.publish import relay
from shared.mail import told
from shared.mail.context import Account, Context, Loaded, load, mark_sent, with_rev
from shared.mail.findings import Told
from shared.mail.fold import Work, fold
from shared.mail.folders import places
from shared.mail.state import MailboxState, difference, sent
from shared.mail.tasks import continue_chain, enqueue_gaps
from shared.ports import Doc, Update
from shared.providers.base import FOLDER, Change, Deleted, Fetched, Missing, Refused, Upsert

ATTEMPTS = 12
FETCHES = 3
"""How often the documents that turn out to be older than a known change are fetched again before the step is put off."""

CLOCKS_DIFFER = 600.0
"""Seconds by which what two instances take for the time may differ (docs/reliability.md)."""

SETTLED_AFTER = 60.0 + CLOCKS_DIFFER
"""Seconds after its receipt that a message can be read wherever it is asked for: a minute, and what clocks may differ by."""

Position = Callable[[MailboxState], object]


def anew(_: MailboxState) -> object:
    """The position of a page whose writes rest on other documents too: any Conflict means reading all of it again."""
    return object()


class Stopped(ProviderRefused):
    """Too many messages in a row could not be read."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The mailbox after a page, and the segments that were committed and are not yet published."""

    loaded: Loaded
    segments: tuple[Segment, ...] = ()


def apply(
    ctx: Context,
    loaded: Loaded,
    work: Work,
    position: Position,
    account: Account | None = None,
    published: int = 0,
    optimistic: bool = False,
    known: Mapping[str, Doc] | None = None,
) -> Applied | None:
    """Commit a page and set going what it has begun; None when it is spent.

    ``position`` answers what of the mailbox must be as it was when the page was fetched. ``account`` fetches messages
    that the fold asks for, and what it has spent is charged to the mailbox. ``published`` is how far the bus is known to
    be. ``optimistic`` skips the first read of the documents: a Conflict tells when one is there after all;
    ``known`` is what has been read of them already, since the page was. Raises ``Stopped``, ``Retry``, provider errors.
    """
    before = loaded.state
    work = replace(work, since=before.rev)
    fetched_with = (loaded.state.epoch, position(loaded.state))
    if known is None:
        known = {} if optimistic else _documents(ctx, loaded.state, work)
    written: list[Segment] = []
    fetches = 0
    for _ in range(ATTEMPTS):
        folded = fold(sent(loaded.state, published), known, _placed(ctx, loaded, work))
        if folded.stop is not None:
            raise Stopped(folded.stop)
        if folded.wanted:
            fetched = account is not None and fetches < FETCHES
            if not fetched and work.unordered:
                break  # it is not the provider that serves old things, it is others who keep writing
            if account is not None and fetched:
                fetches += 1
                work = _completed(ctx, loaded, work, known, _fetched(account, folded.wanted))
                known = _documents(ctx, loaded.state, work)
            else:
                work = _without(work, folded.wanted)
            continue
        try:
            for commit in folded.commits:
                last = commit is folded.commits[-1]
                state = account.charged(commit.state) if account is not None and last else commit.state
                mailbox = Update(loaded.state.ref, difference(loaded.state, state), loaded.version)
                versions = ctx.store.commit([mailbox, *commit.writes])
                loaded = Loaded(with_rev(loaded.state, state), versions[0] or "")
                written.extend(commit.segments)
        except (Conflict, Unknown):
            current = load(ctx, loaded.state.id)
            if current is None:
                return None
            loaded = current
            if (loaded.state.epoch, position(loaded.state)) != fetched_with or _moved(ctx, loaded, work):
                _publish(ctx, loaded, written)
                return None
            known = _documents(ctx, loaded.state, work)
            continue
        _set_going(ctx, before, loaded.state, work.kind)
        return Applied(loaded, tuple(written))
    raise Busy("The mailbox kept changing while a page was written.")


def finish(ctx: Context, applied: Applied, published: int = 0, successor: str | None = None) -> None:
    """Publish up to the head just committed, then go on: successor first, then the caller may acknowledge.

    With a successor the mark travels in its task and is written by its commit; without one it is written here, and what
    could not be sent brings the step back. Raises ``Retry``, ``Hole``.
    """
    state = sent(applied.loaded.state, published)
    mark = relay(ctx.store, ctx.bus, state.id, state.published, state.head, applied.segments)
    if successor is not None:
        continue_chain(ctx.tasks, state, successor, mark)
        return
    if mark > applied.loaded.state.published:
        mark_sent(ctx, applied.loaded, mark)
    if mark < state.head:
        raise Retry("Some events have yet to reach the bus.")


def _set_going(ctx: Context, before: MailboxState, after: MailboxState, kind: str) -> None:
    """Enqueue what a page has begun beside its own chain: before it is published, for the bus may be away for long."""
    due = after.due_gaps
    if due is not None and (due != before.due_gaps or kind == "gaps"):
        enqueue_gaps(ctx.tasks, after, due)
    if after.resync is not None and (before.resync is None or before.resync.run != after.resync.run):
        continue_chain(ctx.tasks, after, "resync")


def _fetched(account: Account, ids: tuple[str, ...]) -> tuple[Fetched, ...]:
    return account.call(lambda provider, access: provider.fetch(access, ids))


def _completed(
    ctx: Context, loaded: Loaded, work: Work, known: Mapping[str, Doc], fetched: tuple[Fetched, ...]
) -> Work:
    """The page with the messages that had to be read before it could be judged."""
    if work.unordered:
        return _read(work, fetched, known, loaded.state.rev)
    heard = {**work.told, **_told(ctx, loaded, known, fetched)}
    return replace(work, changes=(*fetched, *work.changes), told=heard)


def _read(work: Work, fetched: tuple[Fetched, ...], known: Mapping[str, Doc], rev: int) -> Work:
    """The page with what the messages themselves say in place of what it said of them."""
    read = {answer.id for answer in fetched}
    rest = [change for change in work.changes if change.id not in read]
    answers = [believed(one, known, work.at) for one in fetched if one.id in known or not isinstance(one, Missing)]
    named = work.named | work.names()
    return replace(work, changes=(*rest, *answers), read={**work.read, **dict.fromkeys(read, rev)}, named=named)


def believed(answer: Fetched, known: Mapping[str, Doc], at: float) -> Change:
    """What reading a stored message by its id means, by which the provider knows it wherever it is: a 404 is its end.

    Of a message that has only just come it may mean "not yet" (docs/graph.md, 5); then it is a gap, which is asked again.
    """
    if not isinstance(answer, Missing):
        return answer
    data = known[answer.id].data
    young = at - data["received_at"] < SETTLED_AFTER
    return answer if young and not answer.certain else Deleted(answer.id, data["version"])


def _placed(ctx: Context, loaded: Loaded, work: Work) -> Work:
    """The page with what is to be known of folders that it is not of: when they were walked, and that they are there.

    A folder that no walk has come to is made known: else nobody would learn that it is gone, and its messages with it.
    """
    if not work.unordered:
        return work
    upserts = [change.message for change in work.changes if isinstance(change, Upsert)]
    labels = {label for message in upserts for label in message.labels if label.startswith(FOLDER)} - work.walked
    if not labels:
        return work
    walked_at, new = places.seen(ctx.store, loaded.state, sorted(labels))
    return replace(work, places=(*work.places, *new), walked_at=walked_at)


def _moved(ctx: Context, loaded: Loaded, work: Work) -> bool:
    """Whether what a page rests on beside the mailbox is no longer as it was when the page was fetched."""
    if not work.unordered:
        return False
    expected = {write.ref: write.expect for write in (*work.places, *work.writes) if isinstance(write, Update)}
    found = ctx.store.get(list(expected)) if expected else {}
    if any(ref not in found or found[ref].version != version for ref, version in expected.items()):
        return True
    return any(places.is_held(ctx.store, loaded.state, label) for label in work.begins)


def _told(ctx: Context, loaded: Loaded, known: Mapping[str, Doc], fetched: tuple[Fetched, ...]) -> Mapping[str, Told]:
    """What the log has told of messages that the provider changed and nothing is stored of: perhaps a document was lost."""
    unknown = [answer for answer in fetched if isinstance(answer, Upsert) and answer.id not in known]
    return told.ask(ctx.store, loaded.state, {answer.id: answer.message.received_at for answer in unknown})


def _without(work: Work, stale: tuple[str, ...]) -> Work:
    """The page with gaps in place of messages that the provider keeps serving from before a change it has told us of."""
    refused = tuple(Refused(id_, "the provider serves it from before a change that it has told of") for id_ in stale)
    rest = tuple(change for change in work.changes if not (isinstance(change, Upsert) and change.id in stale))
    return replace(work, changes=(*refused, *rest))


def _publish(ctx: Context, loaded: Loaded, held: list[Segment]) -> None:
    """What a spent page leaves to do: its own commit may be in the log with nobody to publish it."""
    if loaded.state.published < loaded.state.head:
        finish(ctx, Applied(loaded, tuple(held)))


def _documents(ctx: Context, state: MailboxState, work: Work) -> Mapping[str, Doc]:
    by_ref = {refs.message(state.id, change.id): change.id for change in work.changes}
    found = ctx.store.get(list(by_ref)) if by_ref else {}
    return {by_ref[ref]: doc for ref, doc in found.items()}
