"""Doorbells: a push that says "look now" becomes a task, and nothing else; no document is written.

What a notification claims is not used: pushes come early, late, twice, or forged. At most it names a message to look at
first. The push is acknowledged only once the look is enqueued (docs/gmail.md, 4 and 6; docs/graph.md, 8 and 9).

Gmail's come by Pub/Sub, which says who sends them. Microsoft's come from anywhere: what they show of the secret that their
subscription was opened with says so, and only its digest is kept.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shared import refs
from shared.errors import InvalidRequest
from shared.events.push import pushed
from shared.mail.tasks import HINT_CHARS, HINTS_AT_MOST, PATH, QUEUE, ring
from shared.observability import logs
from shared.ports import Clock, Doc, Store, Tasks

NOTIFICATIONS_AT_MOST = 2_000
"""In one POST of Microsoft's: more than the largest body has room for in practice, so none is cut off."""

HINTED_RINGS_AT_MOST = 5
"""For more messages than fit into these, a walk of the whole mailbox costs less than reading each."""

LIFECYCLE_BUCKET = 600.0
"""Seconds within which a subscription's lifecycle events of one kind lead to one step (docs/graph.md, 9)."""

_RENEWING = frozenset({"reauthorizationRequired", "subscriptionRemoved"})
_ID = re.compile(rf"[A-Za-z0-9_=-]{{1,{HINT_CHARS}}}")
_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class Rung:
    """What a POST of Microsoft's led to: mailboxes rung, notifications of no subscription of ours, and of a wrong secret."""

    mailboxes: int = 0
    unknown: int = 0
    forged: int = 0


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


def graph_push(store: Store, tasks: Tasks, clock: Clock, body: object) -> Rung:
    """Ring the mailboxes that a POST of Microsoft Graph tells of, once for all that it tells of each.

    It may tell of several subscriptions and tenants. Unknown and forged notifications are counted and lead to nothing.
    Raises ``InvalidRequest`` for anything but Graph's collection, before anything is rung; ``Retry`` when not all could be
    enqueued: coming again does no harm.
    """
    notices = _notices(body)
    routes = {notice.subscription: refs.route("MICROSOFT", notice.subscription) for notice in notices}
    found = store.get(sorted(set(routes.values()))) if routes else {}
    bells: dict[str, _Bell] = {}
    renewals: dict[tuple[str, str, str], None] = {}
    unknown = forged = 0
    for notice in notices:
        doc = found.get(routes[notice.subscription])
        if doc is None:
            unknown += 1
        elif not _shows_the_secret(notice, doc):
            forged += 1
        else:
            for mailbox in doc.data["mailboxes"]:
                bells.setdefault(mailbox, _Bell()).add(notice)
                if notice.event in _RENEWING:
                    renewals[mailbox, notice.subscription, notice.event] = None
    for mailbox, subscription, event in renewals:
        _have_renewed(tasks, clock, mailbox, subscription, event)
    for mailbox, bell in bells.items():
        for hints in bell.rings():
            ring(tasks, clock, mailbox, hints)
    if unknown or forged:
        _LOG.warning(
            "doorbell_refused",
            "Notifications were not for any mailbox.",
            unknown=unknown,
            forged=forged,
            rung=len(bells),
        )
    return Rung(len(bells), unknown, forged)


def digest(secret: str) -> str:
    """What is kept of a channel's secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class _Notice:
    """One notification: whose it is and what it shows for it; ``event`` of the lifecycle, '' where it is of a message."""

    subscription: str
    secret: str
    event: str
    message: str


@dataclass(slots=True)
class _Bell:
    """What one mailbox is rung with: messages to look at, and whether the whole of it has to be walked."""

    messages: dict[str, None] = field(default_factory=dict)
    whole: bool = False

    def add(self, notice: _Notice) -> None:
        if notice.message:
            self.messages[notice.message] = None
        elif notice.event != "reauthorizationRequired":  # that one says nothing of mail
            self.whole = True

    def rings(self) -> Iterator[Sequence[str]]:
        """The hints of each ring; none means the whole mailbox."""
        ids = tuple(self.messages)
        if len(ids) > HINTED_RINGS_AT_MOST * HINTS_AT_MOST:
            yield ()
            return
        for first in range(0, len(ids), HINTS_AT_MOST):
            yield ids[first : first + HINTS_AT_MOST]
        if self.whole:
            yield ()


def _notices(body: object) -> list[_Notice]:
    items = body.get("value") if isinstance(body, dict) else None
    if not isinstance(items, list) or len(items) > NOTIFICATIONS_AT_MOST:
        raise InvalidRequest("The body is not a collection of notifications.")
    return [_notice(item) for item in items]


def _notice(item: object) -> _Notice:
    subscription = item.get("subscriptionId") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(subscription, str) or not 1 <= len(subscription) <= 256:
        raise InvalidRequest("A notification names no subscription.")
    secret, event, data = item.get("clientState"), item.get("lifecycleEvent"), item.get("resourceData")
    message = data.get("id") if isinstance(data, dict) and event is None else None
    return _Notice(
        subscription,
        secret if isinstance(secret, str) else "",
        event if isinstance(event, str) else "",
        message if isinstance(message, str) and _ID.fullmatch(message) else "",
    )


def _shows_the_secret(notice: _Notice, route: Doc) -> bool:
    """Whether it knows what the subscription was opened with; the route of an address knows of no secret, and fits none."""
    return hmac.compare_digest(digest(notice.secret), route.data.get("secret", ""))


def _have_renewed(tasks: Tasks, clock: Clock, mailbox: str, subscription: str, event: str) -> None:
    """Have the mailbox's channel renewed, which opens a new one where it is gone; pending or spent, it is seen to."""
    name = f"{event}|{mailbox}|{refs.key(refs.route('MICROSOFT', subscription))}|{math.floor(clock.now() / LIFECYCLE_BUCKET)}"
    tasks.enqueue(QUEUE, PATH, {"mailbox": mailbox, "kind": "channel"}, name)


def _address(data: dict[str, object]) -> str:
    address = data.get("emailAddress")
    if not isinstance(address, str) or not 3 <= len(address) <= 320 or "@" not in address:
        raise InvalidRequest("The notification names no mailbox.")
    return address
