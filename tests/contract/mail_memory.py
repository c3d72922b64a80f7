"""The fakes that the engine is tested with, as mailboxes that things happen to; see ``mail_worlds``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared.adapters.embedded.clock import VirtualClock
from shared.providers.base import FOLDER, Access, MailProvider
from tests.contract.mail_http import Purse
from tests.contract.mail_worlds import ME, PAGE
from tests.folders import WELL_KNOWN, MemoryFolders
from tests.provider import MemoryProvider


class MemoryGmail:
    """The fake that tells of changes for the mailbox as a whole."""

    tag = "Label_1"

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock()
        self.fake: Any = self._fake()
        self.provider: MailProvider = self.fake
        self.purse = Purse()
        self._number = 0

    def _fake(self) -> MemoryProvider:
        return MemoryProvider(self.clock, history_page=PAGE, whole_threads=True)

    def bare(self) -> Access:
        """What the first call goes out with: nothing is known yet."""
        return Access("token", self.purse)

    def access(self) -> Access:
        profile = self.provider.profile(self.bare())
        return replace(self.bare(), address=profile.address, folders=profile.folders)

    def grant(self) -> str:
        return "refresh"

    def deliver(self, subject: str, *labels: str, place: str = "") -> str:
        id = self._new()
        where = labels or ("INBOX", "UNREAD")
        self.fake.deliver(
            id, *[one for one in where if not place or one != "INBOX"], *[place] * bool(place), subject=subject
        )
        return id

    def mark(self, id: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        self.fake.relabel(id, add, remove)

    def place(self, name: str) -> str:
        return f"Label_{name}"

    def move(self, id: str, place: str) -> None:
        self.fake.relabel(id, [place], ["INBOX"])

    def drop(self, place: str) -> None:
        for id, labels in self.truth().items():
            if place in labels:
                self.fake.relabel(id, (), [place])

    def trash(self, id: str) -> None:
        self.fake.relabel(id, ["TRASH"], ["INBOX"])

    def untrash(self, id: str) -> None:
        self.fake.relabel(id, ["INBOX"], ["TRASH"])

    def delete(self, id: str) -> None:
        self.fake.delete(id)

    def draft(self, subject: str, draft: str = "") -> tuple[str, str]:
        if draft:
            self.fake.delete(draft)  # Gmail's drafts get a new message at every save
        id = self._new()
        self.fake.deliver(id, "DRAFT", subject=subject)
        return id, id

    def send_draft(self, draft: str) -> str:
        self.fake.relabel(draft, ["SENT"], ["DRAFT"])
        return draft

    def send(self, subject: str, to: str) -> None:
        self.fake.deliver(self._new(), *(["SENT", "INBOX", "UNREAD"] if to == ME else ["SENT"]), subject=subject)

    def forget(self, label: str = "") -> None:
        self.fake.expire_history()

    def refuse(self, id: str) -> None:
        self.fake.refused.add(id)

    def bad_pages(self) -> list[str]:
        return ["nonsense"]

    def truth(self) -> dict[str, set[str]]:
        return {id: set(message.labels) for id, message in self.fake.messages.items()}

    def hinder(self) -> None:
        """It tells of changes in one way."""

    def revoke(self) -> None:
        self.fake.dead = True

    def trouble(self, kind: str) -> None:
        self.fake.down = kind in ("down", "cut")
        self.fake.limit_next = 120.0 if kind == "limited" else None

    def channels(self) -> int:
        return int(self.fake.channels)

    def lose_channels(self) -> None:
        self.clock.advance(8 * 86_400)
        self.fake.channels = 0

    def unconfigured(self) -> MailProvider:
        fake: Any = self._fake()
        fake.channelled = False
        return fake

    def close(self) -> None:
        """Nothing is open."""

    def _new(self) -> str:
        self.clock.advance(60)
        self._number += 1
        return f"m{self._number}"


class MemoryOutlook(MemoryGmail):
    """The fake that tells of changes by folder."""

    tag = "category:Red"

    def _fake(self) -> MemoryFolders:
        return MemoryFolders(self.clock, folder_page=PAGE)

    def deliver(self, subject: str, *labels: str, place: str = "") -> str:
        id = self._new()
        known = {label: folder for folder, label in WELL_KNOWN.items()}
        named = next((known[label] for label in labels if label in known), "f-inbox")
        marks = [label for label in labels or ("UNREAD",) if label not in known] or ["CHAT"]
        folder = place.removeprefix(FOLDER) or named
        self.fake.deliver(id, *marks, subject=subject, folder=folder)
        return id

    def mark(self, id: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        self.fake.touch(id, add, remove)

    def place(self, name: str, parent: str = "") -> str:
        self.fake.create_folder(f"f-{name}", name)
        return f"{FOLDER}f-{name}"

    def rename(self, place: str, name: str) -> None:
        """A folder gets another name."""
        self.fake.create_folder(place.removeprefix(FOLDER), name)

    def move(self, id: str, place: str) -> None:
        self.fake.move(id, place.removeprefix(FOLDER))

    def drop(self, place: str) -> None:
        self.fake.delete_folder(place.removeprefix(FOLDER))

    def trash(self, id: str) -> None:
        self.fake.move(id, "f-trash")

    def untrash(self, id: str) -> None:
        self.fake.move(id, "f-inbox")

    def draft(self, subject: str, draft: str = "") -> tuple[str, str]:
        if draft:
            self.fake.touch(draft)
            return draft, draft
        id = self.deliver(subject, "DRAFT")
        return id, id

    def send_draft(self, draft: str) -> str:
        self.fake.move(draft, "f-sent")
        return draft

    def send(self, subject: str, to: str) -> None:
        self.deliver(subject, "SENT")
        if to == ME:
            self.deliver(subject)

    def forget(self, label: str = "") -> None:
        if label:
            self.fake.expire(label.removeprefix(FOLDER))
        else:
            self.fake.expire(*self.fake.names)
            self.fake.expire_folders()
