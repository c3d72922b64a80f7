"""Accounts and their tokens: who may ask for which mailbox, and until when."""

from __future__ import annotations

import sqlite3
from typing import Any

from infra.local.google.chance import digest
from infra.local.google.errors import GoogleError, UnknownThing, unauthenticated
from infra.local.google.state import State
from shared.ports import Clock

_SCOPE = "https://www.googleapis.com/auth/gmail.readonly openid email"
_FIRST_HISTORY = 9_000  # a few changes later the ids gain a digit, which catches clients that compare them as text
_MAX_REFRESH_TOKENS = 100  # of one account and client; Google drops the oldest silently


class TokenError(Exception):
    """The token endpoint refuses, in the words of RFC 6749."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.body = {"error": error, "error_description": description}


class Accounts:
    """Creates mailboxes, issues and checks tokens; every access token belongs to one address."""

    def __init__(self, state: State, clock: Clock, seed: int, token_seconds: float) -> None:
        self._state = state
        self._clock = clock
        self._seed = seed
        self._token_seconds = token_seconds

    def add(self, address: str) -> dict[str, Any]:
        """Create a mailbox unless it exists, and answer fresh tokens; older ones stay valid."""
        with self._state.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO mailboxes (address, ordinal, history, shown, oldest) VALUES (?, 0, ?, ?, ?)",
                (address, _FIRST_HISTORY, _FIRST_HISTORY, _FIRST_HISTORY),
            )
            refresh = self._issue(db, address, "refresh", None)
            access = self._issue(db, address, "access", self._clock.now() + self._token_seconds)
        return {
            "address": address,
            "access_token": access,
            "refresh_token": refresh,
            "expires_in": int(self._token_seconds),
        }

    def refresh(self, form: dict[str, str]) -> dict[str, Any]:
        """Trade a refresh token for an access token. Raises ``TokenError``."""
        if form.get("grant_type") != "refresh_token":
            raise TokenError("unsupported_grant_type", "Invalid grant_type: " + form.get("grant_type", "")[:40])
        with self._state.transaction() as db:
            row = db.execute(
                "SELECT address FROM tokens WHERE token = ? AND kind = 'refresh'", (form.get("refresh_token", ""),)
            ).fetchone()
            if row is None:
                raise TokenError("invalid_grant", "Token has been expired or revoked.")
            access = self._issue(db, row["address"], "access", self._clock.now() + self._token_seconds)
        return {
            "access_token": access,
            "expires_in": int(self._token_seconds),
            "scope": _SCOPE,
            "token_type": "Bearer",
        }

    def revoke(self, address: str) -> None:
        """Withdraw every token of an account, as when its owner removes the grant."""
        with self._state.transaction() as db:
            if not db.execute("SELECT 1 FROM mailboxes WHERE address = ?", (address,)).fetchone():
                raise UnknownThing(f"There is no mailbox {address}.")
            db.execute("DELETE FROM tokens WHERE address = ?", (address,))

    def owner(self, authorization: str, user: str) -> str:
        """The address that a request means. Raises ``GoogleError``: 401 for the token, 403 for someone else's mail."""
        scheme, _, token = authorization.partition(" ")
        with self._state.reading() as db:
            row = db.execute(
                "SELECT address FROM tokens WHERE token = ? AND kind = 'access' AND expires_at > ?",
                (token.strip(), self._clock.now()),
            ).fetchone()
        if scheme.lower() != "bearer" or row is None:
            raise unauthenticated()
        address: str = row["address"]
        if user not in ("me", address):
            raise GoogleError(403, f"Delegation denied for {address}")
        return address

    def _issue(self, db: sqlite3.Connection, address: str, kind: str, expires_at: float | None) -> str:
        """Inside a transaction: a new token; expired and surplus ones go."""
        row = db.execute("UPDATE mailboxes SET tokens = tokens + 1 WHERE address = ? RETURNING tokens", (address,))
        token = digest(self._seed, kind, address, row.fetchone()["tokens"]).hex()
        token = ("ya29." if kind == "access" else "1//") + token
        db.execute("INSERT INTO tokens VALUES (?, ?, ?, ?)", (token, address, kind, expires_at))
        db.execute("DELETE FROM tokens WHERE address = ? AND expires_at <= ?", (address, self._clock.now()))
        db.execute(
            "DELETE FROM tokens WHERE address = ? AND kind = 'refresh' AND rowid NOT IN (SELECT rowid FROM tokens"
            " WHERE address = ? AND kind = 'refresh' ORDER BY rowid DESC LIMIT ?)",
            (address, address, _MAX_REFRESH_TOKENS),
        )
        return token
