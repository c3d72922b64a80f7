"""A mail provider in memory: small, scripted by tests, and honest about what Gmail does (history, 404, expiry)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from shared.errors import CursorExpired, PageExpired, ProviderUnavailable, RateLimited, ReauthRequired
from shared.ports import Clock
from shared.providers.base import (
    Access,
    Change,
    Channel,
    Deleted,
    Fetched,
    Folders,
    LabelsChanged,
    Limits,
    Listing,
    Message,
    Missing,
    Page,
    Profile,
    Refused,
    Span,
    Tokens,
    Upsert,
)


@dataclass(slots=True)
class MemoryProvider:
    """One account at a provider called GOOGLE. Versions are history ids, starting beyond 64 bits on purpose."""

    clock: Clock
    name: str = "GOOGLE"
    per_folder: bool = False
    address: str = "ann@example.org"
    history_page: int = 100
    messages: dict[str, Message] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)  # answers 404 although it is there
    discarded: set[str] = field(default_factory=set)  # answers 404 although it is there
    limits: Limits | None = None
    whole_threads: bool = False  # reads threads where it is asked for two or more messages of one
    spent: float = 0.0
    channels: int = 0
    opened: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    channelled: bool = True
    dead: bool = False
    down: bool = False
    limit_next: float | None = None
    on_call: Callable[[str], None] | None = None
    _arrived: dict[str, int] = field(default_factory=dict)
    _history: list[tuple[int, str, str, tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)
    _last: int = 100_000_000_000_000_000_000
    _floor: int = 0

    def deliver(self, id_: str, *labels: str, at: float | None = None, subject: str = "", thread: str = "t") -> None:
        """A mail arrives; with ``at`` its time of receipt."""
        version = self._next()
        self._arrived[id_] = version
        self.messages[id_] = Message(
            id=id_,
            thread_id=thread,
            version=str(version),
            labels=tuple(sorted(labels or ("INBOX", "UNREAD"))),
            received_at=self.clock.now() if at is None else at,
            subject=subject or f"Subject of {id_}",
            sender="bob@example.org",
            to=("ann@example.org",),
            cc=(),
            bcc=(),
            snippet="",
            headers={"Subject": subject or f"Subject of {id_}"},
        )
        self._history.append((version, "added", id_, (), ()))

    def relabel(self, id_: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        message = self.messages[id_]
        version = self._next()
        labels = tuple(sorted(set(message.labels).difference(remove).union(add)))
        self.messages[id_] = replace(message, labels=labels, version=str(version))
        if add or remove:
            self._history.append((version, "labels", id_, tuple(add), tuple(remove)))

    def delete(self, id_: str) -> None:
        del self.messages[id_]
        self._history.append((self._next(), "deleted", id_, (), ()))

    def expire_history(self) -> None:
        """Every cursor taken so far answers 404 from now on."""
        self._floor = self._next()

    def profile(self, access: Access) -> Profile:
        self._called("profile")
        return Profile(self.address, str(self._last), len(self.messages))

    def list_ids(
        self, access: Access, page: str | None, limit: int, label: str | None = None, within: Span | None = None
    ) -> Listing:
        self._called("list")
        if page is not None and not page.isdecimal():
            raise PageExpired
        named = [id_ for id_, message in self.messages.items() if label is None or label in message.labels]
        if within is not None:
            until = float("inf") if within.until is None else within.until
            named = [id_ for id_ in named if within.since <= self.messages[id_].received_at <= until]
        named.sort(key=self._arrived.__getitem__, reverse=True)
        # A token is a place, not a message: it stays good when the message it followed is deleted.
        ids = [id_ for id_ in named if page is None or self._arrived[id_] < int(page)]
        found = ids[:limit]
        following = str(self._arrived[found[-1]]) if len(ids) > limit else None
        access.meter.spend(1)
        return Listing(tuple(found), following, len(named), tuple(self.messages[id_].thread_id for id_ in found))

    def labels(self, access: Access) -> tuple[str, ...]:
        self._called("labels")
        return tuple(sorted({label for message in self.messages.values() for label in message.labels}))

    def fetch(self, access: Access, ids: Sequence[str], threads: Sequence[str] = ()) -> tuple[Fetched, ...]:
        self._called("fetch")
        whole = {thread for thread, count in Counter(threads).items() if count > 1} if self.whole_threads else set()
        alone = [id_ for id_, thread in zip(ids, threads, strict=True) if thread not in whole] if threads else ids
        access.meter.spend(2 * len(alone) + 4 * len(whole))
        self.spent += 2 * len(alone) + 4 * len(whole)
        others = [id_ for id_, message in self.messages.items() if message.thread_id in whole and id_ not in ids]
        self.calls["get"] += len(alone)
        self.calls["thread"] += len(whole)
        return tuple(self._get(id_) for id_ in (*ids, *others))

    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        self._called("changes")
        if not cursor.isdecimal() or int(cursor) < self._floor:
            raise CursorExpired
        records = [record for record in self._history if record[0] > int(cursor)]
        taken = records[: self.history_page]
        gone = {id_ for _, kind, id_, _, _ in taken if kind == "deleted"}
        changes: list[Change] = []
        for version, kind, id_, added, removed in taken:
            if kind == "added" and id_ not in gone:
                self.calls["get"] += 1
                changes.append(self._get(id_))
            elif kind == "deleted":
                changes.append(Deleted(id_, str(version)))
            elif kind == "labels":
                changes.append(LabelsChanged(id_, str(version), added, removed))
        more = len(taken) < len(records)
        page = Page(tuple(changes), str(taken[-1][0]) if more else str(self._last), more)
        if self.on_call is not None:
            self.on_call("changed")
        return page

    def folders(self, access: Access, cursor: str) -> Folders:
        self._called("folders")
        return Folders((), (), cursor)

    def open_channel(self, access: Access, current: str, secret: str) -> Channel | None:
        self._called("open_channel")
        if not self.channelled:
            return None
        self.channels = 1
        self.opened += 1
        return Channel("", self.clock.now() + 7 * 86_400)

    def close_channel(self, access: Access, channel: Channel) -> None:
        self._called("close_channel")
        self.channels = 0

    def refresh(self, refresh_token: str, extra: Sequence[str] = ()) -> Tokens:
        self._called("refresh")
        if self.dead:
            raise ReauthRequired
        return Tokens("token", self.clock.now() + 3600)

    def _get(self, id_: str) -> Fetched:
        if id_ in self.refused:
            return Refused(id_, "the provider answered 500")
        if id_ not in self.messages or id_ in self.unreadable:
            return Missing(id_, certain=id_ in self.discarded)
        return Upsert(self.messages[id_])

    def _next(self) -> int:
        self._last += 7
        return self._last

    def _called(self, what: str) -> None:
        self.calls[what] += 1
        if self.on_call is not None:
            self.on_call(what)
        if self.down:
            raise ProviderUnavailable
        if self.limit_next is not None:
            after, self.limit_next = self.limit_next, None
            raise RateLimited(retry_after=after)
        if self.dead and what != "refresh":
            raise ReauthRequired
