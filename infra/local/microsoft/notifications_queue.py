"""Notifications on their way: kept in the state file until they are acknowledged or four hours old.

What is due for one URL goes out in one POST, at most twenty together. An attempt that fails is repeated after ten seconds,
then after twice as long each time, at last every ten minutes.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Sequence

from infra.local.microsoft import notifications_endpoints as endpoints
from infra.local.microsoft.notifications import NOBODY, Notify, acknowledged, post
from infra.local.microsoft.state import State
from shared.ports import Clock

TABLES = """
CREATE TABLE IF NOT EXISTS notices (
    number INTEGER PRIMARY KEY AUTOINCREMENT, url TEXT NOT NULL, subscription TEXT NOT NULL, event TEXT NOT NULL,
    body BLOB NOT NULL, due REAL NOT NULL, wanted REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS notices_by_due ON notices (due, number);
"""
GIVE_UP_SECONDS = 4 * 3600.0
_TOGETHER = 20
_LOOKED_AT = 500
_FIRST_WAIT = 10.0
_LONGEST_WAIT = 600.0


class Queue:
    """Sends what is due. ``outage``: whether every attempt fails before it reaches anybody. Thread-safe."""

    def __init__(self, state: State, clock: Clock, notify: Notify) -> None:
        state.create(TABLES)
        state.create(endpoints.TABLES)
        self._state = state
        self._clock = clock
        self._notify = notify
        self._lock = threading.Lock()
        self._flying: set[int] = set()
        self._counts: Counter[str] = Counter()
        self.outage = False
        self.rung = threading.Event()
        """Set whenever something was queued."""

    def put(
        self, db: sqlite3.Connection, url: str, subscription: str, body: bytes, due: float, event: str = ""
    ) -> None:
        """Inside a transaction: queue one notification; ``event`` is that of a lifecycle notification."""
        db.execute(
            "INSERT INTO notices (url, subscription, event, body, due, wanted) VALUES (?, ?, ?, ?, ?, ?)",
            (url, subscription, event, body, due, due),
        )
        self.rung.set()

    def waits(self, db: sqlite3.Connection, subscription: str, event: str) -> bool:
        """Whether such a lifecycle notification of a subscription is still on its way."""
        row = db.execute("SELECT 1 FROM notices WHERE subscription = ? AND event = ?", (subscription, event)).fetchone()
        return row is not None

    def count(self, fate: str) -> None:
        """Count something that happened to a notification."""
        with self._lock:
            self._counts[fate] += 1

    def counts(self) -> dict[str, int]:
        """What happened to notifications since the process started."""
        with self._lock:
            return dict(self._counts)

    def send_due(self, now: float) -> float | None:
        """Post everything that is due; answer when the next is, None if nothing waits. Call it without any lock."""
        while True:
            together = self._take(now)
            if not together:
                return self._next()
            numbers = [notice["number"] for notice in together]
            try:
                self._deliver(together)
            finally:
                with self._lock:
                    self._flying.difference_update(numbers)

    def _take(self, now: float) -> Sequence[sqlite3.Row]:
        """Some due notifications of one URL that no other thread is sending."""
        with self._state.reading() as db, self._lock:
            due = db.execute(
                "SELECT * FROM notices WHERE due <= ? ORDER BY due, number LIMIT ?",
                (now, _LOOKED_AT + len(self._flying)),
            ).fetchall()
            free = [notice for notice in due if notice["number"] not in self._flying]
            together = [notice for notice in free if notice["url"] == free[0]["url"]][:_TOGETHER]
            self._flying.update(notice["number"] for notice in together)
            return together

    def _next(self) -> float | None:
        with self._state.reading() as db, self._lock:
            rows = db.execute("SELECT number, due FROM notices ORDER BY due LIMIT ?", (1 + len(self._flying),))
            return next((row["due"] for row in rows if row["number"] not in self._flying), None)

    def _deliver(self, together: Sequence[sqlite3.Row]) -> None:
        url = together[0]["url"]
        self.count("posts")
        heard = NOBODY if self.outage else post(self._notify, url, [notice["body"] for notice in together])
        now = self._clock.now()
        with self._state.transaction() as db:
            if heard.status:
                endpoints.judge(db, url, now, heard.seconds)
            for notice in together:
                wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(notice["attempts"], 10))
                if acknowledged(heard):
                    outcome = "sent"
                elif now + wait - notice["wanted"] > GIVE_UP_SECONDS:
                    outcome = "lost"
                else:
                    self.count("retried")
                    db.execute(
                        "UPDATE notices SET due = ?, attempts = attempts + 1 WHERE number = ?",
                        (now + wait, notice["number"]),
                    )
                    continue
                self.count(outcome)
                db.execute("DELETE FROM notices WHERE number = ?", (notice["number"],))
