"""``infra.local.world`` as tests use it: a mailbox that is connected with tokens, traffic in it, a look into the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from werkzeug.test import Client

from infra.local import world
from infra.local.collect import collect
from infra.local.generator import generate, traffic
from infra.local.verify import Report, verify
from infra.local.world import ADDRESS, MAILBOX, OUTLOOK, TOPIC, UID, InProcess, WorldClient

__all__ = ["ADDRESS", "MAILBOX", "OUTLOOK", "TOPIC", "UID", "InProcess", "World"]

_TOKENS = ("access_token", "refresh_token", "expires_in")


class World(world.World):
    """One user with a simulated Gmail account, an Outlook account or both; time passes only in ``run``."""

    def __init__(self, folder: Path, seed: int = 0, **settings: Any) -> None:
        super().__init__(folder, seed, **settings)
        self.database = sqlite3.connect(folder / "data" / "brainstem.sqlite")
        self._control = Client(self.website)
        self.anchor: float | None = None

    def connect(self, mails: int = 0) -> None:
        """Give the account so many old mails and connect it."""
        tokens = self.google.add_mailbox(ADDRESS)
        if mails:
            plans = generate(self.random.randint(0, 10**6), mails, ADDRESS, self.clock.now() - 60)
            self.google.add_mails(ADDRESS, list(plans), silent=True)
        self.api("POST", "/mail/connect", {"provider": "google", **{k: tokens[k] for k in _TOKENS}})

    def connect_outlook(self, mails: Iterable[dict[str, Any]] = ()) -> list[str]:
        """Give the Outlook account these old mails and connect it; answers their ids."""
        tokens = self.outlook.add_mailbox(ADDRESS)
        ids = self.outlook.add_mails(ADDRESS, mails, silent=True)
        self.anchor = self.clock.now()
        self.api("POST", "/mail/connect", {"provider": "microsoft", **{k: tokens[k] for k in _TOKENS}})
        return ids

    def status(self, mailbox: str = OUTLOOK) -> dict[str, Any]:
        """What the status says of a mailbox."""
        [found] = [one for one in self.api("GET", "/mail/status")["mailboxes"] if one["id"] == mailbox]
        return dict(found)

    def judged_outlook(self) -> Report:
        """Judge a world that has an Outlook mailbox alone: field by field, in the store, the stream, the bus and the counts.

        Demands that all is right.
        """
        seen, truth = collect(WorldClient(self)), self.outlook.truth(ADDRESS)
        report = verify(
            truth, seen.messages, seen.gaps, seen.status, seen.events, self.received, seen.senders, self.anchor
        )
        assert report.ok, asdict(report)
        return report

    def traffic(self, count: int, seconds: float) -> None:
        """Let so many changes happen while time passes."""
        for operation in traffic(self.random.randint(0, 10**6), count):
            alive = self.google.truth(ADDRESS)["mails"]
            endpoint, body = operation.request(ADDRESS, self.clock.now(), alive)
            answer = self._control.post(f"/control/mailboxes/{ADDRESS}/{endpoint}", json=body)
            assert answer.status_code == 200, answer.get_data()
            self.run(seconds / count)

    def grants(self) -> dict[str, dict[str, Any]]:
        """The user's grants as they are stored, by id."""
        rows = self.database.execute("SELECT key, data FROM doc WHERE grp = 'grants'").fetchall()
        return {key: orjson.loads(data) for key, data in rows}
