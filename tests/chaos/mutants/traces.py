"""Scripted runs of the engine's machine: moments that the simulation does not reach, or where it would stop itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared import refs
from shared.errors import BrainstemError, Hole
from shared.events.log import trim_log
from shared.mail import sync, tasks
from shared.mail.apply import anew, apply
from shared.mail.context import load
from shared.mail.fold import Work
from shared.mail.tasks import StepTask
from shared.ports import Delete
from shared.providers.base import Upsert
from tests.chaos.mutants.invariants import a_fact_has_one_id, of_machine
from tests.chaos.simulation.world import silence
from tests.machine import MAILBOX, UID, Machine, no_hook

Violations = list[tuple[str, str]]


def _an_expired_segment(machine: Machine) -> Violations:
    """Segments expire that the consumer has not read."""
    machine.inner_bus.unsubscribe("senders")
    machine.followed(mails=5)
    machine.clock.advance(1_000)
    machine.provider.deliver("new")
    machine.ring()
    machine.run(30)
    trim_log(machine.store, MAILBOX, machine.clock.now() - 500)
    with suppress(Hole):
        mark = machine.harness.follow(MAILBOX)
        return [("a_hole_is_an_error_and_never_a_skip", f"the watermark is {mark}, the counts are {machine.counts()}")]
    return []


def _a_lost_document(machine: Machine) -> Violations:
    """A document is lost behind our back, and found again by a resync."""
    machine.followed(mails=3)
    machine.provider.relabel("old1", remove=["UNREAD"])
    machine.store.commit([Delete(refs.message(MAILBOX, "old1"))])
    machine.provider.expire_history()
    machine.ring()
    machine.run(60)
    return [("a_fact_has_one_id", detail) for detail in a_fact_has_one_id(machine)]


def _huge_mail(machine: Machine) -> Violations:
    """A page of mail with nine thousand recipients each."""
    machine.followed()
    many = tuple(f"person{number:06d}@a-rather-long-domain-name.example.org" for number in range(9_000))
    for number in range(12):
        machine.provider.deliver(f"huge{number}")
        machine.provider.messages[f"huge{number}"] = replace(machine.provider.messages[f"huge{number}"], to=many)
    machine.ring()
    machine.run(30)
    return list(of_machine(machine))


def _a_lagging_listing(machine: Machine) -> Violations:
    """The provider's listing does not know its youngest mail yet while a mailbox is compared with it."""
    machine.followed(mails=3)
    machine.provider.deliver("young")
    sync.step(machine.ctx, StepTask(MAILBOX, "live"))
    machine.provider.expire_history()
    machine.ctx = replace(machine.ctx, providers={"GOOGLE": _Lagging(machine.provider)})
    machine.ring()
    machine.run(120)
    return list(of_machine(machine))


def _changes_beside_a_page(machine: Machine) -> Violations:
    """Live sync hears of a new label, of a deletion and of another label while a page of the past waits for its commit."""
    for number in range(4):
        machine.provider.deliver(f"old{number}", "INBOX", "UNREAD", at=1.0)
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))
    backfilling = machine.claim(kind="backfill")

    def others(_writes: Any) -> None:
        machine.provider.relabel("old0", remove=["UNREAD"])
        machine.provider.delete("old1")
        machine.provider.relabel("old2", add=["STARRED"])
        sync.step(machine.ctx, StepTask(MAILBOX, "live"))

    machine.store.before_commit.append(others)
    machine.deliver(backfilling)
    machine.run(60)
    return list(of_machine(machine))


def _a_mail_that_both_find(machine: Machine) -> Violations:
    """A mail comes after the anchor and before the listing: live sync stores it, and the listing names it."""
    machine.provider.deliver("old", at=1.0)
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))
    machine.provider.deliver("new")
    sync.step(machine.ctx, StepTask(MAILBOX, "live"))
    machine.run(60)
    return list(of_machine(machine))


class _Lagging:
    """A provider whose listings do not have one mail."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def list_ids(self, *args: Any) -> Any:
        listing = self._inner.list_ids(*args)
        return replace(listing, ids=tuple(id_ for id_ in listing.ids if id_ != "young"), threads=())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _three_clocks(machine: Machine) -> Violations:
    """A slow instance is rung for a new mail after fast ones have used up its names, and their settle looks are over."""
    machine.followed(mails=1)
    for skew in (0.0, 5.0, 10.0):
        tasks.ring(machine.tasks, _Clock(machine, skew), MAILBOX)
        machine.steps()
    machine.run(6)
    machine.provider.deliver("new")
    tasks.ring(machine.tasks, _Clock(machine, -6.0), MAILBOX)
    machine.run(60)
    return list(of_machine(machine))


def _an_overtaken_page(machine: Machine) -> Violations:
    """Another chain stores a newer version of a message between the reading of documents and the commit of a page."""
    machine.followed(mails=3)
    machine.provider.relabel("old1", remove=["UNREAD"])
    calls: list[str] = []

    def around(call: str) -> None:
        if call != "changed" and not calls:
            return
        calls.append(call)
        if len(calls) == 3:  # the page, its documents, and now whatever comes next
            machine.start()
            machine.provider.relabel("old1", add=["STARRED"])
            newest = Upsert(machine.provider.messages["old1"])
            loaded = load(machine.ctx, MAILBOX)
            assert loaded is not None
            apply(machine.ctx, loaded, Work("gaps", machine.clock.now(), (newest,)), anew)

    machine.start(around)
    ctx = machine.ctx
    sync.step(ctx, StepTask(MAILBOX, "live"))
    told = [event for event in machine.log() if event.data.get("provider_message_id") == "old1"]
    starred = ["STARRED" in event.data["labels"] for event in told]
    if starred != sorted(starred):
        return [("a_message_is_written_only_to_bring_news", f"old1 was told of as {[e.data['labels'] for e in told]}")]
    return list(of_machine(machine))


class _Clock:
    def __init__(self, machine: Machine, skew: float) -> None:
        self._machine, self._skew = machine, skew

    def now(self) -> float:
        return self._machine.clock.now() + self._skew


def _an_early_push(machine: Machine) -> Violations:
    """A push comes before its change shows, and its look finds another."""
    machine.followed(mails=1)
    machine.provider.deliver("visible")

    def arrives(what: str) -> None:
        if what == "changed":
            machine.provider.on_call = None
            machine.provider.deliver("rung for")

    machine.provider.on_call = arrives
    machine.ring()
    machine.run(30)
    return list(of_machine(machine))


def _an_erasure_before_the_first_mark(machine: Machine) -> Violations:
    """A mailbox is erased while a slow consumer writes its first watermark of it."""
    machine.inner_bus.unsubscribe("senders")
    machine.followed(mails=5)

    def others(_writes: Any) -> None:
        machine.accounts.erase(UID, MAILBOX)
        machine.run(30)

    machine.store.before_commit.append(others)
    with suppress(BrainstemError):
        machine.harness.follow(MAILBOX)
    left = machine.store.get([refs.watermark("senders", MAILBOX)])
    return [("of_what_was_erased_nothing_is_left", ref) for ref in left]


def _left_while_a_watch_is_being_opened(machine: Machine) -> Violations:
    """A mailbox is left, and its channel stopped, while a slow call that opens one is under way."""
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))
    opening = machine.claim(kind="channel")

    def leave(call: str) -> None:
        if call == "open_channel":
            machine.provider.on_call = no_hook
            machine.accounts.disconnect(UID, "google")
            machine.run(30)

    machine.provider.on_call = leave
    machine.deliver(opening)
    machine.run(60)
    return [("what_is_not_followed_has_no_channel", "a channel is open")] if machine.provider.channels else []


class _Gone(BaseException):
    """The process is gone."""


def _a_crash_after_the_first_commit(machine: Machine) -> Violations:
    """A step that has found a mail dies as soon as it has committed anything; a new process goes on."""
    machine.followed(mails=2)
    machine.provider.deliver("new")

    def dies(_writes: Any) -> None:
        raise _Gone

    machine.store.after_commit.append(dies)
    with suppress(_Gone):
        sync.step(machine.ctx, StepTask(MAILBOX, "live"))
    machine.start()
    machine.ring()
    machine.run(120, ticks=True)
    return list(of_machine(machine))


def _in_a_machine(trace: Callable[[Machine], Iterable[tuple[str, str]]]) -> Callable[[], Violations]:
    def run() -> Violations:
        with silence(), tempfile.TemporaryDirectory(prefix="brainstem-trace-") as folder:
            machine = Machine(Path(folder), page_size=10)
            try:
                return list(trace(machine))
            finally:
                machine.database.close()

    return run


TRACES: dict[str, Callable[[], Violations]] = {
    trace.__name__.strip("_").replace("_", " "): _in_a_machine(trace)
    for trace in (
        _an_expired_segment,
        _a_lost_document,
        _huge_mail,
        _changes_beside_a_page,
        _a_mail_that_both_find,
        _a_lagging_listing,
        _three_clocks,
        _an_overtaken_page,
        _an_early_push,
        _a_crash_after_the_first_commit,
        _an_erasure_before_the_first_mark,
        _left_while_a_watch_is_being_opened,
    )
}
