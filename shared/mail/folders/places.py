"""The folders of a mailbox, each a document that says where it is followed from.

::

    first       its messages have yet to be read to the end: by the backfill, or by a resync where its cursor has expired
    following   read to the end: every walk of live sync takes its changes
    gone        the provider has it no longer: a resync asks for what was stored of it, then the document goes

A folder is walked by one chain at a time, since a provider keeps only the last few cursors of each (docs/graph.md, 6): the
phase says by which. What a folder newly holds is live sync's; only what may be long is not. A first round that keeps failing is
``stuck``: nothing waits for it, and while no chain reads first rounds every walk tries whether it can go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from shared import queries, refs
from shared.errors import FolderAbsent, ProviderRefused
from shared.mail.context import Account, Context
from shared.mail.state import MailboxState
from shared.ports import Create, Data, Doc, Store, Update
from shared.providers.base import FOLDER, Folder, Folders, Page

FIRST, FOLLOWING, GONE = "first", "following", "gone"

RETRY_FIRST, RETRY_AT_MOST = 60.0, 3_600.0
"""Seconds after which a folder that could not be read is read again, doubling from the first to the second."""

ANEW_AFTER = 4
"""So many failures in a row, and a folder is read from its beginning: perhaps it is its cursor that cannot be read."""

PAGES_WITHOUT_CHANGE = 100
"""So many pages of a round in a row that lead on and tell of nothing, and they are taken for a circle: a few are normal."""

PAGES_OF_A_ROUND, MESSAGES_OF_A_PAGE = 5_000, 5
"""A round of more pages than the first, and one more for so many messages as the folder held, is taken for a circle, too."""

Change: TypeAlias = Create | Update
"""What becomes of a folder's document."""

WALKED: dict[str, Any] = {"rev": -1}
"""Marks that a folder was walked; the fold puts the revision in."""

_RANKS = {"INBOX": "0", "SENT": "1", "DRAFT": "7", "SPAM": "8", "TRASH": "9"}
_ORDINARY = "5"


@dataclass(frozen=True, slots=True)
class Place:
    """One folder: ``link`` is its cursor, None to begin; ``order`` its place in every walk, the inbox first.

    ``sweep`` is the resync that has to ask for what is stored of the folder and was not listed, 0 where there is none.
    ``total`` is how many messages it held when it was first seen. ``round`` counts its first rounds. ``failures`` counts how
    often in a row it could not be read while others could; before ``retry_at`` it is passed over. ``idle`` counts the pages
    in a row that led on and told of nothing, ``pages`` those of the round that led on.
    """

    id: str
    name: str
    parent: str
    order: str
    phase: str
    link: str | None = None
    sweep: int = 0
    total: int = 0
    round: int = 0
    failures: int = 0
    retry_at: float = 0.0
    idle: int = 0
    pages: int = 0

    @property
    def label(self) -> str:
        """What messages of the folder carry."""
        return f"{FOLDER}{self.id}"


def read_place(doc: Doc) -> Place:
    """The folder in a document."""
    return Place(**{name: doc.data[name] for name in _NAMES if name in doc.data})


def changed(doc: Doc, **values: Any) -> tuple[Change, ...]:
    """What writes other values into a folder's document; nothing where they are the same."""
    differing = {name: value for name, value in values.items() if doc.data.get(name) != value}
    return (Update(doc.ref, differing, doc.version),) if differing else ()


def ask(account: Account, place: Place) -> Page:
    """Read the folder's next page. Raises ``CursorExpired``, ``FolderAbsent``, provider errors."""
    page = account.call(lambda provider, access: provider.changes(access, place.link or "", place.id))
    if page.more and page.cursor == place.link:
        raise ProviderRefused("The provider names the same page of a folder again.")
    if page.more and not page.changes and place.link is not None and place.idle >= PAGES_WITHOUT_CHANGE:
        raise ProviderRefused("The pages of a folder lead on and on, and tell of nothing.")
    most = PAGES_OF_A_ROUND + place.total // MESSAGES_OF_A_PAGE
    if page.more and place.link is not None and place.pages >= most:
        raise ProviderRefused("The pages of a folder lead on and on.")
    return page


def advanced(doc: Doc, page: Page, sweep: int = 0) -> tuple[Change, ...]:
    """What a folder's document becomes with a page: its link, and past the end of a first round its phase.

    ``sweep``: the resync that has to sweep it, where that is only known now.
    """
    phase = doc.data["phase"] if page.more else FOLLOWING
    before = read_place(doc)
    goes_on = before.link is not None
    idle = 0 if page.changes or not page.more else before.idle + 1 if goes_on else 1
    pages = 0 if not page.more else before.pages + 1 if goes_on else 1
    failures = int(doc.data["failures"])
    if phase != FIRST or failures < ANEW_AFTER:
        failures = 0
    elif not idle:  # a round that was stuck is over its failures at its end, and not in a circle
        failures = ANEW_AFTER
    # What goes while a first round is under way, the link at its end will tell of; so only its first page counts as a walk.
    walk = {} if doc.data["phase"] == FIRST and doc.data["link"] is not None else WALKED
    marked = sweep or doc.data["sweep"]
    counts = {"failures": failures, "idle": idle, "pages": pages}
    return changed(doc, link=page.cursor, phase=phase, retry_at=0.0, sweep=marked, **counts, **walk)


def swept(doc: Doc) -> tuple[Change, ...]:
    """What a folder's document becomes once all that was stored of it has been asked for."""
    return changed(doc, sweep=0, **WALKED)


def anew(doc: Doc, run: int, at: float) -> tuple[Change, ...]:
    """What has a folder read from its beginning, and then swept; after a wait where its first round keeps being refused."""
    failures, retry_at = _failed(doc, at) if doc.data["phase"] == FIRST else (0, 0.0)
    again = read_place(doc).round + 1
    return changed(doc, phase=FIRST, link=None, sweep=run, round=again, failures=failures, retry_at=retry_at)


def failing(doc: Doc, run: int, at: float) -> tuple[Change, ...]:
    """What becomes of a folder that alone could not be read: it waits, and after some failures is read from its beginning."""
    failures, retry_at = _failed(doc, at)
    if failures % ANEW_AFTER:
        return changed(doc, failures=failures, retry_at=retry_at)
    again = read_place(doc).round + 1
    return changed(doc, phase=FIRST, link=None, sweep=run, round=again, failures=failures, retry_at=retry_at)


def is_stuck(doc: Doc) -> bool:
    """Whether a folder's first round is one that nothing waits for: it has failed often, and the last time it was tried."""
    return bool(doc.data["phase"] == FIRST and doc.data["failures"] >= ANEW_AFTER and doc.data["retry_at"])


def recovered(doc: Doc) -> tuple[Change, ...]:
    """What becomes of a folder whose stuck round can be read again: it is waited for like any other."""
    return changed(doc, retry_at=0.0)


def is_new(write: Change) -> bool:
    """Whether the folders' own changes make one known that they had not told of: at most a message's has, without a name."""
    return isinstance(write, Create) or {"name", "parent"} <= write.data.keys()


def is_marked(write: Change) -> bool:
    """Whether a folder's document becomes one that a resync has to see to."""
    phase, failures = write.data.get("phase"), write.data.get("failures", 0)
    return phase == GONE or (phase == FIRST and failures < ANEW_AFTER)


def _failed(doc: Doc, at: float) -> tuple[int, float]:
    failures = int(doc.data["failures"]) + 1
    return failures, at + min(RETRY_AT_MOST, RETRY_FIRST * 2.0 ** min(failures - 1, 10))


def lost(doc: Doc, run: int) -> tuple[Change, ...]:
    """What has everything asked for that was stored of a folder which is no longer there."""
    return changed(doc, phase=GONE, link=None, sweep=run, failures=0, retry_at=0.0)


def learned(ctx: Context, state: MailboxState, folders: Folders, whole: bool, run: int) -> tuple[Change, ...]:
    """What the documents of the folders become once the provider has told of them.

    ``whole``: it has named all there are, so that others are gone.
    """
    if whole:
        known = {doc.ref: doc for doc in queries.scan(ctx.store, queries.folders_of(state.id))}
    else:
        named = [refs.cursor(state.id, id_) for id_ in (*(one.id for one in folders.changed), *folders.gone)]
        known = ctx.store.get(named) if named else {}
    writes: list[Change] = []
    present = set()
    for folder in {one.id: one for one in folders.changed}.values():  # of one that is named twice the last word counts
        ref = refs.cursor(state.id, folder.id)
        present.add(ref)
        doc = known.get(ref)
        if doc is None:
            writes.append(Create(ref, _document(_new(state, folder, ref))))
        elif doc.data["phase"] == GONE:
            writes += changed(doc, name=folder.name, parent=folder.parent, phase=FOLLOWING, link=None)
        else:
            writes += changed(doc, name=folder.name, parent=folder.parent)
    gone = set(known) - present if whole else {refs.cursor(state.id, id_) for id_ in folders.gone} - present
    for ref in sorted(gone):
        if ref in known and known[ref].data["phase"] != GONE:
            writes += lost(known[ref], run)
    return tuple(writes)


def back(doc: Doc) -> tuple[Change, ...]:
    """What a folder's document becomes that was taken for gone and is not: it is read from its beginning, and swept."""
    return changed(doc, phase=FOLLOWING, link=None, sweep=0)


def seen(store: Store, state: MailboxState, labels: Sequence[str]) -> tuple[dict[str, int], tuple[Create, ...]]:
    """At which revision of the mailbox folders were walked last, by label; and what makes those known that are not.

    What they are, the next walk finds out.
    """
    ids = {refs.cursor(state.id, label.removeprefix(FOLDER)): label for label in labels}
    known = store.get(list(ids))
    new = [(ref, Folder(label.removeprefix(FOLDER), "", "", 0)) for ref, label in ids.items() if ref not in known]
    creates = tuple(Create(ref, _document(_new(state, folder, ref))) for ref, folder in new)
    return {ids[ref]: int(doc.data.get("rev", 0)) for ref, doc in known.items()}, creates


def is_held(store: Store, state: MailboxState, label: str) -> bool:
    """Whether anything is stored of a folder whose first round is about to begin: what has gone since no round will name."""
    return bool(store.query(queries.messages_in(state.id, label, 1)))


def absent_or_anew(doc: Doc, error: Exception, run: int, at: float) -> tuple[Change, ...]:
    """What a folder's document becomes whose cursor is refused, or which is gone."""
    return lost(doc, run) if isinstance(error, FolderAbsent) else anew(doc, run, at)


def _new(state: MailboxState, folder: Folder, ref: str) -> Place:
    """A folder seen for the first time: the backfill's, as long as that goes on."""
    rank = _RANKS.get(state.folders.get(folder.id, ""), _ORDINARY)
    phase = FOLLOWING if state.backfill.done else FIRST
    return Place(folder.id, folder.name, folder.parent, f"{rank}{refs.key(ref)}", phase, total=folder.total)


def _document(place: Place) -> Data:
    return {name: getattr(place, name) for name in _NAMES}


def sweeping(state: MailboxState) -> int:
    """The resync by which a folder has to be swept that is marked now: the one that still lists, or the next."""
    if state.resync is not None and state.resync.phase == "list":
        return state.resync.run
    return state.resyncs + 1


_NAMES = tuple(spec.name for spec in fields(Place))
