"""The audit: what the store has lost behind our back is found within one period, put right, and told of once.

First the acceptance through the whole product, then single hostile things against the engine and a provider in memory. One
long file: they share what they break and how they look at it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest

from shared import queries, refs
from shared.errors import ProviderUnavailable
from shared.events.envelope import iso
from shared.mail import audit, sync, told
from shared.mail import message as mail
from shared.mail.accounts import Accounts
from shared.mail.schedule import DAY, Schedule
from shared.mail.state import STUCK_AFTER
from shared.mail.tasks import StepTask, begin_audit
from shared.mail.tick import tick
from shared.observability import logs
from shared.ports import Delete, Put, Update
from shared.providers.base import Listing, Page, Span
from tests.machine import MAILBOX, UID, Machine
from tests.world import ADDRESS, World

PERIOD = 3600.0
SCHEDULE = Schedule(tick=60.0, audit=PERIOD)


# The whole product


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, 1, page_size=25, audit_seconds=PERIOD)
    world.connect()
    world.run(60)
    for number in range(12):
        world.google.add_mails(ADDRESS, [PLAN | {"subject": f"mail {number}", "date": world.clock.now()}])
        world.run(20)
    world.run(120)
    assert len(stored(world)) == 12
    return world


PLAN = {"sender": ["Bob", "bob@example.org"], "to": [["", ADDRESS]], "labels": ("INBOX", "UNREAD"), "body": "b"}


def status(world: World) -> dict[str, Any]:
    (mailbox,) = world.api("GET", "/mail/status")["mailboxes"]
    return mailbox


def stored(world: World) -> dict[str, dict[str, Any]]:
    found = world.all("/mail/messages", "messages", mailbox=MAILBOX)
    return {message["provider_message_id"]: message for message in found}


def one_period_later(world: World) -> dict[str, Any]:
    """Let an audit period pass, and the poll that begins the audit; answer the audit of then."""
    before = world.clock.now()
    world.run(PERIOD + 900 + 120)
    found = status(world)["audit"]
    assert found is not None
    assert found["audited_at"] > iso(before)
    return found


def settled_as_google_has_it(world: World) -> None:
    truth = {one["id"]: one["labels"] for one in world.google.truth(ADDRESS)["mails"]}
    assert {id_: message["labels"] for id_, message in stored(world).items()} == truth
    assert status(world)["messages"] == len(truth)


def told_exactly_once(world: World) -> list[dict[str, Any]]:
    """Every event id and every announcement is there once, and the stream has no holes; answers the repairs."""
    events = world.events()
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert [id_ for id_, times in Counter(event["id"] for event in events).items() if times > 1] == []
    announced = Counter(
        event["data"]["provider_message_id"] for event in events if event["type"] in ("email.received", "email.sent")
    )
    assert set(announced.values()) <= {1}
    received = sum(event["type"] == "email.received" for event in events)
    assert sum(row["mails"] for row in world.all("/mail/senders", "senders")) == received
    return [event for event in events if event["origin"] == "repair"]


def test_a_document_removed_behind_our_back_shows_within_one_period_and_comes_back_with_an_update(world):
    [victim, *_] = stored(world)
    world.ports.store.commit([Delete(refs.message(MAILBOX, victim))])
    found = one_period_later(world)
    assert (found["audited"], found["missing"], found["repaired"]) == (12, 1, 1)
    assert found["ratio"] == round(11 / 12, 6)
    [repair] = told_exactly_once(world)
    assert (repair["type"], repair["data"]["provider_message_id"]) == ("email.updated", victim)
    assert repair["data"]["origin"] == "repair"
    assert {"subject", "sender", "labels"} <= set(repair["data"]["changed"])
    assert stored(world)[victim]["announced"] == "received"
    settled_as_google_has_it(world)
    assert one_period_later(world)["ratio"] == 1.0
    assert len(told_exactly_once(world)) == 1, "what was put right is not put right again"


def test_a_mail_that_was_never_stored_and_never_told_of_is_received(world, monkeypatch):
    whole = sync.CHAINS["live"]
    monkeypatch.setitem(sync.CHAINS, "live", _deaf)  # the engine moves its cursor over what it should have stored
    [lost] = world.google.add_mails(ADDRESS, [PLAN | {"subject": "lost", "date": world.clock.now()}])
    world.run(120)
    monkeypatch.setitem(sync.CHAINS, "live", whole)
    assert lost not in stored(world)
    found = one_period_later(world)
    assert (found["missing"], found["repaired"]) == (1, 1)
    [repair] = told_exactly_once(world)
    assert (repair["type"], repair["data"]["subject"], repair["origin"]) == ("email.received", "lost", "repair")
    settled_as_google_has_it(world)


def _deaf(ctx, loaded, task):
    """A live look that loses what it reads."""
    from shared.mail.apply import apply
    from shared.mail.context import Account
    from shared.mail.fold import Work

    account = Account(ctx, loaded.state)
    page = account.call(lambda provider, access: provider.changes(access, loaded.state.cursor))
    at = ctx.clock.now()
    moved = Work("live", at, (), lambda state: replace(state, cursor=page.cursor, cursor_at=at))
    apply(ctx, loaded, moved, lambda state: state.cursor)
    return True


def test_a_tombstone_set_behind_our_back_is_taken_back(world):
    [victim, *_] = stored(world)
    ref = refs.message(MAILBOX, victim)
    doc = world.ports.store.get([ref])[ref]
    world.ports.store.commit([Update(ref, mail.tombstone(victim, doc.data["version"]), doc.version)])
    assert victim not in stored(world)
    found = one_period_later(world)
    assert (found["missing"], found["repaired"]) == (1, 1)
    [repair] = told_exactly_once(world)
    assert repair["type"] == "email.updated"
    assert stored(world)[victim]["announced"] == "received", "the log knew it, though the tombstone did not"
    settled_as_google_has_it(world)


def test_a_change_of_a_lost_document_before_the_audit_comes_restores_it_and_announces_nothing_again(world):
    [victim, *_] = stored(world)
    world.ports.store.commit([Delete(refs.message(MAILBOX, victim))])
    world.google.change_labels(ADDRESS, victim, ["STARRED"], ["UNREAD"])
    world.run(60)
    settled_as_google_has_it(world)
    assert told_exactly_once(world) == [], "live sync was first"
    assert world.events()[-1]["type"] == "email.updated"
    assert one_period_later(world)["ratio"] == 1.0


def test_labels_altered_behind_our_back_are_put_right(world):
    [victim, *_] = stored(world)
    ref = refs.message(MAILBOX, victim)
    doc = world.ports.store.get([ref])[ref]
    world.ports.store.commit([Update(ref, {"labels": ["INBOX", "STARRED"]}, doc.version)])
    found = one_period_later(world)
    assert (found["missing"], found["differing"], found["repaired"], found["ratio"]) == (0, 1, 1, 1.0)
    [repair] = told_exactly_once(world)
    assert (repair["type"], repair["data"]["changed"]) == ("email.updated", ["labels"])
    settled_as_google_has_it(world)


def test_a_mail_that_google_has_no_more_and_nobody_told_of_is_deleted_after_its_404(world, monkeypatch):
    whole = sync.CHAINS["live"]
    monkeypatch.setitem(sync.CHAINS, "live", _deaf)
    [victim, *_] = stored(world)
    world.google.delete(ADDRESS, victim)
    world.run(120)
    monkeypatch.setitem(sync.CHAINS, "live", whole)
    found = one_period_later(world)
    assert (found["gone"], found["missing"], found["ratio"]) == (1, 0, 1.0)
    [repair] = told_exactly_once(world)
    assert (repair["type"], repair["data"]["provider_message_id"]) == ("email.deleted", victim)
    settled_as_google_has_it(world)


def test_the_same_loss_twice_is_told_of_twice_under_two_ids(world):
    [victim, *_] = stored(world)
    for _ in range(2):
        world.ports.store.commit([Delete(refs.message(MAILBOX, victim))])
        assert one_period_later(world)["repaired"] == 1
    assert [repair["type"] for repair in told_exactly_once(world)] == ["email.updated"] * 2


def test_audits_find_nothing_to_repair_beside_traffic_and_push_faults(tmp_path):
    world = World(tmp_path, 5, page_size=25, audit_seconds=900.0)
    world.google.set_faults({"drop": 0.5, "duplicate": 0.3, "delay": 0.1, "delay_seconds": 3.0, "early": 0.2})
    world.connect(mails=60)
    world.traffic(60, seconds=5400.0)
    world.run(3600)
    state = status(world)
    assert (state["status"], state["last_error"], state["audit"]["ratio"]) == ("live", None, 1.0)
    assert told_exactly_once(world) == [], "what live sync has yet to read is not lost"
    settled_as_google_has_it(world)


def test_no_audit_where_the_setting_says_so(tmp_path):
    world = World(tmp_path, 1, audit_seconds=0.0, tick_seconds=900.0)
    world.connect(mails=3)
    world.run(2 * DAY)
    assert status(world)["audit"] is None
    assert "audit" not in [deadline["chain"] for deadline in status(world)["deadlines"]]


def test_an_ordinary_mailbox_is_audited_once_a_day(tmp_path):
    world = World(tmp_path, 1, tick_seconds=900.0)
    world.connect(mails=3)
    world.run(3 * DAY)
    assert 2 <= world.product.accounts._mailboxes(UID, "GOOGLE")[0].state.audits <= 3


# The engine alone


@pytest.fixture
def machine(tmp_path):
    return audited_machine(tmp_path)


def audited_machine(folder, mails=20, page_size=10, **options):
    machine = Machine(folder, page_size=page_size, **options)
    schedule(machine)
    machine.followed()
    for number in range(mails):
        machine.provider.deliver(f"m{number}")
        machine.clock.advance(1)
    machine.ring()
    machine.run(APART)
    return machine


APART = 120.0
"""Seconds after which a mail is old enough to count as missing."""


def schedule(machine, **options):
    machine.ctx = replace(machine.ctx, schedule=replace(SCHEDULE, **options))
    machine.accounts = Accounts(machine.ctx)


def begin(machine):
    begin_audit(machine.tasks, machine.state, machine.clock.now())


def run_audit(machine):
    begin(machine)
    machine.run(30)
    return machine.state.audited and machine.state.audited.findings


def remove(machine, *ids):
    machine.store.inner.commit([Delete(refs.message(MAILBOX, id_)) for id_ in ids])


def repairs(machine):
    return [event for event in machine.log() if event.origin == "repair"]


def test_an_idle_mailbox_costs_one_write_and_a_read_for_each_document_of_the_window(machine):
    labels = len({label for message in machine.provider.messages.values() for label in message.labels})
    reads, writes, calls = machine.store.reads, machine.store.writes, Counter(machine.provider.calls)
    enqueued = len(machine.tasks.enqueued)
    task = StepTask(MAILBOX, "audit", machine.state.epoch, f"{machine.state.audits}.0")
    sync.step(machine.ctx, task)
    assert machine.state.audited.findings.compared == 20
    assert machine.store.writes - writes == 1
    assert machine.store.reads - reads - 3 == 1 + 20, "the mailbox and the window; three are this test's own looks"
    asked = Counter(machine.provider.calls) - calls
    assert asked == {"list": 1 + labels, "labels": 1}
    assert len(machine.tasks.enqueued) == enqueued, "an audit of one page needs no successor"


def test_the_window_is_compared_and_nothing_older(machine):
    machine.provider.deliver("ancient", at=machine.clock.now() - 30 * DAY)
    machine.ring()
    machine.run(60)
    remove(machine, "ancient")
    assert run_audit(machine).compared == 20


def test_thousands_missing_come_back_in_bounded_steps(tmp_path):
    machine = audited_machine(tmp_path, mails=1300, page_size=100)
    remove(machine, *[f"m{number}" for number in range(1100)])
    machine.store.commits.clear()
    calls = machine.provider.calls["get"]
    begin(machine)
    machine.run(60)
    findings = machine.state.audited.findings
    assert (findings.compared, findings.missing, findings.repaired) == (1300, 1100, 1100)
    assert machine.provider.calls["get"] - calls == 1100
    sizes = [
        sum(write.ref.startswith(refs.stream(MAILBOX) + "/messages") for write in c) for c in machine.store.commits
    ]
    assert max(sizes) == audit.ASKED_AT_ONCE
    assert Counter(event.type for event in repairs(machine)) == {"email.updated": 1100}
    machine.verify()


def test_an_empty_listing_by_mistake_deletes_nothing_and_asks_for_a_bounded_number(tmp_path):
    machine = audited_machine(tmp_path, mails=300, page_size=100)
    machine.ctx = replace(machine.ctx, providers={"GOOGLE": Patched(machine.provider, list_ids=lambda *a, **k: EMPTY)})
    gets = machine.provider.calls["get"]
    findings = run_audit(machine)
    assert machine.provider.calls["get"] - gets == audit.UNLISTED_AT_MOST
    assert (findings.gone, findings.unasked) == (0, 200)
    assert repairs(machine) == []
    machine.verify()


def test_an_empty_listing_and_a_404_for_everything_delete_no_more_than_one_audit_may(tmp_path):
    machine = audited_machine(tmp_path, mails=300, page_size=100)
    machine.provider.unreadable = set(machine.provider.messages)
    machine.ctx = replace(machine.ctx, providers={"GOOGLE": Patched(machine.provider, list_ids=lambda *a, **k: EMPTY)})
    assert run_audit(machine).gone == audit.UNLISTED_AT_MOST
    machine.provider.unreadable = set()
    machine.ctx = replace(machine.ctx, providers={"GOOGLE": machine.provider})
    machine.run(APART)
    assert run_audit(machine).missing == audit.UNLISTED_AT_MOST
    stored = {id_ for id_, data in machine.documents().items() if data["state"] == mail.PRESENT}
    assert stored == set(machine.provider.messages), "and what the provider shows again comes back"


EMPTY = Listing((), None)


class Patched:
    """A provider some of whose calls are a test's own."""

    def __init__(self, inner: Any, **calls: Any) -> None:
        self._inner = inner
        self.__dict__ |= calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_an_audit_waits_for_the_backfill_and_for_a_resync(tmp_path):
    machine = Machine(tmp_path, page_size=5)
    schedule(machine)
    for number in range(30):
        machine.provider.deliver(f"old{number}")
    machine.clock.advance(APART)
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))
    assert machine.state.catching_up
    sync.step(machine.ctx, StepTask(MAILBOX, "audit", machine.state.epoch, "0.0"))
    assert machine.state.audited is None
    assert machine.state.audit is None
    machine.run(60)
    machine.provider.expire_history()
    begin(machine)
    remove(machine, "old3")  # so that the audit looks at the history, and finds it expired
    machine.run(60)
    assert machine.state.resyncs == 1
    assert machine.state.audited is None, "the resync has taken the audit's place"
    assert run_audit(machine).missing == 0


def test_a_resync_that_begins_ends_the_audit_that_is_under_way(tmp_path):
    machine = audited_machine(tmp_path, mails=600, page_size=100)
    sync.step(machine.ctx, StepTask(MAILBOX, "audit", machine.state.epoch, f"{machine.state.audits}.0"))
    assert machine.state.audit is not None
    machine.provider.expire_history()
    machine.provider.deliver("new")
    sync.step(machine.ctx, StepTask(MAILBOX, "live"))
    machine.run(120)
    assert (machine.state.audit, machine.state.due_audit, machine.state.audited) == (None, None, None)
    machine.verify()


def test_a_gap_is_known_to_be_missing_and_left_to_its_own_chain(machine):
    machine.provider.deliver("broken")
    machine.provider.refused.add("broken")
    machine.ring()
    machine.run(APART)
    gets = machine.provider.calls["get"]
    findings = run_audit(machine)
    assert (findings.compared, findings.missing, findings.gaps, findings.repaired) == (20, 0, 1, 0)
    assert machine.provider.calls["get"] == gets


def given_up(machine, *ids):
    """Messages are refused until their gaps are reported."""
    for id_ in ids:
        machine.provider.refused.add(id_)
        machine.provider.deliver(id_)
        machine.ring()
        machine.run(10)
        machine.provider.deliver(f"beside {id_}")
        machine.ring()
        machine.run(10)
    for _ in range(12):
        machine.clock.advance(DAY / 2)
        sync.step(machine.ctx, StepTask(MAILBOX, "gaps", machine.state.epoch))
    assert {id_: gap_of(machine, id_)["status"] for id_ in ids} == dict.fromkeys(ids, "reported")


def gap_of(machine, id_):
    ref = refs.gap(MAILBOX, id_)
    return machine.store.inner.get([ref])[ref].data


def test_a_gap_that_was_given_up_is_asked_for_by_each_audit_and_stays_one_while_it_is_refused(machine):
    schedule(machine, audit_window=30 * DAY)
    given_up(machine, "broken")
    gap = gap_of(machine, "broken")
    for _ in range(2):
        gets = machine.provider.calls["get"]
        findings = run_audit(machine)
        assert (findings.compared, findings.missing, findings.gaps, findings.repaired) == (21, 0, 1, 0)
        assert machine.provider.calls["get"] - gets == 1
    assert gap_of(machine, "broken") == gap, "it is not begun anew"


def test_a_gap_that_was_given_up_and_is_served_at_last_is_stored_and_told_of_and_a_gap_no_more(machine):
    schedule(machine, audit_window=30 * DAY)
    given_up(machine, "broken")
    machine.provider.refused.clear()
    findings = run_audit(machine)
    assert (findings.missing, findings.gaps, findings.repaired) == (1, 0, 1)
    [repair] = repairs(machine)
    assert (repair.type, repair.data["provider_message_id"]) == ("email.received", "broken")
    assert (gap_of(machine, "broken")["status"], gap_of(machine, "broken")["next_at"]) == ("resolved", None)
    assert run_audit(machine).ratio == 1.0
    machine.verify()


def test_many_gaps_that_were_given_up_are_asked_for_a_few_at_a_time(machine):
    """All at once would look like an outage of the provider."""
    schedule(machine, audit_window=30 * DAY)
    given_up(machine, *[f"broken{number}" for number in range(12)])
    asked = []

    def fetch(access, ids, threads=()):
        asked.append(len(ids))
        return machine.provider.fetch(access, ids, threads)

    machine.ctx = replace(machine.ctx, providers={"GOOGLE": Patched(machine.provider, fetch=fetch)})
    assert run_audit(machine).gaps == 12
    assert asked == [5, 5, 2]


def test_a_lost_message_that_the_provider_refuses_becomes_a_gap(machine):
    remove(machine, "m3")
    machine.provider.refused.add("m3")
    findings = run_audit(machine)
    assert (findings.missing, findings.repaired) == (1, 0)
    docs = machine.store.inner.query(queries.open_gaps(MAILBOX, 10))
    assert [doc.data["id"] for doc in docs] == ["m3"]


def test_a_young_mail_is_live_syncs_business(machine):
    machine.provider.deliver("new")
    findings = run_audit(machine)
    assert (findings.missing, repairs(machine)) == (0, [])


def test_a_young_mail_that_the_history_does_not_show_yet_is_not_missing(machine):
    machine.provider.deliver("new")
    cursor = machine.state.cursor
    silent = Patched(machine.provider, changes=lambda access, _cursor: Page((), cursor))
    machine.ctx = replace(machine.ctx, providers={"GOOGLE": silent})
    assert run_audit(machine).missing == 0
    assert repairs(machine) == []


def test_what_live_sync_has_yet_to_read_is_read_by_live_sync(machine):
    machine.provider.deliver("new")
    machine.provider.relabel("m1", add=["STARRED"])
    machine.provider.delete("m2")
    machine.clock.advance(APART)  # and no push came
    findings = run_audit(machine)
    assert (findings.missing, findings.differing, findings.gone) == (0, 0, 0)
    assert repairs(machine) == []
    assert machine.state.push_gaps == 1, "it was the audit that made live sync look, not a push"
    machine.verify()


def behind(machine, seconds):
    """The audit of a mailbox whose live sync has failed for so long; it has not read a new mail and a change of an old one."""
    provider = machine.provider

    def unserved(*_args: Any) -> Page:
        raise ProviderUnavailable("The history is not served.")

    provider.deliver("new")
    provider.relabel("m1", add=["STARRED"])
    machine.ctx = replace(machine.ctx, providers={"GOOGLE": Patched(provider, changes=unserved)})
    machine.ring()
    machine.run(seconds)
    task = StepTask(MAILBOX, "audit", machine.state.epoch, f"{machine.state.audits}.0", waits=audit.LOOKS_FIRST)
    machine.ctx = replace(machine.ctx, providers={"GOOGLE": provider})  # it is served again, to the audit first
    sync.step(machine.ctx, task)
    return machine.state.audited.findings


def test_what_live_sync_has_not_read_for_long_counts_as_missing_though_it_is_left_to_live_sync(machine):
    findings = behind(machine, 2 * 3600.0)
    assert (findings.compared, findings.missing, findings.differing, findings.repaired) == (21, 1, 1, 0)
    assert findings.ratio < 1.0
    assert repairs(machine) == []
    machine.run(3600.0)
    assert repairs(machine) == []
    machine.verify()


def test_what_live_sync_has_not_read_for_a_while_is_not_missing(machine):
    findings = behind(machine, 900.0)
    assert (findings.compared, findings.missing, findings.differing, findings.repaired) == (19, 0, 0, 0)
    machine.run(3600.0)
    machine.verify()


def test_a_deletion_while_the_audit_writes_is_not_undone(machine):
    remove(machine, "m3")

    def others(_writes):
        machine.provider.delete("m3")
        sync.step(machine.ctx, StepTask(MAILBOX, "live"))

    machine.store.before_commit.append(others)
    sync.step(machine.ctx, StepTask(MAILBOX, "audit", machine.state.epoch, f"{machine.state.audits}.0"))
    machine.run(30)
    assert machine.documents()["m3"]["state"] == mail.TOMBSTONE
    assert repairs(machine) == []


def test_a_change_while_the_audit_writes_is_not_overwritten(machine):
    ref = refs.message(MAILBOX, "m3")
    machine.store.inner.commit([Put(ref, {**machine.documents()["m3"], "labels": ["SPAM"]})])

    def others(_writes):
        machine.provider.relabel("m3", add=["STARRED"])
        sync.step(machine.ctx, StepTask(MAILBOX, "live"))

    machine.store.before_commit.append(others)
    sync.step(machine.ctx, StepTask(MAILBOX, "audit", machine.state.epoch, f"{machine.state.audits}.0"))
    machine.run(60)
    assert tuple(machine.documents()["m3"]["labels"]) == machine.provider.messages["m3"].labels
    machine.verify()


def test_two_audits_at_once_are_one(machine):
    remove(machine, "m3")
    page = f"{machine.state.audits}.0"
    task = StepTask(MAILBOX, "audit", machine.state.epoch, page)
    machine.store.before_commit.append(lambda _writes: sync.step(machine.ctx, task))
    sync.step(machine.ctx, task)
    machine.run(60)
    assert machine.state.audits == 1
    assert len(repairs(machine)) == 1


def test_the_answer_of_the_repair_is_lost_and_nothing_is_told_twice(machine):
    remove(machine, "m3")
    machine.store.after_commit.append(machine.lose_answer)
    run_audit(machine)
    assert machine.state.audits == 1
    assert len(repairs(machine)) == 1
    machine.verify()


def test_a_disconnect_while_the_audit_reads_leaves_nothing_behind(machine):
    remove(machine, "m3")
    machine.store.before_commit.append(lambda _writes: machine.accounts.disconnect(UID, "google"))
    sync.step(machine.ctx, StepTask(MAILBOX, "audit", machine.state.epoch, f"{machine.state.audits}.0"))
    machine.run(60)
    assert machine.state.status == "disconnected"
    assert "m3" not in machine.documents()
    assert (machine.state.audit, machine.state.due_audit) == (None, None)


def test_a_provider_that_refuses_searches_stops_nothing_but_the_audit(machine):
    from shared.errors import ProviderRefused

    def refused(*_args: Any, **_options: Any) -> Any:
        raise ProviderRefused("The scope does not support searches.")

    machine.ctx = replace(machine.ctx, providers={"GOOGLE": Patched(machine.provider, list_ids=refused)})
    assert run_audit(machine) is None
    assert (machine.state.status, machine.state.due_audit) == ("live", None)
    assert machine.state.last_error.startswith("No audit: ")
    for _ in range(12):
        run_audit(machine)
    assert machine.state.retry_count == 1, "each audit is refused for itself"
    machine.ctx = replace(machine.ctx, providers={"GOOGLE": machine.provider})
    assert run_audit(machine).compared == 20
    assert machine.state.last_error is None


def test_a_provider_that_limits_is_asked_again_when_it_wants_to_be(machine):
    machine.provider.limit_next = 90.0
    begin(machine)
    machine.run(10)
    assert machine.state.status == "rate_limited"
    machine.run(100)
    assert machine.state.audited.findings.compared == 20
    assert machine.state.audits == 1


def test_a_provider_that_is_down_is_asked_again_and_the_audit_does_not_pile_up(machine):
    machine.provider.down = True
    for _ in range(5):
        begin(machine)
        machine.run(900)
    machine.provider.down = False
    machine.run(2 * STUCK_AFTER)
    assert machine.state.audits == 1
    assert machine.state.last_error is None


def test_a_grant_that_ends_ends_the_audit_too(machine):
    machine.provider.dead = True
    run_audit(machine)
    assert machine.state.status == "reauth_required"
    machine.run(2 * DAY, ticks=False)
    assert machine.state.audited is None
    machine.provider.dead = False
    machine.connect()
    machine.run(APART)
    assert run_audit(machine).compared == 20


def test_a_page_token_that_expires_starts_the_audit_over(tmp_path):
    from shared.errors import PageExpired

    machine = audited_machine(tmp_path, mails=700, page_size=100)
    expired = []

    def list_ids(access: Any, page: Any, *rest: Any, **options: Any) -> Any:
        if page is not None and not expired:
            expired.append(page)
            raise PageExpired
        return machine.provider.list_ids(access, page, *rest, **options)

    machine.ctx = replace(machine.ctx, providers={"GOOGLE": Patched(machine.provider, list_ids=list_ids)})
    findings = run_audit(machine)
    assert expired
    assert (findings.compared, findings.missing, machine.state.audits) == (700, 0, 1)


def test_a_listing_that_leads_round_in_circles_is_given_up(machine, monkeypatch):
    monkeypatch.setattr(audit, "STEPS_AT_MOST", 20)

    def list_ids(access: Any, page: Any, *rest: Any, **options: Any) -> Any:
        return replace(machine.provider.list_ids(access, None, *rest, **options), next="b" if page == "a" else "a")

    machine.ctx = replace(machine.ctx, providers={"GOOGLE": Patched(machine.provider, list_ids=list_ids)})
    assert run_audit(machine) is None
    assert (machine.state.audit, machine.state.status) == (None, "live")
    assert machine.state.last_error == "No audit: The audit takes too many steps."


def test_what_an_audit_has_asked_is_charged_to_the_mailbox(machine):
    machine.provider.deliver("new")
    machine.clock.advance(APART)
    spent = machine.state.quota.background.spent
    begin(machine)
    machine.deliver(machine.claim(kind="audit"))
    assert machine.state.quota.background.spent > spent, "also by a step that has let live sync look first"
    machine.run(60)
    assert machine.state.audits == 1


def test_an_audit_whose_task_was_lost_is_taken_up_again(tmp_path):
    machine = audited_machine(tmp_path, mails=600, page_size=100)
    begin(machine)
    machine.deliver(machine.claim(kind="audit"))
    machine.queue.settle(machine.claim(kind="audit"), 200)
    machine.run(60)
    assert machine.state.audit is not None
    machine.clock.advance(STUCK_AFTER)
    tick(machine.ctx, SCHEDULE)
    machine.run(30)
    assert machine.state.audited.findings.compared == 600
    assert machine.state.rescue == 1
    assert machine.accounts.status(UID)["mailboxes"][0]["rescues"] == 1


def test_the_log_is_searched_in_bounded_steps_and_found_by_its_times(tmp_path, monkeypatch):
    monkeypatch.setattr(told, "SEGMENTS_AT_ONCE", 10)
    machine = Machine(tmp_path, page_size=1)
    schedule(machine)
    for number in range(40):
        machine.provider.deliver(f"old{number}", at=machine.clock.now() - DAY - number)
    machine.connect()
    machine.run(60)
    machine.clock.advance(40 * DAY)
    for number in range(45):
        machine.provider.deliver(f"m{number}")
        machine.ring()
        machine.run(20)
    machine.run(APART)
    remove(machine, "m40", "m1")
    reads = machine.store.reads
    assert run_audit(machine).repaired == 2
    assert [event.type for event in repairs(machine)] == ["email.updated"] * 2
    assert told.begin(machine.store, machine.state, machine.clock.now() - DAY) >= 40, "what is old is stepped over"
    assert machine.store.reads - reads < 1500


def test_a_search_of_the_log_begins_before_every_announcement_it_may_need(tmp_path):
    machine = audited_machine(tmp_path)
    for event in machine.log():
        if event.type == "email.received":
            received = machine.provider.messages[event.data["provider_message_id"]].received_at
            assert told.begin(machine.store, machine.state, received) < event.sequence


def test_spam_that_was_lost_comes_back_silently_and_is_received_when_it_is_rescued(machine):
    machine.provider.deliver("spam", "SPAM")
    machine.ring()
    machine.run(APART)
    remove(machine, "spam")
    assert run_audit(machine).repaired == 1
    assert repairs(machine) == []
    machine.provider.relabel("spam", add=["INBOX"], remove=["SPAM"])
    machine.ring()
    machine.run(30)
    assert machine.log()[-1].type == "email.received"


def test_more_labels_than_messages_are_not_listed_one_by_one(machine):
    machine.ctx = replace(
        machine.ctx,
        providers={"GOOGLE": Patched(machine.provider, labels=lambda access: tuple(f"L{n}" for n in range(900)))},
    )
    lists = machine.provider.calls["list"]
    findings = run_audit(machine)
    assert (findings.compared, findings.differing) == (20, 0)
    assert machine.provider.calls["list"] - lists == 1


def test_the_result_of_an_audit_is_a_line_in_the_log(machine, capsys):
    import io

    stream = io.StringIO()
    logs.configure(machine.clock, "INFO", stream)
    remove(machine, "m3")
    run_audit(machine)
    lines = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    [said] = [line for line in lines if line["event"] == "audit_ended"]
    assert (said["mailbox_id"], said["missing"], said["ratio"], said["severity"]) == (MAILBOX, 1, 0.95, "WARNING")


def test_the_span_of_an_audit_reaches_the_provider(machine):
    asked = []

    def list_ids(*args: Any, **options: Any) -> Any:
        asked.append(options.get("within") or args[4])
        return machine.provider.list_ids(*args, **options)

    machine.ctx = replace(machine.ctx, providers={"GOOGLE": Patched(machine.provider, list_ids=list_ids)})
    run_audit(machine)
    assert asked[0] == Span(machine.state.audited.since)
    assert all(span.until is not None for span in asked[1:]), "of the labels only what the page spans is listed"
