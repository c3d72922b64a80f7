"""A mailbox stays below its provider's limit, whoever works on it, and uses all of it where there is work."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.embedded.clock import VirtualClock
from shared.errors import Paced, RateLimited
from shared.mail import sync
from shared.mail.context import Account
from shared.mail.quota import BACKGROUND_BURST, LIVE_BURST, Pace, Quota, drained
from shared.mail.tasks import StepTask, page_of
from shared.providers.base import Limits
from tests.machine import MAILBOX, Machine
from tests.provider import MemoryProvider

LIMITS = Limits(per_second=100.0, burst=1000.0)


@dataclass(slots=True)
class Ledger:
    """What went at which time; ``worst`` is by how much any stretch of time held more than the limit lets go."""

    spent: list[tuple[float, float]] = field(default_factory=list)

    def worst(self) -> float:
        surplus = level = 0.0
        before = self.spent[0][0] if self.spent else 0.0
        for at, units in sorted(self.spent):
            level = max(0.0, level - LIMITS.per_second * (at - before)) + units
            before = at
            surplus = max(surplus, level - LIMITS.burst)
        return surplus


class Step:
    """One step of one lane: it spends, time passes, at the end it charges the document."""

    def __init__(self, clock: VirtualClock, quota: Quota, lane: str, alone: bool) -> None:
        self.clock = clock
        self.pace = Pace(clock, LIMITS, quota, lane, alone)

    def spend(self, units: float, ledger: Ledger) -> None:
        before = self.pace.spent
        try:
            self.pace.spend(units)
        except Paced:
            return
        assert self.pace.spent == before + units
        ledger.spent.append((self.clock.now(), units))


STEPS = st.lists(
    st.tuples(
        st.lists(st.sampled_from([2, 5, 20, 22, 100, 200, 500]), min_size=1, max_size=6),  # background's prices
        st.lists(st.sampled_from([2, 20, 22, 42, 100]), max_size=4),  # live's prices meanwhile
        st.floats(0, 15),
    ),
    min_size=1,
    max_size=12,
)


@given(STEPS)
def test_both_lanes_together_stay_below_the_limit_though_neither_sees_the_other(steps):
    clock, ledger, quota = VirtualClock(), Ledger(), Quota()
    for background, live, idle in steps:
        walk = Step(clock, quota, "background", alone=False)
        for number, units in enumerate(background):
            walk.spend(units, ledger)
            if number < len(live):
                look = Step(clock, quota, "live", alone=False)
                look.spend(live[number], ledger)
                quota = look.pace.charged(quota)
        quota = walk.pace.charged(quota)
        clock.advance(idle)
    assert ledger.worst() <= 0
    assert quota.spent == pytest.approx(sum(units for _, units in ledger.spent))


@given(st.lists(st.tuples(st.sampled_from([2, 22, 100, 500]), st.floats(0, 8), st.booleans()), min_size=1, max_size=20))
def test_a_live_walk_that_was_alone_leaves_nothing_to_a_backfill_that_it_has_used_itself(looks):
    clock, ledger, quota = VirtualClock(), Ledger(), Quota()
    for units, idle, alone in looks:
        step = Step(clock, quota, "live" if alone else "background", alone)
        step.spend(units, ledger)
        quota = step.pace.charged(quota)
        clock.advance(idle)
    assert ledger.worst() <= 0


def test_a_backfill_beside_an_idle_live_sync_uses_all_that_comes_back():
    clock, quota = VirtualClock(), Quota()
    began = clock.now()
    for _ in range(50):
        step = Pace(clock, LIMITS, quota, "background", alone=False)
        for units in (5, 500, 500, 500, 500):
            step.spend(units)
        quota = step.charged(quota)
    assert quota.spent / (LIMITS.per_second * (clock.now() - began)) > 0.99


def test_live_sync_finds_its_share_in_the_middle_of_a_backfill():
    clock, quota = VirtualClock(), Quota()
    for _ in range(10):
        step = Pace(clock, LIMITS, quota, "background", alone=False)
        for units in (5, 500, 500, 500, 500):
            step.spend(units)
        quota = step.charged(quota)
    assert Pace(clock, LIMITS, quota, "live", alone=False).room() == LIMITS.burst * LIVE_BURST


@pytest.mark.parametrize(
    ("lane", "burst", "left"), [("live", LIVE_BURST, 0.0), ("background", BACKGROUND_BURST, LIVE_BURST)]
)
def test_what_came_back_while_both_lanes_were_full_is_no_credit_for_what_is_spent_later(lane, burst, left):
    clock = VirtualClock()
    slow = Pace(clock, LIMITS, Quota(), lane, alone=False)
    clock.advance(60)  # the provider took its time
    slow.spend(LIMITS.burst * burst)
    following = Pace(clock, LIMITS, slow.charged(Quota()), lane, alone=False)
    assert following.room() == pytest.approx(left * LIMITS.burst)


def test_live_sync_does_not_count_on_what_a_page_of_the_background_may_be_spending():
    clock = VirtualClock()
    page = Pace(clock, LIMITS, Quota(), "background", alone=False)
    page.spend(600)
    look = Pace(clock, LIMITS, Quota(), "live", alone=False)
    look.spend(200)
    clock.advance(5)  # the document shows nothing of the page
    quota = look.charged(Quota())
    assert Pace(clock, LIMITS, quota, "live", alone=False).room() == pytest.approx(5 * LIMITS.per_second * 0.1)


def test_a_look_that_outlasts_a_page_does_not_charge_the_page_again():
    clock = VirtualClock()
    page, look = (Pace(clock, LIMITS, Quota(), lane, alone=False) for lane in ("background", "live"))
    for units in (500, 500, 500, 500):
        page.spend(units)
    quota = page.charged(Quota())
    look.spend(2)
    assert look.charged(quota).background.owed == quota.background.owed


def test_what_one_step_spent_another_of_its_lane_does_not_have():
    clock = VirtualClock()
    one, other = (Pace(clock, LIMITS, Quota(), "background", alone=False) for _ in range(2))
    one.spend(300)
    other.spend(200)
    quota = other.charged(one.charged(Quota()))
    assert Pace(clock, LIMITS, quota, "background", alone=False).room() == LIMITS.burst * BACKGROUND_BURST - 500
    assert (quota.spent, quota.spent_on(clock.now())) == (500, 500)


def test_a_long_wait_is_no_sleep():
    clock = VirtualClock()
    step = Pace(clock, LIMITS, Quota(), "live", alone=False)
    step.spend(1000)  # dearer than all that may go at once: it goes, and is owed
    before = clock.now()
    with pytest.raises(Paced) as paced:
        step.spend(20)
    assert clock.now() == before
    assert paced.value.retry_after == pytest.approx((800 + 20) / 10)


def test_after_a_refusal_both_lanes_start_from_nothing():
    clock = VirtualClock()
    quota = drained(Quota(), LIMITS, clock.now() + 30)
    clock.advance(30)
    assert Pace(clock, LIMITS, quota, "live", alone=False).room() == pytest.approx(0)
    assert Pace(clock, LIMITS, quota, "background", alone=False).room() == pytest.approx(0)


def test_without_limits_there_is_always_room_and_still_an_account():
    clock = VirtualClock()
    step = Pace(clock, None, Quota(), "background", alone=False)
    step.spend(10**6)
    assert step.room() > 10**6
    assert step.charged(Quota()).spent == 10**6
    clock.advance(86_400)
    assert step.charged(Quota()).spent_on(clock.now() - 86_400) == 0


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path, page_size=10)


def limited(machine: Machine, per_second: float) -> Machine:
    machine.provider.limits = Limits(per_second, per_second * 10)
    return machine


def test_a_backfill_takes_the_time_that_its_quota_asks_for_and_is_never_limited(machine):
    limited(machine, per_second=2.0)
    began = machine.clock.now()
    machine.followed(mails=60)
    machine.run(300)
    assert machine.state.backfill.done
    assert machine.state.quota.spent == pytest.approx(machine.provider.spent + 6)  # six pages of a listing
    assert machine.clock.now() - began > machine.provider.spent / 2.0 - 10
    machine.verify()


def test_a_page_that_would_have_to_wait_long_is_put_off_without_a_word(machine):
    limited(machine, per_second=0.5)
    machine.followed(mails=20)
    machine.run(900, ticks=True)
    assert machine.state.backfill.done
    assert machine.state.last_error is None
    machine.verify()


def test_a_backfill_gives_way_to_a_live_walk_that_has_not_ended_and_lends_it_the_quota(machine):
    limited(machine, per_second=10.0)
    for number in range(30):
        machine.provider.deliver(f"old{number}", at=1.0)
    machine.connect()
    sync.step(machine.ctx, StepTask(MAILBOX, "connect"))
    for number in range(5):
        machine.provider.deliver(f"new{number}")
    machine.provider.history_page = 2
    sync.step(machine.ctx, StepTask(MAILBOX, "live"))
    state = machine.state
    assert state.more
    sync.step(machine.ctx, StepTask(MAILBOX, "backfill", state.epoch, page_of(state, "backfill")))
    assert machine.state.backfill.page == 0
    assert machine.state.quota.lent_until > machine.clock.now()
    assert Account(machine.ctx, machine.state)._pace.room() > 10.0 * 10 * LIVE_BURST
    machine.run(60)
    assert machine.state.backfill.done
    machine.verify()


def test_a_live_walk_that_never_ends_does_not_keep_a_backfill_waiting_for_ever(machine):
    limited(machine, per_second=10.0)
    machine.provider.deliver("old", at=1.0)
    machine.connect()
    sync.step(machine.ctx, StepTask(MAILBOX, "connect"))
    for number in range(5):
        machine.provider.deliver(f"new{number}")
    machine.provider.history_page = 2
    sync.step(machine.ctx, StepTask(MAILBOX, "live"))
    state = machine.state
    sync.step(machine.ctx, StepTask(MAILBOX, "backfill", state.epoch, page_of(state, "backfill"), waits=12))
    assert machine.state.backfill.page == 1


def test_having_given_way_makes_no_pause_longer(machine):
    machine.provider.deliver("old", at=1.0)
    machine.connect()
    sync.step(machine.ctx, StepTask(MAILBOX, "connect"))
    state = machine.state
    machine.provider.limit_next = 5.0
    sync.step(machine.ctx, StepTask(MAILBOX, "backfill", state.epoch, page_of(state, "backfill"), waits=12))
    assert machine.state.resume_at == machine.clock.now() + 5


class Narrow(MemoryProvider):
    """A provider that lets through no more than 30 messages before it wants a pause."""

    def fetch(self, access, ids, threads=()):
        if len(ids) > 30:
            access.meter.spend(60)
            raise RateLimited(retry_after=2.0)
        return super().fetch(access, ids, threads)


def test_a_page_that_is_too_much_for_the_provider_becomes_smaller_until_it_is_not(tmp_path):
    machine = Machine(tmp_path, page_size=100)
    machine.provider = Narrow(machine.clock)
    machine.start()
    machine.followed(mails=150)
    machine.run(300)
    assert machine.state.backfill.done
    assert machine.state.quota.spent > machine.provider.spent + 2 * 60  # what was asked in vain counts as well
    machine.provider.expire_history()
    for number in range(100):
        machine.provider.delete(f"old{number}")
    machine.ring()
    machine.run(300)
    assert machine.state.resyncs == 1
    assert machine.state.resync is None
    machine.verify()


def test_messages_that_come_with_their_thread_are_read_once(machine):
    machine.provider.whole_threads = True
    for number in range(40):
        machine.provider.deliver(f"old{number}", at=1.0 + number, thread=f"t{number % 8}")
    machine.connect()
    machine.run(60)
    assert machine.state.backfill.done
    assert machine.state.backfill.early == ()
    assert machine.provider.calls["thread"] <= 8 + 2
    assert machine.provider.calls["get"] < 40
    assert machine.state.messages == 40
    machine.verify()


def test_a_thread_that_came_early_is_changed_by_live_sync_like_any_other(machine):
    machine.provider.whole_threads = True
    for number in range(40):
        machine.provider.deliver(f"old{number}", at=1.0 + number, thread=f"t{number % 8}")
    machine.connect()
    sync.step(machine.ctx, StepTask(MAILBOX, "connect"))
    state = machine.state
    sync.step(machine.ctx, StepTask(MAILBOX, "backfill", state.epoch, page_of(state, "backfill")))
    early = machine.state.backfill.early
    assert early
    machine.provider.relabel(early[0], add=["STARRED"])
    machine.provider.delete(early[1])
    machine.ring()
    machine.run(60)
    machine.verify()


def test_what_the_provider_was_asked_is_shown(machine):
    limited(machine, per_second=100.0)
    machine.followed(mails=5)
    (shown,) = machine.accounts.status("user_abc123")["mailboxes"]
    assert shown["quota"] == {"spent": machine.state.quota.spent, "today": machine.state.quota.today}
    assert shown["quota"]["spent"] > 10
