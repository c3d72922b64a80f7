"""Exact operation counts of a backfill and of isolated live mails, through all functions and the real Gmail adapter.

An isolated live mail comes eleven minutes after the last look at its mailbox, so that neither its token nor its data key is
remembered; a *following* one comes within the minute after it. The hourly token refresh and the polls (96 empty looks a
day) belong to no mail and are shown for themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.bench.counted import PAGE, Adapters, CountedWorld, embedded_alone
from tests.bench.figures import (
    CONSUMER_READS,
    CONSUMER_WRITES,
    READS_PER_BACKFILLED,
    READS_PER_LIVE,
    WRITES_PER_BACKFILLED,
    WRITES_PER_LIVE,
    Figure,
)
from tests.bench.ledger import Ledger, Tally

BACKFILL, PAGE_STEP, LIVE, CONSUMER, IDLE = (
    "operations per backfilled mail",
    f"operations per backfill step of {PAGE}",
    "operations per live mail",
    "operations of our own consumer, besides its effects",
    "operations without mail",
)
FORGOTTEN = 660.0
"""Seconds after which an instance has forgotten both the token (60) and the data key (600) of a mailbox."""

AWAIT_STEP = 61.7
"""Not a whole minute: ``World.run`` leaves out a tick that is due at the very end of what it runs."""

REFRESH_DUE = 2 * 3600.0
_METHODS = {
    "users.messages.list": "list",
    "users.messages.get": "get",
    "users.threads.get": "thread",
    "batch": "batch",
    "users.history.list": "history",
    "users.getProfile": "profile",
    "users.watch": "watch",
    "token": "token",
    "messages.delta": "delta",
    "messages.get": "message",
    "mailFolders.delta": "folders",
}
_NOT_OF_A_MAIL = ("tick", "sync live poll", "sync channel", "sync audit")


def count(
    folder: Path, mails: int, samples: int = 2, adapters: Adapters = embedded_alone, hours: bool = True
) -> list[Figure]:
    """Count it all, or without the ``hours`` in which no mail comes; the same ``mails`` give the same figures every time.

    The samples lie within the first hour, before the access token has to be refreshed.
    """
    world = CountedWorld(folder, adapters)
    backfill = world.followed(mails)
    figures = [*_backfill(backfill, mails), *_steps(backfill)]
    isolated, followers = [], []
    for number in range(samples):
        _await_poll(world)
        world.pass_time(FORGOTTEN)
        isolated.append(world.receive(2 * number))
        followers.append(world.receive(2 * number + 1))
    figures += _live("isolated", isolated)
    figures += _live("following", followers)
    figures += _consumer(backfill, [*isolated, *followers])
    return [*figures, *_idle(world.pass_time(REFRESH_DUE), [*isolated, *followers])] if hours else figures


def count_outlook(folder: Path, mails: int, folders: int) -> list[Figure]:
    """The same of an Outlook mailbox with so many of a person's own folders beside the seven that every mailbox has."""
    world = CountedWorld(folder, folders=folders)
    figures = _backfill(world.followed(mails), mails)
    _await_poll(world)
    world.pass_time(FORGOTTEN)
    for which, number in (("isolated", 0), ("following", 1)):
        figures += _live(which, [world.receive(number)])
    poll = world.pass_time(FORGOTTEN).total(lambda what: what.startswith("sync live"))
    figures += [
        Figure(
            IDLE, "poll: document writes", poll.writes, exact=True, note="the walk's steps, and each folder's cursor"
        ),
        Figure(IDLE, "poll: document reads", poll.reads, exact=True),
        *_requests(IDLE, "poll: ", poll, 1),
    ]
    return [replace(figure, section=f"Outlook, {folders} folders: {figure.section}") for figure in figures]


def _await_poll(world: CountedWorld) -> None:
    """Let time pass until the mailbox has just been polled, which it is not again for a quarter of an hour."""
    for _ in range(20):
        if world.pass_time(AWAIT_STEP).named("sync live poll"):
            return
    raise AssertionError("The mailbox is not polled.")


def _backfill(book: Ledger, mails: int) -> list[Figure]:
    total = book.total(lambda what: what != "senders")
    note = f"{total.writes} in {total.commits} commits for {mails} mails, connecting included"
    return [
        Figure(BACKFILL, "document writes", total.writes / mails, "", WRITES_PER_BACKFILLED, True, note=note),
        Figure(
            BACKFILL,
            "document reads",
            total.reads / mails,
            "",
            READS_PER_BACKFILLED,
            True,
            note=f"{total.reads} in all",
        ),
        Figure(BACKFILL, "commits refused", total.refused / mails, exact=True),
        *_requests(BACKFILL, "", total, mails),
        Figure(BACKFILL, "tasks enqueued", total.tasks / mails, exact=True, note=f"{total.tasks} in all"),
        Figure(BACKFILL, "bus publishes", total.publishes / mails, exact=True, note=f"{total.publishes} in all"),
        Figure(
            BACKFILL,
            "bus messages",
            total.messages / mails,
            exact=True,
            note=f"{total.messages} in all: one per event, one doorbell per segment",
        ),
    ]


def _steps(book: Ledger) -> list[Figure]:
    """The most that one step of a whole page took; whole threads bring some mails before their page."""
    pages = [tally for tally in book.named("sync backfill") if tally.requests["users.messages.list"]]
    return [
        Figure(PAGE_STEP, "document writes", _most(pages, lambda t: t.writes), exact=True),
        Figure(PAGE_STEP, "document reads", _most(pages, lambda t: t.reads), exact=True),
        Figure(PAGE_STEP, "commits", _most(pages, lambda t: t.commits), exact=True),
        Figure(PAGE_STEP, "tasks enqueued", _most(pages, lambda t: t.tasks), exact=True),
        Figure(PAGE_STEP, "bus publishes", _most(pages, lambda t: t.publishes), exact=True),
    ]


def _live(which: str, books: list[Ledger]) -> list[Figure]:
    totals = [_engine(book) for book in books]
    largest = max(totals, key=lambda tally: (tally.reads, tally.writes))
    return [
        Figure(
            LIVE,
            f"{which}: document writes",
            _most(totals, lambda t: t.writes),
            "",
            WRITES_PER_LIVE,
            True,
            note=_parts(books[0], lambda t: t.writes),
        ),
        Figure(
            LIVE,
            f"{which}: document reads",
            _most(totals, lambda t: t.reads),
            "",
            READS_PER_LIVE,
            True,
            note=_parts(books[totals.index(largest)], lambda t: t.reads),
        ),
        Figure(LIVE, f"{which}: commits", _most(totals, lambda t: t.commits), exact=True),
        *_requests(LIVE, f"{which}: ", largest, 1),
        Figure(
            LIVE, f"{which}: tasks enqueued", _most(totals, lambda t: t.tasks), exact=True, note="ring, settle look"
        ),
        Figure(
            LIVE,
            f"{which}: bus publishes",
            _most(totals, lambda t: t.publishes),
            exact=True,
            note="the event; the segment's doorbell",
        ),
    ]


def _consumer(backfill: Ledger, live: list[Ledger]) -> list[Figure]:
    # The watermark of a stream is created once, under a fence that costs a read and a write more.
    pages = backfill.named("senders")[1:]
    mails = [tally for book in live for tally in book.named("senders")]
    figures = []
    for name, tallies in (("backfilled page", pages), ("live mail", mails)):
        own = f"its effects: {_mean(tallies, lambda t: t.effect_writes):.1f} writes"
        theirs = f"its effects: {_mean(tallies, lambda t: t.effect_reads):.1f} reads"
        writes, reads = _most(tallies, lambda t: t.writes), _most(tallies, lambda t: t.reads)
        figures += [
            Figure(CONSUMER, f"{name}: document writes", writes, "", CONSUMER_WRITES, True, note=own),
            Figure(CONSUMER, f"{name}: document reads", reads, "", CONSUMER_READS, True, note=theirs),
        ]
    return figures


def _idle(idle: Ledger, live: list[Ledger]) -> list[Figure]:
    settles = [tally for book in live for tally in book.named("sync live settle")]
    polls = [tally for tally in idle.named("sync live poll") if not tally.requests["token"]]
    refreshes = [tally for tally in idle.named("sync live poll") if tally.requests["token"]]
    ticks = idle.named("tick")
    return [
        Figure(IDLE, "empty look: document writes", _most([*settles, *polls], lambda t: t.writes), "", 0, True),
        Figure(IDLE, "settle look: document reads", _most(settles, lambda t: t.reads), exact=True),
        Figure(
            IDLE,
            "poll: document reads",
            _most(polls, lambda t: t.reads),
            exact=True,
            note="96 a day and mailbox: the mailbox, and what is not remembered of grant and data key",
        ),
        Figure(
            IDLE,
            "token refresh: document writes",
            _most(refreshes, lambda t: t.writes),
            exact=True,
            note="once an hour and grant: claim, save",
        ),
        Figure(IDLE, "idle tick: document writes", _most(ticks, lambda t: t.writes), exact=True),
        Figure(
            IDLE, "idle tick: document reads", _most(ticks, lambda t: t.reads), exact=True, note="for all mailboxes"
        ),
    ]


def _engine(book: Ledger) -> Tally:
    return book.total(lambda what: what != "senders" and what not in _NOT_OF_A_MAIL)


def _requests(section: str, prefix: str, tally: Tally, mails: int) -> list[Figure]:
    return [
        Figure(section, f"{prefix}requests: {short}", tally.requests[method] / mails, exact=True)
        for method, short in _METHODS.items()
        if tally.requests[method]
    ]


def _parts(book: Ledger, of: Callable[[Tally], int]) -> str:
    return ", ".join(
        f"{call.what} {of(call.tally)}"
        for call in book.calls
        if call.what != "senders" and call.what not in _NOT_OF_A_MAIL
    )


def _most(tallies: list[Tally], of: Callable[[Tally], int]) -> int:
    return max(map(of, tallies))


def _mean(tallies: list[Tally], of: Callable[[Tally], int]) -> float:
    return sum(map(of, tallies)) / len(tallies)
