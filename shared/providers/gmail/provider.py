"""Gmail as a ``MailProvider``: what it is asked, and what its answers mean to the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.errors import PageExpired, ProviderUnavailable
from shared.ports import Clock
from shared.providers.base import Change, Channel, Fetched, Listing, Page, Profile, Tokens
from shared.providers.gmail.api import GmailApi
from shared.providers.gmail.bounds import MAX_ID
from shared.providers.gmail.failures import Failure, Where, error_for
from shared.providers.gmail.history import TYPES, Added, HistoryPage, Position, read_page
from shared.providers.gmail.messages import MessageReader
from shared.providers.gmail.normalise import history_id
from shared.providers.gmail.text import clean
from shared.providers.gmail.tokens import TokenEndpoint
from shared.providers.gmail.transport import HttpFactory, Transport
from shared.settings import Settings

_ME = "me"
_LARGEST_PAGE = 500


class GmailProvider:
    """One Gmail API root, for all mailboxes; safe to use from several threads. Errors: see ``MailProvider``."""

    name: str = "GOOGLE"

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        client_secret: Callable[[], str],
        http_factory: HttpFactory | None = None,
    ) -> None:
        """Read nothing and send nothing yet; ``client_secret`` is called for every refresh.

        ``http_factory`` makes one HTTP client per thread; by default httplib2's, with the timeout of the settings.
        """
        transport = Transport(clock, settings.provider_timeout, http_factory)
        self._api = GmailApi(settings.gmail_api_url, transport)
        self._tokens = TokenEndpoint(
            settings.google_oidc_discovery_url, settings.google_client_id, client_secret, transport, clock
        )
        self._messages = MessageReader(self._api, settings.headers)
        self._page_size = _clamp(settings.page_size)
        self._topic = settings.gmail_topic

    def profile(self, token: str) -> Profile:
        """Read the address and the history id of this moment, which is the anchor if read before a listing."""
        answer = self._api.call(self._api.users.getProfile(userId=_ME), token, Where.PROFILE)
        address, cursor = answer.get("emailAddress"), history_id(answer.get("historyId"))
        if not isinstance(address, str) or not clean(address) or cursor is None:
            raise ProviderUnavailable("Gmail's answer is no profile.")
        return Profile(clean(address), cursor, _count(answer.get("messagesTotal")) or 0)

    def list_ids(self, token: str, page: str | None, limit: int, label: str | None = None) -> Listing:
        """List ids, newest first; spam and trash are left out by Gmail unless asked for (docs/gmail.md, 8)."""
        request = self._api.messages.list(
            userId=_ME,
            includeSpamTrash=True,
            maxResults=_clamp(limit),
            pageToken=page,
            labelIds=None if label is None else [label],
        )
        answer = self._api.ask_again(request, token)
        if isinstance(answer, Failure):
            if label is not None and answer.unknown_label:
                return Listing((), None)  # a label deleted meanwhile: no message carries it
            raise error_for(answer, Where.LIST if page is None else Where.LIST_PAGE)
        following = answer.get("nextPageToken")
        return Listing(
            _ids(answer, "messages"),
            clean(following) if isinstance(following, str) and following else None,
            _count(answer.get("resultSizeEstimate")),
        )

    def labels(self, token: str) -> tuple[str, ...]:
        """List the ids of the system's and the person's labels, sorted."""
        answer = self._api.call(self._api.labels.list(userId=_ME), token, Where.LABELS)
        return tuple(sorted(set(_ids(answer, "labels"))))

    def fetch(self, token: str, ids: Sequence[str]) -> tuple[Fetched, ...]:
        """Read messages; what becomes of one that Gmail refuses is told in ``messages``."""
        return self._messages.fetch(token, ids)

    def changes(self, token: str, cursor: str) -> Page:
        """Read one page of history and fetch what it added; changes are in record order.

        The cursor in the page is never one that Gmail's pushes name: those can run ahead of the history (docs/gmail.md,
        4). What it means is told in ``history``.
        """
        position = Position.parse(cursor)
        try:
            page = self._history(token, position)
        except PageExpired:
            page = self._history(token, Position(position.start))
        added = [record.id for record in page.records if isinstance(record, Added)]
        fetched = dict(zip(added, self.fetch(token, added), strict=True))
        changes: list[Change] = [fetched[record.id] if isinstance(record, Added) else record for record in page.records]
        return Page(tuple(changes), str(page.position), page.more)

    def open_channel(self, token: str) -> Channel | None:
        """Watch the whole mailbox: a filter by label would hide changes (docs/gmail.md, 7).

        A mailbox has one watch per Google project, hence no id; one that is in the way is stopped first (5).
        """
        if not self._topic:
            return None
        request = self._api.users.watch(userId=_ME, body={"topicName": self._topic})
        answer = self._api.ask(request, token)
        if isinstance(answer, Failure) and answer.one_push_client:
            self._stop(token)
            answer = self._api.ask(request, token)
        if isinstance(answer, Failure):
            raise error_for(answer, Where.WATCH)
        expiration = history_id(answer.get("expiration"))  # digits as well: milliseconds since the epoch
        if expiration is None:
            raise ProviderUnavailable("Gmail's answer to a watch does not say when it ends.")
        return Channel("", int(expiration) / 1000)

    def close_channel(self, token: str, channel: Channel) -> None:  # noqa: ARG002 - there is one watch a mailbox
        """Stop the mailbox's watch; one that is gone is no error."""
        self._stop(token)

    def refresh(self, refresh_token: str) -> Tokens:
        """Trade a refresh token at Google's token endpoint; see ``TokenEndpoint.refresh``."""
        return self._tokens.refresh(refresh_token)

    def _history(self, token: str, position: Position) -> HistoryPage:
        request = self._api.history.list(
            userId=_ME,
            startHistoryId=str(position.start),
            historyTypes=list(TYPES),
            maxResults=self._page_size,
            pageToken=position.token,
        )
        where = Where.HISTORY if position.token is None else Where.HISTORY_PAGE
        return read_page(self._api.call(request, token, where), position)

    def _stop(self, token: str) -> None:
        answer = self._api.ask(self._api.users.stop(userId=_ME), token)
        if isinstance(answer, Failure) and answer.status not in (200, 404):  # a 200 here has no body to read
            raise error_for(answer, Where.STOP)


def _ids(answer: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Read the ids of a list. Raises ``ProviderUnavailable`` for an entry without one: skipping it would lose it."""
    entries = answer.get(key)
    ids = [entry.get("id") if isinstance(entry, Mapping) else None for entry in _list(entries)]
    if any(not isinstance(id, str) or not 0 < len(clean(id)) <= MAX_ID for id in ids):
        raise ProviderUnavailable("Gmail's answer has an entry without a usable id.")
    return tuple([clean(str(id)) for id in ids])


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
