"""Reading several folders in one step, one request after another: their changes, and what becomes of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared import refs
from shared.errors import CursorExpired, FolderAbsent, Paced, ProviderError, ProviderUnavailable, RateLimited
from shared.mail.context import Account, Context
from shared.mail.folders import places
from shared.mail.state import MailboxState
from shared.ports import Doc, Put
from shared.providers.base import Change, Page, Upsert

FOLDERS_AT_ONCE = 20
CHANGES_AT_ONCE = 200
"""Changes after which a step reads no further folder."""

SECONDS_AT_ONCE = 60.0
"""Seconds after which a step reads no further folder: a slow provider must not outlast the step's own limit."""


@dataclass(slots=True)
class Read:
    """What a step has read, and how far it has come in the order of the folders.

    ``named`` is kept for a sweep. ``marked``: folders have to be read anew or swept. ``trouble`` ended it early; what was read
    before is whole.
    """

    after: str
    changes: list[Change] = field(default_factory=list)
    places: list[places.Change] = field(default_factory=list)
    named: list[Put] = field(default_factory=list)
    walked: list[str] = field(default_factory=list)
    begins: list[str] = field(default_factory=list)
    listed: int = 0
    marked: bool = False
    trouble: ProviderError | None = None
    ended: bool = False


def read(ctx: Context, account: Account, state: MailboxState, docs: Sequence[Doc], after: str, number: int = 0) -> Read:
    """Read folders in turn, until there is enough for one commit or one has more pages.

    ``number`` is that of the step, by which the names of a folder in its first round are kept where it has to be swept. Raises
    what the provider does at the first of them.
    """
    got = Read(after)
    begun = ctx.clock.now()
    for index, doc in enumerate(docs):
        if len(got.changes) >= CHANGES_AT_ONCE or ctx.clock.now() - begun > SECONDS_AT_ONCE:
            return got
        place = places.read_place(doc)
        sweep = place.sweep
        if place.link is None and not sweep and places.is_held(ctx.store, state, place.label):
            sweep = places.sweeping(state)
        if sweep and place.link is None and place.phase == places.FOLLOWING:
            got.places += places.anew(doc, sweep)  # a new one that something was moved to: its round is a resync's
            got.marked = True
            got.after = place.order
            continue
        try:
            page = places.ask(account, place)
        except (CursorExpired, FolderAbsent) as refused:
            got.places += places.absent_or_anew(doc, refused, places.sweeping(state))
            got.marked = True
        except (RateLimited, Paced, ProviderUnavailable) as trouble:
            if not index:
                raise
            got.trouble = trouble
            return got
        else:
            _add(got, state, doc, place, page, sweep, number * FOLDERS_AT_ONCE + index)
            if page.more:
                return got
        got.after = place.order
    got.ended = len(docs) < FOLDERS_AT_ONCE
    return got


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
        got.named.append(Put(refs.resync_page(state.id, sweep, number), kept))
