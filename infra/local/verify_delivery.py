"""What left the log: every event on the bus, in order; every received mail counted once by the sample consumer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Say: TypeAlias = Callable[[str], None]

_ATTRIBUTES = {
    "ce-id": "id",
    "ce-type": "type",
    "ce-source": "source",
    "ce-subject": "subject",
    "ce-time": "time",
    "ce-sequence": "sequence",
    "user_id": "user_id",
    "provider": "provider",
    "origin": "origin",
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One push as the subscriber received it: when (seconds), its attributes, its JSON data."""

    at: float
    attributes: Mapping[str, str]
    data: Any


def check_delivery(events: Mapping[str, Sequence[Json]], delivered: Sequence[Delivery], say: Say) -> None:
    """Check that the bus delivered each event of the log at least once, unaltered, first time in order per stream."""
    log = {event["id"]: event for stream in events.values() for event in stream}
    seen: set[str] = set()
    last: dict[str, int] = {}
    for push in delivered:
        id_ = push.attributes.get("ce-id", "")
        event = log.get(id_)
        if event is None:
            say(f"The bus delivered event {id_!r}, which the log does not hold.")
            continue
        for attribute, name in _ATTRIBUTES.items():
            if push.attributes.get(attribute) != str(event[name]):
                say(f"The bus delivered event {id_} with {attribute} {push.attributes.get(attribute)!r}.")
        if push.data != event["data"]:
            say(f"The bus delivered event {id_} with other data than the log holds.")
        if id_ not in seen:
            seen.add(id_)
            if event["sequence"] <= last.get(event["source"], 0):
                say(f"Stream {event['source']}: event {event['sequence']} was delivered after {last[event['source']]}.")
            last[event["source"]] = max(event["sequence"], last.get(event["source"], 0))
    for id_, event in log.items():
        if id_ not in seen:
            say(f"Stream {event['source']}: the bus never delivered event {event['sequence']} ({event['type']}).")


def check_consumer(events: Mapping[str, Sequence[Json]], senders: Sequence[Json], say: Say) -> tuple[int, bool]:
    """Compare the sample consumer's counts with the log; answer the effects applied too often, and whether all agree."""
    due: Counter[tuple[str, str]] = Counter()
    for stream in events.values():
        distinct = {event["id"]: event for event in stream if event["type"] == "email.received"}
        due.update((event["data"]["msg_date"][:10], event["data"]["sender"]) for event in distinct.values())
    counted: Counter[tuple[str, str]] = Counter()
    for entry in senders:
        counted[(entry["day"], entry["sender"])] += entry["mails"]
    for key in due.keys() | counted.keys():
        if due[key] != counted[key]:
            say(f"The consumer counted {counted[key]} mails of {key[1]!r} on {key[0]}; there were {due[key]}.")
    return (counted - due).total(), +due == +counted
