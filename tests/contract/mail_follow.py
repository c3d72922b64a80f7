"""A plain reader of a mailbox: everything there is, then every change, whether told of by folder or not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from shared.providers.base import (
    Access,
    Change,
    Deleted,
    Fetched,
    LabelsChanged,
    Left,
    MailProvider,
    Message,
    Missing,
    Page,
    Refused,
    Upsert,
    newer,
)

MOST_PAGES = 300
"""A walk that takes more goes in a circle: no test has so much to tell of."""


@dataclass(slots=True)
class Follower:
    """What it knows, and where it stands; ``cursors`` are by folder, '' for the mailbox as a whole."""

    provider: MailProvider
    access: Access
    mails: dict[str, Message] = field(default_factory=dict)
    gaps: set[str] = field(default_factory=set)
    cursors: dict[str, str] = field(default_factory=dict)
    folders_cursor: str = ""

    def begin(self) -> None:
        """Take the anchor, then read all that is there."""
        if self.provider.per_folder:  # the first rounds are both
            self.look()
            return
        self.anchor()
        page: str | None = None
        for _ in range(MOST_PAGES):
            listing = self.provider.list_ids(self.access, page, 5)
            for answer in self.provider.fetch(self.access, listing.ids):
                self._take(answer)
            page = listing.next
            if page is None:
                return
        raise AssertionError("The listing does not end.")

    def anchor(self) -> None:
        """Stand at this moment without reading what is there; by folder that takes the first rounds to their ends."""
        if self.provider.per_folder:
            self.look()
            self.mails.clear()
        else:
            self.cursors = {"": self.provider.profile(self.access).cursor}

    def look(self) -> list[Change]:
        """Read all changes that wait, and take them in."""
        if self.provider.per_folder:
            self._look_for_folders()
        return [change for folder in list(self.cursors) for change in self.look_at(folder)]

    def look_at(self, folder: str) -> list[Change]:
        """Read the changes of one folder to their end."""
        changes: list[Change] = []
        walked: set[str] = set()
        for page in self.pages(folder):
            assert page.cursor, "every page leads on"
            assert not (page.more and page.cursor in walked), "no page leads back"
            walked.add(page.cursor)
            self.cursors[folder] = page.cursor
            changes += page.changes
        for change in changes:
            self._take(change)
        self._settle(changes)
        return changes

    def pages(self, folder: str = "") -> list[Page]:
        """The pages that wait in one folder; what they say is not taken in."""
        cursor = self.cursors[folder]
        pages: list[Page] = []
        for _ in range(MOST_PAGES):
            pages.append(self.provider.changes(self.access, cursor, folder))
            cursor = pages[-1].cursor
            if not pages[-1].more:
                return pages
        raise AssertionError("The pages do not end.")

    def labels(self) -> dict[str, set[str]]:
        """The labels of every mail that it knows."""
        return {id: set(message.labels) for id, message in self.mails.items()}

    def _look_for_folders(self) -> None:
        read = self.provider.folders(self.access, self.folders_cursor)
        self.folders_cursor = read.cursor
        for folder in read.changed:
            self.cursors.setdefault(folder.id, "")
        for gone in read.gone:
            if self.cursors.pop(gone, None) is not None:
                held = [id for id, message in self.mails.items() if f"folder:{gone}" in message.labels]
                for answer in self.provider.fetch(self.access, held):
                    self._take(answer)

    def _take(self, change: Change | Fetched) -> None:
        match change:
            case Upsert(message):
                self.gaps.discard(message.id)
                self.mails[message.id] = message
            case LabelsChanged(id, version, added, removed):
                known = self.mails.get(id)
                if known is not None and newer(version, known.version):
                    labels = tuple(sorted({*known.labels, *added} - set(removed)))
                    self.mails[id] = replace(known, labels=labels, version=version)
            case Deleted(id) | Missing(id):
                self.mails.pop(id, None)
            case Refused(id):
                self.gaps.add(id)
            case Left():
                pass  # only reading it tells what became of it

    def _settle(self, changes: list[Change]) -> None:
        """Read what left the folder that it is known to be in, and what is known by no more than its labels."""
        unsure = [
            change.id
            for change in changes
            if (isinstance(change, Left) and change.id in self.mails and change.folder in self.mails[change.id].labels)
            or (isinstance(change, LabelsChanged) and change.id not in self.mails)
        ]
        for answer in self.provider.fetch(self.access, list(dict.fromkeys(unsure))):
            self._take(answer)
