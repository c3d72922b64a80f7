"""A mail provider in memory that tells of changes for each folder apart, and is honest about what Graph does with cursors.

Every answer is a new generation of the folder's cursor, and only the last four can be used. Versions have no order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from shared.errors import CursorExpired, FolderAbsent
from shared.providers.base import (
    FOLDER,
    Access,
    Change,
    Fetched,
    Folder,
    Folders,
    Left,
    Listing,
    Page,
    Profile,
    Span,
    Upsert,
)
from tests.provider import MemoryProvider

GENERATIONS = 4
WELL_KNOWN = {"f-inbox": "INBOX", "f-sent": "SENT", "f-drafts": "DRAFT", "f-junk": "SPAM", "f-trash": "TRASH"}


@dataclass(frozen=True, slots=True)
class _Link:
    """Where a cursor of a folder stands: messages of its first round that are still to come, and the changes after."""

    waiting: tuple[str, ...]
    seen: int


@dataclass(slots=True)
class MemoryFolders(MemoryProvider):
    """One account; folders are ``f-…``, the well-known ones are there from the start."""

    per_folder: bool = True
    folder_page: int = 100
    names: dict[str, str] = field(default_factory=lambda: {id_: label.title() for id_, label in WELL_KNOWN.items()})
    asked: Counter[str] = field(default_factory=Counter)  # requests by folder
    trouble: dict[str, Exception] = field(default_factory=dict)  # what reading a folder ends in
    overlaps: list[str] = field(default_factory=list)  # folders that were asked for by two at once
    most_at_once: int = 0
    _going: Counter[str] = field(default_factory=Counter)
    _log: list[tuple[int, str, str]] = field(default_factory=list)  # change, folder, message
    _folder_log: list[tuple[int, str]] = field(default_factory=list)
    _links: dict[str, dict[str, _Link]] = field(default_factory=dict)
    _folders_floor: int = 0
    _count: int = 0

    def deliver(
        self,
        id_: str,
        *labels: str,
        at: float | None = None,
        subject: str = "",
        thread: str = "t",
        folder: str = "f-inbox",
    ) -> None:
        """A mail arrives in a folder."""
        MemoryProvider.deliver(self, id_, *(labels or ("UNREAD",)), at=at, subject=subject, thread=thread)
        self._place(id_, folder)

    def touch(self, id_: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """A message is read, flagged, or given a category."""
        message = self.messages[id_]
        self.messages[id_] = replace(message, labels=tuple(sorted({*message.labels, *add} - set(remove))))
        self._place(id_, self.folder_of(id_))

    def move(self, id_: str, folder: str) -> None:
        """A message is moved: it leaves one folder and is in another."""
        self._log.append((self._step(), self.folder_of(id_), id_))
        self._place(id_, folder)

    def delete(self, id_: str) -> None:
        """A message is deleted for good."""
        self._log.append((self._step(), self.folder_of(id_), id_))
        del self.messages[id_]

    def create_folder(self, id_: str, name: str = "") -> None:
        """A folder appears, or gets another name."""
        self.names[id_] = name or id_
        self._folder_log.append((self._step(), id_))

    def delete_folder(self, id_: str) -> None:
        """A folder goes, and all that it holds."""
        for message in [one for one in self.messages if self.folder_of(one) == id_]:
            self.delete(message)
        del self.names[id_]
        self._folder_log.append((self._step(), id_))

    def expire(self, *folders: str) -> None:
        """Every cursor of these folders is refused from now on."""
        for folder in folders:
            self._links[folder] = {}

    def expire_folders(self) -> None:
        """Every cursor of the folders themselves is refused from now on."""
        self._folders_floor = self._step()

    def folder_of(self, id_: str) -> str:
        """Where a message is."""
        return next(label for label in self.messages[id_].labels if label.startswith(FOLDER)).removeprefix(FOLDER)

    def profile(self, access: Access) -> Profile:
        self._called("profile")
        there = {id_: label for id_, label in WELL_KNOWN.items() if id_ in self.names}
        return Profile(self.address, "", len(self.messages), there)

    def labels(self, access: Access) -> tuple[str, ...]:
        self._called("labels")
        return ()

    def list_ids(
        self, access: Access, page: str | None, limit: int, label: str | None = None, within: Span | None = None
    ) -> Listing:
        listing = MemoryProvider.list_ids(self, access, page, limit, label, within)
        return replace(listing, versions=tuple(self.messages[id_].version for id_ in listing.ids))

    def fetch(self, access: Access, ids: Sequence[str], threads: Sequence[str] = ()) -> tuple[Fetched, ...]:
        return tuple(_labelled(access, answer) for answer in MemoryProvider.fetch(self, access, ids, threads))

    def folders(self, access: Access, cursor: str) -> Folders:
        self._called("folders")
        if cursor and int(cursor) < self._folders_floor:
            raise CursorExpired
        named = [id_ for at, id_ in self._folder_log if at > int(cursor)] if cursor else list(self.names)
        there = tuple(Folder(id_, self.names[id_], "root", self._held(id_)) for id_ in named if id_ in self.names)
        gone = tuple(id_ for id_ in named if id_ not in self.names)
        return Folders(there, gone, str(self._count))

    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        self.asked[folder] += 1
        self._going[folder] += 1
        try:
            if self._going[folder] > 1:
                self.overlaps.append(folder)
            self.most_at_once = max(self.most_at_once, self._going.total())
            self._called("changes")
            access.meter.spend(1)
            page = self._answer(cursor, folder)
            page = replace(page, changes=tuple(_labelled(access, change) for change in page.changes))
            if self.on_call is not None:
                self.on_call("changed")
            return page
        finally:
            self._going[folder] -= 1

    def _answer(self, cursor: str, folder: str) -> Page:
        if folder in self.trouble:
            raise self.trouble[folder]
        if folder not in self.names:
            raise FolderAbsent
        live = self._links.setdefault(folder, {})
        if cursor and cursor not in live:
            raise CursorExpired
        link = live[cursor] if cursor else _Link(self._newest_first(folder), self._count)
        return self._first(folder, link) if link.waiting else self._later(folder, link)

    def _first(self, folder: str, link: _Link) -> Page:
        named, rest = link.waiting[: self.folder_page], link.waiting[self.folder_page :]
        found = [self._get(id_) for id_ in named if id_ in self.messages and self.folder_of(id_) == folder]
        return Page(tuple(found), self._link(folder, replace(link, waiting=rest)), bool(rest))

    def _later(self, folder: str, link: _Link) -> Page:
        entries = [(at, id_) for at, where, id_ in self._log if where == folder and at > link.seen]
        taken = entries[: self.folder_page]
        changes: list[Change] = []
        for id_ in dict.fromkeys(id_ for _, id_ in taken):
            here = id_ in self.messages and self.folder_of(id_) == folder
            changes.append(self._get(id_) if here else Left(id_, f"{FOLDER}{folder}"))
        more = len(taken) < len(entries)
        seen = taken[-1][0] if taken else link.seen
        return Page(tuple(changes), self._link(folder, _Link((), seen)), more)

    def _link(self, folder: str, link: _Link) -> str:
        name = f"link{self._step()}"
        live = self._links.setdefault(folder, {})
        live[name] = link
        for old in list(live)[:-GENERATIONS]:
            del live[old]
        return name

    def _newest_first(self, folder: str) -> tuple[str, ...]:
        ids = [id_ for id_ in self.messages if self.folder_of(id_) == folder]
        return tuple(sorted(ids, key=lambda id_: self.messages[id_].received_at, reverse=True))

    def _held(self, folder: str) -> int:
        return sum(self.folder_of(id_) == folder for id_ in self.messages)

    def _place(self, id_: str, folder: str) -> None:
        message = self.messages[id_]
        plain = {label for label in message.labels if not label.startswith(FOLDER) and label not in WELL_KNOWN.values()}
        known = {WELL_KNOWN[folder]} if folder in WELL_KNOWN else set()
        at = self._step()
        self.messages[id_] = replace(
            message, labels=tuple(sorted({*plain, *known, f"{FOLDER}{folder}"})), version=f"v{at}"
        )
        self._log.append((at, folder, id_))

    def _step(self) -> int:
        self._count += 1
        return self._count


Answer = TypeVar("Answer", Change, Fetched)


def _labelled(access: Access, answer: Answer) -> Answer:
    """A message carries the well-known name of its folder only if whoever asks knows that it has one."""
    if not isinstance(answer, Upsert) or not access.folders:
        return answer
    unknown = {label for id_, label in WELL_KNOWN.items() if id_ not in access.folders}
    labels = tuple(label for label in answer.message.labels if label not in unknown)
    return Upsert(replace(answer.message, labels=labels))
