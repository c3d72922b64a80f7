"""Outlook as a ``MailProvider``: what Graph is asked, and what its answers mean to the engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.errors import ConfigurationError, CursorExpired, PageExpired, ProviderRefused, ProviderUnavailable
from shared.ports import Clock
from shared.providers.base import (
    FOLDER,
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
from shared.providers.graph.api import GraphApi, Json, Request
from shared.providers.graph.failures import Where, absent, error_for
from shared.providers.graph.folders import count, read_folders, well_known
from shared.providers.graph.links import may_follow, resolved
from shared.providers.graph.messages import MessageReader
from shared.providers.graph.normalise import identifier, is_discarded, normalise
from shared.providers.graph.rounds import NEXT, entries, followed, is_removed, left, read_round
from shared.providers.graph.subscriptions import Subscriptions
from shared.providers.graph.tokens import TokenEndpoint
from shared.providers.http.failure import Failure
from shared.providers.http.transport import Transport
from shared.providers.http.wire import HttpFactory
from shared.providers.text import clean
from shared.settings import Settings

LIMITS = Limits(per_second=16.0, burst=300.0)
"""Requests: a burst and ten minutes of the rate stay below the 10,000 that Graph allows in that time (docs/graph.md, 11)."""

_LARGEST_PAGE = 200
"""Of a folder's changes: what has left it is read one by one within a step."""

_LARGEST_LISTING = 1_000
_LATEST = 253_402_300_799
_NEWEST = "receivedDateTime desc"
_BASIC = "readbasic"
_ALWAYS = (
    "changeKey", "parentFolderId", "conversationId", "receivedDateTime", "subject", "toRecipients", "ccRecipients",
    "bccRecipients", "isRead", "isDraft", "importance", "flag", "categories",
)  # fmt: skip
"""What Graph gives of every message where it is selected; drafts may be without a sender, and much mail without headers."""


class GraphProvider:
    """One Graph root, for all mailboxes; safe to use from several threads. Errors: see ``MailProvider``."""

    name: str = "MICROSOFT"
    per_folder: bool = True

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
        if not 1 <= settings.graph_page_size <= _LARGEST_PAGE:
            raise ConfigurationError(f"GRAPH_PAGE_SIZE must be from 1 to {_LARGEST_PAGE}.")
        self.limits: Limits | None = LIMITS
        transport = Transport(clock, settings.provider_timeout, http_factory, "Microsoft")
        self._api = GraphApi(settings.graph_api_url, transport, clock)
        self._tokens = TokenEndpoint(settings, client_secret, transport, clock)
        # A grant that may read no more than the basics is refused a preview, and with it all the rest.
        preview = not any(scope.lower().endswith(_BASIC) for scope in settings.microsoft_scopes)
        self._messages = MessageReader(self._api, settings.headers, preview)
        self._subscriptions = Subscriptions(self._api, settings.graph_notification_url, clock)
        self._page_size = settings.graph_page_size

    def profile(self, access: Access) -> Profile:
        """Read the address, how many messages there are, and which folders are the well-known ones: eleven requests."""
        query = self._api.url("me", select="mail,userPrincipalName")
        answer = self._api.call(access, Request("GET", query), Where.PROFILE)
        names = [clean(name) for key in ("mail", "userPrincipalName") if isinstance(name := answer.get(key), str)]
        address = next((name for name in names if "@" in name and len(name) <= 320), "")
        if not address:
            raise ProviderUnavailable("Outlook's answer is no profile.")
        query = self._api.url("me", "messages", count="true", top=1, select="id")
        total = count(self._api.call(access, Request("GET", query), Where.PROFILE).get("@odata.count"))
        return Profile(address, "", total or 0, well_known(self._api, access))

    def list_ids(
        self, access: Access, page: str | None, limit: int, label: str | None = None, within: Span | None = None
    ) -> Listing:
        """List ids and change keys, newest first, of all folders or of that of a label ``folder:<id>``.

        The one place that filters: what it lists is read or compared one by one, and that more exist is no harm here.
        """
        if label is not None and not label.startswith(FOLDER):
            raise ProviderRefused("Outlook lists messages by folder, and by no other label.")
        if page is not None and not may_follow(page, self._api.root):
            raise PageExpired("The stored link leads to another server than GRAPH_API_URL.")
        url = page or self._listing(limit, label, within)
        answer = self._api.ask(access, Request("GET", url))
        if isinstance(answer, Failure):
            if label is not None and absent(answer):
                return Listing((), None)  # a folder deleted meanwhile: no message is in it
            raise error_for(answer, Where.LIST if page is None else Where.LIST_PAGE)
        return _listed(answer, url, access.folders)

    def labels(self, access: Access) -> tuple[str, ...]:  # noqa: ARG002 - the Protocol's signature
        """None: the change keys of a listing say what has changed."""
        return ()

    def fetch(self, access: Access, ids: Sequence[str], threads: Sequence[str] = ()) -> tuple[Fetched, ...]:  # noqa: ARG002
        """Read messages, each by a request; a thread cannot be read at once, so ``threads`` changes nothing."""
        return self._messages.fetch(access, ids)

    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        """Read one page of a folder's round: whole metadata, so nothing is fetched but what a page tells only half of.

        Raises ``CursorExpired``, ``FolderAbsent``.
        """
        if not identifier(folder):
            raise ProviderRefused("Outlook tells of changes by folder.")
        url = followed(cursor, self._api.root) if cursor else self._first(folder)
        try:
            answer = self._api.call(access, Request("GET", url, page_size=self._page_size), Where.CHANGES)
        except CursorExpired as error:
            if cursor:
                raise
            raise ProviderUnavailable(error.message) from None  # there is nothing to begin anew with
        page = read_round(answer, url)
        partial = [str(entry["id"]) for entry in page.entries if not is_removed(entry) and _is_partial(entry)]
        fetched = dict(zip(partial, self._messages.fetch(access, partial), strict=True))
        reader = self._messages.reader(access)
        changes: list[Change] = [
            left(entry, folder)
            if is_removed(entry) or is_discarded(entry, access.folders)
            else fetched.get(str(entry["id"])) or normalise(entry, reader)
            for entry in page.entries
        ]
        return Page(tuple(changes), page.link, page.more)

    def folders(self, access: Access, cursor: str) -> Folders:
        """Read one whole round of the folders, without searches that look like folders."""
        return read_folders(self._api, access, cursor)

    def open_channel(self, access: Access, current: str, secret: str) -> Channel | None:
        """Subscribe to the mailbox's messages; see ``Subscriptions.open``."""
        return self._subscriptions.open(access, current, secret)

    def close_channel(self, access: Access, channel: Channel) -> None:
        """Delete the subscription; without an id all that lead to us."""
        self._subscriptions.close(access, channel.id)

    def refresh(self, refresh_token: str, extra: Sequence[str] = ()) -> Tokens:
        """Trade a refresh token at Microsoft's token endpoint; see ``TokenEndpoint.refresh``."""
        return self._tokens.refresh(refresh_token, extra)

    def _first(self, folder: str) -> str:
        return self._api.url(
            "me", "mailFolders", folder, "messages", "delta", select=self._messages.select, orderby=_NEWEST
        )

    def _listing(self, limit: int, label: str | None, within: Span | None) -> str:
        where = ("me", "messages") if label is None else ("me", "mailFolders", label.removeprefix(FOLDER), "messages")
        return self._api.url(
            *where,
            select="id,conversationId,changeKey,parentFolderId",
            top=min(max(limit, 1), _LARGEST_LISTING),
            orderby=_NEWEST,
            filter=None if within is None else _filter(within),
        )


def _is_partial(entry: Mapping[str, Any]) -> bool:
    """Whether a page tells only what has changed of a message; what is null is told (docs/graph.md, 19)."""
    told = all(name in entry for name in _ALWAYS)
    return not told or not identifier(entry.get("parentFolderId")) or not identifier(entry.get("changeKey"))


def _listed(answer: Json, url: str, folders: Mapping[str, str]) -> Listing:
    found = [entry for entry in entries(answer) if not is_discarded(entry, folders)]
    following = answer.get(NEXT)
    link = resolved(following, url)
    if following is not None and (link is None or link == url):
        raise ProviderUnavailable("Outlook's answer does not say where to go on from.")
    return Listing(
        tuple([str(entry["id"]) for entry in found]),
        link,
        None,
        tuple([identifier(entry.get("conversationId")) for entry in found]),
        tuple([identifier(entry.get("changeKey")) for entry in found]),
    )


def _filter(within: Span) -> str:
    """A span in Graph's words, wider by less than a second at both ends, since it may keep fractions that we do not see."""
    since = f"receivedDateTime ge {_moment(math.floor(within.since))}"
    return since if within.until is None else f"{since} and receivedDateTime le {_moment(math.ceil(within.until))}"


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(min(max(seconds, 0), _LATEST), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
