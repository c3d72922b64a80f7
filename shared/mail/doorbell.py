"""Doorbells: a push that says "look now" becomes a task, and nothing else; no document is written.

What the notification claims (its history id above all) is not used: pushes come early, late, twice, or forged. The push is
acknowledged only once the look is enqueued (docs/gmail.md, 4 and 6).
"""

from __future__ import annotations

from shared import refs
from shared.errors import InvalidRequest
from shared.events.push import pushed
from shared.mail.tasks import ring
from shared.ports import Clock, Store, Tasks


def gmail_push(store: Store, tasks: Tasks, clock: Clock, envelope: object) -> int:
    """Ring every mailbox of the address in a Pub/Sub push envelope; answer how many.

    An address that nobody has connected is no error. Raises ``InvalidRequest`` for anything but Gmail's notification,
    ``Retry`` when the look could not be enqueued.
    """
    address = _address(pushed(envelope))
    route = refs.route("GOOGLE", address.lower())
    doc = store.get([route]).get(route)
    mailboxes: list[str] = doc.data["mailboxes"] if doc else []
    for mailbox in mailboxes:
        ring(tasks, clock, mailbox)
    return len(mailboxes)


def _address(data: dict[str, object]) -> str:
    address = data.get("emailAddress")
    if not isinstance(address, str) or not 3 <= len(address) <= 320 or "@" not in address:
        raise InvalidRequest("The notification names no mailbox.")
    return address
