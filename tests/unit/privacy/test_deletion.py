"""A deletion resumes wherever it died, waits for providers as long as that is of use, and ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared import refs
from shared.errors import (
    BrainstemError,
    Busy,
    ConfigurationError,
    InvalidRequest,
    ProviderRefused,
    ProviderUnavailable,
    ReauthRequired,
)
from shared.events import types
from shared.events.consume import Harness
from shared.events.senders import Senders
from shared.mail.state import MailboxState, document
from shared.ports import Create, Update
from shared.privacy.erasure import LONGEST_REQUEST, REVOKED_WITHIN
from shared.privacy.rescues import STUCK_AFTER
from shared.privacy.tasks import DeletionTask, parse
from shared.providers.base import Profile
from tests.machine import UID
from tests.provider import MemoryProvider
from tests.unit.privacy.leaving_machine import ANN, LeavingMachine

SHARE = 40
"""One point of so many in a run of this file, and the last ones; all of them have passed."""


LATE = "google:1234567890"
"""A grant that no mailbox names: its callback was late, or died before it connected the account."""


class Crash(BaseException):
    """The process is gone."""


class Counting:
    """Counts calls of ports, and has the process die at one of them."""

    def __init__(self, fatal: int = 0) -> None:
        self.calls, self.fatal = 0, fatal

    def __call__(self, call: str) -> None:
        self.calls += 1
        if self.calls == self.fatal:
            raise Crash(call)


def leave(machine: LeavingMachine, around: Counting) -> None:
    """Delete the account on a process that counts; if it dies, a new one goes on, and there is a tick."""
    machine.start(around)
    end = machine.clock.now() + LONGEST_REQUEST + 4 * STUCK_AFTER
    asked = died = False
    while machine.clock.now() < end and not (asked and machine.is_gone()):
        try:
            if not asked:
                machine.deletion.begin(ANN)
                asked = True
            machine.run(min(300.0, end - machine.clock.now()), ticks=died)
        except Crash:
            died = True
            machine.start(around)


def with_a_grant_that_nobody_named(folder: Path) -> LeavingMachine:
    machine = LeavingMachine(folder)
    machine.settle_in()
    machine.grants.put(UID, LATE, "google", "access", "refresh", 3600)
    return machine


def judge(machine: LeavingMachine) -> None:
    assert machine.is_gone(), machine.documents_left()
    assert machine.provider.channels == 0
    assert machine.revoked
    assert set(machine.revoked) == {"refresh"}
    told = machine.told()
    assert [kind for _, kind in dict.fromkeys(told)] == ["note.written", types.ACCOUNT_DELETED]
    assert not machine.queue.dead_letters()


def calls_of_an_undisturbed_deletion(folder: Path) -> int:
    machine, around = with_a_grant_that_nobody_named(folder), Counting()
    leave(machine, around)
    judge(machine)
    assert machine.told().count(machine.told()[-1]) == 1
    return around.calls


def die_at(folder: Path, point: int) -> None:
    """Have the process die at one call of a deletion, and judge what came of it."""
    machine, around = with_a_grant_that_nobody_named(folder), Counting(point)
    leave(machine, around)
    assert around.calls >= point
    judge(machine)
    machine.database.close()
    machine.keys_database.close()


@pytest.mark.parametrize("share", range(3))
def test_a_deletion_that_dies_at_any_call_of_a_port_is_finished_all_the_same(tmp_path: Path, share: int) -> None:
    total = calls_of_an_undisturbed_deletion(tmp_path)
    points = sorted({*range(5 + share * SHARE // 3, total, SHARE), *range(total - 4 + 2 * share, total + 1)})
    assert len(points) > 4
    for point in points:
        (tmp_path / str(point)).mkdir()
        die_at(tmp_path / str(point), point)


@pytest.fixture
def machine(tmp_path: Path) -> LeavingMachine:
    machine = LeavingMachine(tmp_path)
    machine.settle_in()
    return machine


def test_the_fence_is_written_once_however_often_it_is_asked_for(machine: LeavingMachine) -> None:
    machine.deletion.begin(ANN)
    fenced = machine.store.get([refs.user(UID)])[refs.user(UID)]
    machine.clock.advance(10)
    machine.deletion.begin(ANN)
    assert machine.store.get([refs.user(UID)])[refs.user(UID)] == fenced
    assert sum(delivery.queue == "privacy" for delivery in machine.queue.claim(1000)) == 1


def test_two_steps_at_once_do_not_fork_the_chain(machine: LeavingMachine) -> None:
    machine.deletion.begin(ANN)
    profile = machine.store.get([refs.user(UID)])[refs.user(UID)].data
    task = DeletionTask(UID, profile["erasing"], 0)
    machine.erasure.step(task)
    machine.erasure.step(task)
    turns = [body["turn"] for _, body, result in machine.tasks.enqueued if "turn" in body and result == "created"]
    assert turns == [0, 1]


def test_a_step_that_could_not_enqueue_its_successor_does_so_when_it_comes_again(machine: LeavingMachine) -> None:
    machine.deletion.begin(ANN)
    task = DeletionTask(UID, machine.store.get([refs.user(UID)])[refs.user(UID)].data["erasing"], 0)

    def down() -> None:
        raise Busy("The queue is away.")

    machine.tasks.before_enqueue = [down]
    with pytest.raises(Busy):
        machine.erasure.step(task)
    machine.erasure.step(task)
    assert [body["turn"] for _, body, _ in machine.tasks.enqueued if "turn" in body] == [0, 1]


def test_a_look_that_began_while_requests_could_still_run_is_not_the_last(machine: LeavingMachine) -> None:
    machine.deletion.begin(ANN)
    machine.run(LONGEST_REQUEST - 1, ticks=False)

    def slow(call: str) -> None:
        if call == "query":
            machine.clock.advance(1)

    machine.start(slow)
    profile = machine.store.get([refs.user(UID)])[refs.user(UID)].data
    machine.erasure.step(DeletionTask(UID, profile["erasing"], profile["turn"]))
    assert machine.clock.now() > profile["erasing"] + LONGEST_REQUEST
    assert "told" not in machine.store.get([refs.user(UID)])[refs.user(UID)].data
    machine.start()
    machine.run(120)
    judge(machine)


def test_a_step_of_another_fence_does_nothing(machine: LeavingMachine) -> None:
    machine.erasure.step(DeletionTask(UID, 1.0, 0))
    machine.deletion.begin(ANN)
    machine.erasure.step(DeletionTask(UID, 1.0, 0))
    machine.erasure.step(DeletionTask("nobody", 1.0, 0))
    assert machine.store.get([refs.user(UID)])[refs.user(UID)].data["turn"] == 0


@pytest.mark.parametrize("body", [None, {}, {"uid": UID}, {"uid": 1, "fenced_at": 1.0, "turn": 0}])
def test_what_is_no_step_is_refused(body: object) -> None:
    with pytest.raises(InvalidRequest):
        parse(body)


@pytest.mark.parametrize("trouble", [ProviderUnavailable(), ConfigurationError("No client.")])
def test_a_provider_that_cannot_revoke_now_is_asked_again_for_a_day(
    machine: LeavingMachine, trouble: BrainstemError
) -> None:
    machine.refusing = [trouble] * 10
    machine.deletion.begin(ANN)
    machine.run(4 * 3600)
    assert machine.revoked == ["refresh"]
    judge(machine)


def test_a_provider_that_stays_out_of_reach_does_not_hold_the_deletion_up_for_ever(machine: LeavingMachine) -> None:
    machine.refusing = [ProviderUnavailable()] * 1000
    machine.deletion.begin(ANN)
    machine.run(REVOKED_WITHIN - 600)
    assert [ref for ref in machine.documents_left() if "/grants/" in ref]
    machine.run(2 * 3600)
    assert machine.is_gone()
    assert machine.revoked == []


def test_a_provider_that_refuses_to_revoke_is_not_asked_again(machine: LeavingMachine) -> None:
    machine.refusing = [ProviderRefused()]
    machine.deletion.begin(ANN)
    machine.run(LONGEST_REQUEST + 120)
    assert machine.revoked == []
    assert machine.is_gone()


def late_grants(machine: LeavingMachine) -> list[str]:
    return [ref for ref in machine.documents_left() if ref.endswith(f"/grants/{LATE}")]


def test_a_grant_that_came_behind_the_fence_is_revoked_once_its_account_is_known(machine: LeavingMachine) -> None:
    machine.deletion.begin(ANN)
    machine.erasure.step(DeletionTask(UID, machine.store.get([refs.user(UID)])[refs.user(UID)].data["erasing"], 0))
    machine.grants.put(UID, LATE, "google", "access", "late", 3600)
    machine.refusing = [ProviderUnavailable()] * 5
    asked = machine.provider.calls["profile"]
    machine.run(4 * 3600)
    assert sorted(machine.revoked) == ["late", "refresh"]
    assert machine.provider.calls["profile"] == asked + 1, "it is noted whose it is"
    assert machine.is_gone()


def test_a_grant_whose_account_cannot_be_learnt_is_asked_for_a_day_and_then_deleted_unrevoked(
    machine: LeavingMachine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[float] = []

    def away(provider: MemoryProvider, access: object) -> Profile:
        asked.append(provider.clock.now())
        raise ProviderUnavailable

    monkeypatch.setattr(MemoryProvider, "profile", away)
    machine.grants.put(UID, LATE, "google", "access", "late", 3600)
    machine.deletion.begin(ANN)
    machine.run(REVOKED_WITHIN - 600)
    assert late_grants(machine)
    assert 10 < len(asked) < 50, "more and more rarely"
    machine.run(2 * 3600)
    assert machine.is_gone()
    assert machine.revoked == ["refresh"]
    assert "deleted, but not revoked" in caplog.text


@pytest.mark.parametrize(("trouble", "said"), [(ReauthRequired(), 0), (ProviderRefused(), 1)])
def test_a_grant_that_its_provider_does_not_take_is_deleted_unrevoked_at_once(
    machine: LeavingMachine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: BrainstemError,
    said: int,
) -> None:
    def refuse(*_: object) -> Profile:
        raise trouble

    monkeypatch.setattr(MemoryProvider, "profile", refuse)
    if isinstance(trouble, ReauthRequired):
        monkeypatch.setattr(MemoryProvider, "refresh", refuse)
    machine.grants.put(UID, LATE, "google", "access", "late", 3600)
    machine.deletion.begin(ANN)
    machine.run(60)
    assert not late_grants(machine)
    assert machine.revoked == ["refresh"]
    assert caplog.text.count("deleted, but not revoked") == said


def bobs(machine: LeavingMachine, **what: Any) -> str:
    """Somebody else's mailbox that nothing moves; answers its document."""
    name = refs.mailbox_id("bob", "primary", what.get("provider", "GOOGLE"))
    state = replace(MailboxState(name, "bob", "GOOGLE", "primary", "google:1", created_at=1.0, updated_at=1.0), **what)
    machine.store.commit([Create(state.ref, document(state))])
    return state.ref


@pytest.mark.parametrize("status", ["connecting", "rate_limited"])
def test_while_a_mailbox_of_somebody_else_has_no_address_a_revocation_waits_for_a_day(
    machine: LeavingMachine, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    ref = bobs(machine, status=status)
    machine.deletion.begin(ANN)
    machine.run(REVOKED_WITHIN - 600)
    assert [ref for ref in machine.documents_left() if "/grants/" in ref]
    machine.run(2 * 3600)
    assert refs.user(UID) not in machine.documents_left()
    assert machine.revoked == []
    assert "deleted, but not revoked" in caplog.text
    assert ref in machine.documents_left()


@pytest.mark.parametrize(
    "what",
    [
        {"status": "reauth_required"},
        {"status": "error"},
        {"status": "disconnected"},
        {"erasing": True},
        {"address": "bob@example.org"},
        {"provider": "MICROSOFT"},
    ],
)
def test_a_mailbox_that_cannot_be_of_the_account_holds_no_revocation_up(
    machine: LeavingMachine, what: dict[str, object]
) -> None:
    bobs(machine, **what)
    machine.deletion.begin(ANN)
    machine.run(60)
    assert machine.revoked == ["refresh"]


@pytest.mark.parametrize("bus", ["", "++", "-++", "++++"])
def test_while_the_bus_is_away_the_stream_stays_until_its_end_has_been_told(machine: LeavingMachine, bus: str) -> None:
    machine.deletion.begin(ANN)
    machine.run(LONGEST_REQUEST - 60)
    answers: Iterator[str] = iter("")

    def up_and_down(call: str) -> None:
        if call == "before publish" and next(answers, "-") == "-":
            raise Busy("The bus is away.")

    machine.start(up_and_down)
    machine.app.post(UID, "note.late", {})
    answers = iter(bus)  # two for each segment; the end is the second
    machine.run(1800, ticks=False)
    assert (refs.stream(refs.app_stream(UID)) in machine.documents_left()) == (bus != "++++")
    machine.start()
    machine.run(1800)
    assert [kind for _, kind in dict.fromkeys(machine.told())] == ["note.written", "note.late", types.ACCOUNT_DELETED]
    assert machine.is_gone()


def test_a_consumer_that_comes_to_the_stream_at_any_moment_of_its_end_leaves_no_mark(machine: LeavingMachine) -> None:
    machine.deletion.begin(ANN)
    machine.run(LONGEST_REQUEST - 60)
    late = Harness(machine.store.inner, machine.queue, machine.clock, Senders())
    looks = []

    def look(call: str) -> None:
        if call == "after commit":
            with suppress(BrainstemError):
                looks.append(late.follow(refs.app_stream(UID)))

    machine.start(look)
    machine.run(1200)
    assert looks
    judge(machine)


def test_a_profile_that_is_written_to_behind_the_fence_keeps_it(machine: LeavingMachine) -> None:
    machine.deletion.begin(ANN)
    profile = machine.store.get([refs.user(UID)])[refs.user(UID)]
    machine.store.commit([Update(profile.ref, {"name": "Ann"}, profile.version)])
    machine.run(LONGEST_REQUEST + 120)
    judge(machine)
