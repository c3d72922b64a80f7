"""Tokens that rotate: every use of a refresh token answers another one, and the used one lives on for a while.

The refresh tokens that descend from one code are a family. Only the newest few of a family live, so a client that never
saves what it is answered is locked out after as many uses. Rotation leaves access tokens alone.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Literal

from infra.local.microsoft.state import State
from infra.local.simulated.errors import ControlError
from infra.local.simulated.tokens import Token, Tokens
from shared.ports import Clock

REFRESH_SECONDS = 90 * 86_400.0
TABLES = "CREATE TABLE IF NOT EXISTS revoked_tokens (token TEXT PRIMARY KEY) WITHOUT ROWID;"
_SETTING = "rotation"
_LIVING = 3
_MOST_LIVING = 1000
Fate = Literal["living", "expired", "revoked", "unknown"]


class RotatingTokens(Tokens):
    """All tokens of all accounts at Microsoft."""

    def __init__(self, state: State, clock: Clock, seed: int, seconds: float) -> None:
        super().__init__(state, clock, seed, seconds, ("EwB", "M.C5_"))

    def rotation(self, living: int = _LIVING, successor_kills: bool = False) -> dict[str, Any]:
        """Let this many refresh tokens of a family live, and kill a token's elders once it is used or not.

        Holds for what is issued or used from now on, also after a restart. Raises ``ControlError``.
        """
        if isinstance(living, bool) or not isinstance(living, int) or not 1 <= living <= _MOST_LIVING:
            raise ControlError(f"living must be a number from 1 to {_MOST_LIVING}.")
        if not isinstance(successor_kills, bool):
            raise ControlError("successor_kills must be true or false.")
        plan = {"living": living, "successor_kills": successor_kills}
        self._state.remember(_SETTING, plan)
        return plan

    def new_family(self, db: sqlite3.Connection, address: str) -> str:
        """Inside a transaction: the name of a family that descends from no code."""
        row = db.execute("SELECT tokens FROM mailboxes WHERE address = ?", (address,)).fetchone()
        return f"control {row['tokens']} {address}"

    def issue_refresh(self, db: sqlite3.Connection, token: Token) -> str:
        """Inside a transaction: a new refresh token; those of its family that are too old by now go."""
        value = self._issue(db, token, "refresh", self._clock.now() + REFRESH_SECONDS)
        living = self._plan().get("living", _LIVING)
        db.execute(
            "DELETE FROM tokens WHERE code = ? AND kind = 'refresh' AND rowid NOT IN (SELECT rowid FROM tokens"
            " WHERE code = ? AND kind = 'refresh' ORDER BY rowid DESC LIMIT ?)",
            (token.code, token.code, living),
        )
        return value

    def use(self, db: sqlite3.Connection, token: str) -> Fate:
        """Inside a transaction: how a refresh token stands; a living one kills its elders where that was asked for."""
        row = db.execute(
            "SELECT rowid, code, expires_at FROM tokens WHERE token = ? AND kind = 'refresh'", (token,)
        ).fetchone()
        if row is None:
            revoked = db.execute("SELECT 1 FROM revoked_tokens WHERE token = ?", (token,)).fetchone()
            return "unknown" if revoked is None else "revoked"
        if row["expires_at"] <= self._clock.now():
            return "expired"
        if self._plan().get("successor_kills"):
            db.execute(
                "DELETE FROM tokens WHERE code = ? AND kind = 'refresh' AND rowid < ?", (row["code"], row["rowid"])
            )
        return "living"

    def withdraw_all(self, db: sqlite3.Connection, address: str) -> None:
        """Inside a transaction: end every grant of an account; its refresh tokens are remembered as revoked."""
        db.execute(
            "INSERT OR IGNORE INTO revoked_tokens SELECT token FROM tokens WHERE address = ? AND kind = 'refresh'",
            (address,),
        )
        super().withdraw_all(db, address)

    def _plan(self) -> dict[str, Any]:
        return self._state.setting(_SETTING) or {}
