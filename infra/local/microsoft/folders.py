"""Folders: those that every mailbox has, known by names that work like ids, and the person's, as deep as they like.

All functions work inside a transaction or a reading. A folder that is gone keeps its row, so that its id stays taken.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from infra.local.microsoft.ids import folder_id
from infra.local.simulated.errors import ControlError, UnknownThing

ROOT = "msgfolderroot"
KNOWN = {
    ROOT: "Top of Information Store", "inbox": "Inbox", "drafts": "Drafts", "sentitems": "Sent Items",
    "deleteditems": "Deleted Items", "junkemail": "Junk Email", "archive": "Archive", "outbox": "Outbox",
}  # fmt: skip
RECOVERABLE = {
    "recoverableitemsroot": "Recoverable Items", "recoverableitemsdeletions": "Deletions",
    "recoverableitemspurges": "Purges", "recoverableitemsversions": "Versions",
}  # fmt: skip
"""Where deleted messages are kept for a while; no listing and no delta names these folders."""

NAMED = frozenset(KNOWN) | frozenset(RECOVERABLE)
"""Every name that works like an id."""

LABELS = {"inbox": "INBOX", "sentitems": "SENT", "drafts": "DRAFT", "junkemail": "SPAM", "deleteditems": "TRASH"}
"""What a faithful client calls mail in these folders."""


def furnish(db: sqlite3.Connection, seed: int, address: str) -> None:
    """The folders that a new mailbox has."""
    root = ""
    for known, name in KNOWN.items():
        made = _insert(db, seed, address, root, name, known)
        root = root or made
    kept = ""
    for known, name in RECOVERABLE.items():
        made = _insert(db, seed, address, kept, name, known)
        kept = kept or made


def find(db: sqlite3.Connection, address: str, key: str) -> sqlite3.Row:
    """A folder by its id or its well-known name. Raises ``UnknownThing``."""
    row: sqlite3.Row | None = db.execute(
        f"SELECT * FROM folders WHERE address = ? AND gone = 0 AND {'known' if key.lower() in NAMED else 'id'} = ?",
        (address, key.lower() if key.lower() in NAMED else key),
    ).fetchone()
    if row is None:
        raise UnknownThing(f"There is no folder {key!r}.")
    return row


def everyone(db: sqlite3.Connection, address: str) -> list[sqlite3.Row]:
    """All folders but the root and those of deleted messages, the oldest first."""
    rows = db.execute("SELECT * FROM folders WHERE address = ? AND gone = 0 ORDER BY number", (address,)).fetchall()
    return [row for row in rows if row["known"] != ROOT and row["known"] not in RECOVERABLE]


def children(db: sqlite3.Connection, address: str, parent: str) -> list[sqlite3.Row]:
    """The folders in a folder, by name."""
    return db.execute(
        "SELECT * FROM folders WHERE address = ? AND gone = 0 AND parent = ? ORDER BY name, number", (address, parent)
    ).fetchall()


def create(db: sqlite3.Connection, seed: int, address: str, name: str, parent: str = ROOT, search: bool = False) -> str:
    """A new folder; answers its id. Raises ``ControlError`` where its parent has one of that name."""
    inside = find(db, address, parent)["id"]
    require_free(db, address, inside, name)
    return _insert(db, seed, address, inside, name, "", search)


def at_path(db: sqlite3.Connection, address: str, path: str) -> tuple[str, list[str]]:
    """The folder that ``A/B`` leads to from the top, or as far as there is one, and the names that remain."""
    here = find(db, address, ROOT)["id"]
    names = [name for name in path.split("/") if name]
    for position, name in enumerate(names):
        found = next((row for row in children(db, address, here) if row["name"].casefold() == name.casefold()), None)
        if found is None:
            return here, names[position:]
        here = found["id"]
    return here, []


def require_free(db: sqlite3.Connection, address: str, parent: str, name: str, but: str = "") -> None:
    """Raise ``ControlError`` for a bad name, and where a folder in ``parent`` other than ``but`` has it."""
    if not name or not name.isprintable() or len(name) > 255:
        raise ControlError("A folder needs a name of at most 255 printable characters.")
    taken = {row["name"].casefold() for row in children(db, address, parent) if row["id"] != but}
    if name.casefold() in taken:
        raise ControlError("A folder with the specified name already exists.")


def below(db: sqlite3.Connection, address: str, folder: str) -> list[str]:
    """A folder and all that are in it, however deep, the deepest last."""
    found = [folder]
    for one in found:
        found += [row["id"] for row in children(db, address, one)]
    return found


def shown(db: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    """A folder as Graph shows it."""
    address, folder = row["address"], row["id"]
    inside = db.execute(
        "SELECT COUNT(*) FROM folders WHERE address = ? AND gone = 0 AND parent = ?", (address, folder)
    ).fetchone()[0]
    where = "shown_read = 0" if row["search"] else "shown_folder = ?"
    mails = db.execute(
        f"SELECT COUNT(*) AS total, COUNT(*) - SUM(shown_read) AS unread FROM messages WHERE address = ?"
        f" AND shown_folder IS NOT NULL AND {where}",
        (address,) if row["search"] else (address, folder),
    ).fetchone()
    kind = {"@odata.type": "#microsoft.graph.mailSearchFolder", "isSupported": True} if row["search"] else {}
    return kind | {
        "id": folder, "displayName": row["name"], "parentFolderId": row["parent"], "childFolderCount": inside,
        "unreadItemCount": mails["unread"] or 0, "totalItemCount": mails["total"], "sizeInBytes": 0, "isHidden": False,
    }  # fmt: skip


def _insert(
    db: sqlite3.Connection, seed: int, address: str, parent: str, name: str, known: str, search: bool = False
) -> str:
    number = db.execute(
        "SELECT COUNT(*) FROM folders WHERE address = ? AND known NOT LIKE 'recoverable%'", (address,)
    ).fetchone()[0]
    made = folder_id(seed, address, known if known in RECOVERABLE else number)
    db.execute(
        "INSERT INTO folders (address, id, parent, name, known, search) VALUES (?, ?, ?, ?, ?, ?)",
        (address, made, parent, name, known, search),
    )
    return made
