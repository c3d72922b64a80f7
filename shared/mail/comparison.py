"""What an audit compares: the provider's listings with the stored documents, and the messages themselves with theirs.

Listings only make suspects. A verdict rests on the message as the provider serves it, and deletes only after its 404.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared import queries, refs
from shared.errors import PageExpired
from shared.mail import message as mail
from shared.mail.context import Account, Context
from shared.mail.findings import Audit
from shared.mail.fold import fits
from shared.mail.live import APPEARED_AFTER
from shared.mail.state import MailboxState, followed
from shared.ports import Doc
from shared.providers.base import (
    Access,
    Change,
    Deleted,
    Fetched,
    Listing,
    MailProvider,
    Missing,
    Refused,
    Span,
    Upsert,
    newer,
    older,
)

LISTED_AT_ONCE = 500
STORED_AT_ONCE = 1_000
"""Documents that one step reads of a span of time: more than a page lists, so that what is not listed is among them."""

LABELS_AT_MOST = 200
"""With more labels than this, or many more than messages, the messages are read instead of one listing per label."""

LABEL_PAGES = 4

LATE_AFTER = 3_600.0
"""Seconds after which what live sync has not read is missing, whoever will read it: polls come several times as often."""


@dataclass(slots=True)
class Verdict:
    """What a step has found: what to put right, and how the counts move."""

    changes: list[Change] = field(default_factory=list)
    lost: dict[str, float] = field(default_factory=dict)  # time of receipt of what may have to be announced
    compared: int = 0
    missing: int = 0
    differing: int = 0
    gone: int = 0
    gaps: int = 0
    repaired: int = 0


def reached(docs: Collection[Doc], answers: Sequence[Fetched], run: Audit) -> float | None:
    """The time down to which a page reaches, by messages of it; as far as the page before where there are none."""
    times = [float(doc.data["received_at"]) for doc in docs]
    times += [answer.message.received_at for answer in answers if isinstance(answer, Upsert)]
    return max(min(times), run.since) if times else run.until


def stored_of(
    ctx: Context, state: MailboxState, listed: list[str], lower: float | None, until: float | None
) -> dict[str, Doc]:
    """The documents of a span of time, and those of all that is listed, by provider id.

    What came at the span's very end belongs to the page before, which reached down to it.
    """
    docs: list[Doc] = []
    if lower is not None:
        before = None if until is None else math.nextafter(until, 0.0)
        span = queries.messages_received(state.id, STORED_AT_ONCE, math.nextafter(lower, 0.0), before)
        docs = ctx.store.query(span)
    found = {doc.data["id"]: doc for doc in docs}
    others = [refs.message(state.id, id_) for id_ in listed if id_ not in found]
    return found | {doc.data["id"]: doc for doc in (ctx.store.get(others).values() if others else ())}


def is_present(doc: Doc) -> bool:
    """Whether a document holds its message, being neither a placeholder nor a tombstone."""
    return bool(doc.data["state"] == mail.PRESENT)


def known_gaps(ctx: Context, state: MailboxState, ids: Sequence[str]) -> tuple[set[str], dict[str, Doc]]:
    """Which of these are known not to be readable: those that their own chain asks for, and those it has given up."""
    docs = ctx.store.get([refs.gap(state.id, id_) for id_ in ids]) if ids else {}
    open_ = {doc.data["id"] for doc in docs.values() if doc.data["status"] == "open"}
    return open_, {doc.data["id"]: doc for doc in docs.values() if doc.data["status"] == "reported"}


def relisted(listing: Listing, known: Mapping[str, Doc]) -> set[str]:
    """Which of these stored messages have another version by a listing that tells them."""
    versions = dict(zip(listing.ids, listing.versions, strict=True))
    return {id_ for id_, doc in known.items() if doc.data["version"] != versions[id_]}


def relabelled(account: Account, known: Mapping[str, Doc]) -> set[str]:
    """Which of these stored messages carry other labels by the provider's listings; all, where listings cost more."""
    if not known:
        return set()
    labels = account.call(lambda provider, access: provider.labels(access))
    if len(labels) > min(4 * len(known), LABELS_AT_MOST):
        return set(known)
    times = [float(doc.data["received_at"]) for doc in known.values()]
    within = Span(min(times), max(times))
    carried: dict[str, set[str]] = {id_: set() for id_ in known}
    for label in labels:
        for id_ in _carriers(account, label, within):
            if id_ in carried:
                carried[id_].add(label)
    return {id_ for id_, doc in known.items() if set(doc.data["labels"]) != carried[id_]}


def _carriers(account: Account, label: str, within: Span) -> Collection[str]:
    """The messages of a span that carry a label; what more pages would name is asked for one by one."""
    ids: list[str] = []
    token: str | None = None

    def ask(provider: MailProvider, access: Access) -> Listing:
        return provider.list_ids(access, token, LISTED_AT_ONCE, label, within)

    for _ in range(LABEL_PAGES):
        try:
            listing = account.call(ask)
        except PageExpired:
            break
        ids += listing.ids
        if listing.next is None or listing.next == token:
            break
        token = listing.next
    return ids


def unlisted_of(state: MailboxState, stored: Mapping[str, Doc], listed: set[str], at: float) -> list[str]:
    """What is stored and was not listed, the youngest left out; in another order every time, so that all get their turn."""
    ids = [
        id_
        for id_, doc in stored.items()
        if id_ not in listed and is_present(doc) and doc.data["received_at"] < at - APPEARED_AFTER
    ]
    return sorted(ids, key=lambda id_: queries.spread(f"{state.audits}|{id_}", 2**32))


def judge(
    state: MailboxState,
    stored: Mapping[str, Doc],
    answers: Sequence[Fetched],
    unlisted: Collection[str],
    at: float,
    behind: bool = False,
    reported: Collection[str] = (),
) -> Verdict:
    """What the messages themselves say of what was suspected; ``behind``: live sync has not read all there is.

    ``reported`` are gaps that have been given up: what still cannot be stored of them stays one, and is not begun anew.
    """
    verdict = Verdict()
    for answer in answers:
        doc = stored.get(answer.id)
        present = doc is not None and is_present(doc)
        if answer.id in reported and not (isinstance(answer, Upsert) and fits(answer.message)):
            verdict.gaps += 1
            continue
        match answer:
            case Missing():
                if doc is not None and answer.id in unlisted:  # what was listed is not gone, or only just
                    verdict.changes.append(Deleted(answer.id, doc.data["version"]))
                    verdict.gone += 1
                    verdict.repaired += 1
            case Refused():
                if not present:
                    verdict.compared += 1
                    verdict.missing += 1
                    verdict.changes.append(answer)
            case Upsert():
                counted = verdict.compared
                _compare(state, doc if present else None, doc, answer, at, behind, verdict)
                if answer.id in unlisted:
                    verdict.compared = counted  # only what is listed counts: it may be on another page
    return verdict


def _compare(
    state: MailboxState,
    present: Doc | None,
    doc: Doc | None,
    answer: Upsert,
    at: float,
    behind: bool,
    verdict: Verdict,
) -> None:
    """Compare a message with its document, if that is there, and note what has to be put right."""
    message = answer.message
    if present is not None and _same(answer, present):
        verdict.compared += 1
        return
    if present is None and message.received_at > at - APPEARED_AFTER:
        return
    if behind and newer(message.version, followed(state)):
        # To put it right is live sync's, but who measures completeness must see it, unless that is only a moment late.
        if _is_late(state, at) and (present is not None or message.received_at < at - LATE_AFTER):
            verdict.compared += 1
            verdict.differing += present is not None
            verdict.missing += present is None
        return
    if doc is not None and older(message.version, doc.data["version"]):
        if at - state.cursor_at < APPEARED_AFTER:
            return  # perhaps the provider serves it from before a change that it has told of
        message = replace(message, version=doc.data["version"])
    verdict.compared += 1
    verdict.differing += present is not None
    verdict.missing += present is None
    verdict.repaired += fits(message)
    verdict.changes.append(Upsert(message))
    if present is None or (present.data["announced"] is None and mail.announcement(list(message.labels)) is not None):
        verdict.lost[message.id] = message.received_at


def _is_late(state: MailboxState, at: float) -> bool:
    """Whether live sync has not come to the provider's end for long although there is something to read."""
    stuck = state.more or not {"live", "folders"}.isdisjoint(state.troubles)
    return stuck and (state.caught_up_at or 0.0) < at - LATE_AFTER


def _same(answer: Upsert, doc: Doc) -> bool:
    """Whether a document is what the message would be stored as, but for its version."""
    fresh = mail.present(answer.message, doc.data)
    return all(doc.data.get(name) == value for name, value in fresh.items() if name != "version")
