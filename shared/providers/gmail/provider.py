"""Gmail as a ``MailProvider``: what it is asked, and what its answers mean to the engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.errors import PageExpired, ProviderUnavailable
from shared.ports import Clock
from shared.providers.base import (
    Access,
    Change,
    Channel,
    Fetched,
    Folders,
    Limits,
    Listing,
    Page,
    Profile,
    Span,
    Tokens,
)
from shared.providers.bounds import MAX_ID
from shared.providers.gmail.api import GmailApi, Query, Request
from shared.providers.gmail.batch import MESSAGE, BatchReader
from shared.providers.gmail.failures import Where, error_for, one_push_client, unknown_label
from shared.providers.gmail.history import TYPES, Added, HistoryPage, Position, read_page
from shared.providers.gmail.messages import MessageReader
from shared.providers.gmail.normalise import history_id
from shared.providers.gmail.quota import Quota
from shared.providers.gmail.tokens import TokenEndpoint
from shared.providers.headers import STRUCTURAL
from shared.providers.http.failure import Failure
from shared.providers.http.transport import Transport
from shared.providers.http.wire import HttpFactory
from shared.providers.text import clean
from shared.settings import Settings

_LARGEST_PAGE = 500
_READ_SECONDS = 60.0
"""A step reads what it listed: of all messages no more are listed than the limits let through in this time."""


class GmailProvider:
    """One Gmail API root, for all mailboxes; safe to use from several threads. Errors: see ``MailProvider``."""

    name: str = "GOOGLE"
    per_folder: bool = False

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        client_secret: Callable[[], str],
        http_factory: HttpFactory | None = None,
    ) -> None:
        """Read nothing and send nothing yet; ``client_secret`` is called for every refresh.

        ``http_factory`` makes the HTTP client, for all threads; by default a ``PooledHttp`` with the settings' timeout.
        Raises ``ConfigurationError``.
        """
        self._quota = Quota.of(settings)
        self.limits: Limits | None = self._quota.limits
        transport = Transport(clock, settings.provider_timeout, http_factory, "Google")
        self._api = GmailApi(settings.gmail_api_url, transport, self._quota)
        self._tokens = TokenEndpoint(
            settings.google_oidc_discovery_url, settings.google_client_id, client_secret, transport, clock
        )
        asked = {name.lower(): name for name in (*STRUCTURAL, *settings.headers)}.values()
        batches = BatchReader(settings.gmail_api_url, list(asked), transport, self._quota, clock)
        self._messages = MessageReader(batches, settings.headers, self._quota, clock, settings.gmail_batch_size)
        self._page_size = _clamp(settings.page_size)
        self._topic = settings.gmail_topic

    def profile(self, access: Access) -> Profile:
        """Read the address and the history id of this moment, which is the anchor if read before a listing."""
        answer = self._api.call(access, Request("getProfile", "GET", "profile"), Where.PROFILE)
        address, cursor = answer.get("emailAddress"), history_id(answer.get("historyId"))
        if not isinstance(address, str) or not clean(address) or cursor is None:
            raise ProviderUnavailable("Gmail's answer is no profile.")
        return Profile(clean(address), cursor, _count(answer.get("messagesTotal")) or 0)

    def list_ids(
        self, access: Access, page: str | None, limit: int, label: str | None = None, within: Span | None = None
    ) -> Listing:
        """List ids, newest first; spam and trash are left out by Gmail unless asked for (docs/gmail.md, 8).

        A span of time is asked for by a search (19), which a grant that may read no more than metadata is refused.
        """
        whole = label is None and within is None
        query: Query = {
            "includeSpamTrash": "true",
            "maxResults": _clamp(self._readable(limit) if whole else limit),
            "pageToken": page,
            "labelIds": label,
            "q": None if within is None else _search(within),
        }
        answer = self._api.ask_again(access, Request("messages.list", "GET", "messages", query))
        if isinstance(answer, Failure):
            if label is not None and unknown_label(answer):
                return Listing((), None)  # a label deleted meanwhile: no message carries it
            raise error_for(answer, Where.LIST if page is None else Where.LIST_PAGE)
        following = answer.get("nextPageToken")
        return Listing(
            _ids(answer, "messages"),
            clean(following) if isinstance(following, str) and following else None,
            _count(answer.get("resultSizeEstimate")),
            _threads(answer),
        )

    def labels(self, access: Access) -> tuple[str, ...]:
        """List the ids of the system's and the person's labels, sorted."""
        answer = self._api.call(access, Request("labels.list", "GET", "labels"), Where.LABELS)
        return tuple(sorted(set(_ids(answer, "labels"))))

    def fetch(self, access: Access, ids: Sequence[str], threads: Sequence[str] = ()) -> tuple[Fetched, ...]:
        """Read messages; what becomes of one that Gmail refuses is told in ``messages``."""
        return self._messages.fetch(access, ids, threads)

    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:  # noqa: ARG002 - history is the mailbox's
        """Read one page of history and fetch what it added; changes are in record order.

        Where what it added takes more units than the meter has, only the beginning of the page is answered.
        The cursor in the page is never one that Gmail's pushes name: those can run ahead of the history (docs/gmail.md,
        4). What it means is told in ``history``.
        """
        position = Position.parse(cursor)
        try:
            page = self._history(access, position)
        except PageExpired:
            page = self._history(access, Position(position.start))
        price = self._quota.price(MESSAGE)
        if price:
            page = page.within(max(access.meter.room() / price, 1))
        fetched = dict(zip(page.added, self.fetch(access, page.added), strict=True))
        changes: list[Change] = [fetched[record.id] if isinstance(record, Added) else record for record in page.records]
        return Page(tuple(changes), str(page.position), page.more)

    def folders(self, access: Access, cursor: str) -> Folders:  # noqa: ARG002 - labels are not told of by folder
        """Gmail has labels and no folders."""
        return Folders((), (), cursor)

    def open_channel(self, access: Access, current: str, secret: str) -> Channel | None:  # noqa: ARG002 - see below
        """Watch the whole mailbox: a filter by label would hide changes (docs/gmail.md, 7).

        A mailbox has one watch per Google project, hence no id; one that is in the way is stopped first (5). Pub/Sub signs
        what it delivers, hence no secret of ours.
        """
        if not self._topic:
            return None
        request = Request("watch", "POST", "watch", body={"topicName": self._topic})
        answer = self._api.ask(access, request)
        if isinstance(answer, Failure) and one_push_client(answer):
            self._stop(access)
            answer = self._api.ask(access, request)
        if isinstance(answer, Failure):
            raise error_for(answer, Where.WATCH)
        expiration = history_id(answer.get("expiration"))  # digits as well: milliseconds since the epoch
        if expiration is None:
            raise ProviderUnavailable("Gmail's answer to a watch does not say when it ends.")
        return Channel("", int(expiration) / 1000)

    def close_channel(self, access: Access, channel: Channel) -> None:  # noqa: ARG002 - there is one watch a mailbox
        """Stop the mailbox's watch; one that is gone is no error."""
        self._stop(access)

    def refresh(self, refresh_token: str, extra: Sequence[str] = ()) -> Tokens:
        """Trade a refresh token at Google's token endpoint; see ``TokenEndpoint.refresh``."""
        return self._tokens.refresh(refresh_token, extra)

    def _history(self, access: Access, position: Position) -> HistoryPage:
        query: Query = {
            "startHistoryId": str(position.start),
            "historyTypes": TYPES,
            "maxResults": self._page_size,
            "pageToken": position.token,
        }
        where = Where.HISTORY if position.token is None else Where.HISTORY_PAGE
        return read_page(self._api.call(access, Request("history.list", "GET", "history", query), where), position)

    def _readable(self, limit: int) -> int:
        most = self._quota.within(MESSAGE, _READ_SECONDS)
        return limit if most is None else min(limit, most)

    def _stop(self, access: Access) -> None:
        answer = self._api.ask(access, Request("stop", "POST", "stop"))
        if isinstance(answer, Failure) and answer.status not in (200, 404):  # a 200 here has no body to read
            raise error_for(answer, Where.STOP)


def _search(within: Span) -> str:
    """Gmail's words for a span, wider by a second at both ends: how it treats the ends themselves is not told."""
    until = "" if within.until is None else f" before:{math.floor(within.until) + 2}"
    return f"after:{max(0, math.floor(within.since) - 1)}{until}"


def _ids(answer: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Read the ids of a list. Raises ``ProviderUnavailable`` for an entry without one: skipping it would lose it."""
    entries = answer.get(key)
    ids = [entry.get("id") if isinstance(entry, Mapping) else None for entry in _list(entries)]
    if any(not isinstance(id, str) or not 0 < len(clean(id)) <= MAX_ID for id in ids):
        raise ProviderUnavailable("Gmail's answer has an entry without a usable id.")
    return tuple([clean(str(id)) for id in ids])


def _threads(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the thread of each listed message, '' for one that names none; nothing where none does."""
    threads = [entry.get("threadId") for entry in _list(answer.get("messages"))]
    named = tuple([clean(thread) if isinstance(thread, str) else "" for thread in threads])
    return named if any(named) else ()


def _list(value: object) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ProviderUnavailable("Gmail's answer has something else where a list belongs.")
    return value


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _clamp(size: int) -> int:
    return min(max(size, 1), _LARGEST_PAGE)
