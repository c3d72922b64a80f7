"""A step of folders' first rounds: all that they hold, newest first, and at the end of each the cursor to follow it by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from shared import queries
from shared.errors import Paced
from shared.mail.apply import Applied, apply, finish
from shared.mail.context import Account, Context, Loaded
from shared.mail.fold import Kind, Notice, Work
from shared.mail.folders import places
from shared.mail.folders.reading import CHANGES_AT_ONCE, FOLDERS_AT_ONCE, HURRY_EVERY, read, said
from shared.mail.state import MailboxState
from shared.mail.tasks import StepTask, page_of
from shared.ports import Doc
from shared.providers.base import Upsert

Advance = Callable[[MailboxState, int, float], MailboxState]
"""The mailbox one step further: with so many messages listed, at a time."""


def unread(ctx: Context, state: MailboxState) -> list[Doc]:
    """The folders whose first round comes next; none where all have come to their end, but for those that are stuck.

    Raises ``Paced`` where others that are left have to wait.
    """
    now = ctx.clock.now()
    hurried = _is_hurried(state)
    docs = ctx.store.query(queries.folders_in(state.id, places.FIRST, 1))
    if docs and docs[0].data["retry_at"] <= now and _fills_a_step(docs[0]) and not hurried:
        return docs
    after: str | None = None
    waits: list[float] = []
    while docs:
        after = str(docs[-1].data["order"])
        waits += [doc.data["retry_at"] - now for doc in docs if doc.data["retry_at"] > now and not places.is_stuck(doc)]
        ready = [doc for doc in docs if doc.data["retry_at"] <= now]
        if len(ready) == FOLDERS_AT_ONCE:
            return ready
        docs = ctx.store.query(queries.folders_in(state.id, places.FIRST, FOLDERS_AT_ONCE - len(ready), after))
        if ready:
            return [*ready, *docs]
    if waits:
        raise Paced("Some folders cannot be read for the time being.", retry_after=min(waits))
    return []


def are_left(ctx: Context, state: MailboxState, run: int) -> bool:
    """Whether there is anything for a resync to do: a first round that is not stuck, or a folder to sweep up to this run."""
    first = queries.scan(ctx.store, queries.folders_in(state.id, places.FIRST, FOLDERS_AT_ONCE))
    return any(not places.is_stuck(doc) for doc in first) or next(to_sweep(ctx, state, run), None) is not None


def to_sweep(ctx: Context, state: MailboxState, run: int) -> Iterator[Doc]:
    """The folders that a resync, or one before it, has to sweep and can: what a stuck round would name is not known."""
    marked = queries.scan(ctx.store, queries.folders_to_sweep(state.id, run))
    return (doc for doc in marked if doc.data["phase"] != places.FIRST)


def _number(state: MailboxState) -> int:
    return state.backfill.page if state.resync is None else state.resync.page


def _is_hurried(state: MailboxState) -> bool:
    return _number(state) % HURRY_EVERY == HURRY_EVERY - 1


def _fills_a_step(doc: Doc) -> bool:
    """Whether a folder is in the middle of its round, or so large that no other will be read behind it."""
    return doc.data["link"] is not None or doc.data["total"] >= CHANGES_AT_ONCE


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
    got = read(ctx, account, state, docs, "", task, _number(state), _is_hurried(state))
    got.ended = False  # whether all folders can be read is known at the end of a walk
    at = ctx.clock.now()
    work = Work(
        kind,
        at,
        tuple(got.changes),
        lambda current: said(advance(current, got.listed, at), got),
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
