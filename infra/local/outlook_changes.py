"""What happens in an Outlook mailbox while it is being followed: mail is moved, read, flagged, put into categories, deleted;
folders are made, renamed, moved and deleted with all that they hold. The seed decides all of it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from infra.local.generator import Operation
from infra.local.latency import Change
from infra.local.microsoft.simulator import MicrosoftSimulator

_KINDS = {
    "mail": 34, "move": 11, "move back": 7, "read": 10, "category": 8, "delete": 7, "new folder": 6, "trash": 5, "flag": 4,
    "sent": 3,
    "rename folder": 2, "move folder": 1, "delete folder": 2,
}  # fmt: skip
_CATEGORIES = ("Blue category", "Green category", "Next week", "Für später")
_NAMES = ("Clients", "Invoices", "Travel", "Häuser", "Reading", "Team", "2026", "Old")
_USUAL = ("inbox", "archive", "junkemail")
_LARGEST = 30
"""A folder with more mails than these is not deleted: of 2,000 mails most are to be there at the end."""


class OutlookTraffic:
    """A person and the world at work on one simulated Outlook mailbox; ``made`` is what they did, with the time of each."""

    def __init__(self, simulator: MicrosoftSimulator, address: str, seed: int, count: int) -> None:
        self._simulator = simulator
        self._address = address
        self._chance = random.Random(f"outlook {seed}")  # noqa: S311 - a demo that repeats itself
        self._script = iter(self._chance.choices(list(_KINDS), list(_KINDS.values()), k=count))
        self._folder_of: dict[str, str] = {}
        self._marks: dict[str, list[str]] = {}
        self._young: set[str] = set()
        self._read()
        self.made: list[Change] = []
        self._ways: Mapping[str, Callable[[], str]] = {
            "move": self._move, "move back": self._move_back, "read": self._mark("UNREAD"),
            "category": self._categorise, "flag": self._mark("STARRED"), "trash": self._trash, "delete": self._delete,
            "new folder": self._new_folder, "rename folder": self._rename_folder, "move folder": self._move_folder,
            "delete folder": self._delete_folder,
        }  # fmt: skip

    @property
    def mails(self) -> int:
        """How many mails are there now."""
        return len(self._folder_of)

    def change(self) -> Change:
        """Make the next change of the script now, and answer it; where there is nothing to change, a mail arrives."""
        kind = next(self._script)
        at = self._simulator.clock.now()
        id_ = self._ways[kind]() if kind in self._ways else ""
        change = Change(at, id_, kind) if id_ else Change(at, self._deliver(kind, at), "mail")
        self.made.append(change)
        return change

    def summary(self) -> Counter[str]:
        """How many changes of each kind there were."""
        return Counter(change.kind for change in self.made)

    def _deliver(self, kind: str, at: float) -> str:
        operation = Operation("sent" if kind == "sent" else "mail", 0.0, self._chance.getrandbits(48))
        _, body = operation.request(self._address, at, ())
        plan = body["mails"][0]
        own = self._own()
        folder = self._chance.choice(own)["id"] if own and kind == "mail" and self._chance.random() < 0.2 else ""
        if folder:
            # A rule of the person's puts it there.
            plan["labels"] = [f"folder:{folder}", *(label for label in plan["labels"] if label == "UNREAD")]
        [id_] = self._simulator.add_mails(self._address, [plan])
        self._folder_of[id_] = folder or "elsewhere"
        self._young.add(id_)
        self._marks[id_] = plan["labels"]
        return id_

    def _move(self) -> str:
        id_, own = self._some(), [folder["id"] for folder in self._own()]
        if id_:
            target = self._chance.choice(own) if own and self._chance.random() < 0.6 else self._chance.choice(_USUAL)
            self._simulator.move(self._address, id_, target)
            self._folder_of[id_] = target
        return id_

    def _move_back(self) -> str:
        """Move a mail away and back at once: its folder's stream may tell of it as gone, and no event is due."""
        if (id_ := self._some()) and id_ not in self._young:
            home = self._folder_of[id_]
            self._simulator.move(self._address, id_, "inbox" if home == "archive" else "archive")
            self._simulator.move(self._address, id_, home)
            return id_
        return ""

    def _mark(self, label: str) -> Callable[[], str]:
        def flip() -> str:
            if id_ := self._some():
                there = label in self._marks[id_]
                self._relabel(id_, [] if there else [label], [label] if there else [])
            return id_

        return flip

    def _categorise(self) -> str:
        if id_ := self._some():
            category = f"category:{self._chance.choice(_CATEGORIES)}"
            there = category in self._marks[id_]
            self._relabel(id_, [] if there else [category], [category] if there else [])
        return id_

    def _trash(self) -> str:
        if id_ := self._some():
            self._simulator.trash(self._address, id_)
            self._folder_of[id_] = "deleteditems"
        return id_

    def _delete(self) -> str:
        """Delete a mail for good; a new one is spared, since its end would be believed only some 23 minutes later."""
        if (id_ := self._some()) and id_ not in self._young:
            self._simulator.delete(self._address, id_)
            del self._folder_of[id_], self._marks[id_]
            return id_
        return ""

    def _new_folder(self) -> str:
        own = self._own()
        parent = self._chance.choice(own)["id"] if own and self._chance.random() < 0.5 else ""
        return self._simulator.create_folder(self._address, self._name(), parent)

    def _rename_folder(self) -> str:
        if not (own := self._own()):
            return ""
        folder = str(self._chance.choice(own)["id"])
        self._simulator.rename_folder(self._address, folder, self._name())
        return folder

    def _move_folder(self) -> str:
        own = self._own()
        if not (nested := [folder["id"] for folder in own if folder["parent"] in {one["id"] for one in own}]):
            return ""
        folder = str(self._chance.choice(nested))
        self._simulator.move_folder(self._address, folder)
        return folder

    def _delete_folder(self) -> str:
        sizes, new = self._sizes(self._folder_of), self._sizes(self._young)
        if not (small := [folder for folder, size in sizes.items() if size <= _LARGEST and not new[folder]]):
            return ""
        folder = self._chance.choice(small)
        self._simulator.delete_folder(self._address, folder)
        self._read()
        return folder

    def _relabel(self, id_: str, add: list[str], remove: list[str]) -> None:
        self._simulator.change_labels(self._address, id_, add, remove)
        self._marks[id_] = sorted(set(self._marks[id_]).union(add).difference(remove))

    def _some(self) -> str:
        """A mail; '' where there is none."""
        known = list(self._folder_of)
        return self._chance.choice(known) if known else ""

    def _own(self) -> list[dict[str, Any]]:
        """The folders that the person made."""
        return [folder for folder in self._simulator.folders(self._address) if not folder["well_known"]]

    def _sizes(self, ids: Iterable[str]) -> dict[str, int]:
        """How many of some mails each folder of the person's holds, those of the folders in it included."""
        own = {folder["id"]: folder["parent"] for folder in self._own()}
        held = Counter(self._folder_of[id_] for id_ in ids)
        sizes = dict.fromkeys(own, 0)
        for folder in own:
            above = folder
            while above in own:
                sizes[above] += held[folder]
                above = own[above]
        return sizes

    def _name(self) -> str:
        return f"{self._chance.choice(_NAMES)} {self._chance.getrandbits(16):04x}"

    def _read(self) -> None:
        mails = self._simulator.truth(self._address)["mails"]
        self._folder_of = {mail["id"]: mail["folder"] for mail in mails}
        self._marks = {mail["id"]: mail["labels"] for mail in mails}


def filed(plan: dict[str, Any]) -> dict[str, Any]:
    """A generated mail as an Outlook mailbox keeps it: what was set aside lies in nested folders of the person's own."""
    labels = plan["labels"]
    if {"INBOX", "TRASH", "SPAM", "DRAFT", "SENT"} & set(labels):
        return plan
    if "CATEGORY_PROMOTIONS" in labels:
        return plan | {"folder": f"Reading/Newsletters/{plan['sender'][0]}"}
    if "CATEGORY_UPDATES" in labels:
        return plan | {"folder": "Reading/Notices"}
    return plan | {"folder": "Projects/Later"} if "Later" in labels else plan
