"""What must hold of the engine's machine at rest, judged by the sentences of the simulation's checker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from shared.events.envelope import Event
from shared.mail.message import PLACEHOLDER, PRESENT
from tests.chaos.simulation import checker

if TYPE_CHECKING:
    from tests.machine import Machine


def fold_events(events: Iterable[Event]) -> dict[str, Mapping[str, Any]]:
    """What a reader of the stream knows at its end; fails where it was told something out of order."""
    known, wrong = checker.fold_events((event.type, event.data) for event in events)
    assert wrong == []
    return known


def check(machine: Machine) -> None:
    """Assert that store equals provider, that the stream explains the store, and that the consumer counted once."""
    documents, events, state = list(machine.documents().values()), machine.log(), machine.state
    truth = {
        id_: {"labels": sorted(message.labels), "subject": message.subject}
        for id_, message in machine.provider.messages.items()
    }
    assert list(checker.differences(state.id, truth, documents)) == []
    assert [data["id"] for data in documents if data["state"] == PLACEHOLDER] == []
    assert state.messages == sum(data["state"] == PRESENT for data in documents)

    assert [event.sequence for event in events] == list(range(1, state.head + 1))
    assert [id_ for id_, times in Counter(event.id for event in events).items() if times > 1] == []
    assert list(checker.unexplained(state.id, fold_events(events), documents)) == []

    assert state.published == state.head
    sent = machine.bus.sequences()
    assert sorted(set(sent)) == list(range(1, state.head + 1))
    firsts = list(dict.fromkeys(sent))
    assert firsts == sorted(firsts), "first deliveries are out of order"
    assert machine.counts() == dict(checker.received((event.type, event.data) for event in events))
