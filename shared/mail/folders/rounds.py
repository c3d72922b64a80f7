"""Live sync over folders: a walk that reads which folders there are and then takes the changes of each.

::

    poll, lifecycle, reconnect -> begin: one write says that a walk is under way, so that no two use a folder's cursor at once
        step 1      the folders themselves: new ones are followed, of those that are gone all is asked for
        steps 2..   up to 20 folders, one after another; their changes and their cursors in one commit
        at the end  what was read by its id and no folder has named is read again (``unnamed``); caught up; another walk at
                    once where somebody asked for one meanwhile
    doorbell that names messages -> these are read, no folder is walked (``hints``)

What a walk costs: a request for the folders and one for each; a write to begin, one a step, and one a folder, for a cursor
has to be kept even where it brought nothing (docs/graph.md, 6).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from shared import queries, refs
from shared.errors import CursorExpired, ProviderRefused, ProviderUnavailable
from shared.mail.apply import apply, finish
from shared.mail.context import Account, Context, Loaded, amend_mailbox
from shared.mail.fold import Work
from shared.mail.folders import hints, places, resync, unnamed
from shared.mail.folders.reading import (
    FOLDERS_AT_ONCE,
    HURRY_EVERY,
    PATIENT_FAILURES,
    Read,
    read,
    revisit,
    said,
    sooner,
)
from shared.mail.live import PUSHED_WITHIN, left_over
from shared.mail.state import STUCK_AFTER, MailboxState, Walk, followed, healthy
from shared.mail.tasks import StepTask, continue_chain, enqueue_once, page_of, poll
from shared.observability import logs
from shared.providers.base import Folders, Upsert

LEARNED_AT_ONCE = 1_000
"""Folders that one commit makes known, at most."""

WELL_KNOWN = frozenset({"INBOX", "SENT", "DRAFT", "SPAM", "TRASH"})
"""What each mailbox has a folder for, in the end; once all are known by their ids no new folder can be one of them."""

DOUBTED_EVERY = 3_600.0
"""Seconds within which a channel that told nothing of a mail is looked after once."""

_LOG = logs.named(__name__)


def look(ctx: Context, loaded: Loaded, task: StepTask) -> bool:
    """Take one step of the walk, beginning it where none is under way; False when it was spent."""
    if task.hints:
        return hints.look(ctx, loaded, task)
    state = loaded.state
    if state.walk is None:
        return (task.page is not None and task.page != page_of(state, "live")) or _begin(ctx, loaded, task)
    if task.page != page_of(state, "live"):
        if task.rung:
            asked = amend_mailbox(ctx, state.id, _asked_again, loaded)
            if asked is None or asked.walk is None:
                return False  # it has ended meanwhile, and may have been past what the doorbell is about
        continue_chain(ctx.tasks, state, "live", task.published)  # perhaps its next step never was enqueued
        return True
    return _folders(ctx, loaded, task) if state.walk.after is None else _changes(ctx, loaded, state.walk, task)


def _begin(ctx: Context, loaded: Loaded, task: StepTask) -> bool:
    at = ctx.clock.now()
    begun = apply(ctx, loaded, Work("live", at, advance=lambda current: _begun(current, at)), lambda now: now.pages)
    if begun is None:
        return False
    continue_chain(ctx.tasks, begun.loaded.state, "live", task.published)
    return True


def _folders(ctx: Context, loaded: Loaded, task: StepTask) -> bool:
    """Read which folders there are, and anew which of them are the well-known ones where some are new."""
    state = loaded.state
    account = Account(ctx, state)
    cursor = followed(state)
    at = ctx.clock.now()
    folders, whole = _hierarchy(account, cursor, task)
    learned = places.learned(ctx, state, folders, whole, places.sweeping(state))
    known = _there(state, learned)
    asked_lately = not cursor and not state.resyncs  # by connecting
    is_one_missing = not set(known.values()) >= WELL_KNOWN
    if known != state.folders or (any(map(places.is_new, learned)) and is_one_missing and not asked_lately):
        known = _well_known(account, replace(state, folders=known), task)
        learned = places.learned(ctx, replace(state, folders=known), folders, whole, places.sweeping(state))
    total = sum(folder.total for folder in folders.changed)
    part = learned[:LEARNED_AT_ONCE]
    marked = any(map(places.is_marked, part))

    def advance(current: MailboxState) -> MailboxState:
        if not cursor:
            current = replace(current, backfill=replace(current.backfill, total=total))
        if known != state.folders:
            current = replace(current, folders=known)
        after = current
        if part == learned:  # else the next step reads them once more, and knows these
            # A resync may have asked meanwhile for all folders to be read anew.
            following = folders.cursor if current.cursor == cursor else current.cursor
            after = replace(current, cursor=following, cursor_at=at, walk=replace(_walk(current), after=""))
        return resync.begun(_turned(after, at), at) if marked else _turned(after, at)

    work = Work("live", at, advance=advance, unordered=True, places=part)
    applied = apply(ctx, loaded, work, lambda current: current.pages, account, task.published)
    if applied is None:
        return False
    after = applied.loaded.state
    if not after.backfill.done and after.cursor:
        continue_chain(ctx.tasks, after, "backfill")
    finish(ctx, applied, task.published, successor="live")
    return True


def _hierarchy(account: Account, cursor: str, task: StepTask) -> tuple[Folders, bool]:
    """What has become of the folders, and whether that names all there are.

    A cursor that is refused is given up, in whatever words, and one that is not served from time to time: perhaps it is the
    cursor. It is only lost where the folders can be read without it, so that an outage costs a request and no more.
    """
    try:
        return account.call(lambda provider, access: provider.folders(access, cursor)), not cursor
    except (CursorExpired, ProviderRefused):
        if not cursor:
            raise
    except ProviderUnavailable:
        if not cursor or (task.failures + 1) % places.ANEW_AFTER:
            raise
    return account.call(lambda provider, access: provider.folders(access, "")), True


def _well_known(account: Account, state: MailboxState, task: StepTask) -> dict[str, str]:
    """Which folders have a well-known name now; as before where that is not to be had, for no folder shall wait for it."""
    try:
        return account.call(lambda provider, access: provider.profile(access)).folders
    except ProviderRefused:
        return state.folders
    except ProviderUnavailable:
        if task.failures < PATIENT_FAILURES:
            raise
        return state.folders


def _there(state: MailboxState, learned: Sequence[places.Change]) -> dict[str, str]:
    """The well-known folders without those that have gone: another folder has the name now, or will have (docs/graph.md, 2)."""
    gone = {write.ref for write in learned if write.data.get("phase") == places.GONE}
    return {id_: name for id_, name in state.folders.items() if refs.cursor(state.id, id_) not in gone}


def _changes(ctx: Context, loaded: Loaded, walk: Walk, task: StepTask) -> bool:
    state = loaded.state
    account = Account(ctx, state)
    docs = ctx.store.query(queries.folders_in(state.id, places.FOLLOWING, FOLDERS_AT_ONCE, walk.after))
    taken = read(ctx, account, state, docs, walk.after or "", task, hurried=walk.stay >= HURRY_EVERY)
    if taken.ended and taken.trouble is None:
        revisit(ctx, account, state, taken, sooner(walk.retry_at, taken.retry_at) is None)
    again = unnamed.Again()
    if taken.ended and taken.trouble is None:
        again = unnamed.read(ctx, account, state, walk, {change.id for change in taken.changes})
        taken.trouble = again.trouble
    at = ctx.clock.now()
    work = Work(
        "live",
        at,
        (*taken.changes, *again.changes),
        lambda current: said(_advanced(again.turned(current), state, taken, at), taken),
        unordered=True,
        read=again.read,
        places=tuple(taken.places),
        walked=frozenset(taken.walked),
        begins=tuple(taken.begins),
    )
    applied = apply(ctx, loaded, work, lambda current: current.pages, account, task.published)
    if applied is None:
        return False
    after = applied.loaded.state
    if after.push_gaps > state.push_gaps:
        _LOG.info("push_missed", "A mail was found that no push had told of.", mailbox_id=state.id, seconds=after.lag)
        # Perhaps the channel is gone and the provider's word of it was lost, too: prolonging it finds out.
        enqueue_once(ctx.tasks, after, "channel", f"missed{math.floor(at / DOUBTED_EVERY)}")
    retry_at = sooner(walk.retry_at, taken.retry_at)
    if taken.ended and retry_at is not None:
        poll(ctx.tasks, state.id, retry_at)
    if taken.trouble is not None:  # what was read before is kept; the rest waits as for any trouble
        finish(ctx, applied, task.published)
        raise taken.trouble
    if after.walk is not None:
        finish(ctx, applied, task.published, successor="live")
    elif applied.segments or task.published > state.published or left_over(after):
        finish(ctx, applied, task.published)
    return True


def _walk(state: MailboxState) -> Walk:
    assert state.walk is not None
    return state.walk


def _asked_again(state: MailboxState) -> MailboxState:
    return state if state.walk is None else replace(state, walk=replace(state.walk, again=True))


def _begun(state: MailboxState, at: float) -> MailboxState:
    return _turned(replace(state, walk=Walk(at, since=state.rev)), at)


def _turned(state: MailboxState, at: float) -> MailboxState:
    """The walk one step further; every step counts, so that a successor's name is never used twice."""
    after = replace(state, pages=state.pages + 1, more=True, due_live=at + STUCK_AFTER)
    return healthy(after, "live", at)


def _advanced(state: MailboxState, before: MailboxState, taken: Read, at: float) -> MailboxState:
    walk = _walk(state)
    stay = walk.stay + 1 if taken.after == walk.after else 0
    again, retry_at = walk.again or taken.unfinished, sooner(walk.retry_at, taken.retry_at)
    walk = replace(walk, after=taken.after, stay=stay, again=again, retry_at=retry_at)
    state = _arrived(state, before, taken, at)
    if taken.marked:
        state = resync.begun(state, at)
    if not taken.ended:
        return _turned(replace(state, walk=walk), at)
    # What came while it was walked, and where it had been already, is not known to be there.
    if walk.retry_at is None:
        state = replace(state, caught_up_at=walk.begun_at)
    if walk.again:
        return _begun(state, at)
    return replace(_turned(replace(state, walk=None), at), more=False, due_live=None)


def _arrived(state: MailboxState, before: MailboxState, taken: Read, at: float) -> MailboxState:
    """The mailbox with what the messages of a page say of how fast they have come."""
    since = before.caught_up_at or at
    times = [one.message.received_at for one in taken.changes if isinstance(one, Upsert)]
    fresh = [time for time in times if time >= since - PUSHED_WITHIN]
    if not fresh:
        return state
    late = at - min(fresh)
    unpushed = state.channel is not None and state.messages > before.messages and late > PUSHED_WITHIN
    return replace(state, last_synced_at=at, lag=max(0.0, round(late, 3)), push_gaps=state.push_gaps + int(unpushed))
