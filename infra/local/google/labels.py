"""Labels: Google's own, known by their ids, and the person's, which get an id when their name is first used."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable

SYSTEM_LABELS = (
    "CHAT", "SENT", "INBOX", "IMPORTANT", "TRASH", "DRAFT", "SPAM", "CATEGORY_FORUMS", "CATEGORY_UPDATES",
    "CATEGORY_PERSONAL", "CATEGORY_PROMOTIONS", "CATEGORY_SOCIAL", "STARRED", "UNREAD",
)  # fmt: skip
_USER_ID = re.compile(r"Label_[0-9]{1,9}")


def resolve(db: sqlite3.Connection, address: str, labels: Iterable[str]) -> set[str]:
    """Turn ids and names into ids; a name that is new becomes a label of the mailbox."""
    return {label if label in SYSTEM_LABELS else _user_label(db, address, label) for label in labels}


def listing(db: sqlite3.Connection, address: str) -> list[dict[str, str]]:
    """All labels as Gmail lists them."""
    labels = [{"id": label, "name": label, "type": "system"} for label in SYSTEM_LABELS]
    rows = db.execute("SELECT id, name FROM labels WHERE address = ? ORDER BY id", (address,))
    return labels + [{"id": row["id"], "name": row["name"], "type": "user"} for row in rows]


def _user_label(db: sqlite3.Connection, address: str, label: str) -> str:
    row = db.execute("SELECT id FROM labels WHERE address = ? AND (name = ? OR id = ?)", (address, label, label))
    if found := row.fetchone():
        return str(found["id"])
    label_id = label
    if not _USER_ID.fullmatch(label):
        taken = db.execute(
            "SELECT MAX(CAST(substr(id, 7) AS INTEGER)) FROM labels WHERE address = ?", (address,)
        ).fetchone()[0]
        label_id = f"Label_{(taken or 0) + 1}"
    db.execute("INSERT INTO labels VALUES (?, ?, ?)", (address, label_id, label))
    return label_id
