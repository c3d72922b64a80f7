"""The subscription by which Graph rings for a mailbox: one for all its messages, prolonged as long as it lives.

A mailbox should never have two of ours. One that is lost sight of, as when the answer to its creation did not arrive, is
found by where it leads and deleted before a new one is made; what happens in between is found by the next look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from shared.errors import ProviderUnavailable
from shared.ports import Clock
from shared.providers.base import Access, Channel
from shared.providers.dates import iso_date
from shared.providers.graph.api import GraphApi, Json, Request
from shared.providers.graph.failures import Where, error_for
from shared.providers.graph.links import resolved
from shared.providers.graph.rounds import NEXT, entries
from shared.providers.http.failure import Failure

RESOURCE = "me/messages"
KINDS = "created,updated,deleted"
LIFETIMES = (10_070 * 60.0, 4_220 * 60.0)
"""Seconds: the longest that Graph is known to accept, a little less each time for clocks that differ (docs/graph.md, 7)."""

_MAX_PAGES = 20  # a mailbox has at most 1,000 of all applications


class Subscriptions:
    """Subscriptions that lead to one URL; with none nothing is subscribed."""

    def __init__(self, api: GraphApi, url: str, clock: Clock) -> None:
        self._api = api
        self._url = url
        self._clock = clock

    def open(self, access: Access, current: str, secret: str) -> Channel | None:
        """Prolong the current one; make another where Graph no longer knows it, and delete what is left of ours before."""
        if not self._url:
            return None
        if current:
            answer = self._timed("PATCH", access, self._api.url("subscriptions", current), {})
            if isinstance(answer, Failure):
                if answer.status != 404:
                    raise error_for(answer, Where.SUBSCRIPTION)
            elif answer.get("notificationUrl", self._url) == self._url:
                return _channel(answer, current)
            else:  # it was made for another URL, which it cannot change
                self._delete(access, current)
        self._delete_all(access)
        answer = self._create(access, secret)
        if isinstance(answer, Failure) and answer.status == 409:  # made meanwhile, or not shown in time
            self._delete_all(access)
            answer = self._create(access, secret)
        if isinstance(answer, Failure):
            raise error_for(answer, Where.SUBSCRIPTION)
        return _channel(answer)

    def close(self, access: Access, id: str) -> None:
        """Delete one, without an id all of ours; what is already gone is no error."""
        if id:
            self._delete(access, id)
        elif self._url:
            self._delete_all(access)

    def _create(self, access: Access, secret: str) -> Json | Failure:
        body = {
            "changeType": KINDS,
            "notificationUrl": self._url,
            "lifecycleNotificationUrl": f"{self._url}/lifecycle",
            "resource": RESOURCE,
            "clientState": secret,
        }
        return self._timed("POST", access, self._api.url("subscriptions"), body)

    def _timed(self, verb: str, access: Access, url: str, body: Mapping[str, Any]) -> Json | Failure:
        """Ask for the longest lifetime, and where that is refused for the next one."""
        answer: Json | Failure = Failure(400)
        for lifetime in LIFETIMES:
            until = datetime.fromtimestamp(self._clock.now() + lifetime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            answer = self._api.ask(access, Request(verb, url, {**body, "expirationDateTime": until}))
            if not (isinstance(answer, Failure) and answer.status == 400 and "expiration" in answer.message):
                break
        return answer

    def _delete_all(self, access: Access) -> None:
        for id in list(self._ours(access)):
            self._delete(access, id)

    def _delete(self, access: Access, id: str) -> None:
        answer = self._api.ask(access, Request("DELETE", self._api.url("subscriptions", id)))
        if isinstance(answer, Failure) and not answer.malformed and answer.status != 404:
            raise error_for(answer, Where.SUBSCRIPTION)

    def _ours(self, access: Access) -> Iterator[str]:
        url: str | None = self._api.url("subscriptions")
        for _ in range(_MAX_PAGES):
            if url is None:
                return
            answer = self._api.call(access, Request("GET", url), Where.SUBSCRIPTION)
            for entry in entries(answer):
                resource = entry.get("resource")
                same = isinstance(resource, str) and resource.strip("/").lower() == RESOURCE
                if same and entry.get("notificationUrl") == self._url:
                    yield str(entry["id"])
            url = resolved(answer.get(NEXT), url)


def _channel(answer: Json, current: str = "") -> Channel:
    id, until = answer.get("id", current), answer.get("expirationDateTime")
    expires_at = iso_date(until) if isinstance(until, str) else None
    if (
        not isinstance(id, str)
        or not 0 < len(id) <= 128
        or not id.isascii()
        or not id.isprintable()
        or expires_at is None
    ):
        raise ProviderUnavailable("Outlook's answer is no subscription.")
    return Channel(id, expires_at)
