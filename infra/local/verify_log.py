"""The streams, judged on their own: numbered from 1 without a hole, each fact once, each message's life in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Say: TypeAlias = Callable[[str], None]

FIELDS = (
    "provider_thread_id",
    "subject",
    "sender",
    "to_addrs",
    "cc_addrs",
    "bcc_addrs",
    "snippet",
    "headers",
    "labels",
    "msg_date",
)
"""What an event says about a message, under the names that the API uses too."""

MAIL_KEYS = frozenset(
    {
        *FIELDS,
        "event_id",
        "ts",
        "provider",
        "inbox_id",
        "user_id",
        "provider_message_id",
        "sequence",
        "stream",
        "origin",
    }
)
OPTIONAL_KEYS = frozenset({"changed", "truncated"})
ONCE = frozenset({"email.received", "email.sent", "email.deleted"})
FIRST = frozenset({"email.received", "email.sent"})


def check_streams(events: Mapping[str, Sequence[Json]], say: Say) -> tuple[bool, int]:
    """Check numbering and ids of all streams; answer whether all are contiguous, and how many facts exist twice."""
    contiguous = True
    repeated = 0
    ids: set[str] = set()
    facts: set[tuple[str, str, str]] = set()
    for stream, log in events.items():
        for number, event in enumerate(log, start=1):
            if event["sequence"] != number:
                contiguous = False
                say(f"Stream {stream}: sequence {number} was expected, {event['sequence']} came.")
                break
        for event in log:
            _check_envelope(stream, event, say)
            fact = (stream, event["type"], str(event["data"].get("provider_message_id")))
            if event["id"] in ids or (event["type"] in ONCE and fact in facts):
                repeated += 1
                say(f"Stream {stream}: event {event['sequence']} repeats a fact ({event['type']} {fact[2]}).")
            ids.add(event["id"])
            facts.add(fact)
            if event["type"] == "email.updated":  # it is there: to be deleted, perhaps once more, is another fact
                facts.discard((stream, "email.deleted", fact[2]))
    return contiguous, repeated


def check_milestones(mailbox: str, log: Sequence[Json], ids: Set[str], say: Say) -> None:
    """Check what happens once in the life of a mailbox, and that its events are about mails that were there."""
    types = [event["type"] for event in log]
    if types[:1] != ["mailbox.connected"] or types.count("mailbox.connected") != 1:
        say(
            f"Stream {mailbox}: mailbox.connected comes {types.count('mailbox.connected')} times; once and first is right."
        )
    ends = [event["data"].get("kind") for event in log if event["type"] == "sync.completed"]
    if ends.count("backfill") != 1 and not (ends.count("backfill") == 0 and "resync" in ends):
        # A resync lists everything, so it takes the place of a backfill that it finds under way.
        say(f"Stream {mailbox}: the end of the backfill is told {ends.count('backfill')} times.")
    for event in log:
        if event["provider"] != mailbox.rpartition(":")[2]:
            say(f"Stream {mailbox}: event {event['sequence']} has the provider {event['provider']!r}.")
        if event["type"].startswith("email.") and event["data"]["provider_message_id"] not in ids:
            say(f"Stream {mailbox}: event {event['sequence']} is about a message that never was in the mailbox.")


def fold_stream(log: Sequence[Json], say: Say) -> dict[str, Json]:
    """Follow each message through its events; answer the messages that are alive at the end, with ``announced``.

    After its deletion a message can only come back as a whole, by an update: the provider had denied it for a while.
    """
    alive: dict[str, Json] = {}
    gone: dict[str, str] = {}  # what they were announced as
    for event in log:
        if not event["type"].startswith("email."):
            continue
        data, number = event["data"], event["sequence"]
        id_ = data["provider_message_id"]
        if id_ in gone and event["type"] == "email.updated":
            _check_return(event, say)
            alive[id_] = {**data, "announced": gone.pop(id_)}
        elif id_ in gone:
            say(f"Event {number} ({event['type']}) follows the deletion of message {id_}.")
        elif event["type"] in FIRST:
            alive[id_] = {**data, "announced": event["type"].removeprefix("email.")}
        elif id_ not in alive:
            say(f"Event {number} ({event['type']}) comes before message {id_} was received or sent.")
        elif event["type"] == "email.deleted":
            if any(alive[id_][name] != data[name] for name in FIELDS):
                say(f"Event {number} tells of the deletion of message {id_} with other data than it had.")
            gone[id_] = alive.pop(id_)["announced"]
        else:
            _check_update(alive[id_], event, say)
            alive[id_] = {**data, "announced": alive[id_]["announced"]}
    return alive


def _check_envelope(stream: str, event: Json, say: Say) -> None:
    data = event["data"]
    pairs = {"source": stream, "user_id": stream.partition(":")[0]}
    pairs["subject"] = f"user.{pairs['user_id']}.{event['type']}"
    for name, value in pairs.items():
        if event[name] != value:
            say(f"Stream {stream}: event {event['sequence']} has the {name} {event[name]!r}.")
    if not event["type"].startswith("email."):
        return
    keys = data.keys() - OPTIONAL_KEYS
    if keys != MAIL_KEYS:
        say(f"Stream {stream}: event {event['sequence']} has missing or unknown fields {sorted(keys ^ MAIL_KEYS)}.")
        return
    inside = {
        "event_id": event["id"],
        "sequence": event["sequence"],
        "stream": stream,
        "inbox_id": stream,
        "user_id": event["user_id"],
        "provider": event["provider"],
        "origin": event["origin"],
        "ts": event["time"],
    }
    for name, value in inside.items():
        if data[name] != value:
            say(f"Stream {stream}: event {event['sequence']} says {name} {data[name]!r} inside, {value!r} outside.")


def _check_return(event: Json, say: Say) -> None:
    """Check that an update after a deletion names all that had gone with the message, which is all that is not empty."""
    data = event["data"]
    lost = {name for name in FIELDS if data[name]}
    if lost != set(data.get("changed", ())):
        say(
            f"Event {event['sequence']} brings back {sorted(lost)} of a message but names {sorted(data.get('changed', ()))}."
        )


def _check_update(before: Json, event: Json, say: Say) -> None:
    data = event["data"]
    differing = {name for name in FIELDS if before[name] != data[name]}
    if not differing:
        say(f"Event {event['sequence']} updates message {data['provider_message_id']} without changing anything.")
    elif differing != {"labels"}:
        say(f"Event {event['sequence']} changes {sorted(differing)}; of a mail only the labels ever change.")
    elif differing != set(data.get("changed", ())):
        say(f"Event {event['sequence']} changes {sorted(differing)} but names {sorted(data.get('changed', ()))}.")
