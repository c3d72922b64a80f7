"""Resync over folders: only those whose cursor has expired are read again, and only what they held is asked for.

::

    a folder's cursor has expired ..... its first round begins anew (list); what is stored of it and was not named is asked for
    a folder has gone ................. what is stored of it is asked for
    sweep: a message that the provider knows has moved; one that it answers 404 for is deleted; then the folder is done

Live sync follows all other folders meanwhile. What is marked while a sweep goes on waits for the next one. A folder whose
first round is stuck keeps its mark, and what its round has named, for the resync that begins once it can be read.
"""

from __future__ import annotations

from dataclasses import replace

from shared import queries, refs
from shared.events import types
from shared.mail.apply import Applied, anew, apply, believed, finish
from shared.mail.context import Account, Context, Loaded
from shared.mail.fold import Notice, Work
from shared.mail.folders import first_round, places
from shared.mail.folders.reading import FOLDERS_AT_ONCE
from shared.mail.resync import ASKED_AT_ONCE, SWEPT_AT_ONCE
from shared.mail.state import STUCK_AFTER, MailboxState, Resync, healthy
from shared.mail.tasks import StepTask, continue_chain, page_of, portion
from shared.ports import Delete, Doc, Write
from shared.providers.base import Change, Upsert


def begun(state: MailboxState, at: float) -> MailboxState:
    """The mailbox with a resync under way, where folders have been marked and the backfill does not see to them."""
    if not state.backfill.done or state.resync is not None:
        return state
    # Its pages are counted on from those of the backfill, which may have kept some for it.
    resync = Resync(state.resyncs + 1, floor="", page=state.backfill.page)
    return healthy(replace(state, resync=resync, resyncs=resync.run, due_chain=at + STUCK_AFTER), "live", at)


def walk(ctx: Context, loaded: Loaded, task: StepTask) -> bool:
    """Take one step of the phase that the resync is in; False when it was spent."""
    state = loaded.state
    if state.resync is None:
        return True
    if task.page != page_of(state, "resync"):
        continue_chain(ctx.tasks, state, "resync")
        return True
    applied = _list(ctx, loaded, task) if state.resync.phase == "list" else _sweep(ctx, loaded, state.resync, task)
    if applied is None:
        return False
    after = applied.loaded.state
    finish(ctx, applied, task.published, None if after.resync is None else "resync")
    return True


def _list(ctx: Context, loaded: Loaded, task: StepTask) -> Applied | None:
    docs = first_round.unread(ctx, loaded.state)
    if not docs:
        at = ctx.clock.now()
        work = Work("resync", at, advance=lambda current: _turned(current, at, phase="sweep"))
        return apply(ctx, loaded, work, anew, None, task.published)

    def advance(current: MailboxState, listed: int, at: float) -> MailboxState:
        before = current.resync.listed if current.resync is not None else 0
        return _turned(current, at, listed=before + listed)

    return first_round.take(ctx, loaded, task, docs, "resync", advance)


def _sweep(ctx: Context, loaded: Loaded, resync: Resync, task: StepTask) -> Applied | None:
    """Ask for what is stored of one marked folder and was not named, some messages a step; then for that of the next."""
    state = loaded.state
    folder = next(first_round.to_sweep(ctx, state, resync.run), None)
    if folder is None:
        return _end(ctx, loaded, resync, task)
    account = Account(ctx, state, "background")
    place = places.read_place(folder)
    position = resync.after if resync.token == place.label else None  # of another folder it says nothing
    docs = ctx.store.query(queries.messages_in(state.id, place.label, SWEPT_AT_ONCE, position))
    named = _named(ctx, state, place) if docs else set()
    doubtful = [doc for doc in docs if doc.data["id"] not in named]
    asked = doubtful[: portion(ASKED_AT_ONCE, task)]
    at = ctx.clock.now()
    changes = _answers(account, asked, at)
    after: str | None = None
    forgotten = False
    after_it: tuple[places.Change | Delete, ...] = ()
    if len(asked) < len(doubtful):
        after = refs.key(asked[-1].ref)
    elif len(docs) == SWEPT_AT_ONCE:
        after = refs.key(docs[-1].ref)
    elif folder.data["phase"] != places.GONE:
        after_it = places.swept(folder)
    elif any(isinstance(one, Upsert) and place.label in one.message.labels for one in changes):
        after_it = places.back(folder)  # it is not gone, whatever the provider has said
    else:
        after_it, forgotten = (Delete(folder.ref, folder.version),), True

    def advance(current: MailboxState) -> MailboxState:
        turned = _turned(current, at, after=after, token=place.label)
        # Should it not be gone after all, only reading all folders anew will say so.
        return replace(turned, cursor="") if forgotten else turned

    work = Work("resync", at, changes, advance, unordered=True, places=after_it)
    # A folder that is given up must hold nothing that somebody has stored meanwhile.
    still = anew if after_it else (lambda current: page_of(current, "resync"))
    return apply(ctx, loaded, work, still, account, task.published)


def _end(ctx: Context, loaded: Loaded, resync: Resync, task: StepTask) -> Applied | None:
    """All marked folders have been swept; those that were marked meanwhile are the next resync's."""
    state, at = loaded.state, ctx.clock.now()
    first = queries.scan(ctx.store, queries.folders_in(state.id, places.FIRST, FOLDERS_AT_ONCE))
    stuck = {_round(place) for place in map(places.read_place, first) if place.link is not None}
    pages = queries.scan(ctx.store, queries.resync_pages(state.id))
    later = first_round.are_left(ctx, state, resync.run + 1)
    writes: tuple[Write, ...] = tuple(Delete(page.ref) for page in pages if _naming(page) not in stuck)
    notice = Notice(types.COMPLETED, {"kind": "resync", "listed": resync.listed})

    def advance(current: MailboxState) -> MailboxState:
        ended = healthy(replace(current, resync=None, last_synced_at=at, due_chain=None), "resync", at)
        return begun(ended, at) if later else ended

    return apply(ctx, loaded, Work("resync", at, (), advance, (notice,), writes), anew, None, task.published)


def _named(ctx: Context, state: MailboxState, place: places.Place) -> set[str]:
    """What the folder's last round has named; nothing of a folder that is gone, and nothing that an earlier round did."""
    if place.phase == places.GONE:
        return set()
    pages = queries.scan(ctx.store, queries.resync_pages(state.id))
    return {id_ for page in pages if _naming(page) == _round(place) for id_ in page.data["ids"]}


def _round(place: places.Place) -> tuple[int, str, int]:
    return place.sweep, place.label, place.round


def _naming(page: Doc) -> tuple[int, str, int]:
    """Which round a page of names is of."""
    return page.data["run"], page.data["label"], page.data["round"]


def _answers(account: Account, docs: list[Doc], at: float) -> tuple[Change, ...]:
    """What the provider says of messages; one that it does not know is in no folder."""
    if not docs:
        return ()
    known = {doc.data["id"]: doc for doc in docs}
    answers = account.call(lambda provider, access: provider.fetch(access, list(known)))
    return tuple(believed(one, known, at) for one in answers)


def _turned(state: MailboxState, at: float, **position: object) -> MailboxState:
    assert state.resync is not None
    resync = replace(state.resync, page=state.resync.page + 1, **position)  # type: ignore[arg-type]
    return healthy(replace(state, resync=resync, last_synced_at=at, due_chain=at + STUCK_AFTER), "resync", at)
