"""What must hold of a mailbox at rest: store equals provider, the stream explains the store, the consumer counted once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from shared.mail.message import PRESENT

if TYPE_CHECKING:
    from tests.machine import Machine


def fold_events(events: list[Any]) -> dict[str, dict[str, Any]]:
    """What a reader of the stream knows: the last data of every message that was announced and not deleted."""
    known: dict[str, dict[str, Any]] = {}
    announced: set[str] = set()
    for event in events:
        if not event.type.startswith("email."):
            continue
        id_ = event.data["provider_message_id"]
        if event.type in ("email.received", "email.sent"):
            assert id_ not in announced, f"{id_} is announced twice"
            announced.add(id_)
        assert id_ in announced, f"{event.type} of {id_} comes before its announcement"
        if event.type == "email.deleted":
            known.pop(id_)
        else:
            known[id_] = event.data
    return known


def check(machine: Machine) -> None:
    """Assert all of it."""
    provider, documents, events = machine.provider, machine.documents(), machine.log()
    state = machine.state

    stored = {id_: data for id_, data in documents.items() if data["state"] == PRESENT}
    assert {id_: tuple(data["labels"]) for id_, data in stored.items()} == {
        id_: message.labels for id_, message in provider.messages.items()
    }
    assert {id_: data["subject"] for id_, data in stored.items()} == {
        id_: message.subject for id_, message in provider.messages.items()
    }
    assert not [id_ for id_, data in documents.items() if data["state"] == "placeholder"]
    assert state.messages == len(stored)

    assert [event.sequence for event in events] == list(range(1, state.head + 1))
    ids = Counter(event.id for event in events)
    assert [id_ for id_, times in ids.items() if times > 1] == []
    known = fold_events(events)
    announced = {id_: data for id_, data in stored.items() if data["announced"]}
    assert set(known) == set(announced)
    for id_, data in known.items():
        assert data["labels"] == stored[id_]["labels"]
        assert data["subject"] == stored[id_]["subject"]

    assert state.published == state.head
    sent = machine.bus.sequences()
    assert sorted(set(sent)) == list(range(1, state.head + 1))
    firsts = list(dict.fromkeys(sent))
    assert firsts == sorted(firsts), "first deliveries are out of order"

    received = [event for event in events if event.type == "email.received"]
    expected = Counter((event.data["msg_date"][:10], event.data["sender"]) for event in received)
    assert machine.counts() == dict(expected)
