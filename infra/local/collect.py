"""Gathers what anyone can see of a Brainstem: the pages of its HTTP API, walked to their ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from infra.local.client import JsonClient

Json = dict[str, Any]
PAGE = 200


@dataclass(frozen=True, slots=True)
class Seen:
    """The result of a run, as ``verify`` takes it."""

    messages: list[Json]
    gaps: list[Json]
    status: Json
    events: dict[str, list[Json]]
    senders: list[Json]


def collect(client: JsonClient) -> Seen:
    """Walk everything; the API has to be settled, or the parts may be of different moments."""
    status = client.get("/mail/status")
    mailboxes = [entry["id"] for entry in status["mailboxes"]]
    return Seen(
        messages=[
            entry for box in mailboxes for entry in client.walk("/mail/messages", "messages", mailbox=box, limit=PAGE)
        ],
        gaps=[entry for box in mailboxes for entry in client.walk("/mail/gaps", "gaps", mailbox=box, limit=PAGE)],
        status=status,
        events={box: list(client.walk_log("/events", "events", stream=box, limit=PAGE)) for box in mailboxes},
        senders=list(client.walk("/mail/senders", "senders")),
    )
