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
from shared.mail.state import MailboxState, difference, sent
from shared.mail.tasks import continue_chain
from shared.ports import Doc, Update
from shared.providers.base import Fetched, Refused, Upsert

ATTEMPTS = 12
FETCHES = 3
"""How often the documents that turn out to be older than a known change are fetched again before the step is put off."""

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
) -> Applied | None:
    """Commit a page; None when it is spent.

    ``position`` answers what of the mailbox must be as it was when the page was fetched. ``account`` fetches messages
    that the fold asks for, and what it has spent is charged to the mailbox. ``published`` is how far the bus is known to
    be. ``optimistic`` skips the first read of the documents: a Conflict tells when one is there after all.
    Raises ``Stopped``, ``Retry``, provider errors.
    """
    fetched_with = (loaded.state.epoch, position(loaded.state))
    known = {} if optimistic else _documents(ctx, loaded.state, work)
    written: list[Segment] = []
    fetches = 0
    for _ in range(ATTEMPTS):
        folded = fold(sent(loaded.state, published), known, work)
        if folded.stop is not None:
            raise Stopped(folded.stop)
        if folded.wanted:
            if account is None or fetches == FETCHES:
                work = _without(work, folded.wanted)
                continue
            fetches += 1
            fetched = _fetched(account, folded.wanted)
            work = replace(
                work, changes=(*fetched, *work.changes), told={**work.told, **_told(ctx, loaded, known, fetched)}
            )
            known = _documents(ctx, loaded.state, work)
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
            if (loaded.state.epoch, position(loaded.state)) != fetched_with:
                _publish(ctx, loaded, written)
                return None
            known = _documents(ctx, loaded.state, work)
            continue
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


def _fetched(account: Account, ids: tuple[str, ...]) -> tuple[Fetched, ...]:
    return account.call(lambda provider, access: provider.fetch(access, ids))


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
