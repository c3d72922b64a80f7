"""Gmail as the simulation drives it: one history for a mailbox, pushes over the bus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from infra.local.google.app import create_app
from infra.local.google.simulator import GoogleSimulator
from infra.local.world import GOOGLE, Served
from shared.ports import Clock
from tests.chaos.simulation.host import Asked
from tests.chaos.simulation.plan import Action, Plan


class Gmail:
    """The Google simulator and what only it has."""

    provider, origin = "google", GOOGLE
    ways: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, folder: Path, plan: Plan, clock: Clock, publish: Callable[[str, bytes], None]) -> None:
        path = folder / "google.sqlite"
        self.simulator = GoogleSimulator(path, clock, publish, plan.seed, plan.token_seconds, plan.history_base)
        self.website: Any = create_app(self.simulator)
        self.rotation = Rotation(self.simulator)

    def asked(self, uri: str, body: Any, headers: Mapping[str, str]) -> Asked:
        """What a request asks for."""
        parts = urlsplit(uri)
        name = parts.path.removeprefix("/gmail/v1/users/me/")
        cursor = parse_qs(parts.query)["startHistoryId"][0] if name == "history" else None
        refresh = ""
        if parts.path == "/token":
            form = parse_qs(body.decode() if isinstance(body, bytes) else str(body))
            refresh = form.get("refresh_token", [""])[0]
        return Asked(name, cursor=cursor, refresh=refresh)

    def links(self, asked: Asked, content: bytes) -> tuple[str, ...]:
        """None: a history has numbers, which any client can compare."""
        return ()

    def crowded(self, at_once: int) -> tuple[Served, bytes] | None:
        """None: what Gmail counts is units, and the simulator does."""
        return None

    def rotated(self, refresh: str, content: bytes) -> bytes:
        """The answer to a refresh with another refresh token in it, which ends the old one once it is used."""
        return orjson.dumps({**orjson.loads(content), "refresh_token": self.rotation.rotate(refresh)})

    def refreshed(self, refresh: str) -> None:
        """A refresh token was used: the one that it has replaced ends."""
        self.rotation.used(refresh)

    def happen(self, address: str, action: Action, now: float) -> str | None:
        """A lost history, and a label that is deleted."""
        match action.kind:
            case "expire":
                self.simulator.expire_history(address)
                return "every older cursor is too old"
            case "drop_label":
                self.simulator.delete_label(address, "Later")
                return "the label Later is gone"
        return None

    def draft_of(self, address: str, message_id: str) -> str:
        """The draft that a message is the content of."""
        with self.simulator._changes.of(address) as mailbox:
            return mailbox.draft_of(message_id)

    def is_alive(self, address: str, message_id: str) -> bool:
        """Whether the provider has a message, whatever its API shows yet."""
        with self.simulator._state.reading() as db:
            row = db.execute(
                "SELECT alive FROM messages WHERE address = ? AND id = ?", (address, message_id)
            ).fetchone()
        return row is not None and bool(row["alive"])

    def ringing(self, now: float) -> Iterable[tuple[str, str]]:
        """The accounts that are watched."""
        with self.simulator._state.reading() as db:
            rows = db.execute("SELECT address, watch_until FROM mailboxes WHERE topic IS NOT NULL").fetchall()
        return [(row["address"], "") for row in rows if row["watch_until"] > now]

    def pump(self) -> float | None:
        """Publish the pushes that are due; answer when the next one is."""
        return self.simulator.pump()

    def faults(self) -> Mapping[str, int]:
        """How often each kind of misbehaviour has struck, by label."""
        counts: Mapping[str, int] = self.simulator.report()["faults"]
        return counts

    def close(self) -> None:
        """Close the files."""
        self.simulator.close()


class Rotation:
    """Refresh tokens that were replaced: the old one goes once the new one is used."""

    def __init__(self, google: GoogleSimulator) -> None:
        self._google = google
        self._replaces: dict[str, str] = {}

    def rotate(self, old: str) -> str:
        """A new refresh token beside an old one."""
        oauth, state = self._google.oauth, self._google._state
        with state.transaction() as db:
            token = oauth.tokens.refreshable(db, old)
            assert token is not None
            fresh = oauth.tokens.issue_refresh(db, token)
        self._replaces[fresh] = old
        return fresh

    def used(self, token: str) -> None:
        """A refresh token was used."""
        old = self._replaces.pop(token, None)
        if old is not None:
            with self._google._state.transaction() as db:
                db.execute("DELETE FROM tokens WHERE token = ?", (old,))
