"""The folders of one mailbox within one transaction: found, created, renamed, moved. Each change leaves a record."""

from __future__ import annotations

import sqlite3

from infra.local.microsoft import folders
from infra.local.microsoft.ledger import Ledger
from infra.local.simulated.errors import ControlError


class Cabinet:
    """The part of a mailbox that holds no mail.

    Raises ``UnknownThing`` for what does not exist and ``ControlError`` for what cannot be done.
    """

    def __init__(self, db: sqlite3.Connection, ledger: Ledger, seed: int, address: str) -> None:
        self._db = db
        self._ledger = ledger
        self._seed = seed
        self.now = ledger.now
        self.address = address

    def folder(self, key: str) -> sqlite3.Row:
        """A folder by its id or well-known name."""
        return folders.find(self._db, self.address, key)

    def create_folder(self, name: str, parent: str = "", search: bool = False) -> str:
        """A new folder; answers its id."""
        made = folders.create(self._db, self._seed, self.address, name, parent or folders.ROOT, search)
        self._ledger.record_folder(made)
        return made

    def make_path(self, path: str) -> str:
        """The folder that ``A/B`` leads to from the top, made as needed."""
        here, names = folders.at_path(self._db, self.address, path)
        for name in names:
            here = self.create_folder(name, here)
        return here

    def rename_folder(self, key: str, name: str) -> None:
        """A folder gets another name."""
        row = self._own_folder(key)
        folders.require_free(self._db, self.address, row["parent"], name, but=row["id"])
        self._db.execute("UPDATE folders SET name = ? WHERE number = ?", (name, row["number"]))
        self._ledger.record_folder(row["id"])

    def move_folder(self, key: str, parent: str) -> None:
        """A folder goes into another one, with all that it holds; no message changes."""
        row, into = self._own_folder(key), self.folder(parent or folders.ROOT)["id"]
        if into in folders.below(self._db, self.address, row["id"]):
            raise ControlError("A folder cannot go into itself.")
        folders.require_free(self._db, self.address, into, row["name"], but=row["id"])
        self._db.execute("UPDATE folders SET parent = ? WHERE number = ?", (into, row["number"]))
        self._ledger.record_folder(row["id"])

    def _own_folder(self, key: str) -> sqlite3.Row:
        row = self.folder(key)
        if row["known"]:
            raise ControlError("Distinguished folders stay what and where they are.")
        return row

    def _destination(self, key: str) -> str:
        row = self.folder(key)
        if row["search"] or row["known"] == folders.ROOT or row["known"] in folders.RECOVERABLE:
            raise ControlError("No message can be put there.")
        return str(row["id"])
