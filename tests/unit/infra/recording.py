"""A store that writes down what it is asked, and a whole life of a mailbox on two of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra.local import world as worlds
from infra.local.connecting import consent_url
from infra.local.world import WorldClient
from shared.oauth.consents import LIFETIME
from shared.ports import Check, Delete, Doc, Query, Shape, Store, Write
from shared.sets import Ports, embedded
from shared.settings import Settings
from tests.world import ADDRESS, MAILBOX, OUTLOOK, UID, World


@dataclass(slots=True)
class RecordingStore:
    """Hands everything on; ``shapes`` were queried, below ``groups`` documents were written."""

    inner: Store
    shapes: set[Shape] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)

    def get(self, refs: Sequence[str]) -> dict[str, Doc]:
        return self.inner.get(refs)

    def query(self, query: Query) -> list[Doc]:
        self.shapes.add(query.shape)
        return self.inner.query(query)

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        self.groups |= {write.ref.split("/")[-2] for write in writes if not isinstance(write, Check | Delete)}
        return self.inner.commit(writes)


def a_whole_life(folder: Path, patch: pytest.MonkeyPatch) -> tuple[RecordingStore, RecordingStore]:
    """Backfill, live changes, a gap, a resync, retention, a rebuild, a disconnect, consents, a sign-up, the account's end.

    Before that an export. The person has an Outlook mailbox beside, one folder of which has to be read again.
    """
    recorded: list[RecordingStore] = []

    def recording(settings: Settings, *more: Any, **options: Any) -> Ports:
        ports = embedded(settings, *more, **options)
        recorded[:] = RecordingStore(ports.store), RecordingStore(ports.keys)
        return dataclasses.replace(ports, store=recorded[0], keys=recorded[1])

    patch.setattr(worlds, "embedded", recording)
    world = World(folder, log_retention_days=1, tombstone_days=1, page_size=10)
    assert consent_url(WorldClient(world))
    signing_up = {"email": "bob@example.org", "password": "correct horse battery"}
    assert world.call("auth", "POST", "/api/auth/sign-up/email", signing_up)[0] == 201
    world.connect(mails=40)
    world.connect_outlook([_MAIL | {"date": world.clock.now() - 60}])
    world.run(120)
    world.outlook.expire_delta(ADDRESS)
    world.traffic(30, seconds=60)
    [refused] = world.google.add_mails(ADDRESS, [_MAIL | {"date": world.clock.now()}])
    world.google.refuse(ADDRESS, refused, 500)
    world.run(900)
    assert world.all("/mail/gaps", "gaps", mailbox=MAILBOX)
    assert world.all("/mail/messages", "messages", mailbox=MAILBOX)
    assert world.events()
    world.api("POST", "/events", {"type": "note.written", "data": {"text": "x"}})
    world.google.add_mails(ADDRESS, [_MAIL | {"date": world.clock.now()}], silent=True)
    world.google.expire_history(ADDRESS)
    world.run(1800)
    world.run(LIFETIME)
    assert world.call("senders", "POST", "/rebuild", {"stream": MAILBOX})[0] in (200, 503)
    world.run(2 * 86_400)
    assert world.all("/mail/senders", "senders")
    world.api("POST", "/mail/disconnect", {"provider": "google"})
    world.api("POST", "/me/export")
    world.run(120)
    world.product.accounts.erase(UID, MAILBOX)
    world.product.accounts.erase(UID, OUTLOOK)
    world.run(3600)
    assert world.call("api", "DELETE", "/me", Authorization=f"Bearer {world.token}")[0] == 202
    world.run(3600)
    world.close()
    main, keys = recorded
    return main, keys


_MAIL = {
    "subject": "s", "sender": ["Bob", "bob@example.org"], "to": [["", ADDRESS]], "labels": ("INBOX",), "body": "b",
}  # fmt: skip
