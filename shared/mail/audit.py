"""The audit: once a day, what the provider has of the last days is compared with what is stored, and put right.

::

    list a page of ids (spam and trash included) -> the stored documents of the same time -> one listing per label
        listed, not stored ............... read it, and store it               missing
        listed, stored under other labels  read it, and store what differs     differing
        stored, not listed ............... ask for it; only a 404 is a loss    gone

No suspicion is believed before the message itself has been read, and none where live sync has something to read: then it
looks first. Backfill and resync know better what is missing, so an audit waits for them. An open gap is known to be missing
and has a chain of its own; one that this chain has given up is asked for here, once an audit. What the log has announced is
not announced again: a lost message comes back as ``email.updated``.

An audit whose mailbox changes while it writes is spent and taken again, since a verdict rests on the cursor, on the log's
end and on the documents together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shared import refs
from shared.errors import Paced, PageExpired, ProviderRefused
from shared.mail import told
from shared.mail.apply import anew, apply, finish
from shared.mail.backfill import GIVE_WAY_SECONDS, ensure_progress, give_way, restarted
from shared.mail.comparison import (
    LISTED_AT_ONCE,
    Verdict,
    is_present,
    judge,
    known_gaps,
    reached,
    relabelled,
    relisted,
    stored_of,
    unlisted_of,
)
from shared.mail.context import Account, Context, Loaded, amend_mailbox
from shared.mail.findings import Audit, Audited, Findings, Told
from shared.mail.fold import Work
from shared.mail.gaps import in_fews, resolved
from shared.mail.state import STUCK_AFTER, MailboxState, followed, healthy, troubled
from shared.mail.tasks import StepTask, continue_chain, page_of, poll, portion
from shared.observability import logs
from shared.providers.base import Fetched, Span

ASKED_AT_ONCE = 100
"""Messages that one step asks the provider for, at most."""

UNLISTED_AT_MOST = 100
"""How many messages that no listing named one audit asks for: an empty answer by mistake must not cost a day's quota."""

LOOKS_FIRST = 3
"""How often an audit that has found something lets live sync look before it."""

LOOKS_OVER_FOLDERS = 30
"""The same where a look is a walk over all folders, which takes longer."""

STEPS_AT_MOST = 2_000
"""An audit that takes more steps is given up until the next one."""

_LOG = logs.named(__name__)


class Endless(ProviderRefused):
    """An audit does not come to an end."""


def walk(ctx: Context, loaded: Loaded, task: StepTask) -> bool:
    """Take one step of the mailbox's audit, beginning it where there is none; False when it was spent."""
    state = loaded.state
    if task.page != page_of(state, "audit"):
        if state.audit is not None:
            continue_chain(ctx.tasks, state, "audit")
        return True
    at = ctx.clock.now()
    if not ctx.schedule.audit or state.catching_up:
        idle = state.audit is None and state.due_audit is None
        return idle or _apply(ctx, loaded, task, Work("notice", at, advance=_dropped))
    give_way(ctx, loaded, task)
    account = Account(ctx, state, "background")
    run = state.audit or Audit(since=at - ctx.schedule.audit_window, begun_at=at)
    try:
        work = _step(ctx, account, state, run, task, at)
    except ProviderRefused as refused:
        reason = f"No audit: {refused.message}"
        _LOG.warning("audit_refused", "An audit was given up.", refused, mailbox_id=state.id)
        work = Work("notice", at, advance=lambda current: _given_up(current, reason, at))
    return _apply(ctx, loaded, task, work, account)


def _apply(ctx: Context, loaded: Loaded, task: StepTask, work: Work, account: Account | None = None) -> bool:
    work = replace(work, unordered=account is not None and account.provider.per_folder)
    applied = apply(ctx, loaded, work, anew, account, task.published)
    if applied is None:
        return False
    before, after = loaded.state, applied.loaded.state
    finish(ctx, applied, task.published, None if after.audit is None else "audit")
    if after.audited is not None and after.audited != before.audited:
        _tell(after, after.audited)
    return True


def _step(ctx: Context, account: Account, state: MailboxState, run: Audit, task: StepTask, at: float) -> Work:
    """Compare what is left of one page of the listing."""
    if run.page >= STEPS_AT_MOST:
        raise Endless("The audit takes too many steps.")
    try:
        listing = account.call(
            lambda provider, access: provider.list_ids(access, run.token, LISTED_AT_ONCE, within=Span(run.since))
        )
    except PageExpired as expired:
        anew_ = Audit(run.since, run.begun_at, run.page, restarts=restarted(run.restarts, expired))
        return Work("audit", at, advance=lambda current: _turned(current, anew_, at))
    ensure_progress(run.token, listing)
    listed = list(dict.fromkeys(listing.ids))
    left = listed[listed.index(run.after) + 1 :] if run.after in listed else listed
    lower = run.since if listing.next is None else _lower(ctx, state, listed, run)
    stored = stored_of(ctx, state, listed, lower, run.until)
    known = {id_: stored[id_] for id_ in left if id_ in stored and is_present(stored[id_])}
    gaps, given_up = known_gaps(ctx, state, [id_ for id_ in left if id_ not in known])
    differing = relisted(listing, known) if listing.versions else relabelled(account, known)
    suspects = [id_ for id_ in left if (id_ not in known and id_ not in gaps) or id_ in differing]
    asked = suspects[: portion(ASKED_AT_ONCE, task)]
    whole = len(asked) == len(suspects)
    done = left if whole else left[: left.index(asked[-1]) + 1]
    answers = _fetched(account, [id_ for id_ in asked if id_ not in given_up])
    for some in in_fews([id_ for id_ in asked if id_ in given_up]):
        answers = (*answers, *_fetched(account, some))
    if whole and lower is None:  # all of the page's end was lost: what was fetched says how far it reaches
        lower = reached(known.values(), answers, run)
        stored |= stored_of(ctx, state, [], lower, run.until)
    unlisted = unlisted_of(state, stored, set(listed), at) if whole else []
    few = unlisted[: UNLISTED_AT_MOST - run.asked]
    answers = (*answers, *_fetched(account, few))
    verdict = judge(state, stored, answers, few, at, reported=given_up)
    if verdict.changes and not _quiet(ctx, account, state, task, at):
        verdict = judge(state, stored, answers, few, at, behind=True, reported=given_up)
    verdict.compared += sum(id_ not in asked and id_ not in gaps for id_ in done)
    heard, onward = _told(ctx, state, run, verdict)
    if onward is not None:
        return Work("audit", at, advance=lambda current: _turned(current, onward, at))
    findings = _added(run.findings, verdict, sum(id_ in gaps for id_ in done), len(unlisted) - len(few))
    changes = tuple(verdict.changes)
    read_at_last = tuple(resolved(given_up[change.id]) for change in changes if change.id in given_up)
    following = replace(run, asked=run.asked + len(few), sought={}, searched=None, findings=findings)
    if not whole:
        following = replace(following, after=asked[-1])
    elif listing.next is not None:
        following = replace(following, token=listing.next, until=lower, after=None)
    else:
        return Work("audit", at, changes, lambda now: _ended(now, following, at), writes=read_at_last, told=heard)
    return Work("audit", at, changes, lambda now: _turned(now, following, at), writes=read_at_last, told=heard)


def _lower(ctx: Context, state: MailboxState, listed: list[str], run: Audit) -> float | None:
    """The time down to which a page reaches, by its last messages; None where none of them is stored."""
    last = [refs.message(state.id, id_) for id_ in listed[-10:]]
    docs = [doc for doc in ctx.store.get(last).values() if is_present(doc)] if last else []
    return reached(docs, (), run) if docs else None


def _fetched(account: Account, ids: Sequence[str]) -> tuple[Fetched, ...]:
    return account.call(lambda provider, access: provider.fetch(access, ids)) if ids else ()


def _quiet(ctx: Context, account: Account, state: MailboxState, task: StepTask, at: float) -> bool:
    """Whether live sync has nothing to read, so that a difference is a loss. Raises ``Paced`` to let it look first."""
    if account.provider.per_folder:
        # Reading all folders to know would be a walk: live sync takes one, and what still differs behind it is a loss.
        # A wait is at least so long, so a walk that has ended and began within all of them began behind the first look.
        quiet = task.waits > 0 and (state.caught_up_at or 0.0) >= at - task.waits * GIVE_WAY_SECONDS
        looks = LOOKS_OVER_FOLDERS
    else:
        looks = LOOKS_FIRST
        cursor = followed(state)
        page = account.call(lambda provider, access: provider.changes(access, cursor))
        quiet = not page.changes and not page.more
    if quiet:
        return True
    if task.waits < looks:
        amend_mailbox(ctx, state.id, account.charged)
        poll(ctx.tasks, state.id, at)
        raise Paced("Live sync has something to read.", retry_after=GIVE_WAY_SECONDS)
    return False


def _told(ctx: Context, state: MailboxState, run: Audit, verdict: Verdict) -> tuple[dict[str, Told], Audit | None]:
    """What the log has told of the lost messages; or the audit as it stands until it has been read far enough."""
    if not verdict.lost:
        return {}, None
    keys = {id_: refs.key(refs.message(state.id, id_)) for id_ in verdict.lost}
    if run.searched is not None and run.sought.keys() >= set(keys.values()):
        sought, searched = {id_: run.sought[key] for id_, key in keys.items()}, run.searched
    else:
        sought = {id_: Told() for id_ in verdict.lost}
        searched = told.begin(ctx.store, state, min(verdict.lost.values()))
    search = told.search(ctx.store, state, sought, searched)
    if search.searched < state.head:
        return {}, replace(run, sought={keys[id_]: one for id_, one in search.found.items()}, searched=search.searched)
    return search.found, None


def _added(findings: Findings, verdict: Verdict, gaps: int, unasked: int) -> Findings:
    return Findings(
        findings.compared + verdict.compared,
        findings.missing + verdict.missing,
        findings.differing + verdict.differing,
        findings.gone + verdict.gone,
        findings.gaps + verdict.gaps + gaps,
        findings.repaired + verdict.repaired,
        findings.unasked + unasked,
    )


def _turned(state: MailboxState, run: Audit, at: float) -> MailboxState:
    run = replace(run, page=run.page + 1)
    return healthy(replace(state, audit=run, due_audit=at + STUCK_AFTER), "audit", at)


def _ended(state: MailboxState, run: Audit, at: float) -> MailboxState:
    return healthy(replace(_over(state, at), audited=Audited(at, run.since, run.findings)), "audit", at)


def _given_up(state: MailboxState, reason: str, at: float) -> MailboxState:
    """The mailbox without its audit, which says why; what only audits cannot do is no reason to stop anything else."""
    troubles = {name: trouble for name, trouble in state.troubles.items() if name != "audit"}
    return troubled(_over(replace(state, troubles=troubles), at), "audit", reason)


def _over(state: MailboxState, at: float) -> MailboxState:
    return replace(state, audit=None, due_audit=None, audits=state.audits + 1, audit_ended_at=at)


def _dropped(state: MailboxState) -> MailboxState:
    """The mailbox without its audit, which the schedule begins again once nothing else compares everything."""
    return replace(state, audit=None, due_audit=None, audits=state.audits + 1)


def _tell(state: MailboxState, audited: Audited) -> None:
    findings = audited.findings
    found = findings.missing or findings.differing or findings.gone
    say = _LOG.warning if found else _LOG.info
    say(
        "audit_ended",
        "A mailbox was compared with its provider.",
        mailbox_id=state.id,
        compared=findings.compared,
        missing=findings.missing,
        differing=findings.differing,
        gone=findings.gone,
        gaps=findings.gaps,
        repaired=findings.repaired,
        unasked=findings.unasked,
        ratio=round(findings.ratio, 6),
    )
