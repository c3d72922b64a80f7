"""How clients of Gmail lose, double or delay mail: each way that has been seen elsewhere, as a test named after it.

``PROTECTIONS`` at the end takes out what keeps us from failing in the same way and demands that the test then fails.
One long file: the failures, their tests and the protections are one table. Failures of other providers are not in it;
the races of refreshes are in ``test_refresh_races``, those of the quota in ``test_rate_limits``, the protocol's own in
``test_traces``.

======================================================================  ==============================================
A push is answered, then the work is done; a crash between loses it     a_push_answered_before_its_work ...
The queue fails and the push is answered as a success                   a_queue_error_that_is_answered_as_success
An event is taken off its list before it is processed                   an_event_popped_before_it_was_processed
A ring between the last look and going idle is not heard                a_wake_up_between_the_last_look_and_going_idle
Two notifications process one range at once                             two_notifications_that_process_the_same_range
A second job overlaps the first: all mail twice                         a_second_job_that_overlaps_the_first
A push before its change shows is dropped as stale                      an_early_push_that_is_dropped_as_stale
A burst's surplus pushes are dropped, and its mail                      a_burst_whose_surplus_pushes_are_dropped
Rate limited: pushes dropped, nothing scheduled for afterwards          pushes_during_a_pause_with_nothing_scheduled ...
An item fails, the cursor moves past it                                 an_item_that_fails_while_the_cursor_moves_past_it
A failed run's queued successor starts behind it                        a_failed_run_whose_successor_starts_behind_it
A large gap of history ids is skipped on purpose                        a_large_gap_between_history_ids ...
404 for the cursor: jump to now                                         an_expired_cursor_that_jumps_to_now
404 for the cursor: the same error at every cycle, for ever             two_weeks_offline_that_end_in_an_endless_404
The anchor is the newest message's, read after the listing              an_anchor_of_the_newest_message_after_the_listing
The profile is read again on resume: what came between is skipped       a_profile_that_is_read_again_on_resume
The last page's marker steps over what came during the walk             a_marker_of_the_last_page ...
An empty page with a token is taken for the end                         an_empty_page_with_a_token_that_is_taken ...
The cursor moves before its mail is stored; ids wait in a cache         ids_in_a_cache_with_a_lifetime ...
A page is stored in parts, the first of which moves the cursor          a_cursor_that_moves_with_the_first_part_of_a_page
Batch answers count by position after a part was unreadable             batch_answers_mapped_by_position ...
Errors of parts within a 200 are printed and skipped                    errors_of_parts_that_are_lost_inside_a_200
Parts that are missing from an answer are not missed                    parts_that_are_missing_from_an_answer
A 429 in a batch makes it smaller, and is not waited for                a_429_that_makes_batches_smaller_and_is_not ...
Too many calls at once are refused at every scan                        a_batch_too_large_for_the_limit_at_every_scan
404 for a label is taken for 404 of its messages                        a_404_for_a_label_taken_for_one_of_messages
One bad message ends the mailbox                                        one_bad_message_that_ends_the_mailbox
A call without a timeout hangs the mailbox                              a_call_that_is_never_answered
Several reads for each mail, one after the other                        several_reads_for_each_mail
Mail is read again at each change of its labels                         mail_that_is_read_again_when_its_labels_change
One page in each run of the scheduler                                   a_backfill_that_waits_for_its_schedule ...
An interrupted listing starts over                                      a_backfill_that_starts_over ...
A full sync stalls in a pending state                                   a_full_sync_that_stalls_pending_after_a_limit
"Importing" for ever: a stage without a deadline                        a_stage_that_stays_pending_for_ever
One mailbox silently stops polling                                      a_mailbox_that_silently_stops_polling
All watches renewed in one loop, in which one hangs                     watches_renewed_in_one_loop_in_which_one_hangs
A watch is made and never renewed                                       a_watch_that_is_made_and_never_renewed
A renewal is missed and nobody sees it                                  a_renewal_that_was_missed
A stale watch is kept at a reconnect                                    a_stale_watch_that_is_kept_at_a_reconnect
Healthy by its status, and mail is missing                              a_status_that_says_healthy_while_mail_is_missing
State that was in memory is dropped: weekly, old mail is new            a_weekly_flood_of_old_mail_as_new
A cursor of time: scheduled mail blocks it                              scheduled_mail_that_blocks_a_cursor_of_time
A cursor of time: a burst is missed or doubled                          a_burst_within_one_second
A sent reply is never imported                                          a_sent_reply_that_is_never_imported
A filter on labels hides what never was in the inbox                    mail_that_a_label_filter_hides
Watch refused as long as another client has one                         a_watch_of_another_client_in_the_way
A sweep deletes what a listing lacks                                    test_traces: a_resync_sweep_deletes_what ...
Refresh: 5xx believed; a race deletes the grant; a token not saved      test_refresh_races
Accounts exceed their limits                                            test_rate_limits
======================================================================  ==============================================
"""

from __future__ import annotations

import inspect
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from infra.local.world import TOPIC
from shared.errors import BrainstemError, Conflict, NotFound, RateLimited, Retry
from shared.events.consume import Harness
from shared.mail import apply as apply_module
from shared.mail import backfill, connect, doorbell, fold, resync, sync
from shared.mail import tasks as tasks_module
from shared.mail import tick as tick_module
from shared.mail.context import amend_mailbox
from shared.mail.sync import step
from shared.mail.tasks import StepTask
from shared.ports import BusMessage, Create, Enqueued, Put, Update
from shared.providers.gmail import messages as messages_module
from shared.providers.gmail import multipart
from shared.providers.gmail import provider as provider_module
from shared.providers.gmail.history import HistoryPage, Position
from tests.chaos.wire import (
    Asked,
    Wire,
    answered,
    consent,
    judge,
    lose_tasks,
    mail,
    pass_by,
    planned,
    restart,
    status,
    told,
)
from tests.interleave import Interleaver
from tests.machine import MAILBOX, UID, HookedStore, Machine
from tests.world import ADDRESS, World

NEVER = 1e9
DAY = 86_400.0
OTHER = "work@example.org"

Build = Callable[..., World]


class Crash(BaseException):
    """The process is gone: nothing after this line of it happens."""


def crash(*_: Any) -> None:
    raise Crash


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, page_size=10)


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Makes worlds; where a setting does not say otherwise, polls and ticks are so rare that they repair nothing."""
    made: list[World] = []

    def build(mails: int = 0, followed: bool = True, **settings: Any) -> World:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        world = World(folder, **{"poll_seconds": NEVER, "tick_seconds": 3_600.0, "page_size": 10, **settings})
        made.append(world)
        world.connect(mails)
        if followed:
            world.run(20)
            assert status(world)["status"] == "live"
        return world

    yield build
    for world in made:
        world.close()


def wait_for_even_bucket(machine: Machine) -> None:
    """Go to the start of a doorbell's bucket in which the settle look of a ring comes too."""
    machine.clock.advance_to((math.floor(machine.clock.now() / 10) + 1) * 10)


# Doorbells and the queue


def test_a_push_answered_before_its_work_is_done_and_a_crash_after_it(machine: Machine) -> None:
    machine.followed(2)
    machine.provider.deliver("new")
    machine.ring()
    machine.provider.on_call = crash
    with pytest.raises(Crash):
        machine.steps()
    machine.start()
    machine.run(60)
    assert "new" in machine.documents()
    machine.verify()


def test_a_queue_error_that_is_answered_as_success(build: Build) -> None:
    world = build()
    enqueue = world.ports.tasks.enqueue
    failures = iter([True, True])

    def stumbling(*args: Any, **options: Any) -> Enqueued:
        if next(failures, False):
            raise Retry
        return enqueue(*args, **options)

    world.ports.tasks.enqueue = stumbling  # type: ignore[method-assign]
    mail(world, "rung for")
    world.run(60)
    assert told(world) == ["rung for"]
    assert next(failures, None) is None


def test_an_event_popped_before_it_was_processed(machine: Machine) -> None:
    machine.followed(2)
    machine.provider.deliver("new")
    sync.step(machine.ctx, StepTask(MAILBOX, "live"))
    (popped,) = [one for one in machine.inner_bus.claim(100) if one.target == "/senders"]
    machine.harness = Harness(machine.store, machine.tasks, machine.clock, _Dying())
    with pytest.raises(Crash):
        machine.deliver(popped)
    machine.start()
    machine.run(60)
    assert sum(machine.counts().values()) == 3
    machine.verify()


class _Dying:
    """A consumer whose process ends in the middle of its work."""

    name = "senders"
    apply = crash


def test_a_wake_up_between_the_last_look_and_going_idle(machine: Machine) -> None:
    machine.followed(1)
    wait_for_even_bucket(machine)
    machine.ring()
    machine.steps()

    def rings(what: str) -> None:
        if what == "changed":  # the settle look has read its page, and nobody will look again by himself
            machine.provider.on_call = None
            machine.provider.deliver("rung for")
            machine.ring()

    machine.provider.on_call = rings
    machine.run(30)
    assert "rung for" in machine.documents()
    machine.verify()


@pytest.mark.parametrize("seed", range(6))
def test_two_notifications_that_process_the_same_range(tmp_path: Path, seed: int) -> None:
    two_at_once(Machine(tmp_path, seed, page_size=10), seed)


def two_at_once(machine: Machine, seed: int) -> None:
    machine.followed(3)
    scheduler = Interleaver(seed)
    machine.start(lambda _: scheduler.point())
    for number in range(6):
        machine.provider.deliver(f"new{number}")
    machine.provider.relabel("old1", remove=["UNREAD"])
    bodies = [lambda: step(machine.ctx, StepTask(MAILBOX, "live", rung=True))] * 2
    scheduler.run(bodies)
    machine.start()
    machine.run(30)
    machine.verify()


@pytest.mark.parametrize("seed", range(6))
def test_a_second_job_that_overlaps_the_first(tmp_path: Path, seed: int) -> None:
    overlapping(Machine(tmp_path, seed, page_size=10), seed)


def overlapping(machine: Machine, seed: int) -> None:
    for number in range(25):
        machine.provider.deliver(f"old{number}", at=machine.clock.now() - 1000 + number)
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))
    scheduler = Interleaver(seed)
    machine.start(lambda _: scheduler.point())
    task = tasks_module.parse(orjson.loads(machine.claim(kind="backfill").body))
    scheduler.run([lambda: step(machine.ctx, task)] * 2)
    machine.start()
    machine.run(60)
    assert machine.state.status == "live"
    machine.verify()


def test_an_early_push_that_is_dropped_as_stale(build: Build) -> None:
    world = build()
    world.google.set_faults({"early": 1.0, "early_seconds": 2.5})
    for number in range(5):
        mail(world, f"early {number}")
        world.run(20)
        assert told(world)[-1:] == [f"early {number}"]
    judge(world)


def test_a_burst_whose_surplus_pushes_are_dropped(build: Build) -> None:
    world = build()
    for number in range(30):
        mail(world, f"burst {number}")
        world.run(0.1)
    world.run(20)
    assert world.google.report()["pushes"]["throttled"] > 20
    judge(world)


def test_pushes_during_a_pause_with_nothing_scheduled_for_afterwards(build: Build) -> None:
    world = build()
    wire = Wire(world)
    limit = {
        "fault": "status",
        "status": 429,
        "methods": ["users.history.list"],
        "retry_after": 60,
        "at": [1],
        "most": 1,
    }
    world.google.set_faults({"calls": [limit]})
    paused = world.clock.now()
    for number in range(5):
        mail(world, f"while paused {number}")
        world.run(5)
    assert status(world)["status"] == "rate_limited"
    world.run(paused + 59.9 - world.clock.now())
    assert len(wire.since(paused)) == 1
    world.run(20)
    assert len(told(world)) == 5
    judge(world)


# Cursors


def test_an_item_that_fails_while_the_cursor_moves_past_it(build: Build) -> None:
    world = build()
    world.google.set_faults({"drop": 1.0})
    ids = [mail(world, f"mail {number}") for number in range(4)]
    world.google.refuse(ADDRESS, ids[1], 500)
    world.google.set_faults({})
    pass_by(world, 2)
    mail(world, "rings")
    world.run(20)
    assert set(told(world)) == {"mail 0", "mail 2", "mail 3", "rings"}
    gaps = world.all("/mail/gaps", "gaps", mailbox=MAILBOX)
    assert [(gap["provider_message_id"], gap["status"]) for gap in gaps] == [(ids[1], "open")]
    world.google.refuse(ADDRESS, ids[1], 0)
    world.run(200)
    assert "mail 1" in told(world)
    judge(world)


def test_a_failed_run_whose_successor_starts_behind_it(machine: Machine) -> None:
    machine.followed(1)
    machine.provider.deliver("in the failed run")
    machine.provider.down = True
    machine.ring()
    machine.steps()
    machine.provider.down = False
    machine.clock.advance(1)
    machine.provider.deliver("in the next")
    machine.ring()
    machine.run(60)
    machine.verify()


def test_a_large_gap_between_history_ids_that_is_skipped_on_purpose(build: Build) -> None:
    world = build()
    world.google.set_faults({"drop": 1.0})
    mail(world, "before the gap")
    with world.google._state.transaction() as db:
        db.execute("UPDATE mailboxes SET history = history + 5000000")
    world.google.set_faults({})
    pass_by(world, 2)
    mail(world, "after the gap")
    world.run(20)
    assert told(world) == ["before the gap", "after the gap"]
    judge(world)


def test_an_expired_cursor_that_jumps_to_now(build: Build) -> None:
    world = build(15)
    lose_window(world)
    world.run(120)
    assert {"new in the window", "after"} <= set(told(world))
    judge(world)


def lose_window(world: World) -> None:
    """Things happen of which no push comes, and whose history is gone when somebody looks."""
    world.google.set_faults({"drop": 1.0})
    first, second, third, *_ = [one["id"] for one in world.google.truth(ADDRESS)["mails"]]
    mail(world, "new in the window")
    world.google.delete(ADDRESS, first)
    world.google.change_labels(ADDRESS, second, add=["STARRED"])
    world.google.trash(ADDRESS, third)
    world.google.expire_history(ADDRESS)
    world.google.set_faults({})
    pass_by(world, 2)  # Gmail sends one push a second at most, also where the one before was lost
    mail(world, "after")


def test_two_weeks_offline_that_end_in_an_endless_404(build: Build) -> None:
    world = build(15)
    pass_by(world, 14 * DAY)
    lose_window(world)
    restart(world)
    world.run(3_700)
    wire = Wire(world)
    world.run(3_600)
    assert not [asked for asked in wire.asked if asked.of == "profile"], "it does not start over again and again"
    assert status(world)["status"] == "live"
    judge(world)


def test_an_anchor_of_the_newest_message_after_the_listing(machine: Machine) -> None:
    for number in range(25):
        machine.provider.deliver(f"old{number}", at=machine.clock.now() - 1000 + number)
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))
    anchor = machine.state.anchor
    for page in range(4):
        machine.deliver(machine.claim(kind="backfill"))
        if page == 0:
            machine.provider.relabel("old20", add=["STARRED"])  # listed already
            machine.provider.delete("old21")
            machine.provider.relabel("old24", remove=["UNREAD"])  # the newest one is touched last
    assert machine.state.backfill.done
    assert machine.state.cursor == machine.state.anchor == anchor
    machine.run(60)
    machine.verify()


def test_a_profile_that_is_read_again_on_resume(machine: Machine) -> None:
    for number in range(25):
        machine.provider.deliver(f"old{number}", at=machine.clock.now() - 1000 + number)
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))
    machine.deliver(machine.claim(kind="backfill"))
    machine.accounts.disconnect(UID, "google")
    machine.provider.deliver("between")
    machine.provider.relabel("old20", add=["STARRED"])
    machine.provider.delete("old21")
    machine.connect()
    machine.run(60)
    assert machine.state.status == "live"
    machine.verify()


def test_a_marker_of_the_last_page_that_steps_over_what_came_during_the_walk(build: Build) -> None:
    world = build(page_size=4)
    wire = Wire(world)
    world.google.set_faults({"drop": 1.0})
    for number in range(14):
        mail(world, f"before {number}")
    looks = [0]

    def arrive(asked: Asked) -> None:
        if asked.of == "history":
            looks[0] += 1
            if looks[0] in (2, 3):
                mail(world, f"during look {looks[0]}")

    wire.hook = arrive  # type: ignore[assignment]
    world.ports.bus.publish("gmail", [BusMessage(orjson.dumps({"emailAddress": ADDRESS, "historyId": 1}))])
    world.run(20)
    assert looks[0] > 4
    assert {"during look 2", "during look 3"} <= set(told(world))
    judge(world)


@pytest.mark.parametrize("of", ["history", "messages"])
def test_an_empty_page_with_a_token_that_is_taken_for_the_end(build: Build, of: str) -> None:
    empty_pages(build, of)


def empty_pages(build: Build, of: str) -> None:
    world = build(15, followed=of == "history")
    wire = Wire(world)
    shown = [0]

    def empty(asked: Asked) -> Any:
        token = asked.query.get("pageToken", [""])[0]
        if asked.of != of or token not in ("", "behind-0", "behind-1"):
            return None
        if token == "behind-1":
            path = re.sub(r"[?&]pageToken=[^&]*", "", asked.uri)
            return wire.google.request(path, asked.method, asked.body or None, asked.headers)
        shown[0] += 1
        more = "behind-1" if token else "behind-0"
        return answered({"nextPageToken": more, **({"historyId": "9001"} if of == "history" else {})})

    wire.hook = empty
    mail(world, "new")
    world.run(40)
    assert shown[0] >= 2
    judge(world)


def test_ids_in_a_cache_with_a_lifetime_while_the_cursor_has_moved_on(machine: Machine) -> None:
    for number in range(25):
        machine.provider.deliver(f"old{number}", at=machine.clock.now() - 1000 + number)
    machine.connect()
    fetched = [0]

    def dies(what: str) -> None:
        fetched[0] += what == "fetch"
        if fetched[0] == 2:
            raise Crash

    machine.start(dies)
    with pytest.raises(Crash):
        machine.run(20)
    machine.clock.advance(8 * DAY)
    machine.start()
    machine.run(1_200, ticks=True)
    assert machine.state.status == "live"
    machine.verify()


def test_a_cursor_that_moves_with_the_first_part_of_a_page(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.followed(2)
    monkeypatch.setattr(fold, "COMMIT_BYTES", 4_000)
    for number in range(8):
        machine.provider.deliver(f"new{number}")
    machine.store.after_commit = [crash]
    with pytest.raises(Crash):
        step(machine.ctx, StepTask(MAILBOX, "live"))
    assert 0 < len(machine.documents()) - 2 < 8
    machine.start()
    step(machine.ctx, StepTask(MAILBOX, "live"))
    machine.run(30)
    machine.verify()


# Reading messages


def test_batch_answers_mapped_by_position_after_an_unreadable_part(build: Build) -> None:
    spoiled = [
        {"fault": "garbage", "methods": ["users.messages.get"], "where": "inner", "at": [3, 14, 30]},
        {"fault": "lost_part", "at": [2]},
        {"fault": "shuffled_parts", "at": [1, 3]},
        {"fault": "no_content_ids", "at": [5]},
    ]
    world = build(60, followed=False, page_size=20, gmail_batch_size=10)
    world.google.set_faults({"calls": spoiled})
    world.run(60)
    fired = world.google.report()["faults"]
    assert all(fired.values()), fired
    judge(world)


def test_errors_of_parts_that_are_lost_inside_a_200(build: Build) -> None:
    gets = ["users.messages.get", "users.threads.get"]
    inside = {"methods": gets, "where": "inner"}
    world = build(60, followed=False, page_size=20, gmail_batch_size=10)
    world.google.set_faults(
        {
            "calls": [
                {"fault": "limit_429", **inside, "at": [4, 11]},
                {"fault": "limit_403", **inside, "at": [7, 20, 21]},
                {"fault": "status", "status": 503, **inside, "at": [2, 33]},
                {"fault": "precondition", **inside, "at": [9, 36]},
            ]
        }
    )
    world.run(60)
    fired = world.google.report()["faults"]
    assert all(fired.values()), fired
    judge(world)


def test_parts_that_are_missing_from_an_answer(build: Build) -> None:
    world = build(60, followed=False, page_size=20, gmail_batch_size=10)
    world.google.set_faults({"calls": [{"fault": "lost_part", "probability": 1.0}]})
    world.run(60)
    judge(world)


def test_a_429_that_makes_batches_smaller_and_is_not_waited_for(build: Build) -> None:
    world = build(40, followed=False, page_size=40, gmail_batch_size=10)
    wire = Wire(world)
    inner = {"methods": ["users.messages.get", "users.threads.get"], "where": "inner", "at": [3], "most": 1}
    world.google.set_faults({"latency": 0.05, "calls": [{"fault": "limit_429", **inner, "retry_after": 5}]})
    world.run(30)
    reads = [asked.at for asked in wire.asked if asked.of not in ("history", "watch", "profile", "token")]
    waits = [after - before for before, after in pairwise(reads)]
    assert max(waits) >= 5.0
    judge(world)


def test_a_batch_too_large_for_the_limit_at_every_scan(build: Build) -> None:
    world = build(120, followed=False, page_size=100, gmail_batch_size=100)
    world.google.set_quota({"concurrency": 10})
    world.google.set_faults({"latency": 0.1})
    world.run(15 * 60)
    assert sum(world.google.report()["quota"]["refused"][ADDRESS].values()) > 0
    judge(world)


def test_a_404_for_a_label_taken_for_one_of_messages(build: Build) -> None:
    world = build(10)
    kept = mail(world, "labelled", "INBOX", "Projects")
    world.run(10)
    wire = Wire(world)
    deleted: list[str] = []

    def delete_the_label(asked: Asked) -> None:
        label = asked.query.get("labelIds", [""])[0]
        if asked.of == "messages" and label.startswith("Label_") and not deleted:
            deleted.append(label)
            world.google.delete_label(ADDRESS, label)

    wire.hook = delete_the_label  # type: ignore[assignment]
    lose_window(world)
    world.run(120)
    assert deleted
    removed = [e for e in world.events() if e["type"] == "email.deleted" and e["data"]["provider_message_id"] == kept]
    assert removed == []
    judge(world)


@pytest.mark.parametrize("code", [400, 403, 500])
def test_one_bad_message_that_ends_the_mailbox(build: Build, code: int) -> None:
    world = build(30, followed=False)
    bad = [one["id"] for one in world.google.truth(ADDRESS)["mails"]][12]
    world.google.refuse(ADDRESS, bad, code)
    world.run(60)
    assert status(world)["status"] == "live"
    also_bad = mail(world, "bad as well")
    world.google.refuse(ADDRESS, also_bad, code)
    mail(world, "good")
    world.run(30)
    assert "good" in told(world)
    judge(world, gaps=2)


def test_a_call_that_is_never_answered(build: Build) -> None:
    world = build(30, followed=False)
    hang = {"fault": "timeout", "seconds": 20.0, "most": 2}
    world.google.set_faults(
        {
            "calls": [
                {**hang, "methods": ["batch"], "at": [1, 3]},
                {**hang, "methods": ["users.history.list"], "at": [1, 2]},
                {**hang, "methods": ["users.watch"], "at": [1]},
            ]
        }
    )
    world.run(300)
    mail(world, "after")
    world.run(60)
    assert all(world.google.report()["faults"].values())
    judge(world)


def test_several_reads_for_each_mail(build: Build) -> None:
    world = build(200, page_size=100, gmail_batch_size=25)
    made = world.google.report()["requests"]
    assert made["users.messages.get"] + made.get("users.threads.get", 0) <= 200
    assert made["batch"] <= 200 / 25 + 2


def test_mail_that_is_read_again_when_its_labels_change(build: Build) -> None:
    world = build(10)
    before = world.google.report()["requests"]
    for one in world.google.truth(ADDRESS)["mails"]:
        world.google.change_labels(ADDRESS, one["id"], add=["STARRED"])
    world.run(20)
    after = world.google.report()["requests"]
    for method in ("users.messages.get", "users.threads.get", "batch"):
        assert after.get(method, 0) == before.get(method, 0)
    judge(world)


def test_a_backfill_that_waits_for_its_schedule_after_every_page(build: Build) -> None:
    world = build(80, followed=False, page_size=5)
    world.run(1)
    assert status(world)["backfill"]["done"]
    judge(world)


def test_a_backfill_that_starts_over_after_every_interruption(machine: Machine) -> None:
    for number in range(100):
        machine.provider.deliver(f"old{number}", at=machine.clock.now() - 1000 + number)
    machine.connect()
    crashes = 0
    for _ in range(12):
        machine.store.after_commit = [lambda _: None, crash]
        with suppress(Crash):
            machine.run(5)
            break
        crashes += 1
        machine.start()
    machine.store.after_commit = []
    machine.run(30 * 60, ticks=True)
    assert crashes > 4
    assert machine.provider.calls["get"] <= 100 + 10, "each page is read once, but for the one that was interrupted"
    machine.verify()


# States and deadlines


def test_a_full_sync_that_stalls_pending_after_a_limit(build: Build) -> None:
    world = build(60, followed=False, tick_seconds=60.0)
    world.google.set_quota({"concurrency": 2})
    limit = {"fault": "limit_429", "methods": ["batch"], "at": [1], "most": 1, "retry_after": 60}
    world.google.set_faults({"latency": 0.05, "calls": [limit]})
    world.run(1)
    assert lose_tasks(world, "backfill") == 1
    world.run(30 * 60)
    assert status(world)["status"] == "live"
    judge(world)


@pytest.mark.parametrize("stage", ["connecting", "backfilling", "walking", "resyncing", "gaps", "channel", "outbox"])
def test_a_stage_that_stays_pending_for_ever(machine: Machine, stage: str) -> None:
    stays_pending(machine, stage)


def stays_pending(machine: Machine, stage: str) -> None:
    """Whatever stage it is in, every task of the mailbox is lost; a new process and the schedule bring it to its end."""
    for number in range(25):
        machine.provider.deliver(f"old{number}", at=machine.clock.now() - 1000 + number)
    machine.connect()
    if stage != "connecting":
        machine.deliver(machine.claim(kind="connect"))
    if stage not in ("connecting", "backfilling", "channel"):
        machine.run(20)
    match stage:
        case "walking":
            machine.provider.history_page = 2
            for number in range(7):
                machine.provider.deliver(f"new{number}")
            step(machine.ctx, StepTask(MAILBOX, "live"))
        case "resyncing":
            machine.provider.expire_history()
            machine.provider.delete("old3")
            step(machine.ctx, StepTask(MAILBOX, "live"))
        case "gaps":
            machine.provider.deliver("refused")
            machine.provider.refused.add("refused")
            step(machine.ctx, StepTask(MAILBOX, "live"))
            machine.provider.refused.clear()
        case "outbox":
            machine.provider.deliver("unpublished")
            machine.bus.before_publish.append(crash)
            with pytest.raises(Crash):
                step(machine.ctx, StepTask(MAILBOX, "live"))
    for task in machine.queue.claim(1_000):
        machine.queue.settle(task, 200)
    machine.start()
    machine.run(45 * 60, ticks=True)
    assert machine.state.status == "live"
    assert machine.state.channel is not None
    machine.verify()


def test_a_mailbox_that_silently_stops_polling(build: Build) -> None:
    world = build(3, gmail_topic="", tick_seconds=60.0)
    world.run(90)
    forbidden = {"fault": "status", "status": 403, "methods": ["users.history.list"], "probability": 1.0}
    world.google.set_faults({"calls": [forbidden]})
    world.run(300)
    shown = status(world)
    assert shown["status"] == "error"
    assert "403" in shown["last_error"]
    world.google.set_faults({})
    mail(world, "after the trouble")
    world.run(60)
    assert told(world)[-1] == "after the trouble"
    assert status(world)["last_error"] is None


def two_mailboxes(build: Build) -> tuple[World, Wire, str]:
    """A world with a second account, connected by consent; answers the second mailbox's id."""
    world = build(3, tick_seconds=3_600.0)
    world.google.add_mailbox(OTHER)
    wire = Wire(world)
    consent(world, OTHER)
    world.run(20)
    (second,) = [row["id"] for row in world.api("GET", "/mail/status")["mailboxes"] if row["address"] == OTHER]
    assert status(world, second)["status"] == "live"
    return world, wire, second


def test_watches_renewed_in_one_loop_in_which_one_hangs(build: Build) -> None:
    world, wire, second = two_mailboxes(build)
    ends = {box: status(world, box)["channel_expires_at"] for box in (MAILBOX, second)}
    stuck = {"count": 0}

    def hang(asked: Asked) -> None:
        if asked.of == "watch" and owner(world, asked) == ADDRESS:
            stuck["count"] += 1
            world.clock.sleep(20.0)
            raise TimeoutError

    wire.hook = hang  # type: ignore[assignment]
    world.run(26 * 3_600)
    assert stuck["count"] > 0
    assert status(world, second)["channel_expires_at"] > ends[second]
    assert status(world)["channel_expires_at"] == ends[MAILBOX]
    assert status(world)["last_error"] is not None
    mail(world, "to the other", address=OTHER)
    world.run(20)
    assert told(world, mailbox=second) == ["to the other"]


def owner(world: World, asked: Asked) -> str:
    token = world.google.oauth.tokens.bearer(asked.token)
    return "" if token is None else token.address


def test_a_watch_that_is_made_and_never_renewed(build: Build) -> None:
    world = build(tick_seconds=6 * 3_600.0)
    world.run(9 * DAY)
    mail(world, "on the ninth day")
    world.run(20)
    assert told(world) == ["on the ninth day"]


def test_a_renewal_that_was_missed(build: Build) -> None:
    world = build(tick_seconds=600.0)
    ends = status(world)["channel_expires_at"]
    for _ in range(26):
        world.run(3_600)
        lose_tasks(world, "channel")
    wire = Wire(world)
    refusing = {"fault": "status", "status": 500, "methods": ["users.watch"], "probability": 1.0}
    world.google.set_faults({"calls": [refusing]})
    world.run(DAY)
    assert status(world)["last_error"] is not None, "it is seen"
    world.google.set_faults({})
    world.run(3_600)
    assert status(world)["channel_expires_at"] > ends
    assert [asked for asked in wire.asked if asked.of == "watch"]


def test_a_stale_watch_that_is_kept_at_a_reconnect(build: Build) -> None:
    world = build()
    with world.google._state.transaction() as db:
        db.execute("UPDATE mailboxes SET watch_until = 0")  # Google has forgotten it; our record says that it lasts
    world.api("POST", "/mail/connect", {"provider": "google"})
    world.run(10)
    mail(world, "after the reconnect")
    world.run(20)
    assert told(world) == ["after the reconnect"]


def test_a_watch_of_another_client_in_the_way(build: Build) -> None:
    world = build(followed=False)
    world.google.set_faults({"calls": [{"fault": "one_push_client", "at": [1], "most": 1}]})
    world.run(20)
    mail(world, "pushed")
    world.run(20)
    assert told(world) == ["pushed"]
    assert status(world)["last_error"] is None


def test_a_status_that_says_healthy_while_mail_is_missing(build: Build) -> None:
    world = build(80, followed=False)
    ids = [one["id"] for one in world.google.truth(ADDRESS)["mails"]]
    for id_ in ids[::9]:
        world.google.refuse(ADDRESS, id_, 500)
    world.run(60)
    open_gaps = [gap for gap in world.all("/mail/gaps", "gaps", mailbox=MAILBOX) if gap["status"] == "open"]
    assert status(world)["messages"] + len(open_gaps) == len(ids) == status(world)["backfill"]["listed"]
    assert {gap["provider_message_id"] for gap in open_gaps} == set(ids[::9])
    assert status(world)["gaps_due"] is not None
    judge(world, gaps=len(ids[::9]))


# What comes twice, or never


def test_a_weekly_flood_of_old_mail_as_new(build: Build) -> None:
    world = build(20, tick_seconds=6 * 3_600.0)
    received = sorted(told(world))
    for _ in range(3):
        world.run(7 * DAY)
        restart(world)
        mail(world, "this week's")
        world.google.expire_history(ADDRESS)
        received.append("this week's")
        world.run(120)
        assert sorted(told(world)) == sorted(received)
    assert world.google.report()["requests"]["users.messages.list"] > 20, "everything was listed again each week"
    judge(world)


def test_scheduled_mail_that_blocks_a_cursor_of_time(build: Build) -> None:
    world = build()
    now = world.clock.now()
    mail(world, "dated next week", received_at=now + 7 * DAY)
    world.run(20)
    mail(world, "dated today")
    world.run(20)
    mail(world, "imported from long ago", received_at=now - 3_000 * DAY)
    world.run(20)
    assert told(world) == ["dated next week", "dated today", "imported from long ago"]
    judge(world)


def test_a_burst_within_one_second(build: Build) -> None:
    world = build()
    subjects = [f"burst {number}" for number in range(25)]
    now = math.floor(world.clock.now())
    for subject in subjects[:12]:
        mail(world, subject, received_at=now)
    world.run(3)
    for subject in subjects[12:]:
        mail(world, subject, received_at=now)
    world.run(20)
    assert Counter(told(world)) == Counter(subjects)


def test_a_sent_reply_that_is_never_imported(build: Build) -> None:
    world = build()
    first = mail(world, "question")
    world.run(10)
    thread = next(one["thread_id"] for one in world.google.truth(ADDRESS)["mails"] if one["id"] == first)
    mail(world, "Re: question", "SENT", thread=thread)
    world.run(10)
    draft = world.google.save_draft(ADDRESS, planned("drafted"))
    world.run(10)
    world.google.send_draft(ADDRESS, draft["id"])
    world.run(20)
    assert told(world, "email.sent") == ["Re: question", "drafted"]
    judge(world)


def test_mail_that_a_label_filter_hides(build: Build) -> None:
    world = build(followed=False)
    wire = Wire(world)
    world.run(20)
    mail(world, "archived by a filter", "Projects")
    spam = mail(world, "good in truth", "SPAM")
    world.run(10)
    world.google.change_labels(ADDRESS, spam, add=["INBOX"], remove=["SPAM"])
    world.run(20)
    assert told(world) == ["archived by a filter", "good in truth"]
    (watch,) = [asked for asked in wire.asked if asked.of == "watch"]
    assert orjson.loads(watch.body) == {"topicName": TOPIC}
    judge(world)


# What keeps us from each, as a patch that takes it out.

Patch = pytest.MonkeyPatch


def _acknowledged_first(patch: Patch) -> None:
    deliver = Machine.deliver

    def careless(self: Machine, delivery: Any) -> int:
        (self.queue if delivery.target.startswith("/sync") else self.inner_bus).settle(delivery, 200)
        return deliver(self, delivery)

    patch.setattr(Machine, "deliver", careless)


def _errors_of_the_queue_swallowed(patch: Patch) -> None:
    ring = doorbell.ring

    def quiet(*args: Any) -> None:
        with suppress(Retry):
            ring(*args)

    patch.setattr(doorbell, "ring", quiet)


def _spent_is_success(patch: Patch) -> None:
    enqueue = tasks_module._enqueue

    def lax(tasks: Any, task: Any, name: str | None, at: float | None = None) -> Enqueued:
        later = name is not None and name.startswith("ring|") and at is not None
        return Enqueued.CREATED if later else enqueue(tasks, task, name, at)

    patch.setattr(tasks_module, "_enqueue", lax)


def _no_settle_look(patch: Patch) -> None:
    patch.setattr(sync, "settle", lambda *_: None)


def _not_put_off(patch: Patch) -> None:
    patch.setattr(sync, "put_off", lambda *_: None)


def _no_compare_and_set(patch: Patch) -> None:
    """Whoever writes last wins."""

    def blind(self: Any, writes: Any) -> Any:
        return original(self, [_unguarded(write) for write in writes])

    original = HookedStore.commit
    patch.setattr(HookedStore, "commit", blind)


def _unguarded(write: Any) -> Any:
    if isinstance(write, Create):
        return Put(write.ref, write.data)
    return Update(write.ref, write.data, None) if isinstance(write, Update) else write


def _no_gaps(patch: Patch) -> None:
    patch.setattr(fold, "_gap", lambda *_: None)


def _a_failure_moves_the_cursor(patch: Patch) -> None:
    def fail(ctx: Any, loaded: Any, task: Any, _: Any) -> None:
        newest = str(ctx.providers["GOOGLE"]._last)
        amend_mailbox(ctx, loaded.state.id, lambda state: replace(state, cursor=newest))

    patch.setattr(sync, "_fail", fail)


def _jump_to_now(patch: Patch) -> None:
    def start(ctx: Any, loaded: Any) -> bool:
        profile = resync.Account(ctx, loaded.state).call(lambda provider, access: provider.profile(access))
        amend_mailbox(ctx, loaded.state.id, lambda state: replace(state, cursor=profile.cursor))
        return True

    patch.setattr(resync, "start", start)


def _cursor_of_the_newest(patch: Patch) -> None:
    turned = backfill._turned

    def newest(state: Any, at: float, **position: Any) -> Any:
        after = turned(state, at, **position)
        return replace(after, cursor=str(10**30)) if after.backfill.done else after

    patch.setattr(backfill, "_turned", newest)


def _anchored_again(patch: Patch) -> None:
    connected = connect._connected

    def again(state: Any, profile: Any, *args: Any) -> Any:
        return replace(connected(state, profile, *args), cursor=profile.cursor)

    patch.setattr(connect, "_connected", again)


def _empty_is_the_end(patch: Patch) -> None:
    read_page = provider_module.read_page

    def careless(answer: Any, position: Any) -> HistoryPage:
        page = read_page(answer, position)
        return page if page.records else HistoryPage((), Position(page.position.start), more=False)

    patch.setattr(provider_module, "read_page", careless)


def _advance_first(patch: Patch) -> None:
    commits = fold._commits

    def eager(mailbox: Any, known: Any, work: Any, items: Any) -> Any:
        for number, commit in enumerate(commits(mailbox, known, work, items)):
            yield replace(commit, state=work.advance(commit.state)) if number == 0 else commit

    patch.setattr(fold, "_commits", eager)


def _by_position(patch: Patch) -> None:
    def positional(content: bytes, content_type: str, calls: int) -> list[Any]:
        parts = [part for part in parse(content, content_type, 100) if part is not None]
        readable = [part for part in parts if part.status != 200 or part.body.lstrip()[:1] == b"{"]
        return (readable + [None] * calls)[:calls]

    parse = multipart.parse
    patch.setattr(multipart, "parse", positional)
    patch.setattr(messages_module._Fetching, "_take", _whatever_came)


def _whatever_came(self: Any, read: Any, result: Any) -> Any:
    if read.method == messages_module.THREAD:
        return self._take_thread(read, result)
    self.answers[read.id] = messages_module.normalise({**result, "id": read.id}, self._reader.headers, read.id)
    self._served += 1
    return None


def _inner_errors_skipped(patch: Patch) -> None:
    error_for = messages_module.error_for

    def gone(failure: Any, where: Any) -> Exception:
        error = error_for(failure, where)
        return NotFound() if isinstance(error, RateLimited) else error

    patch.setattr(messages_module, "error_for", gone)
    _no_gaps(patch)


def _smaller_at_once(patch: Patch) -> None:
    def halve(self: Any, _: Any) -> None:
        self._size = max(self._size // 2, 1)

    patch.setattr(messages_module._Fetching, "_wait", halve)


def _refusals_are_raised(patch: Patch) -> None:
    def strict(mailbox: Any, known: Any, work: Any) -> Any:
        if any(isinstance(change, fold.Refused) for change in work.changes):
            raise Retry
        return original(mailbox, known, work)

    original = apply_module.fold
    patch.setattr(apply_module, "fold", strict)


def _nobody_cares(patch: Patch) -> None:
    patch.setattr(tick_module, "care", lambda *_: None)


def _nobody_polls(patch: Patch) -> None:
    patch.setattr(tick_module, "_poll", lambda *_: 0)


def _never_renewed(patch: Patch) -> None:
    enqueue = tick_module.enqueue_once

    def all_but_channels(tasks: Any, state: Any, kind: str, *args: Any) -> Enqueued:
        return Enqueued.PENDING if kind == "channel" else enqueue(tasks, state, kind, *args)

    patch.setattr(tick_module, "enqueue_once", all_but_channels)


def _the_watch_on_record_is_kept(patch: Patch) -> None:
    enqueue = connect.enqueue_once

    def only_without(tasks: Any, state: Any, kind: str, *args: Any) -> Enqueued:
        kept = kind == "channel" and state.channel is not None
        return Enqueued.PENDING if kept else enqueue(tasks, state, kind, *args)

    patch.setattr(connect, "enqueue_once", only_without)


def _labels_by_get(patch: Patch) -> None:
    def wants(box: Any, work: Any, item: Any, change: Any) -> None:
        item.wanted = not item.fresh

    patch.setattr(fold, "_relabel", wants)


def _not_stopped_first(patch: Patch) -> None:
    patch.setattr("shared.providers.gmail.provider.one_push_client", lambda _: False)


def _filtered(patch: Patch) -> None:
    read_page = provider_module.read_page

    def inbox_only(answer: Any, position: Any) -> Any:
        for record in answer.get("history", []):
            added = record.get("messagesAdded", [])
            record["messagesAdded"] = [one for one in added if "INBOX" in one["message"].get("labelIds", ())]
        return read_page(answer, position)

    patch.setattr(provider_module, "read_page", inbox_only)


PROTECTIONS: list[tuple[Callable[..., None], Callable[[Patch], None], tuple[Any, ...]]] = [
    (test_a_push_answered_before_its_work_is_done_and_a_crash_after_it, _acknowledged_first, ()),
    (test_an_event_popped_before_it_was_processed, _acknowledged_first, ()),
    (test_a_queue_error_that_is_answered_as_success, _errors_of_the_queue_swallowed, ()),
    (test_a_wake_up_between_the_last_look_and_going_idle, _spent_is_success, ()),
    (two_at_once, _no_compare_and_set, (1,)),
    (overlapping, _no_compare_and_set, (1,)),
    (test_an_early_push_that_is_dropped_as_stale, _no_settle_look, ()),
    (test_pushes_during_a_pause_with_nothing_scheduled_for_afterwards, _not_put_off, ()),
    (test_an_item_that_fails_while_the_cursor_moves_past_it, _no_gaps, ()),
    (test_a_failed_run_whose_successor_starts_behind_it, _a_failure_moves_the_cursor, ()),
    (test_an_expired_cursor_that_jumps_to_now, _jump_to_now, ()),
    (test_two_weeks_offline_that_end_in_an_endless_404, _jump_to_now, ()),
    (test_an_anchor_of_the_newest_message_after_the_listing, _cursor_of_the_newest, ()),
    (test_a_profile_that_is_read_again_on_resume, _anchored_again, ()),
    (empty_pages, _empty_is_the_end, ("history",)),
    (test_a_cursor_that_moves_with_the_first_part_of_a_page, _advance_first, ()),
    (test_batch_answers_mapped_by_position_after_an_unreadable_part, _by_position, ()),
    (test_errors_of_parts_that_are_lost_inside_a_200, _inner_errors_skipped, ()),
    (test_a_429_that_makes_batches_smaller_and_is_not_waited_for, _smaller_at_once, ()),
    (test_one_bad_message_that_ends_the_mailbox, _refusals_are_raised, (500,)),
    (test_mail_that_is_read_again_when_its_labels_change, _labels_by_get, ()),
    (test_a_full_sync_that_stalls_pending_after_a_limit, _nobody_cares, ()),
    (stays_pending, _nobody_cares, ("resyncing",)),
    (test_a_mailbox_that_silently_stops_polling, _nobody_polls, ()),
    (test_a_watch_that_is_made_and_never_renewed, _never_renewed, ()),
    (test_a_stale_watch_that_is_kept_at_a_reconnect, _the_watch_on_record_is_kept, ()),
    (test_a_watch_of_another_client_in_the_way, _not_stopped_first, ()),
    (test_mail_that_a_label_filter_hides, _filtered, ()),
]


@pytest.mark.parametrize(
    ("test", "take_out", "args"), PROTECTIONS, ids=[f"{n}-{p[1].__name__}" for n, p in enumerate(PROTECTIONS)]
)
def test_each_failure_comes_back_when_its_protection_is_taken_out(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    test: Callable[..., None],
    take_out: Callable[[Patch], None],
    args: tuple[Any, ...],
) -> None:
    first, *others = inspect.signature(test).parameters
    given = [request.getfixturevalue(name) for name in (first, *others[len(args) :])]
    take_out(monkeypatch)
    with pytest.raises((AssertionError, BrainstemError, Conflict)) as failure:
        test(given[0], *args, *given[1:])
    print(take_out.__name__, repr(failure.value)[:160])
