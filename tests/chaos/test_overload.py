"""More than the machine can take for a while: a store that fails, a disk that is full, doorbells without end."""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from infra.local.changes import Traffic
from shared.errors import Retry
from shared.mail.doorbell import gmail_push
from shared.mail.state import STUCK_AFTER
from shared.mail.tick import tick
from shared.ports import Query
from tests.chaos.overload import Strained, limited_disk
from tests.chaos.wire import mail
from tests.machine import SCHEDULE, Machine
from tests.world import ADDRESS, UID

OTHER_UID, OTHER_ADDRESS = "user_other1", "other@example.org"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_store_that_fails_a_fifth_of_its_calls_slows_a_backfill_and_live_mail_and_loses_nothing(
    tmp_path: Path, seed: int
) -> None:
    world = Strained(tmp_path, seed, page_size=20)
    world.store.fail(0.2)
    world.join(UID, ADDRESS, 300)
    traffic = Traffic(world.google, ADDRESS, seed, 40)
    for _ in range(40):
        world.run(5)
        traffic.change()
    world.run(3600)
    assert world.persist("GET", "/mail/status")["mailboxes"][0]["backfill"]["done"], "it got there all the same"
    assert world.deepest < 30
    assert min(world.store.fired[kind] for kind in ("retry", "slow")) > 50
    assert min(world.store.fired[kind] for kind in ("unknown, applied", "unknown, not applied")) > 3
    world.store.fail(0.0)
    world.run(900)
    world.judge(ADDRESS)
    world.close()


@pytest.mark.parametrize("during", ["backfill", "live"])
def test_a_full_disk_is_answered_507_and_everything_goes_on_once_there_is_room(tmp_path: Path, during: str) -> None:
    with limited_disk() as disk:
        world = Strained(tmp_path, 3, page_size=20)
        world.google.set_faults({"latency": 0.15})
        world.join(UID, ADDRESS, 300)
        world.run(2 if during == "backfill" else 60)
        before = world.status()
        assert before["backfill"]["done"] == (during == "live")
        disk.full = True
        traffic = Traffic(world.google, ADDRESS, 3, 60)
        for _ in range(60):
            traffic.change()
            world.run(10)
        assert refusal(world) == (507, "storage_full")
        assert world.status()["outbox"] >= 0, "what needs no room is answered"
        assert world.status()["messages"] < traffic.mails
        assert world.taken["sync", 507] > 0, "steps are put off and come back"
        disk.full = False
        world.run(1800)
        world.judge(ADDRESS)
        world.close()


def test_a_thousand_doorbells_a_second_for_one_mailbox_cost_a_look_in_five_seconds_and_starve_nobody(
    tmp_path: Path,
) -> None:
    seconds, every = 10, 1000
    world = Strained(tmp_path, 4)
    world.join(OTHER_UID, OTHER_ADDRESS, 20)
    world.join(UID, ADDRESS, 20)
    world.run(120)
    world.google.set_faults({"drop": 1.0})  # of Google's own pushes only those that the test makes
    asked, steps = gmail_calls(world), world.taken["sync", 200]
    push = doorbell(ADDRESS)
    world.deepest = 0
    ids = []
    for number in range(seconds):
        for _ in range(every):
            gmail_push(world.store, world.ports.tasks, world.clock, push)
        ids.append(mail(world, f"amid the noise {number}"))
        ids.append(mail(world, f"elsewhere {number}", address=OTHER_ADDRESS))
        gmail_push(world.store, world.ports.tasks, world.clock, doorbell(OTHER_ADDRESS))
        world.run(1.0)
    world.run(15)
    buckets = seconds / 5 + 1
    looks = 2 * buckets + 2 * buckets  # of two mailboxes: one per bucket, and a settle look after each
    assert world.taken["sync", 200] - steps <= looks + 4
    assert gmail_calls(world) - asked <= looks + 4 + len(ids)
    assert world.deepest <= 10
    late = [one.at - received(world, one) for one in world.received if one.data.get("provider_message_id") in ids]
    assert len(late) == len(ids)
    assert max(late) < 10.0
    world.run(120)
    world.judge(ADDRESS)
    world.sign_in(OTHER_UID)
    world.judge(OTHER_ADDRESS)
    world.close()


def test_a_tick_whose_store_fails_one_query_serves_everything_else_and_says_that_it_failed(tmp_path: Path) -> None:
    machine = Machine(tmp_path, page_size=5)
    for number in range(40):
        machine.provider.deliver(f"old{number}", at=1.0)
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))
    machine.queue.settle(machine.claim(kind="backfill"), 200)  # its queue has lost it
    machine.clock.advance(STUCK_AFTER + 1)
    store = machine.store

    class Failing:
        """A store that cannot answer for the intents, which a tick asks for in between."""

        def query(self, query: Query) -> Any:
            if query.group == "intents":
                raise Retry
            return store.query(query)

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

    with pytest.raises(Retry):
        tick(replace(machine.ctx, store=Failing()), SCHEDULE)
    assert machine.state.rescue == 1
    machine.run(60)
    assert machine.state.backfill.done
    machine.verify()


def gmail_calls(world: Strained) -> int:
    """How many calls of the Gmail API there were, those within batches too."""
    requests: Counter[str] = Counter(world.google.report()["requests"])
    return requests.total() - requests["batch"]


def received(world: Strained, delivery: Any) -> float:
    """When the mail of an event came."""
    return datetime.fromisoformat(delivery.data["msg_date"]).timestamp()


def refusal(world: Strained) -> tuple[int, str]:
    """What a person is told who writes until something is refused; what was free in the file may take a little."""
    note = {"type": "note.written", "data": {"text": "x" * 10_000}}
    for _ in range(100):
        code, answer = world.call("api", "POST", "/events", note, Authorization=f"Bearer {world.token}")
        if code >= 300:
            return code, answer["error"]["code"]
    raise AssertionError("Nothing was refused.")


def doorbell(address: str) -> dict[str, Any]:
    """Gmail's push as Pub/Sub hands it on; what it says is never used."""
    data = base64.b64encode(json.dumps({"emailAddress": address, "historyId": 1}).encode()).decode()
    return {"message": {"data": data, "messageId": "1", "attributes": {}}, "subscription": "gmail"}
