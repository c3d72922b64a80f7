"""One page of a folder's first round: all that it holds, newest first, and at its end the cursor to follow it by."""

from __future__ import annotations

from collections.abc import Callable

from shared import refs
from shared.errors import CursorExpired, FolderAbsent
from shared.mail.apply import Applied, apply
from shared.mail.context import Account, Context, Loaded
from shared.mail.fold import Kind, Notice, Work
from shared.mail.folders import places
from shared.mail.state import MailboxState
from shared.mail.tasks import StepTask, page_of
from shared.ports import Doc, Put
from shared.providers.base import Change, Upsert

Advance = Callable[[MailboxState, int, float], MailboxState]
"""The mailbox one page further: with so many messages listed, at a time."""


def take(
    ctx: Context,
    loaded: Loaded,
    task: StepTask,
    doc: Doc,
    kind: Kind,
    advance: Advance,
    notices: Callable[[int], tuple[Notice, ...]] = lambda _: (),
) -> Applied | None:
    """Read and store the next page of a folder in its first round; None when it was spent. ``task`` is the chain's.

    Of a folder that is to be swept it is kept which messages the page has named.
    """
    state = loaded.state
    account = Account(ctx, state, "background")
    place = places.read_place(doc)
    begins = place.link is None
    sweep = place.sweep or (places.sweeping(state) if begins and places.is_held(ctx, state, place) else 0)
    changes: tuple[Change, ...] = ()
    listed = 0
    try:
        page = places.ask(account, place)
    except (CursorExpired, FolderAbsent) as refused:
        writes = places.absent_or_anew(doc, refused, places.sweeping(state))
    else:
        changes = page.changes
        ids = [change.id for change in changes if isinstance(change, Upsert)]
        listed = len(ids)
        writes = places.advanced(doc, page, sweep)
        if sweep:
            number = state.backfill.page if state.resync is None else state.resync.page
            ref = refs.resync_page(state.id, sweep, number)
            writes = (*writes, Put(ref, {"run": sweep, "label": place.label, "round": place.round, "ids": ids}))
    at = ctx.clock.now()
    work = Work(
        kind,
        at,
        changes,
        lambda current: advance(current, listed, at),
        notices(listed),
        writes,
        unordered=True,
        walked=frozenset({place.label}),
    )

    def position(current: MailboxState) -> object:
        # Whether anything was stored of the folder was asked of this very mailbox.
        return object() if begins else page_of(current, kind)

    new = kind == "backfill" and not sweep and not begins and all(isinstance(change, Upsert) for change in changes)
    return apply(ctx, loaded, work, position, account, task.published, optimistic=new)
