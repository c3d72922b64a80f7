"""How Graph treats endpoints that answer slowly: it sends late to some, and nothing for a while to the slowest.

Judged over the last ten minutes, once there are ten answers: more than 10 % over 3 seconds make an endpoint slow, more
than 15 % over 10 seconds make it deaf.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from infra.local.microsoft.notifications import ANSWER_SECONDS

TABLES = """
CREATE TABLE IF NOT EXISTS endpoint_answers (url TEXT NOT NULL, at REAL NOT NULL, seconds REAL NOT NULL);
CREATE INDEX IF NOT EXISTS endpoint_answers_by_url ON endpoint_answers (url, at);
CREATE TABLE IF NOT EXISTS endpoints (
    url TEXT PRIMARY KEY, slow_until REAL NOT NULL DEFAULT 0, deaf_until REAL NOT NULL DEFAULT 0) WITHOUT ROWID;
"""
PENALTY_SECONDS = 600.0
_WINDOW_SECONDS = 600.0
_FEWEST = 10
_VERY_SLOW_SECONDS = 10.0
_SLOW_SHARE = 0.10
_DEAF_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Standing:
    """Until when an endpoint is treated as slow, and until when nothing is sent to it."""

    slow_until: float = 0.0
    deaf_until: float = 0.0


def standing(db: sqlite3.Connection, url: str) -> Standing:
    """How an endpoint is treated."""
    row = db.execute("SELECT slow_until, deaf_until FROM endpoints WHERE url = ?", (url,)).fetchone()
    return Standing() if row is None else Standing(*row)


def judge(db: sqlite3.Connection, url: str, now: float, seconds: float) -> None:
    """Inside a transaction: note how long an answer took, and think about the endpoint anew."""
    db.execute("DELETE FROM endpoint_answers WHERE url = ? AND at <= ?", (url, now - _WINDOW_SECONDS))
    db.execute("INSERT INTO endpoint_answers VALUES (?, ?, ?)", (url, now, seconds))
    answers, slow, very_slow = db.execute(
        "SELECT COUNT(*), SUM(seconds > ?), SUM(seconds > ?) FROM endpoint_answers WHERE url = ?",
        (ANSWER_SECONDS, _VERY_SLOW_SECONDS, url),
    ).fetchone()
    if answers < _FEWEST:
        return
    if very_slow > _DEAF_SHARE * answers:
        # Afterwards the endpoint begins with a clean slate, or it would be deaf again at its first answer.
        db.execute("DELETE FROM endpoint_answers WHERE url = ?", (url,))
        _punish(db, url, "deaf_until", now)
    elif slow > _SLOW_SHARE * answers:
        _punish(db, url, "slow_until", now)


def _punish(db: sqlite3.Connection, url: str, column: str, now: float) -> None:
    db.execute("INSERT OR IGNORE INTO endpoints (url) VALUES (?)", (url,))
    db.execute(f"UPDATE endpoints SET {column} = ? WHERE url = ?", (now + PENALTY_SECONDS, url))
