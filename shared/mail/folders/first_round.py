"""A step of folders' first rounds: all that they hold, newest first, and at the end of each the cursor to follow it by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.mail.apply import Applied, apply, finish
from shared.mail.context import Account, Context, Loaded
from shared.mail.fold import Kind, Notice, Work
from shared.mail.folders.reading import read
from shared.mail.state import MailboxState
from shared.mail.tasks import StepTask, page_of
from shared.ports import Doc
from shared.providers.base import Upsert

Advance = Callable[[MailboxState, int, float], MailboxState]
"""The mailbox one step further: with so many messages listed, at a time."""


def take(
    ctx: Context,
    loaded: Loaded,
    task: StepTask,
    docs: Sequence[Doc],
    kind: Kind,
    advance: Advance,
    notices: Callable[[int], tuple[Notice, ...]] = lambda _: (),
) -> Applied | None:
    """Read and store the next page of a folder, or of several small ones; None when it was spent. ``task`` is the chain's.

    Trouble in the middle is raised once what was read before it is kept.
    """
    state = loaded.state
    account = Account(ctx, state, "background")
    number = state.backfill.page if state.resync is None else state.resync.page
    got = read(ctx, account, state, docs, "", number)
    at = ctx.clock.now()
    work = Work(
        kind,
        at,
        tuple(got.changes),
        lambda current: advance(current, got.listed, at),
        notices(got.listed),
        tuple(got.named),
        unordered=True,
        places=tuple(got.places),
        walked=frozenset(got.walked),
        begins=tuple(got.begins),
    )
    new = kind == "backfill" and not got.named and all(isinstance(change, Upsert) for change in got.changes)
    applied = apply(ctx, loaded, work, lambda now: page_of(now, kind), account, task.published, optimistic=new)
    if applied is not None and got.trouble is not None:
        finish(ctx, applied, task.published)
        raise got.trouble
    return applied
