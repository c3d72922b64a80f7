"""Doorbells: a push that says "look now" becomes a task, and nothing else; no document is written.

What the notification claims (its history id above all) is not used: pushes come early, late, twice, or forged. The push is
acknowledged only once the look is enqueued (PROVIDERS 3.1.4 and 3.1.6).
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from shared import refs
from shared.errors import InvalidRequest
from shared.mail.tasks import ring
from shared.ports import Clock, Store, Tasks


def gmail_push(store: Store, tasks: Tasks, clock: Clock, envelope: object) -> int:
    """Ring every mailbox of the address in a Pub/Sub push envelope; answer how many.

    An address that nobody has connected is no error. Raises ``InvalidRequest`` for anything but Gmail's notification,
    ``Retry`` when the look could not be enqueued.
    """
    address = _address(pubsub_data(envelope))
    route = refs.route("GOOGLE", address.lower())
    doc = store.get([route]).get(route)
    mailboxes: list[str] = doc.data["mailboxes"] if doc else []
    for mailbox in mailboxes:
        ring(tasks, clock, mailbox)
    return len(mailboxes)


def pubsub_data(envelope: object) -> Any:
    """The JSON inside a Pub/Sub push envelope. Raises ``InvalidRequest``."""
    try:
        raw = envelope["message"]["data"]  # type: ignore[index]
        return orjson.loads(base64.b64decode(raw, validate=True))
    except (TypeError, KeyError, binascii.Error, orjson.JSONDecodeError):
        raise InvalidRequest("The body is not a Pub/Sub push with JSON data.") from None


def _address(data: object) -> str:
    address = data.get("emailAddress") if isinstance(data, dict) else None
    if not isinstance(address, str) or not 3 <= len(address) <= 320 or "@" not in address:
        raise InvalidRequest("The notification names no mailbox.")
    return address
