"""Resync: what an expired cursor leads to, never "jump to now".

::

    expired cursor -> new anchor, live sync goes on from it at once; beside it, in this chain:
      list    every id, spam and trash included; what the store lacks is fetched
      labels  one listing per label, no gets: which ids carry it
      sweep   the stored messages that nothing has touched since the anchor: labels reconciled with what was listed;
              what no listing named is asked for, and only a 404 makes it a tombstone

Every change after the anchor reaches the store through live sync, so what a listing says is applied at the version of the
anchor (``floor``) and never over something newer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared import queries, refs
from shared.errors import PageExpired, ProviderRefused
from shared.events import types
from shared.mail import message as mail
from shared.mail.apply import apply, finish
from shared.mail.backfill import ensure_progress, give_way, restarted
from shared.mail.connect import ensure_same_account
from shared.mail.context import Account, Context, Loaded
from shared.mail.fold import Notice, Work
from shared.mail.state import STUCK_AFTER, MailboxState, Resync, healthy
from shared.mail.tasks import StepTask, continue_chain, page_of, portion
from shared.ports import Delete, Doc, Put, Write
from shared.providers.base import Change, Deleted, LabelsChanged, Missing, newer

LISTED_AT_ONCE = 500
SWEPT_AT_ONCE = 2_000
"""Each sweep step reads what was listed again, so it takes many documents."""

ASKED_AT_ONCE = 100
"""Messages that one sweep step asks the provider for, at most."""


def start(ctx: Context, loaded: Loaded) -> bool:
    """Take a new anchor and begin; False when another step has moved the cursor meanwhile."""
    state = loaded.state
    account = Account(ctx, state)
    profile = account.call(lambda provider, access: provider.profile(access))
    ensure_same_account(state, profile)
    at = ctx.clock.now()

    def begun(current: MailboxState) -> MailboxState:
        run = current.resyncs + 1
        ended = replace(
            current.backfill, listing=False, done=True, token=None, early=(), page=current.backfill.page + 1
        )
        return healthy(
            replace(
                current,
                resync=Resync(run, profile.cursor),
                resyncs=run,
                anchor=profile.cursor,
                cursor=profile.cursor,
                cursor_at=at,
                ahead=None,
                pages=current.pages + 1,
                more=False,
                due_live=None,
                backfill=ended,  # the listing of everything takes its place
                troubles={name: one for name, one in current.troubles.items() if name not in ("backfill", "resync")},
                due_chain=at + STUCK_AFTER,
            ),
            "live",
            at,
        )

    work = Work("notice", at, advance=begun, notices=(Notice(types.PROGRESS, {"kind": "resync", "listed": 0}),))
    applied = apply(ctx, loaded, work, lambda current: current.cursor, account)
    if applied is None:
        return False
    finish(ctx, applied)
    return True


def walk(ctx: Context, loaded: Loaded, task: StepTask) -> bool:
    """Take one step of the phase that the resync is in; False when it was spent."""
    state = loaded.state
    if state.resync is None:
        return True
    if task.page != page_of(state, "resync"):
        continue_chain(ctx.tasks, state, "resync")
        return True
    give_way(ctx, loaded, task)
    account = Account(ctx, state, "background")
    at = ctx.clock.now()
    match state.resync.phase:
        case "list":
            work = _list(ctx, account, state, state.resync, at, portion(ctx.page_size, task))
        case "labels":
            work = _labels(account, state, state.resync, at)
        case _:
            work = _sweep(ctx, account, state, state.resync, at, portion(ASKED_AT_ONCE, task))
    applied = apply(ctx, loaded, work, lambda current: page_of(current, "resync"), account, task.published)
    if applied is None:
        return False
    after = applied.loaded.state
    finish(ctx, applied, task.published, None if after.resync is None else "resync")
    return True


def _list(ctx: Context, account: Account, state: MailboxState, resync: Resync, at: float, size: int) -> Work:
    try:
        listing = account.call(lambda provider, access: provider.list_ids(access, resync.token, size))
    except PageExpired as expired:
        return _restart(resync, at, expired)
    ensure_progress(resync.token, listing)
    by_ref = {refs.message(state.id, id_): id_ for id_ in listing.ids}
    known = ctx.store.get(list(by_ref))
    unknown = [id_ for ref, id_ in by_ref.items() if ref not in known or _gone_yet_listed(resync, known[ref])]
    changes = account.call(lambda provider, access: provider.fetch(access, unknown)) if unknown else ()
    listed = resync.listed + len(listing.ids)
    if listing.next is not None:
        turn: dict[str, object] = {"token": listing.next, "listed": listed}
    else:
        labels = account.call(lambda provider, access: provider.labels(access))
        turn = {"token": None, "listed": listed, "phase": "labels" if labels else "sweep", "labels": labels}
    page = _page(state, resync, None, listing.ids)
    return Work("resync", at, changes, lambda current: _turned(current, at, **turn), writes=(page,))


def _gone_yet_listed(resync: Resync, doc: Doc) -> bool:
    """Whether a listed message has to be read although it is stored: a placeholder, or a tombstone that may be wrong."""
    if doc.data["state"] == mail.TOMBSTONE:
        return not newer(doc.data["version"], resync.floor)
    return bool(doc.data["state"] == mail.PLACEHOLDER)


def _labels(account: Account, state: MailboxState, resync: Resync, at: float) -> Work:
    label, *others = resync.labels
    rest: dict[str, object] = {"token": None, "labels": tuple(others), "phase": "labels" if others else "sweep"}
    try:
        listing = account.call(lambda provider, access: provider.list_ids(access, resync.token, LISTED_AT_ONCE, label))
    except PageExpired as expired:
        return _restart(resync, at, expired)
    except ProviderRefused:
        if label in account.call(lambda provider, access: provider.labels(access)):
            raise
        return Work("resync", at, advance=lambda current: _turned(current, at, **rest))  # deleted since we asked
    ensure_progress(resync.token, listing)
    turn = rest if listing.next is None else {"token": listing.next}
    page = _page(state, resync, label, listing.ids)
    return Work("resync", at, (), lambda current: _turned(current, at, **turn), writes=(page,))


def _restart(resync: Resync, at: float, expired: PageExpired) -> Work:
    restarts = restarted(resync.restarts, expired)
    return Work("resync", at, advance=lambda current: _turned(current, at, token=None, restarts=restarts))


def _sweep(ctx: Context, account: Account, state: MailboxState, resync: Resync, at: float, most: int) -> Work:
    docs = ctx.store.query(queries.messages_of(state.id, SWEPT_AT_ONCE, resync.after))
    named, pages = _named(ctx, state, resync, {doc.data["id"] for doc in docs})
    changes: list[Change] = []
    doubtful: dict[str, Doc] = {}
    last: Doc | None = None
    for doc in docs:
        last = doc
        verdict = _verdict(resync, doc, named.get(doc.data["id"]))
        if isinstance(verdict, LabelsChanged):
            changes.append(verdict)
        elif verdict is not None:
            doubtful[verdict.id] = doc
        if len(doubtful) == most:
            break
    if doubtful:
        for answer in account.call(lambda provider, access: provider.fetch(access, list(doubtful))):
            changes.append(_gone(resync, doubtful[answer.id]) if isinstance(answer, Missing) else answer)
    if last is not None and (last is not docs[-1] or len(docs) == SWEPT_AT_ONCE):
        after = refs.key(last.ref)
        return Work("resync", at, tuple(changes), lambda current: _turned(current, at, after=after))
    notice = Notice(types.COMPLETED, {"kind": "resync", "listed": resync.listed})
    cleared: tuple[Write, ...] = tuple(Delete(page) for page in pages)
    return Work("resync", at, tuple(changes), lambda current: _ended(current, at), (notice,), cleared)


def _gone(resync: Resync, doc: Doc) -> Deleted:
    """The end of a message that answers 404, at its own version: what a later resync is served takes it back.

    A placeholder that live sync has left since the anchor is none of the sweep's, so the floor does nothing to it.
    """
    version = doc.data["version"]
    return Deleted(doc.data["id"], resync.floor if newer(version, resync.floor) else version)


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A stored message that has to be asked for."""

    id: str


def _verdict(resync: Resync, doc: Doc, labels: set[str] | None) -> LabelsChanged | _Doubt | None:
    """What the listings say of a stored message; nothing where live sync has been since the anchor."""
    data = doc.data
    if data["state"] == mail.PLACEHOLDER:
        return _Doubt(data["id"])
    if data["state"] == mail.TOMBSTONE or not newer(resync.floor, data["version"]):
        return None
    if labels is None:
        return _Doubt(data["id"])
    stored = set(data["labels"])
    if stored == labels:
        return None
    return LabelsChanged(data["id"], resync.floor, tuple(sorted(labels - stored)), tuple(sorted(stored - labels)))


def _named(ctx: Context, state: MailboxState, resync: Resync, ids: set[str]) -> tuple[dict[str, set[str]], list[str]]:
    """Which of some ids this resync's listings named, and under which labels; and where the listings are kept.

    They name the whole mailbox, so no more of them is held than is asked for.
    """
    named: dict[str, set[str]] = {}
    pages: list[str] = []
    for page in queries.scan(ctx.store, queries.resync_pages(state.id)):
        pages.append(page.ref)
        if page.data["run"] == resync.run:
            for id_ in ids.intersection(page.data["ids"]):
                labels = named.setdefault(id_, set())
                if page.data["label"] is not None:
                    labels.add(page.data["label"])
    return named, pages


def _page(state: MailboxState, resync: Resync, label: str | None, ids: tuple[str, ...]) -> Put:
    ref = refs.resync_page(state.id, resync.run, resync.page)
    return Put(ref, {"run": resync.run, "label": label, "ids": list(ids)})


def _turned(state: MailboxState, at: float, **position: object) -> MailboxState:
    assert state.resync is not None
    resync = replace(state.resync, page=state.resync.page + 1, **position)  # type: ignore[arg-type]
    return healthy(replace(state, resync=resync, last_synced_at=at, due_chain=at + STUCK_AFTER), "resync", at)


def _ended(state: MailboxState, at: float) -> MailboxState:
    return healthy(replace(state, resync=None, last_synced_at=at, due_chain=None), "resync", at)
