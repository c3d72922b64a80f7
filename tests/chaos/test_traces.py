"""The traces that broke an earlier wording of the protocol, each by its name.

``PROTECTIONS`` names what each one protects; the last test takes the protection out and demands that the trace then fails,
so none of them can pass for another reason. One long file: traces and protections are one table.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from shared import queries, refs
from shared.errors import BrainstemError, Hole
from shared.events import consume
from shared.events.consume import Harness
from shared.events.envelope import segment_of
from shared.events.log import trim_log
from shared.events.publish import send
from shared.mail import accounts as accounts_module
from shared.mail import apply as apply_module
from shared.mail import backfill, channel, fold, live, resync, sync
from shared.mail import message as message_module
from shared.mail import tasks as tasks_module
from shared.mail.tasks import StepTask, ring
from shared.ports import Delete, Enqueued, Put
from tests.machine import MAILBOX, UID, Machine
from tests.meter import free


class Crash(BaseException):
    """The process is gone: nothing after this line of it happens."""


def crash(*_: Any) -> None:
    raise Crash


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path, page_size=10)


def test_published_jumps_over_a_crashed_writers_segment(machine):
    machine.followed(mails=2)
    machine.provider.deliver("first")
    machine.ring()
    machine.bus.before_publish.append(crash)
    with pytest.raises(Crash):
        machine.steps()
    machine.provider.deliver("second")
    machine.clock.advance(6)
    machine.ring()
    machine.run(30)
    assert sorted(set(machine.bus.sequences())) == list(range(1, machine.state.head + 1))
    machine.verify()


def test_a_stale_page_is_folded_again_and_the_cursor_regresses(machine):
    machine.followed(mails=2)
    cursors = []

    def note(writes):
        cursors.extend(int(write.data["cursor"]) for write in writes if "cursor" in getattr(write, "data", {}))

    def others(_writes):
        machine.provider.deliver("second")
        sync.step(machine.ctx, StepTask(MAILBOX, "live"))

    machine.provider.deliver("first")
    machine.store.before_commit.append(others)
    machine.store.after_commit += [note] * 10
    sync.step(machine.ctx, StepTask(MAILBOX, "live"))
    assert cursors == sorted(cursors)
    assert machine.state.cursor == machine.provider.profile(free()).cursor


def test_the_answer_of_a_commit_is_lost_and_the_page_is_appended_twice(machine):
    machine.provider.deliver("old", at=1.0)
    machine.connect()

    def watch(writes):
        told = [event for write in writes for event in getattr(write, "data", {}).get("events", [])]
        if any(event["type"] in ("mailbox.connected", "sync.completed", "email.received") for event in told):
            machine.lose_answer(writes)

    machine.store.after_commit += [watch] * 60
    machine.run(60)
    types = [event.type for event in machine.log()]
    assert sorted(types) == ["email.received", "mailbox.connected", "sync.completed"]
    machine.store.after_commit.clear()
    machine.verify()


def test_a_label_change_on_a_message_not_yet_backfilled_is_overwritten_by_older_data(machine):
    machine.provider.deliver("old", "INBOX", "UNREAD", at=1.0)
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))
    backfilling = machine.claim(kind="backfill")

    def others(_writes):
        machine.provider.relabel("old", remove=["UNREAD"])
        sync.step(machine.ctx, StepTask(MAILBOX, "live"))

    machine.store.before_commit.append(others)
    machine.deliver(backfilling)
    assert machine.documents()["old"]["labels"] == ["INBOX"]
    machine.run(60)
    machine.verify()


def test_a_resync_sweep_deletes_what_live_sync_has_just_created_and_its_tombstone_blocks_the_return(machine):
    machine.followed(mails=3)
    machine.provider.deliver("young")
    sync.step(machine.ctx, StepTask(MAILBOX, "live"))
    machine.provider.expire_history()
    listed = machine.provider.list_ids

    def lagging(*args: Any) -> Any:  # the listing does not know the youngest mail yet
        listing = listed(*args)
        ids = tuple(id_ for id_ in listing.ids if id_ not in ("young", "younger"))
        return replace(listing, ids=ids, threads=())

    machine.provider = _with(machine, list_ids=lagging)
    sync.step(machine.ctx, StepTask(MAILBOX, "live"))
    assert machine.state.status == "resyncing"
    machine.provider.deliver("younger")
    machine.ring()
    machine.run(90)
    machine.provider.relabel("young", add=["STARRED"])
    machine.ring()
    machine.run(30)
    assert not [event for event in machine.log() if event.type == "email.deleted"]
    machine.verify()


def test_two_instances_with_skewed_clocks_find_both_bucket_names_spent(machine):
    machine.followed(mails=1)
    for skew in (0.0, 5.0, 10.0):
        ring(machine.tasks, SimpleNamespace(now=lambda ahead=skew: machine.clock.now() + ahead), MAILBOX)
        machine.steps()
    machine.clock.advance(0.5)
    machine.provider.deliver("new")
    looks = machine.provider.calls["changes"]
    settles = machine.queue.depth()
    machine.ring()
    assert machine.queue.depth() == settles + 1, "the ring must leave a look that has not started"
    machine.run(60)
    assert machine.provider.calls["changes"] > looks
    machine.verify()


def test_an_early_push_behind_a_non_empty_page(machine):
    machine.followed(mails=1)
    machine.provider.deliver("visible")

    def arrives(what):
        if what == "changed":  # the page has been read; what the push was about becomes visible only now
            machine.provider.on_call = None
            machine.provider.deliver("rung for")

    machine.provider.on_call = arrives
    machine.ring()
    machine.run(30)
    assert "rung for" in machine.documents()
    machine.verify()


def test_a_consumer_jumps_over_an_expired_segment(machine):
    machine.inner_bus.unsubscribe("senders")
    machine.followed(mails=5)
    machine.clock.advance(1_000)
    machine.provider.deliver("new")
    machine.ring()
    machine.run(30)
    assert trim_log(machine.store, MAILBOX, machine.clock.now() - 500) > 0
    with pytest.raises(Hole):
        machine.harness.follow(MAILBOX)
    assert machine.counts() == {}
    mark = machine.store.get([refs.watermark("senders", MAILBOX)])[refs.watermark("senders", MAILBOX)]
    assert mark.data["parked"]["sequence"] == 1


def test_a_stream_restarts_at_1_after_erasure_and_old_watermarks_skip_it(machine):
    machine.ctx = replace(machine.ctx, consumers=())  # a consumer that erasure does not know keeps its watermark
    machine.accounts = accounts_module.Accounts(machine.ctx)
    machine.followed(mails=12)
    machine.accounts.erase(UID, MAILBOX)
    machine.run(30)
    machine.connect()
    machine.run(30)
    (mailbox,) = machine.accounts.status(UID)["mailboxes"]
    assert [event.sequence for event in machine.log(mailbox["id"])] == list(range(1, 15))
    mark = refs.watermark("senders", mailbox["id"])
    assert machine.harness.follow(mailbox["id"]) == 14
    first = machine.store.get([mark])[mark]
    assert sum(_mails(machine, mailbox["id"], first.data["generation"]).values()) == 12
    assert mailbox["id"] != MAILBOX


def test_rebuilding_doubles_a_counter(machine):
    machine.followed(mails=25)
    counted = machine.counts()
    machine.harness.rebuild(MAILBOX)
    machine.provider.deliver("meanwhile")
    machine.ring()
    machine.run(30)
    assert machine.harness.build(MAILBOX)
    assert sum(machine.counts().values()) == sum(counted.values()) + 1
    assert _mails(machine, MAILBOX, 1) == {}
    machine.verify()


def test_a_commit_of_huge_recipient_lists_never_fits(machine):
    machine.followed()
    many = tuple(f"person{number:06d}@a-rather-long-domain-name.example.org" for number in range(9_000))
    for number in range(12):
        machine.provider.deliver(f"huge{number}")
        machine.provider.messages[f"huge{number}"] = replace(machine.provider.messages[f"huge{number}"], to=many)
    machine.ring()
    machine.run(30)
    assert machine.state.messages == 12
    machine.verify()


def test_received_gets_a_second_id_after_a_repair(machine):
    machine.followed(mails=3)
    machine.provider.relabel("old1", remove=["UNREAD"])
    machine.store.commit([Delete(refs.message(MAILBOX, "old1"))])  # behind our back
    machine.provider.expire_history()
    machine.ring()
    machine.run(60)
    assert "old1" in machine.documents()
    ids = {
        event.id
        for event in machine.log()
        if event.type == "email.received" and event.data["provider_message_id"] == "old1"
    }
    assert len(ids) == 1


def test_a_retried_task_forks_its_chain(machine):
    for number in range(60):
        machine.provider.deliver(f"old{number}", at=1.0)
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))
    for _ in range(3):
        task = machine.claim(kind="backfill")
        step = tasks_module.parse(_body(task))
        sync.step(machine.ctx, step)
        sync.step(machine.ctx, step)  # the first attempt's acknowledgement was lost
        machine.queue.settle(task, 200)
        waiting = [
            body for _, body, result in machine.tasks.enqueued if body["kind"] == "backfill" and result == "created"
        ]
        assert len({body["page"] for body in waiting}) == len(waiting)
    machine.run(60)
    machine.verify()


def test_a_watch_outlives_its_disconnect(machine):
    machine.followed(mails=1)

    def others(_writes):
        machine.accounts.disconnect(UID, "google")
        sync.step(machine.ctx, StepTask(MAILBOX, "channel"))

    machine.store.before_commit.append(others)
    sync.step(machine.ctx, StepTask(MAILBOX, "channel"))
    assert machine.provider.channels == 0


def test_a_watch_outlives_its_disconnect_when_its_opener_crashed(machine):
    machine.followed(mails=1)

    def others(_writes):
        machine.accounts.disconnect(UID, "google")
        machine.run(1)
        machine.provider.channels = 1  # our opener's call reached the provider after the stop
        raise Crash

    machine.store.before_commit.append(others)
    with pytest.raises(Crash):
        sync.step(machine.ctx, StepTask(MAILBOX, "channel"))
    machine.ring()
    machine.run(10)
    assert machine.provider.channels == 0


@pytest.mark.parametrize("applied_before", [0, 1])
def test_a_slow_consumer_re_creates_documents_after_an_erasure(machine, applied_before):
    machine.inner_bus.unsubscribe("senders")
    for number in range(25):
        machine.provider.deliver(f"old{number}", at=machine.clock.now() - 86_400 * number)
    machine.followed()
    if applied_before:
        first = segment_of(machine.store.query(queries.segments_after(MAILBOX, 1, 1))[0].data)
        machine.harness.follow(MAILBOX, first.last)

    def others(_writes):
        machine.accounts.erase(UID, MAILBOX)
        machine.run(30)

    machine.store.before_commit.append(others)
    machine.harness.follow(MAILBOX)
    mark = refs.watermark("senders", MAILBOX)
    assert machine.store.get([mark]) == {}
    assert _mails(machine, MAILBOX, 1) == {}


def _mails(machine: Machine, stream: str, generation: int) -> dict[str, int]:
    scope = consume.scope_of(stream, generation)
    return {doc.ref: doc.data["mails"] for doc in machine.store.query(queries.effects_of("senders", scope, 500))}


def _body(delivery: Any) -> Any:
    return orjson.loads(delivery.body)


def _with(machine: Machine, **methods: Any) -> Any:
    """The machine's provider with some methods replaced, also for the engine."""

    class Changed:
        def __getattr__(self, name: str) -> Any:
            return methods.get(name) or getattr(original, name)

    original = machine.provider
    changed = Changed()
    machine.ctx = replace(machine.ctx, providers={"GOOGLE": changed})
    return changed


# What each trace protects, as a patch that takes it out.


def _own_segments_only(patch, machine):
    def own(store, bus, stream, published, head, held=()):
        for segment in held:
            send(bus, segment)
        return head

    patch.setattr(apply_module, "relay", own)


def _no_position_check(patch, machine):
    original = apply_module.apply

    def careless(ctx, loaded, work, position, *args, **kwargs):
        return original(ctx, loaded, work, lambda state: None, *args, **kwargs)

    for module in (live, backfill, resync, sync):
        patch.setattr(module, "apply", careless)


def _unknown_changes_ignored(patch, machine):
    original = fold._relabel
    patch.setattr(fold, "_relabel", lambda box, work, item, change: item.now and original(box, work, item, change))


def _sweep_without_404(patch, machine):
    patch.setattr(resync, "Missing", object)


def _spent_is_success(patch, machine):
    original = tasks_module._enqueue
    patch.setattr(
        tasks_module,
        "_enqueue",
        lambda tasks, task, name, at=None: Enqueued.SPENT if name is None else original(tasks, task, name, at),
    )


def _settle_only_when_empty(patch, machine):
    original = sync.settle

    def settle(tasks, clock, mailbox):
        if machine.state.cursor_at != clock.now():
            original(tasks, clock, mailbox)

    patch.setattr(sync, "settle", settle)


def _no_contiguity(patch, machine):
    def lax(self, stream, sequence, doc):
        found = self.store.query(queries.segments_after(stream, sequence, 1))
        return segment_of(found[0].data) if found else None

    patch.setattr(Harness, "_next", lax)


def _ids_return(patch, machine):
    patch.setattr(accounts_module, "_slot", lambda user, provider: "primary")


def _rebuild_keeps_effects(patch, machine):
    def rebuild(self, stream):
        ref = refs.watermark(self.consumer.name, stream)
        consume.amend(self.store, ref, lambda doc: {"building": {"generation": doc.data["generation"], "sequence": 0}})

    patch.setattr(Harness, "rebuild", rebuild)


def _unsplit(patch, machine):
    patch.setattr(fold, "COMMIT_BYTES", 1 << 60)


def _version_in_the_id(patch, machine):
    original = message_module.fact_id
    versions = iter(range(1_000_000))
    patch.setattr(message_module, "fact_id", lambda box, id_, type_, _: original(box, id_, type_, str(next(versions))))


def _unnamed_successor(patch, machine):
    original = tasks_module._enqueue
    patch.setattr(
        tasks_module,
        "_enqueue",
        lambda tasks, task, name, at=None: original(tasks, task, None if task.page else name, at),
    )


def _watch_not_undone(patch, machine):
    class Anything:
        def __eq__(self, other):
            return True

        __hash__ = None

    patch.setattr(channel, "amend_mailbox", lambda *_: SimpleNamespace(channel=Anything(), active=True))


def _ring_does_not_stop(patch, machine):
    original = channel.stop
    patch.setattr(channel, "stop", lambda ctx, loaded: loaded.state.channel and original(ctx, loaded))


def _watermark_by_put(patch, machine):
    def written(self, doc, fields, stream="", effects=()):
        ref = doc.ref if doc else refs.watermark(self.consumer.name, stream)
        data = {"stream": stream, "generation": 1, "building": None, **(doc.data if doc else {}), **fields}
        return SimpleNamespace(ref=ref, data=data, version=self.store.commit([Put(ref, data), *effects])[0])

    patch.setattr(Harness, "_written", written)


PROTECTIONS = [
    (test_published_jumps_over_a_crashed_writers_segment, _own_segments_only),
    (test_a_stale_page_is_folded_again_and_the_cursor_regresses, _no_position_check),
    (test_the_answer_of_a_commit_is_lost_and_the_page_is_appended_twice, _no_position_check),
    (test_a_label_change_on_a_message_not_yet_backfilled_is_overwritten_by_older_data, _unknown_changes_ignored),
    (
        test_a_resync_sweep_deletes_what_live_sync_has_just_created_and_its_tombstone_blocks_the_return,
        _sweep_without_404,
    ),
    (test_two_instances_with_skewed_clocks_find_both_bucket_names_spent, _spent_is_success),
    (test_an_early_push_behind_a_non_empty_page, _settle_only_when_empty),
    (test_a_consumer_jumps_over_an_expired_segment, _no_contiguity),
    (test_a_stream_restarts_at_1_after_erasure_and_old_watermarks_skip_it, _ids_return),
    (test_rebuilding_doubles_a_counter, _rebuild_keeps_effects),
    (test_a_commit_of_huge_recipient_lists_never_fits, _unsplit),
    (test_received_gets_a_second_id_after_a_repair, _version_in_the_id),
    (test_a_retried_task_forks_its_chain, _unnamed_successor),
    (test_a_watch_outlives_its_disconnect, _watch_not_undone),
    (test_a_watch_outlives_its_disconnect_when_its_opener_crashed, _ring_does_not_stop),
    (lambda machine: test_a_slow_consumer_re_creates_documents_after_an_erasure(machine, 0), _watermark_by_put),
    (lambda machine: test_a_slow_consumer_re_creates_documents_after_an_erasure(machine, 1), _watermark_by_put),
]


@pytest.mark.parametrize(
    ("trace", "take_out"), PROTECTIONS, ids=[f"{n}-{p[1].__name__}" for n, p in enumerate(PROTECTIONS)]
)
def test_each_trace_fails_when_its_protection_is_taken_out(machine, monkeypatch, trace, take_out):
    take_out(monkeypatch, machine)
    with pytest.raises((AssertionError, BrainstemError, pytest.fail.Exception)) as failure:
        trace(machine)
    print(take_out.__name__, repr(failure.value)[:160])
