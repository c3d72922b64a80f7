"""What the log says of messages whose documents were lost: whether, and as what, they were announced.

A message is announced once in its life, and after a loss only the log can tell whether it was. Nothing is kept to make this
search fast, since it is only asked when something was lost: it finds its beginning by halving the stream, and reads on from
there, so many segments at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared import queries
from shared.events.types import DELETED, RECEIVED, SENT
from shared.mail.findings import Told
from shared.mail.schedule import DAY
from shared.mail.state import MailboxState
from shared.ports import Store

SEGMENTS_AT_ONCE = 200
"""How many segments one step reads, at most."""

MARGIN = DAY
"""Seconds that clocks may differ from the provider's: by more, no mail is told of before it was received."""

_READ_AT_ONCE = 10
_AS = {RECEIVED: "received", SENT: "sent"}

SEARCHES_AT_MOST = 3
"""How often ``ask`` reads on so far, before it answers with what it has: a live look cannot read a whole log."""


@dataclass(frozen=True, slots=True)
class Search:
    """What was found, by message id, and up to which sequence the log has been read."""

    found: dict[str, Told]
    searched: int


def ask(store: Store, state: MailboxState, received: Mapping[str, float]) -> dict[str, Told]:
    """What the log has told of messages, given when they were received; for all of them, if nothing then that."""
    found = {id_: Told() for id_ in received}
    searched = begin(store, state, min(received.values())) if received else state.head
    for _ in range(SEARCHES_AT_MOST):
        if searched >= state.head:
            break
        step = search(store, state, found, searched)
        found, searched = step.found, step.searched
    return found


def begin(store: Store, state: MailboxState, received_at: float) -> int:
    """A sequence behind which every announcement of a message received at a time, or later, is to be found."""
    before = min(received_at, state.updated_at) - MARGIN
    low, high = 0, state.head
    while low < high:
        middle = (low + high) // 2
        docs = store.query(queries.segments_after(state.id, middle, 1))
        if docs and docs[0].data["at"] < before:
            low = min(docs[0].data["last"], state.head)
        else:
            high = middle
    return low


def search(store: Store, state: MailboxState, known: Mapping[str, Told], searched: int) -> Search:
    """Read on from a sequence towards the mailbox's head, adding to what is known of messages.

    What has expired from the log has been told to nobody who still reads it.
    """
    found = dict(known)
    for _ in range(SEGMENTS_AT_ONCE // _READ_AT_ONCE):
        if searched >= state.head:
            break
        docs = store.query(queries.segments_after(state.id, searched, _READ_AT_ONCE))
        for event in (event for doc in docs for event in doc.data["events"] if event["type"].startswith("email.")):
            id_ = event["data"]["provider_message_id"]
            if id_ in found:
                announced = _AS.get(event["type"], found[id_].announced)
                gone = event["type"] == DELETED
                found[id_] = Told(announced, deleted=found[id_].deleted or gone, gone=gone)
        searched = docs[-1].data["last"] if docs else state.head
    return Search(found, searched)
