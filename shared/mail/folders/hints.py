"""Where a doorbell has named messages: these are read by their ids, and no folder is walked.

A hint is where to look first, nothing more: it costs one request however many folders there are, and the walks find whatever
no hint has named. No cursor is used, so none is spent. What a provider does not serve yet, or serves as it was, is looked at
once more 3 to 5 seconds later; then what is stored and cannot be read is believed to be gone, or is a gap while it is young:
no walk need ever tell of its end, where no folder's changes had told of it. What is not stored is left to the walks.
"""

from __future__ import annotations

from dataclasses import replace

from shared import refs
from shared.mail import message as mail
from shared.mail.apply import apply, believed, finish
from shared.mail.context import Account, Context, Loaded
from shared.mail.fold import Work
from shared.mail.live import left_over
from shared.mail.state import MailboxState, healthy
from shared.mail.tasks import StepTask, settle
from shared.ports import Doc
from shared.providers.base import Change, Fetched, Missing, Upsert


def look(ctx: Context, loaded: Loaded, task: StepTask) -> bool:
    """Read the named messages; False when it has to be done again."""
    state = loaded.state
    account = Account(ctx, state)
    answers = account.call(lambda provider, access: provider.fetch(access, task.hints))
    at = ctx.clock.now()
    found = ctx.store.get([refs.message(state.id, answer.id) for answer in answers])
    stored = {doc.data["id"]: doc for doc in found.values()}
    changes, open_ = _judged(answers, stored, at, first=task.rung)
    work = Work("live", at, changes, lambda current: _advanced(current, changes, at), unordered=True, loose=True)
    applied = apply(ctx, loaded, work, lambda _: None, account, task.published, known=stored)
    if applied is None:
        return False
    after = applied.loaded.state
    if applied.segments or left_over(after):
        finish(ctx, applied, task.published)
    if task.rung and open_:
        settle(ctx.tasks, ctx.clock, state.id, open_)
    return True


def _judged(
    answers: tuple[Fetched, ...], stored: dict[str, Doc], at: float, first: bool
) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """What the answers mean, and which messages to look at once more, at the ``first`` look."""
    changes: list[Change] = []
    open_: list[str] = []
    for answer in answers:
        doc = stored.get(answer.id)
        if isinstance(answer, Upsert):
            changes.append(answer)
            if doc is not None and doc.data["version"] == answer.message.version:
                open_.append(answer.id)
        elif not isinstance(answer, Missing):
            changes.append(answer)
        elif first and not answer.certain:
            open_.append(answer.id)
        elif doc is not None and doc.data["state"] == mail.PRESENT:
            changes.append(believed(answer, stored, at))
    return tuple(changes), tuple(open_)


def _advanced(state: MailboxState, changes: tuple[Change, ...], at: float) -> MailboxState:
    times = [change.message.received_at for change in changes if isinstance(change, Upsert)]
    if not times:
        return healthy(state, "live", at)
    return healthy(replace(state, last_synced_at=at, lag=max(0.0, round(at - max(times), 3))), "live", at)
