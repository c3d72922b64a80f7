"""Tokens of deltas: each stands for a place in a round, belongs to a generation of its folder, and lives only as long as that.

Every answer with a link makes a new generation; about the last four live. A token that is shown again, and still lives,
gives the same place again. What is answered to a dead one varies: 410 with the place to begin anew, or another status with
one of three words.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from infra.local.microsoft.errors import GraphError
from infra.local.simulated.chance import digest

GENERATIONS = 4
HIERARCHY = ""
"""The scope of the tokens of folders; a folder's id is that of the tokens of its messages."""

_DEAD = (
    (410, "resyncRequired"),
    (410, "syncStateNotFound"),
    (404, "syncStateNotFound"),
    (400, "syncStateInvalid"),
    (409, "resyncRequired"),
)
_LENGTH = 48


@dataclass(frozen=True, slots=True)
class Round:
    """A place in a round.

    ``first`` rounds list everything (behind ``at``), others what changed after ``after`` and not after ``until`` (None:
    up to when the round begins). ``given`` counts what a filtered round has listed. ``options`` are the parameters of the
    first request, which hold until the end of all rounds that follow from it. ``since`` is where the round began. The client
    was given what the folder held there, but for ``odd``, which says of a message whether it was; ``next_odd`` will be that
    of the round that follows.
    """

    first: bool
    after: int
    until: int | None = None
    at: tuple[int, str] | None = None
    given: int = 0
    empty: int = 0
    since: int | None = None
    odd: Mapping[str, bool] = field(default_factory=dict)
    next_odd: Mapping[str, bool] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def issue(db: sqlite3.Connection, seed: int, address: str, scope: str, place: Round) -> str:
    """Inside a transaction: a token of a new generation; generations beyond the last few are forgotten."""
    number = db.execute(
        "UPDATE mailboxes SET generation = generation + 1 WHERE address = ? RETURNING generation", (address,)
    ).fetchone()[0]
    token = digest(seed, "delta", address, scope, number).hex()[:_LENGTH]
    db.execute(
        "INSERT INTO delta_tokens VALUES (?, ?, ?, ?, ?)", (token, address, scope, number, orjson.dumps(asdict(place)))
    )
    kept = GENERATIONS + (digest(seed, "kept", token)[0] % 3 == 0)
    db.execute(
        "DELETE FROM delta_tokens WHERE address = ? AND scope = ? AND generation NOT IN (SELECT generation FROM"
        " delta_tokens WHERE address = ? AND scope = ? ORDER BY generation DESC LIMIT ?)",
        (address, scope, address, scope, kept),
    )
    return token


def read(db: sqlite3.Connection, address: str, scope: str, token: str) -> Round | None:
    """The place that a token stands for, None for one that does not live."""
    row = db.execute(
        "SELECT round FROM delta_tokens WHERE token = ? AND address = ? AND scope = ?", (token, address, scope)
    ).fetchone()
    if row is None:
        return None
    data = orjson.loads(row["round"])
    return Round(**data | {"at": None if data["at"] is None else tuple(data["at"])})


def forget(db: sqlite3.Connection, address: str, scope: str | None = None) -> None:
    """Inside a transaction: no token of a folder lives any more, or none of the mailbox."""
    where, values = ("", (address,)) if scope is None else (" AND scope = ?", (address, scope))
    db.execute(f"DELETE FROM delta_tokens WHERE address = ?{where}", values)


def dead(seed: int, token: str, anew: str) -> GraphError:
    """What is answered to a token that does not live; the same token always gets the same answer."""
    code, reason = _DEAD[digest(seed, "dead", token)[0] % len(_DEAD)]
    message = f"The sync state generation is not found; {reason}."
    return GraphError(code, reason, message, [("Location", anew)] if code == 410 else [])
