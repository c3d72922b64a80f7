"""Mutants of doorbells, steps and chains."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from shared import refs
from shared.errors import Retry
from shared.mail import apply as applying
from shared.mail.context import Account, amend_mailbox, load
from shared.mail.fold import Commit
from shared.mail.tasks import BUCKET, LATER_BUCKETS, StepTask, _digest, _enqueue, _name, page_of
from shared.ports import Doc, Enqueued
from tests.chaos.mutants.registry import mutant


@mutant("shared.mail.doorbell:gmail_push", "A push is acknowledged before its look is in the queue.")
def ack_before_enqueue(original: Any) -> Any:
    def gmail_push(*args: Any) -> int:
        with suppress(Retry):  # nobody is waiting for the answer any more
            return int(original(*args))
        return 0

    return gmail_push


@mutant("shared.mail.tasks:ring", "A ring that finds the names of all its buckets spent takes that for success.")
def both_bucket_names_spent_is_success(original: Any) -> Any:
    def ring(tasks: Any, clock: Any, mailbox: str, hints: Any = ()) -> None:
        task = StepTask(mailbox, "live", rung=True, hints=tuple(hints))
        bucket = int(clock.now() // BUCKET)
        for later in range(LATER_BUCKETS + 1):
            not_before = (bucket + later) * BUCKET if later else None
            name = _name("ring", mailbox, bucket + later, *_digest(task.hints))
            if _enqueue(tasks, task, name, not_before) is not Enqueued.SPENT:
                return

    return ring


@mutant(
    "shared.mail.sync:step",
    "A rung look that found something is not followed by a settle look.",
    shows="every_rung_look_has_another_after_the_settle_delay",
)
def settle_look_only_when_empty(original: Any) -> Any:
    def step(ctx: Any, task: StepTask) -> None:
        if task.kind != "live" or not task.rung:
            original(ctx, task)
            return
        before = load(ctx, task.mailbox)
        original(_Unsettled(ctx, task.mailbox, before.state.pages if before else 0).ctx, task)

    return step


class _Unsettled:
    """A context whose queue takes settle looks only while the mailbox has no more pages than it had."""

    def __init__(self, ctx: Any, mailbox: str, pages: int) -> None:
        self._inner, self._mailbox, self._pages = ctx, mailbox, pages
        self.ctx = replace(ctx, tasks=self)

    def enqueue(
        self, queue: str, path: str, body: Any, name: str | None = None, not_before: float | None = None
    ) -> Any:
        if name is not None and name.startswith("settle|"):
            now = load(self._inner, self._mailbox)
            if now is not None and now.state.pages != self._pages:
                return Enqueued.PENDING
        return self._inner.tasks.enqueue(queue, path, body, name, not_before)


@mutant(
    "shared.mail.tasks:continue_chain",
    "Successors have no names, so a task that comes twice has two.",
    shows="a_chain_never_forks",
)
def successor_unnamed(original: Any) -> Any:
    def continue_chain(tasks: Any, state: Any, kind: str, published: int = 0) -> Any:
        task = StepTask(state.id, kind, state.epoch, page_of(state, kind), published=published)
        return _enqueue(tasks, task, None)

    return continue_chain


@mutant(
    "shared.mail.apply:apply",
    "A page's successor is enqueued before the page is committed.",
    "Of Gmail's chains. Where the successor is overtaken by its own commit it finds the page before its own, and ends.",
)
def successor_before_commit(original: Any) -> Any:
    def apply(ctx: Any, loaded: Any, work: Any, *args: Any, **kwargs: Any) -> Any:
        after = work.advance(loaded.state)
        goes_on = {
            "live": after.more and work.kind == "live",
            "backfill": not after.backfill.done,
            "resync": after.resync is not None,
        }
        if goes_on.get(work.kind) and after.provider == "GOOGLE":
            applying.continue_chain(ctx.tasks, after, work.kind)
        return original(ctx, loaded, work, *args, **kwargs)

    return apply


@mutant("shared.mail.fold:_commits", "The cursor of a page of changes is committed before the page.")
def cursor_before_commit(original: Any) -> Any:
    def commits(mailbox: Any, known: Any, work: Any, items: Any) -> Any:
        moved = work.advance(mailbox)
        if work.kind != "live" or not items or moved == mailbox:
            yield from original(mailbox, known, work, items)
            return
        yield Commit((), (), moved)
        yield from original(moved, known, replace(work, advance=lambda state: state), items)

    return commits


@mutant("shared.mail.resync:start", "After a 404 for its cursor, a mailbox goes on from now.")
def jump_to_now_on_404(original: Any) -> Any:
    def start(ctx: Any, loaded: Any) -> bool:
        profile = Account(ctx, loaded.state).call(lambda provider, access: provider.profile(access))
        amend_mailbox(ctx, loaded.state.id, lambda state: replace(state, cursor=profile.cursor))
        return True

    return start


@mutant(
    "shared.mail.connect:_connected",
    "A mailbox that is connected again is followed from where its provider stands now.",
)
def profile_read_again_on_resume(original: Any) -> Any:
    def connected(state: Any, profile: Any, *args: Any) -> Any:
        return replace(original(state, profile, *args), cursor=profile.cursor)

    return connected


@mutant("shared.mail.apply:apply", "A page is folded again after a conflict, whoever has moved the position meanwhile.")
def refold_without_cursor_check(original: Any) -> Any:
    def apply(ctx: Any, loaded: Any, work: Any, position: Any, *args: Any, **kwargs: Any) -> Any:
        anywhere = position if position is applying.anew else lambda _: None
        return original(ctx, loaded, work, anywhere, *args, **kwargs)

    return apply


@mutant(
    "shared.mail.apply:_documents",
    "A page that is folded again is folded on the documents of the first time.",
    "With the versions of now, or each document's own guard would refuse the write.",
)
def refold_without_rereading_documents(original: Any) -> Any:
    first: dict[int, tuple[Any, dict[str, Doc]]] = {}

    def documents(ctx: Any, state: Any, work: Any) -> Any:
        now = original(ctx, state, work)
        _, known = first.setdefault(id(work), (work, now))
        return _aged(known, now)

    return documents


@mutant(
    "shared.mail.apply:apply",
    "Documents are read before the mailbox whose version guards what follows from them.",
    "Of live pages, and with the versions of now, or each document's own guard would refuse the write.",
)
def documents_read_before_the_mailbox_version(original: Any) -> Any:
    def apply(ctx: Any, loaded: Any, work: Any, position: Any, *args: Any, **kwargs: Any) -> Any:
        wanted = [refs.message(loaded.state.id, change.id) for change in work.changes if work.kind == "live"]
        known = ctx.store.get(wanted) if wanted else {}
        current = load(ctx, loaded.state.id) if known else None
        if current is None:
            return original(ctx, loaded, work, position, *args, **kwargs)
        seen = (loaded.state.epoch, position(loaded.state))
        if position is not applying.anew and (current.state.epoch, position(current.state)) != seen:
            return None
        return original(replace(ctx, store=_Aged(ctx.store, known)), current, work, position, *args, **kwargs)

    return apply


class _Aged:
    """A store that answers the first read of documents as they were."""

    def __init__(self, inner: Any, known: dict[str, Doc]) -> None:
        self._inner, self._known = inner, known

    def get(self, wanted: Any) -> Any:
        found = self._inner.get(wanted)
        if not set(found) & set(self._known):
            return found
        known, self._known = self._known, {}
        return _aged(known, found)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _aged(known: Any, now: Any) -> dict[str, Doc]:
    """Documents as they were, under the versions that they have."""
    return {ref: Doc(doc.ref, doc.data, now[ref].version) for ref, doc in known.items() if ref in now}


@mutant("shared.mail.sync:_wanted", "A step does not mind that its mailbox has been connected anew, or disconnected.")
def step_of_an_older_epoch(original: Any) -> Any:
    def wanted(ctx: Any, loaded: Any, task: Any) -> bool:
        active = replace(loaded.state, status="live" if not loaded.state.active else loaded.state.status)
        return bool(original(ctx, replace(loaded, state=active), replace(task, epoch=None)))

    return wanted
