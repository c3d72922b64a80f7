"""The whole product over virtual time: what Google has is what the API shows, whatever happened to the pushes."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.world import ADDRESS, MAILBOX, World


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_backfill_and_live_traffic_end_exact_under_push_faults(tmp_path, seed):
    world = World(tmp_path, seed, page_size=25)
    world.google.set_faults(
        {"drop": 0.3, "duplicate": 0.3, "delay": 0.1, "delay_seconds": 3.0, "reorder": 0.1, "early": 0.2}
    )
    world.connect(mails=200)
    world.traffic(60, seconds=60.0)
    world.run(20 * 60)
    (mailbox,) = world.api("GET", "/mail/status")["mailboxes"]
    assert (mailbox["status"], mailbox["outbox"], mailbox["last_error"]) == ("live", 0, None)
    truth = world.google.truth(ADDRESS)
    messages = world.all("/mail/messages", "messages", mailbox=MAILBOX)
    assert {message["provider_message_id"]: message["labels"] for message in messages} == {
        mail["id"]: mail["labels"] for mail in truth["mails"]
    }
    events = world.events()
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    received = Counter(
        (event["data"]["msg_date"][:10], event["data"]["sender"])
        for event in events
        if event["type"] == "email.received"
    )
    shown = Counter()
    for row in world.all("/mail/senders", "senders"):
        shown[row["day"], row["sender"]] += row["mails"]
    assert shown == received


def test_a_stream_is_walked_whole_while_sync_runs_and_rebuilding_from_1_reaches_the_same_counts(tmp_path):
    world = World(tmp_path, 4, page_size=25)
    world.google.set_faults({"drop": 0.3, "duplicate": 0.3, "early": 0.2})
    world.connect(mails=200)
    sequences: list[int] = []
    after = ""
    statuses = set()

    def read() -> None:
        nonlocal after
        page = world.api("GET", f"/events?stream={MAILBOX}&limit=7{after}")
        sequences.extend(event["sequence"] for event in page["events"])
        after = f"&after={page['next']}"
        statuses.add(world.api("GET", "/mail/status")["mailboxes"][0]["status"])

    read()
    for _ in range(60):
        world.traffic(1, seconds=0.4)
        read()
    world.run(20 * 60)
    while len(sequences) < world.api("GET", "/mail/status")["mailboxes"][0]["sequence"]:
        read()
    assert sequences == list(range(1, len(sequences) + 1))
    assert statuses >= {"connecting", "live"}, "reading began before sync did and went on beside it"

    counted = sorted(map(tuple, (row.items() for row in world.all("/mail/senders", "senders"))))
    assert world.call("senders", "POST", "/rebuild", {"stream": MAILBOX})[0] == 200
    assert sorted(map(tuple, (row.items() for row in world.all("/mail/senders", "senders")))) == counted
    assert counted
