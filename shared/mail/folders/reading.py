"""Reading several folders in one step, one request after another: their changes, and what becomes of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from shared import queries, refs
from shared.errors import (
    CursorExpired,
    FolderAbsent,
    Paced,
    ProviderError,
    ProviderRefused,
    ProviderUnavailable,
    RateLimited,
)
from shared.mail.context import Account, Context
from shared.mail.folders import places
from shared.mail.state import MailboxState, Trouble, troubled
from shared.mail.tasks import StepTask
from shared.ports import Doc, Put
from shared.providers.base import Change, Page, Upsert

FOLDERS_AT_ONCE = 20
CHANGES_AT_ONCE = 200
"""Changes after which a step reads no further folder."""

SECONDS_AT_ONCE = 60.0
"""Seconds after which a step reads no further folder: a slow provider must not outlast the step's own limit."""


HURRY_EVERY = 50
"""After so many steps for one folder the others get their turn: its pages may have no end."""

PATIENT_FAILURES = 3
"""Failures of a step after which a folder that is the only one left to read is taken for the one that fails."""


@dataclass(slots=True)
class Read:
    """What a step has read, and how far it has come in the order of the folders.

    ``named`` is kept for a sweep. ``marked``: a resync has folders to read or to sweep. ``trouble`` ended it early; what was
    read before is whole. ``failed`` is why one folder was passed over, ``retry_at`` when one that was can be read again.
    ``unfinished``: one has more pages, and gave way to the others. ``over`` is what the mailbox says of its folders and is
    no longer true.
    """

    after: str
    changes: list[Change] = field(default_factory=list)
    places: list[places.Change] = field(default_factory=list)
    named: list[Put] = field(default_factory=list)
    walked: list[str] = field(default_factory=list)
    begins: list[str] = field(default_factory=list)
    listed: int = 0
    unfinished: bool = False
    marked: bool = False
    trouble: ProviderError | None = None
    failed: ProviderError | None = None
    retry_at: float | None = None
    ended: bool = False
    over: Trouble | None = None


def read(
    ctx: Context,
    account: Account,
    state: MailboxState,
    docs: Sequence[Doc],
    after: str,
    task: StepTask,
    number: int = 0,
    hurried: bool = False,
) -> Read:
    """Read folders in turn, until there is enough for one commit or one has more pages.

    ``number`` is that of the step, by which the names of a folder in its first round are kept where it has to be swept. A
    folder that is refused, or fails while others do not, is passed over for a while, so that it holds up no other; what fails
    several, and limits, are raised where nothing has been read before. ``hurried``: one page of each, however many more it has.
    """
    got = Read(after)
    begun = ctx.clock.now()
    failed: tuple[Doc, ProviderError] | None = None
    for index, doc in enumerate(docs):
        if len(got.changes) >= CHANGES_AT_ONCE or ctx.clock.now() - begun > SECONDS_AT_ONCE:
            break
        place = places.read_place(doc)
        if place.retry_at > begun:
            got.retry_at = sooner(got.retry_at, place.retry_at)
            got.after = place.order
            continue
        try:
            more = _one(ctx, account, state, doc, place, got, number * FOLDERS_AT_ONCE + index)
        except ProviderRefused as refused:
            _pass_over(got, state, doc, refused, begun)
        except ProviderUnavailable as trouble:
            if failed is not None:
                got.trouble = trouble
                break
            failed = doc, trouble
        except (RateLimited, Paced) as trouble:
            got.trouble = trouble
            break
        else:
            if more and not hurried:
                break
            got.unfinished |= more
        got.after = place.order
    else:
        got.ended = len(docs) < FOLDERS_AT_ONCE
    if failed is not None and (got.places or task.failures >= PATIENT_FAILURES):
        _pass_over(got, state, *failed, begun)
        return got
    cause = failed[1] if failed is not None else got.trouble
    if cause is not None and not got.places:
        raise cause
    return got


def sooner(one: float | None, other: float | None) -> float | None:
    """The earlier of two times, of which either may not be."""
    return min((time for time in (one, other) if time is not None), default=None)


def _pass_over(got: Read, state: MailboxState, doc: Doc, error: ProviderError, at: float) -> None:
    writes = places.failing(doc, places.sweeping(state), at)
    _keep(got, writes)
    got.retry_at = sooner(got.retry_at, writes[0].data["retry_at"])
    got.failed = error


def _keep(got: Read, writes: Sequence[places.Change]) -> None:
    got.places += writes
    got.marked |= any(places.is_marked(write) for write in writes)


def revisit(ctx: Context, account: Account, state: MailboxState, got: Read, well: bool) -> None:
    """At the end of a walk: try folders whose first rounds are stuck, and learn whether any cannot be read.

    One page of each that has waited long enough, and only while no chain reads first rounds. The page is not kept: what can
    be read again is a resync's. ``well``: the walk has passed over none of its own.
    """
    trouble = state.troubles.get("folders")
    if state.catching_up and trouble is None:
        return
    docs = list(queries.scan(ctx.store, queries.folders_in(state.id, places.FIRST, FOLDERS_AT_ONCE)))
    if well and not any(doc.data["failures"] for doc in docs):
        got.over = trouble
    if state.catching_up:
        return
    begun = ctx.clock.now()
    for doc in [doc for doc in docs if doc.data["retry_at"] <= begun][:FOLDERS_AT_ONCE]:
        if ctx.clock.now() - begun > SECONDS_AT_ONCE:
            return
        try:
            places.ask(account, places.read_place(doc))
        except (CursorExpired, FolderAbsent) as refused:
            _keep(got, places.absent_or_anew(doc, refused, places.sweeping(state), begun))
        except (ProviderRefused, ProviderUnavailable) as error:
            _keep(got, places.failing(doc, places.sweeping(state), begun))
            got.failed = error
        except (RateLimited, Paced) as limit:
            got.trouble = limit
            return
        else:
            got.places += places.recovered(doc)
            got.marked = True


def said(state: MailboxState, got: Read) -> MailboxState:
    """The mailbox, with the reason why a folder of it could not be read, until all can be."""
    if got.failed is not None:
        return troubled(state, "folders", f"A folder could not be read: {got.failed.message}")
    if got.over is not None and state.troubles.get("folders") == got.over:
        return replace(state, troubles={name: one for name, one in state.troubles.items() if name != "folders"})
    return state


def _one(
    ctx: Context, account: Account, state: MailboxState, doc: Doc, place: places.Place, got: Read, number: int
) -> bool:
    """Read one page of one folder; whether there are more. Raises what the provider does."""
    sweep = place.sweep
    if place.link is None and not sweep and places.is_held(ctx.store, state, place.label):
        sweep = places.sweeping(state)
    at = ctx.clock.now()
    if sweep and place.link is None and place.phase == places.FOLLOWING:
        _keep(got, places.anew(doc, sweep, at))  # a new one that something was moved to: its round is a resync's
        return False
    try:
        page = places.ask(account, place)
    except (CursorExpired, FolderAbsent) as refused:
        _keep(got, places.absent_or_anew(doc, refused, places.sweeping(state), at))
        return False
    _add(got, state, doc, place, page, sweep, number)
    return page.more


def _add(got: Read, state: MailboxState, doc: Doc, place: places.Place, page: Page, sweep: int, number: int) -> None:
    got.places += places.advanced(doc, page, sweep)
    got.changes += page.changes
    got.walked.append(place.label)
    if place.link is None and not sweep:
        got.begins.append(place.label)
    if place.phase != places.FIRST:
        return
    ids = [change.id for change in page.changes if isinstance(change, Upsert)]
    got.listed += len(ids)
    if sweep:
        kept = {"run": sweep, "label": place.label, "round": place.round, "ids": ids}
        # By the run that reads it: what an earlier one has named of a round that got stuck must not be written over.
        run = sweep if state.resync is None else state.resync.run
        got.named.append(Put(refs.resync_page(state.id, run, number), kept))
