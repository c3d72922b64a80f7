"""What hostile reviews once broke, each as the behaviour that has to hold.

One long file, by subject: a list that grows with every review, and whose entries share nothing but the machine.
"""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest

from infra.local.generator import generate
from shared import queries, refs
from shared.errors import PageExpired, ProviderRefused, ProviderUnavailable, RateLimited, Retry, TooLarge
from shared.events.app import AppStream
from shared.events.consume import Effects, Harness, Intent
from shared.events.streams import UserStreams
from shared.http import cursors
from shared.mail import sync
from shared.mail.accounts import Accounts
from shared.mail.context import amend_mailbox
from shared.mail.doorbell import gmail_push
from shared.mail.state import Backfill, document
from shared.mail.tasks import StepTask, continue_chain, parse
from shared.mail.tick import tick
from shared.ports import Create, Delete
from tests import world as whole
from tests.machine import MAILBOX, SCHEDULE, UID, Machine
from tests.world import ADDRESS, World


class Crash(BaseException):
    """The process is gone."""


def crash(*_: Any) -> None:
    raise Crash


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path, page_size=10)


def patched(machine: Machine, **methods: Any) -> Any:
    """Give the engine a provider some of whose methods behave otherwise; answers the original."""
    original = machine.provider

    class Changed:
        def __getattr__(self, name: str) -> Any:
            return methods.get(name) or getattr(original, name)

    machine.ctx = replace(machine.ctx, providers={"GOOGLE": Changed()})
    machine.accounts = Accounts(machine.ctx)
    return original


# Connecting


@pytest.mark.parametrize("expired", [False, True])
def test_tokens_of_another_account_change_nothing(tmp_path, expired):
    world = World(tmp_path, seed=1)
    world.connect(20)
    world.run(60)
    other = "bob@example.org"
    tokens = world.google.add_mailbox(other)
    world.google.add_mails(other, list(generate(5, 30, other, world.clock.now() - 60)), silent=True)
    world.api("POST", "/mail/connect", {"provider": "google", **{name: tokens[name] for name in whole._TOKENS}})
    world.run(5)
    world.traffic(2, 10)
    world.google.add_mails(other, list(generate(6, 5, other, world.clock.now())))
    if expired:
        world.google.expire_history(other)
    world.run(2 * 3600)
    (mailbox,) = world.api("GET", "/mail/status")["mailboxes"]
    assert mailbox["status"] == "live"
    assert "another account" in mailbox["last_error"]
    stored = {
        message["provider_message_id"] for message in world.all("/mail/messages", "messages", mailbox=whole.MAILBOX)
    }
    assert stored == {mail["id"] for mail in world.google.truth(ADDRESS)["mails"]}


def test_tokens_of_the_same_account_take_the_place_of_the_old_ones(tmp_path):
    world = World(tmp_path, seed=1)
    world.connect(5)
    world.run(30)
    old = world.grants()
    world.connect()
    world.run(30)
    (mailbox,) = world.api("GET", "/mail/status")["mailboxes"]
    assert (mailbox["status"], mailbox["last_error"]) == ("live", None)
    assert len(world.grants()) == 1
    assert world.grants() != old


def posted(world: World, address: str = ADDRESS, **changes: Any) -> None:
    """The person brings tokens of an account."""
    tokens = world.google.add_mailbox(address)
    world.api(
        "POST", "/mail/connect", {"provider": "google", **{name: tokens[name] for name in whole._TOKENS}, **changes}
    )


def status_of(world: World) -> tuple[str, str | None]:
    (mailbox,) = world.api("GET", "/mail/status")["mailboxes"]
    return mailbox["status"], mailbox["last_error"]


def test_a_reconnect_without_a_refresh_token_keeps_the_one_there_is(tmp_path):
    world = World(tmp_path, seed=1)
    world.connect(5)
    world.run(30)
    posted(world, refresh_token=None)
    world.run(3 * 3600)
    assert status_of(world) == ("live", None)


def test_many_connects_in_a_row_leave_one_grant_and_a_live_mailbox(tmp_path):
    world = World(tmp_path, seed=1)
    world.connect(5)
    world.run(30)
    for _ in range(3):
        posted(world)
    world.api("POST", "/mail/connect", {"provider": "google"})
    world.run(60)
    assert status_of(world) == ("live", None)
    assert len(world.grants()) == 1


def test_tokens_that_do_not_work_stop_no_mailbox_that_has_a_grant(tmp_path):
    world = World(tmp_path, seed=1)
    world.connect(5)
    world.run(30)
    before = world.grants()
    posted(world, access_token="nonsense", refresh_token="nonsense")
    world.traffic(2, 10)
    world.run(60)
    status, error = status_of(world)
    assert status == "live"
    assert error
    assert world.grants().keys() == before.keys()
    stored = {
        message["provider_message_id"] for message in world.all("/mail/messages", "messages", mailbox=whole.MAILBOX)
    }
    assert stored == {mail["id"] for mail in world.google.truth(ADDRESS)["mails"]}


def test_new_tokens_wait_for_their_step_when_connect_is_pressed_again(tmp_path):
    world = World(tmp_path, seed=1)
    world.connect(5)
    world.run(30)
    world.google.revoke(ADDRESS)
    world.run(3 * 3600)
    assert status_of(world)[0] == "reauth_required"
    posted(world)
    world.api("POST", "/mail/connect", {"provider": "google"})
    world.run(60)
    assert status_of(world) == ("live", None)


def test_a_candidate_that_was_verified_meanwhile_is_not_dropped(machine):
    machine.followed(mails=1)
    for name in ("one", "two", "three"):
        machine.store.commit([Create(refs.grant(UID, name), {})])
    machine.accounts.connect(UID, "google", "two")

    def meanwhile(_writes):
        machine.run(3)
        assert machine.state.grant_id == "two"

    machine.store.before_commit.append(meanwhile)
    machine.accounts.connect(UID, "google", "three")
    assert machine.store.get([refs.grant(UID, "two")])
    machine.run(5)
    assert machine.state.grant_id == "three"
    assert not machine.store.get([refs.grant(UID, "two")])


def test_a_doorbell_before_a_lost_connect_step_leaves_its_rescue(machine):
    machine.followed(mails=1)
    machine.accounts.disconnect(UID, "google")
    machine.run(10)
    machine.tasks.before_enqueue.append(crash)
    with pytest.raises(Crash):
        machine.connect()
    machine.provider.deliver("new")
    machine.ring()
    machine.run(86_400, ticks=True)
    assert machine.state.connected
    assert machine.state.channel is not None
    machine.verify()


def test_a_conflict_on_the_route_alone_is_read_again(machine):
    machine.connect()
    task = machine.claim(kind="connect")
    machine.store.before_commit.append(
        lambda _: machine.store.inner.commit(
            [Create(refs.route("GOOGLE", "ann@example.org"), {"mailboxes": ["x:m:G"]})]
        )
    )
    assert machine.deliver(task) == 200
    assert machine.failures == []


def test_disconnecting_twice_at_once_is_told_once(machine):
    machine.followed(mails=1)
    machine.store.before_commit.append(lambda _: machine.accounts.disconnect(UID, "google"))
    machine.accounts.disconnect(UID, "google")
    assert [event.type for event in machine.log()].count("mailbox.disconnected") == 1


# Gaps


def test_open_gaps_are_retried_after_a_reconnect(machine):
    machine.followed(mails=1)
    machine.provider.refused.add("bad")
    machine.provider.deliver("bad")
    machine.ring()
    machine.run(20)
    machine.accounts.disconnect(UID, "google")
    machine.run(10)
    machine.provider.refused.clear()
    machine.connect()
    machine.run(86_400, ticks=True)
    machine.verify()


def test_a_gap_is_not_resolved_by_a_message_that_cannot_be_stored(machine):
    machine.followed(mails=1)
    machine.provider.deliver("big")
    machine.provider.messages["big"] = replace(machine.provider.messages["big"], snippet="x" * 750_000)
    machine.ring()
    machine.run(120, ticks=True)
    (gap,), _ = machine.accounts.gaps(UID, MAILBOX, None, 10)
    assert gap["status"] == "open"


def test_many_gaps_are_worked_off_without_the_tick(machine):
    machine.followed(mails=1)
    for number in range(200):
        machine.provider.deliver(f"g{number}")
        machine.provider.unreadable.add(f"g{number}")
    machine.ring()
    machine.steps()
    machine.provider.unreadable.clear()
    machine.run(60)
    machine.verify()


def test_a_message_that_stays_older_than_a_known_change_becomes_a_gap_and_stops_nothing(machine):
    for number in range(30):
        machine.provider.deliver(f"o{number}", at=1.0)
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))
    machine.provider.relabel("o5", remove=["UNREAD"])
    sync.step(machine.ctx, StepTask(MAILBOX, "live"))
    current = machine.provider.messages["o5"]
    machine.provider.messages["o5"] = replace(current, version="100000000000000000008")
    machine.run(3600, ticks=True)
    assert machine.state.messages == 29
    machine.provider.messages["o5"] = current
    machine.run(2 * 86_400, ticks=True)
    machine.verify()


def test_a_tombstone_that_was_wrong_is_mended_by_the_next_change(machine):
    machine.followed(mails=2)
    machine.provider.relabel("old1", add=["STARRED"])
    machine.provider.unreadable.add("old1")
    machine.store.commit(
        [Delete(refs.message(MAILBOX, "old1"))]
    )  # behind our back: it will be asked for, and answer 404
    machine.ring()
    machine.run(1_500)
    assert machine.documents()["old1"]["state"] == "tombstone"
    machine.provider.unreadable.clear()
    machine.provider.relabel("old1", remove=["UNREAD"])
    machine.ring()
    machine.run(30)
    assert machine.documents()["old1"]["labels"] == list(machine.provider.messages["old1"].labels)


def test_a_trouble_of_the_backfill_ends_with_the_resync_that_replaces_it(machine):
    for number in range(30):
        machine.provider.deliver(f"o{number}", at=1.0)

    def list_ids(*_: Any) -> Any:
        raise ProviderRefused("Gmail refused a listing.")

    original = patched(machine, list_ids=list_ids)
    machine.connect()
    machine.run(30)
    assert machine.state.status == "error"
    machine.ctx = replace(machine.ctx, providers={"GOOGLE": original})
    original.expire_history()
    machine.ring()
    machine.run(120)
    assert (machine.state.status, machine.state.last_error) == ("live", None)
    machine.verify()


# Weight


def test_deleting_many_large_mails_at_once_fits(machine):
    machine.followed()
    many = tuple(f"person{number:06d}@a-rather-long-domain-name.example.org" for number in range(11_000))
    for number in range(7):
        machine.provider.deliver(f"h{number}")
        machine.provider.messages[f"h{number}"] = replace(machine.provider.messages[f"h{number}"], to=many)
        machine.ring()
        machine.run(10)
    for number in range(7):
        machine.provider.delete(f"h{number}")
    machine.ring()
    machine.run(60)
    machine.verify()


# Erasure


def test_an_erasure_whose_task_was_never_enqueued_is_finished_although_a_doorbell_came(machine):
    machine.followed(mails=3)
    machine.tasks.before_enqueue.append(crash)
    with pytest.raises(Crash):
        machine.accounts.erase(UID, MAILBOX)
    machine.ring()
    machine.run(3600, ticks=True)
    assert machine.store.get([refs.stream(MAILBOX)]) == {}


def test_an_erasure_that_crashes_among_a_consumers_effects_leaves_none_of_them(machine):
    machine.followed(mails=3)
    machine.accounts.erase(UID, MAILBOX)

    def fence(writes):
        machine.store.after_commit.append(fence)
        if any("erased" in getattr(write, "data", {}) for write in writes):
            raise Crash

    machine.store.after_commit.append(fence)
    with pytest.raises(Crash):
        machine.run(30)
    machine.start()
    machine.run(3600, ticks=True)
    assert machine.store.get([refs.stream(MAILBOX)]) == {}
    assert machine.store.query(queries.effects_of("senders", f"{MAILBOX}#1", 100)) == []
    assert machine.store.get([refs.watermark("senders", MAILBOX)]) == {}


def test_an_erasure_does_not_wait_for_the_provider_with_the_data(machine):
    machine.followed(mails=3)
    machine.provider.down = True
    machine.accounts.erase(UID, MAILBOX)
    machine.run(60, ticks=True)
    assert machine.documents() == {}
    assert machine.log() == []
    machine.provider.down = False
    machine.run(3600, ticks=True)
    assert machine.store.get([refs.stream(MAILBOX)]) == {}
    assert machine.provider.channels == 0


# Troubles and pauses


def test_a_stopped_chain_stays_visible_while_others_succeed(machine):
    machine.followed(mails=1)
    amend_mailbox(machine.ctx, MAILBOX, lambda state: replace(state, backfill=Backfill(page=50), status="backfilling"))

    def list_ids(*_: Any) -> Any:
        raise ProviderRefused("Gmail refused a listing.")

    patched(machine, list_ids=list_ids)
    continue_chain(machine.tasks, machine.state, "backfill")
    machine.steps()
    machine.provider.deliver("n1")
    machine.ring()
    machine.run(30, ticks=True)
    assert (machine.state.status, machine.state.last_error) == ("error", "Gmail refused a listing.")
    assert "n1" in machine.documents()


def test_a_pause_is_not_ended_by_a_step_in_flight(machine):
    machine.followed(mails=1)
    machine.provider.deliver("x")

    def others(_writes):
        machine.provider.limit_next = 600
        sync.step(machine.ctx, StepTask(MAILBOX, "channel", epoch=machine.state.epoch))

    machine.store.before_commit.append(others)
    sync.step(machine.ctx, StepTask(MAILBOX, "live"))
    assert machine.state.status == "rate_limited"
    assert machine.state.resume_at == machine.clock.now() + 600


def test_a_pause_of_nothing_is_no_hot_loop(machine):
    machine.followed(mails=1)

    def changes(*_: Any) -> Any:
        machine.provider.calls["asked"] += 1
        raise RateLimited(retry_after=0.0)

    patched(machine, changes=changes)
    machine.ring()
    machine.run(60)
    assert machine.provider.calls["asked"] < 12


def test_a_limit_while_a_resync_starts_is_a_limit(machine):
    machine.followed(mails=1)
    machine.provider.expire_history()

    def profile(*_: Any) -> Any:
        machine.provider.calls["asked"] += 1
        raise RateLimited(retry_after=600)

    patched(machine, profile=profile)
    machine.ring()
    machine.run(60)
    assert machine.provider.calls["asked"] == 1
    assert machine.state.status == "rate_limited"


def test_page_tokens_that_are_always_refused_stop_the_backfill_visibly(machine):
    for number in range(30):
        machine.provider.deliver(f"o{number}", at=1.0)
    listed = machine.provider.list_ids

    def list_ids(token: str, page: str | None, *rest: Any) -> Any:
        if page is not None:
            raise PageExpired
        return listed(token, page, *rest)

    patched(machine, list_ids=list_ids)
    machine.connect()
    machine.steps()
    assert machine.state.status == "error"
    assert machine.provider.calls["get"] < 100


def test_a_listing_that_leads_back_to_itself_stops_the_backfill_visibly(machine):
    for number in range(30):
        machine.provider.deliver(f"o{number}", at=1.0)
    listed = machine.provider.list_ids
    patched(machine, list_ids=lambda token, page, *rest: replace(listed(token, None, *rest), next="same"))
    machine.connect()
    machine.steps()
    assert machine.state.status == "error"


@pytest.mark.parametrize("with_gap", [False, True])
def test_an_outage_does_not_multiply_tasks(machine, with_gap):
    machine.followed(mails=1)
    if with_gap:
        machine.provider.deliver("bad")
        machine.provider.refused.add("bad")
        machine.ring()
        machine.run(30, ticks=True)
    machine.provider.down = True
    calls, depth = [], 0
    for _ in range(4):
        before = sum(machine.provider.calls.values())
        for _ in range(12):
            machine.ring()
            machine.run(300, ticks=True)
        calls.append(sum(machine.provider.calls.values()) - before)
        depth = machine.queue.depth()
    assert calls[-1] <= calls[0] * 1.2
    assert depth < 12
    machine.provider.down = False
    machine.run(3600, ticks=True)
    machine.provider.refused.clear()
    machine.run(2 * 86_400, ticks=True)
    machine.verify()


def test_a_failing_backfill_is_not_rescued_again_and_again(machine):
    for number in range(30):
        machine.provider.deliver(f"o{number}", at=1.0)
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))

    def list_ids(*_: Any) -> Any:
        machine.provider.calls["list"] += 1
        raise ProviderUnavailable("503")

    patched(machine, list_ids=list_ids)
    calls = []
    for _ in range(6):
        before = machine.provider.calls["list"]
        for _ in range(12):
            machine.run(300, ticks=True)
            machine.ring()
        calls.append(machine.provider.calls["list"] - before)
    assert calls[-1] <= calls[1]


# Channels


def bell() -> dict[str, Any]:
    data = orjson.dumps({"emailAddress": "ann@example.org", "historyId": 1})
    return {"message": {"data": base64.b64encode(data).decode()}}


def test_one_users_disconnect_leaves_the_watch_of_another_on_the_same_address(machine):
    machine.followed(mails=1)
    machine.store.commit([Create(refs.user("user_two"), {"uid": "user_two"})])
    machine.accounts.connect("user_two", "google", "google:primary")
    machine.run(20)
    machine.accounts.disconnect(UID, "google")
    machine.run(5)
    assert machine.provider.channels == 1
    gmail_push(machine.store, machine.tasks, machine.clock, bell())
    machine.run(10)
    assert machine.provider.channels == 1
    machine.accounts.disconnect("user_two", "google")
    machine.run(5)
    assert machine.provider.channels == 0


def test_a_channel_step_of_an_old_epoch_leaves_the_new_ones_watch(machine):
    machine.followed(mails=1)

    def others(_writes):
        machine.clock.advance(2)
        machine.connect()
        machine.run(1)

    machine.store.before_commit.append(others)
    sync.step(machine.ctx, StepTask(MAILBOX, "channel", epoch=machine.state.epoch))
    machine.run(10)
    assert machine.state.channel is not None
    assert machine.provider.channels == 1


def test_a_channel_whose_step_was_lost_is_opened_by_the_tick(machine):
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))
    machine.queue.settle(machine.claim(kind="channel"), 200)
    machine.run(1200, ticks=True)
    assert machine.state.channel is not None


# Looks


def test_a_rung_look_that_a_walk_overtakes_is_followed_by_a_settle_look(machine):
    machine.followed(mails=1)
    machine.provider.history_page = 2
    for number in range(8):
        machine.provider.deliver(f"n{number}")
    sync.step(machine.ctx, StepTask(MAILBOX, "live"))
    walking = machine.claim(kind="live", page=str(machine.state.pages))
    machine.ring()
    rung = machine.claim(rung=True)
    machine.store.before_commit.append(lambda _: machine.deliver(walking))
    machine.deliver(rung)
    machine.steps()
    machine.clock.advance(1.5)
    machine.provider.deliver("early")  # what the ring was about becomes visible only now
    machine.run(60)
    assert "early" in machine.documents()
    machine.verify()


def test_a_stopped_mailbox_is_polled_all_the_same(machine):
    machine.followed(mails=1)
    for number in range(12):
        machine.provider.deliver(f"b{number}")
        machine.provider.refused.add(f"b{number}")
    machine.ring()
    machine.run(20)
    assert machine.state.status == "error"
    machine.provider.refused.clear()
    machine.run(16 * 60, ticks=True)
    assert machine.state.status == "live"
    machine.verify()


# Streams and consumers


def test_a_post_whose_publish_fails_is_in_once(machine):
    def down() -> None:
        raise Retry

    machine.bus.before_publish.append(down)
    AppStream(machine.store, machine.bus, machine.clock).post(UID, "a.b", {"n": 1})
    assert len(machine.log(f"{UID}:app")) == 1
    machine.run(120, ticks=True)
    assert machine.bus.sequences(f"{UID}:app") == [1]


def test_a_segment_committed_between_two_reads_is_no_hole(machine):
    machine.followed(mails=1)
    head = machine.state.head
    original = machine.store.inner.query

    def slow(query):
        found = original(query)
        if query.group == "log":
            machine.store.inner.query = original
            machine.provider.deliver("between")
            sync.step(machine.ctx, StepTask(MAILBOX, "live"))
        return found

    machine.store.inner.query = slow
    events, _ = UserStreams(AppStream(machine.store, machine.bus, machine.clock)).read(
        UID, None, MAILBOX, orjson.dumps({MAILBOX: head}).decode(), 10
    )
    assert [event["sequence"] for event in events] == [head + 1]


def test_a_user_with_many_quiet_streams_reads_the_last_one_too(machine):
    machine.followed(mails=1)
    for number in range(2, 60):
        mailbox = f"{UID}:m{number:03d}:GOOGLE"
        quiet = replace(machine.state, id=mailbox, head=0, published=0, due_outbox=None)
        machine.store.inner.commit([Create(refs.stream(mailbox), document(quiet))])
    streams = UserStreams(AppStream(machine.store, machine.bus, machine.clock))
    events, _ = streams.read(UID, None, None, None, 100)
    assert len(events) == machine.state.head


def test_the_last_doorbell_of_a_disconnected_mailbox_is_repeated(machine):
    machine.followed(mails=1)
    machine.accounts.disconnect(UID, "google")
    for delivery in machine.inner_bus.claim(100):
        machine.inner_bus.settle(delivery, 200)  # acknowledged by a consumer that then died
    machine.run(20 * 60, ticks=True)
    ref = refs.watermark("senders", MAILBOX)
    assert machine.store.get([ref])[ref].data["sequence"] == machine.state.head


class Mailer:
    """A consumer whose only effect is outside the store."""

    def __init__(self, name: str) -> None:
        self.name = name

    def apply(self, segment: Any, scope: str, read: Any) -> Effects:
        return Effects(
            (),
            tuple(
                Intent(event.id, "sync", f"/{self.name}", {"event": event.id})
                for event in segment.events
                if event.type == "email.received"
            ),
        )


def asked(machine: Machine) -> Counter[str]:
    created = [
        (name, body)
        for name, body, result in machine.tasks.enqueued
        if name and "event" in body and result == "created"
    ]
    return Counter(name.split("|")[1] for name, _ in created)


def test_a_rebuild_repeats_nothing_outside_the_store(machine):
    machine.followed(mails=2)
    harness = Harness(machine.store, machine.tasks, machine.clock, Mailer("mailer"))
    harness.follow(MAILBOX)
    harness.rebuild(MAILBOX)
    assert harness.build(MAILBOX)
    assert asked(machine) == {"mailer": 2}


def test_two_consumers_may_ask_for_the_same_event(machine):
    machine.followed(mails=2)
    for name in ("one", "two"):
        Harness(machine.store, machine.tasks, machine.clock, Mailer(name)).follow(MAILBOX)
    assert asked(machine) == {"one": 2, "two": 2}


def test_effects_that_the_store_will_never_take_park_the_consumer(machine):
    class Fat:
        name = "fat"

        def apply(self, segment: Any, scope: str, read: Any) -> Effects:
            return Effects((Create("consumers/fat/effects/x", {"scope": scope, "x": "y" * 1_000_000}),))

    machine.followed(mails=1)
    with pytest.raises(TooLarge):
        Harness(machine.store, machine.tasks, machine.clock, Fat()).follow(MAILBOX)
    ref = refs.watermark("fat", MAILBOX)
    assert machine.store.get([ref])[ref].data["parked"]["sequence"] == 1


# Edges


def test_nothing_that_comes_from_outside_ends_in_a_500(tmp_path):
    world = World(tmp_path)
    world.connect(3)
    world.run(60)
    token = {"Authorization": f"Bearer {world.token}"}
    forged = {
        f"/mail/messages?mailbox={MAILBOX}": (f"messages\n{MAILBOX}", "users/other/mailboxes/o:p:G/messages/x"),
        "/events?": (f"events\n{UID}\n", "nope"),
        "/events?limit=1": (f"events\n{UID}\n", '{"x":99999999999999999999}'),
        "/mail/senders?": (f"senders\n{UID}", f"{MAILBOX}|a/b"),
    }
    paths = [f"/mail/messages?mailbox={UID}:%01", f"/mail/gaps?mailbox={UID}:%0a"]
    paths += [f"{path}&after={cursors.encode(*parts)}" for path, parts in forged.items()]
    answers = {path: world.call("api", "GET", path, **token) for path in paths}
    assert {path: status for path, (status, _) in answers.items() if status not in (400, 404)} == {}
    assert world.call("gmail_push", "POST", "/", {"message": {"data": "é"}})[0] == 400
    assert world.call("sync", "POST", "/step", {"mailbox": "u:\x01", "kind": "live"})[0] == 404


def test_a_bus_that_is_down_keeps_no_mailbox_from_being_polled(machine):
    machine.followed(mails=1)

    def down() -> None:
        raise Retry

    polled = 0
    for _ in range(15):
        machine.clock.advance(60)
        machine.bus.before_publish[:] = [down]
        polled += tick(machine.ctx, SCHEDULE).polled
    assert polled >= 1


def test_a_missing_segment_does_not_keep_a_chain_from_its_rescue(machine):
    for number in range(30):
        machine.provider.deliver(f"o{number}", at=1.0)
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))

    def down() -> None:
        raise Retry

    machine.bus.before_publish += [down] * 50
    task = machine.claim(kind="backfill")
    machine.deliver(task)
    machine.queue.settle(task, 200)
    machine.bus.before_publish.clear()
    (segment, *_) = machine.store.query(queries.segments_after(MAILBOX, 1, 10))
    machine.store.commit([Delete(segment.ref)])
    machine.run(2 * 3600, ticks=True)
    assert machine.state.messages == 30


def test_a_watch_that_nobody_lived_to_write_down_is_stopped_when_its_mailbox_goes(tmp_path):
    for leave in (
        lambda machine: machine.accounts.erase(UID, MAILBOX),
        lambda machine: machine.accounts.disconnect(UID, "google"),
    ):
        folder = tmp_path / str(id(leave))
        folder.mkdir()
        machine = Machine(folder)
        machine.connect()
        machine.deliver(machine.claim(kind="connect"))
        opening = machine.claim(kind="channel")
        machine.store.before_commit.append(crash)
        with pytest.raises(Crash):
            machine.deliver(opening)
        assert machine.provider.channels == 1
        machine.store.before_commit.clear()
        leave(machine)
        machine.start()
        machine.run(15 * 60, ticks=True)
        assert machine.provider.channels == 0


def test_an_instance_whose_clock_is_behind_the_queues_does_not_put_a_task_off_for_ever_at_once(machine):
    machine.followed(mails=2)
    real = machine.clock

    class Slow:
        def now(self):
            return real.now() - 25.0

        def sleep(self, seconds):
            real.sleep(seconds)

        def entropy(self, size):
            return real.entropy(size)

    behind = replace(machine.ctx, clock=Slow())
    amend_mailbox(machine.ctx, MAILBOX, lambda state: replace(state, resume_at=real.now()))
    machine.tasks.enqueued.clear()
    task = StepTask(MAILBOX, "live", page="1")
    began = real.now()
    for _ in range(20):
        sync.step(behind, task)
        if behind.clock.now() > began:
            return
        later = machine.claim(page="1") if (machine.queue.next_due() or 0.0) <= real.now() else None
        if later is None:
            real.advance_to(machine.queue.next_due())
            later = machine.claim(page="1")
        task = parse(orjson.loads(later.body))
        machine.queue.settle(later, 200)
    raise AssertionError("It is brought back at once, over and over.")
