"""Mail of absurd size: a subject of a megabyte, a thread of thousands, a mailbox in which every list is long.

``make soak`` has the thread of 10,000 and the mailbox of 100,000; here they are smaller and the bounds are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.mail.backfill import EARLY_AT_MOST
from shared.mail.fold import COMMIT_BYTES
from shared.ports import MAX_COMMIT_BYTES, MAX_DOCUMENT_BYTES
from tests.chaos.overload import Strained
from tests.chaos.wire import mail, planned, status, told
from tests.world import ADDRESS, MAILBOX, UID

STATE_BYTES = 50_000
"""What the mailbox's own document may weigh, however large the mailbox: far below the limit of a document."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Strained]:
    made = Strained(tmp_path, 9)
    made.store.weigh = True
    made.google.add_mailbox(ADDRESS)
    yield made
    made.close()


def requests(world: Strained) -> dict[str, int]:
    """How often each method of Google's API was called."""
    counted: dict[str, int] = world.google.report()["requests"]
    return counted


def within_bounds(world: Strained) -> None:
    """No commit and no document near its limit."""
    most = world.store.most
    assert most["commit"] <= MAX_COMMIT_BYTES
    assert most["log"] < MAX_DOCUMENT_BYTES
    assert most["messages"] < MAX_DOCUMENT_BYTES
    assert most["mailboxes"] <= STATE_BYTES


ENDLESS = "subject " * 131_072
CROWD = [[f"P{number}", f"person{number:05}@{'a-rather-long-domain.' * 3}example.org"] for number in range(12_000)]


def test_a_mail_of_a_megabyte_of_subject_or_recipients_is_stored_cut_once_and_stops_nothing(world: Strained) -> None:
    assert len(ENDLESS) == 2**20
    assert sum(len(name) + len(address) for name, address in CROWD) > 1_000_000
    old = world.clock.now() - 86_400
    plans = [planned("before"), planned("crowded", to=CROWD), planned("behind")]
    dated = [plan | {"received_at": old + 60.0 * number} for number, plan in enumerate(plans)]
    world.google.add_mails(ADDRESS, dated, silent=True)
    world.join(UID, ADDRESS, 0)
    world.run(60)
    for plan in (planned(ENDLESS), planned("copied", cc=CROWD, bcc=CROWD), planned("after")):
        world.google.add_mails(ADDRESS, [plan])
        world.run(20)
    world.run(300)
    world.judge(ADDRESS)
    stored = world.all("/mail/messages", "messages", mailbox=MAILBOX)
    cut = {message["subject"][:7]: message.get("truncated") for message in stored}
    assert cut.pop("subject") == ["headers", "subject"]
    assert "to_addrs" in (cut.pop("crowded") or ())
    assert "bcc_addrs" in (cut.pop("copied") or ())
    assert set(cut.values()) == {None}
    assert len(told(world)) == len(stored) == 6
    assert world.taken["sync", 503] == 0
    assert status(world)["gaps_due"] is None
    within_bounds(world)


def test_a_thread_of_thousands_is_read_whole_now_and_then_and_kept_exactly(world: Strained) -> None:
    count = 1_500
    begin = world.clock.now() - 30 * 86_400
    mails = (planned(f"turn {number}", received_at=begin + 60 * number, thread="one") for number in range(count))
    world.google.add_mails(ADDRESS, mails, silent=True)
    world.google.set_faults({"latency": 0.15})
    world.join(UID, ADDRESS, 0)
    while not (first := status(world)["messages"]):
        world.run(0.1)
    assert first <= EARLY_AT_MOST + world.settings.page_size, "a step is no larger for a larger thread"
    for number in range(5):
        world.run(20)
        mail(world, f"and another {number}", thread="one")
    world.run(300)
    world.judge(ADDRESS)
    assert requests(world)["users.threads.get"] <= count / EARLY_AT_MOST + 1
    assert requests(world).get("users.messages.get", 0) <= 5 + 2
    assert world.store.most["commit"] <= COMMIT_BYTES
    assert world.store.most["read"] <= EARLY_AT_MOST + world.settings.page_size
    within_bounds(world)


def test_a_large_mailbox_is_walked_in_steps_that_are_no_larger_for_it(world: Strained) -> None:
    count = 1_500
    begin = world.clock.now() - 30 * 86_400
    # Threads whose mails lie far apart, so that each page brings along mails that later pages name.
    mails = (
        planned(f"mail {number}", received_at=begin + 60 * number, thread=f"t{number % 300}") for number in range(count)
    )
    world.google.add_mails(ADDRESS, mails, silent=True)
    world.join(UID, ADDRESS, 0)
    world.run(300)
    assert status(world)["backfill"] == {"done": True, "listed": count, "total": count}
    world.google.set_faults({"drop": 1.0})
    mail(world, "unheard")
    world.google.expire_history(ADDRESS)
    world.run(1800)
    ended = [event["data"]["kind"] for event in world.events() if event["type"] == "sync.completed"]
    assert ended == ["backfill", "resync"]
    world.judge(ADDRESS)
    within_bounds(world)
