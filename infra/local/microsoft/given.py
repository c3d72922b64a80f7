"""What a client was given in a folder's stream of changes: only of that is it told that it has left.

Exchange works a removal out of what a client has, not out of what happened: a message that came after the client's token and
left before its next call is not named at all. What a client has is what the folder held where its round began, but for the
few messages that came or left while pages were read; those are in the token (``Round.odd``).
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from infra.local.microsoft.rounds import Round


def was_given(db: sqlite3.Connection, address: str, folder: str, message: str, place: Round) -> bool:
    """Whether the client of an incremental round had a message when the round began."""
    if message in place.odd:
        return place.odd[message]
    return _held(db, address, folder, message, _began(place))


def returned(db: sqlite3.Connection, address: str, folder: str, message: str, place: Round, until: int) -> bool:
    """Whether a message that the client has left the folder and came back within an incremental round."""
    came = db.execute(
        "SELECT 1 FROM folder_log WHERE address = ? AND folder = ? AND message = ? AND change > ? AND change <= ? AND came",
        (address, folder, message, _began(place), until),
    ).fetchone()
    return came is not None and was_given(db, address, folder, message, place)


def noted(db: sqlite3.Connection, address: str, folder: str, place: Round, until: int, told: dict[str, bool]) -> Round:
    """The place behind a page that has ``told`` of messages whether they are there; the next round begins at ``until``."""
    odd = {message: there for message, there in told.items() if _held(db, address, folder, message, until) != there}
    same = {message: there for message, there in place.next_odd.items() if message not in told}
    return replace(place, next_odd={**same, **odd})


def changed_since(db: sqlite3.Connection, address: str, folder: str, change: int) -> list[str]:
    """Messages that anything became of in a folder after a change."""
    rows = db.execute(
        "SELECT DISTINCT message FROM folder_log WHERE address = ? AND folder = ? AND change > ?",
        (address, folder, change),
    )
    return [row["message"] for row in rows]


def _began(place: Round) -> int:
    return place.after if place.since is None else place.since


def _held(db: sqlite3.Connection, address: str, folder: str, message: str, change: int) -> bool:
    """Whether a folder showed a message once a change had shown; one without a record before was there from the beginning."""
    of = "SELECT left, came FROM folder_log WHERE address = ? AND folder = ? AND message = ? AND change"
    values = (address, folder, message, change)
    last = db.execute(f"{of} <= ? ORDER BY change DESC LIMIT 1", values).fetchone()
    if last is not None:
        return not last["left"]
    first = db.execute(f"{of} > ? ORDER BY change LIMIT 1", values).fetchone()
    if first is not None:
        return not first["came"]
    here = db.execute(
        "SELECT 1 FROM messages WHERE address = ? AND id = ? AND shown_folder = ?", (address, message, folder)
    ).fetchone()
    return here is not None
