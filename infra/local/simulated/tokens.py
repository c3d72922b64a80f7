"""Access and refresh tokens: issued, found, counted and withdrawn.

A token belongs to an account and a client, carries its scopes, and remembers the code that it descends from, so that a
code which is shown twice takes everything down that came of it. Tokens of the client ``""`` were handed out by the
control endpoint; any client may refresh them.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from infra.local.simulated.chance import digest
from infra.local.simulated.state import State
from shared.ports import Clock

_MAX_REFRESH_TOKENS = 100  # of one account and client; the oldest is dropped silently

TABLES = """
CREATE TABLE IF NOT EXISTS tokens (
    token TEXT PRIMARY KEY, address TEXT NOT NULL, kind TEXT NOT NULL, expires_at REAL, client TEXT NOT NULL,
    scopes TEXT NOT NULL, code TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS grants (
    address TEXT NOT NULL, client TEXT NOT NULL, scopes TEXT NOT NULL, offline INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (address, client)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS codes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT UNIQUE, address TEXT NOT NULL, client TEXT NOT NULL,
    scopes TEXT NOT NULL, asked BLOB NOT NULL, until REAL NOT NULL, used INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS consent_pages (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, asked BLOB NOT NULL, until REAL NOT NULL);
"""
"""What consent and tokens need of a state file, beside the column ``tokens`` (a counter) of its ``mailboxes``."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a token stands for; ``scopes`` are separated by spaces, ``code`` is ``""`` where no consent was involved."""

    address: str
    client: str
    scopes: str
    code: str = ""


class Tokens:
    """All tokens of all accounts."""

    def __init__(self, state: State, clock: Clock, seed: int, seconds: float, beginnings: tuple[str, str]) -> None:
        """``beginnings`` are those of access and of refresh tokens."""
        self._state = state
        self._clock = clock
        self._seed = seed
        self._beginnings = dict(zip(("access", "refresh"), beginnings, strict=True))
        self.seconds = seconds
        """Lifetime of an access token."""

    def bearer(self, authorization: str) -> Token | None:
        """What the access token of an Authorization header stands for; None for an expired or foreign one."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        with self._state.reading() as db:
            row = db.execute(
                "SELECT address, client, scopes, code FROM tokens WHERE token = ? AND kind = 'access'"
                " AND expires_at > ?",
                (token.strip(), self._clock.now()),
            ).fetchone()
        return None if row is None else Token(*row)

    def refreshable(self, db: sqlite3.Connection, token: str) -> Token | None:
        """What a refresh token stands for, None if it is dead or none."""
        row = db.execute(
            "SELECT address, client, scopes, code FROM tokens WHERE token = ? AND kind = 'refresh'", (token,)
        ).fetchone()
        return None if row is None else Token(*row)

    def issue_access(self, db: sqlite3.Connection, token: Token) -> str:
        """Inside a transaction: a new access token; expired ones of the account go."""
        now = self._clock.now()
        db.execute("DELETE FROM tokens WHERE address = ? AND kind = 'access' AND expires_at <= ?", (token.address, now))
        return self._issue(db, token, "access", now + self.seconds)

    def issue_refresh(self, db: sqlite3.Connection, token: Token) -> str:
        """Inside a transaction: a new refresh token; the oldest surplus one of the account and client goes."""
        value = self._issue(db, token, "refresh", None)
        owner = (token.address, token.client)
        db.execute(
            "DELETE FROM tokens WHERE address = ? AND client = ? AND kind = 'refresh' AND rowid NOT IN (SELECT rowid"
            " FROM tokens WHERE address = ? AND client = ? AND kind = 'refresh' ORDER BY rowid DESC LIMIT ?)",
            (*owner, *owner, _MAX_REFRESH_TOKENS),
        )
        return value

    def withdraw(self, token: str) -> bool:
        """End the grant that a living token belongs to, with all that its account gave the client; False if none."""
        with self._state.transaction() as db:
            row = db.execute(
                "SELECT address, client FROM tokens WHERE token = ? AND (expires_at IS NULL OR expires_at > ?)",
                (token, self._clock.now()),
            ).fetchone()
            if row is None:
                return False
            for table in ("tokens", "grants", "codes"):
                db.execute(f"DELETE FROM {table} WHERE address = ? AND client = ?", tuple(row))
            return True

    def withdraw_all(self, db: sqlite3.Connection, address: str) -> None:
        """Inside a transaction: end every grant of an account."""
        for table in ("tokens", "grants", "codes"):
            db.execute(f"DELETE FROM {table} WHERE address = ?", (address,))

    def withdraw_descendants(self, db: sqlite3.Connection, code: str) -> None:
        """Inside a transaction: end what came of a code."""
        db.execute("DELETE FROM tokens WHERE code = ?", (code,))

    def _issue(self, db: sqlite3.Connection, token: Token, kind: str, expires_at: float | None) -> str:
        row = db.execute(
            "UPDATE mailboxes SET tokens = tokens + 1 WHERE address = ? RETURNING tokens", (token.address,)
        ).fetchone()
        value = self._beginnings[kind] + digest(self._seed, kind, token.address, row["tokens"]).hex()
        db.execute(
            "INSERT INTO tokens (token, address, kind, expires_at, client, scopes, code) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (value, token.address, kind, expires_at, token.client, token.scopes, token.code),
        )
        return value
