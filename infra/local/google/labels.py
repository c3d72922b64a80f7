"""Labels: Google's own, known by their ids, and the person's, which get an id when their name is first used.

The id of a deleted label is never given out again, because the history may still speak of it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from infra.local.simulated.errors import ControlError, UnknownThing

SYSTEM_LABELS = (
    "CHAT", "SENT", "INBOX", "IMPORTANT", "TRASH", "DRAFT", "SPAM", "CATEGORY_FORUMS", "CATEGORY_UPDATES",
    "CATEGORY_PERSONAL", "CATEGORY_PROMOTIONS", "CATEGORY_SOCIAL", "STARRED", "UNREAD",
)  # fmt: skip
_USER_ID = re.compile(r"Label_[0-9]{1,9}")


def resolve(db: sqlite3.Connection, address: str, labels: Iterable[str]) -> set[str]:
    """Turn ids and names into ids; a name that is new becomes a label. Raises ``UnknownThing`` for a deleted one."""
    return {label if label in SYSTEM_LABELS else _user_label(db, address, label) for label in labels}


def listing(db: sqlite3.Connection, address: str) -> list[dict[str, Any]]:
    """All labels as Gmail lists them."""
    rows = db.execute("SELECT * FROM labels WHERE address = ? AND gone = 0 ORDER BY id", (address,))
    return [shown(label) for label in SYSTEM_LABELS] + [shown(row) for row in rows]


def shown(label: str | sqlite3.Row) -> dict[str, Any]:
    """A label, Google's own or a row of a person's, as JSON."""
    if isinstance(label, str):
        return {"id": label, "name": label, "type": "system"}
    look: dict[str, Any] = orjson.loads(label["look"])
    return {"id": label["id"], "name": label["name"], "type": "user"} | look


def find(db: sqlite3.Connection, address: str, label: str) -> sqlite3.Row:
    """A person's label by id or name. Raises ``UnknownThing``."""
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM labels WHERE address = ? AND gone = 0 AND (id = ? OR name = ?)", (address, label, label)
    ).fetchone()
    if row is None:
        raise UnknownThing(f"There is no label {label!r}.")
    return row


def require_free(db: sqlite3.Connection, address: str, name: str, but: str = "") -> None:
    """Raise ``ControlError`` where a label other than ``but`` has this name, in whatever case."""
    rows = db.execute("SELECT name FROM labels WHERE address = ? AND gone = 0 AND id <> ?", (address, but))
    if name.upper() in SYSTEM_LABELS or name.casefold() in {row["name"].casefold() for row in rows}:
        raise ControlError(f"There is a label {name!r} already.")


def create(db: sqlite3.Connection, address: str, name: str) -> str:
    """A new label of the person; answers its id."""
    label = name
    if not _USER_ID.fullmatch(label):
        last = db.execute(
            "SELECT MAX(CAST(substr(id, 7) AS INTEGER)) FROM labels WHERE address = ?", (address,)
        ).fetchone()[0]
        label = f"Label_{(last or 0) + 1}"
    db.execute("INSERT INTO labels (address, id, name) VALUES (?, ?, ?)", (address, label, name))
    return label


def change(db: sqlite3.Connection, address: str, label: str, name: str, look: Mapping[str, Any]) -> None:
    """Give a label another name and look. Raises ``ControlError`` where another label has that name."""
    require_free(db, address, name, but=label)
    db.execute(
        "UPDATE labels SET name = ?, look = ? WHERE address = ? AND id = ?", (name, orjson.dumps(look), address, label)
    )


def remove(db: sqlite3.Connection, address: str, label: str) -> None:
    """Forget a label but not its id."""
    db.execute("UPDATE labels SET gone = 1 WHERE address = ? AND id = ?", (address, label))


def _user_label(db: sqlite3.Connection, address: str, label: str) -> str:
    rows = db.execute(
        "SELECT id, gone FROM labels WHERE address = ? AND ((name = ? AND gone = 0) OR id = ?) ORDER BY gone",
        (address, label, label),
    )
    found = rows.fetchone()
    if found is None:
        return create(db, address, label)
    if found["gone"]:
        raise UnknownThing(f"The label {label!r} was deleted.")
    return str(found["id"])
