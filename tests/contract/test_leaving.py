"""Whoever leaves in mid-backfill is gone on Google's Firestore as they are on the laptop (``tests/unit/privacy``)."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from infra.local.emulators import Unavailable, emulators
from shared import queries
from shared.adapters.cloud.connect import plain_channel
from shared.adapters.cloud.store import CloudStore
from shared.sets import Ports
from tests.leaving import LeavingWorld, expect_nothing_left
from tests.world import MAILBOX, OUTLOOK

pytestmark = pytest.mark.emulators


@pytest.mark.parametrize("mailbox", [MAILBOX, OUTLOOK])
def test_of_somebody_who_leaves_in_mid_backfill_nothing_is_left_but_a_tombstone(tmp_path: Path, mailbox: str) -> None:
    try:
        host = emulators().firestore
    except Unavailable as error:
        pytest.skip(str(error))
    project, channel = f"leaving-{secrets.token_hex(4)}", plain_channel(host)

    def on_firestore(ports: Ports) -> Ports:
        store = CloudStore(project, queries.SHAPES, ports.clock, channel)
        return replace(ports, store=store, keys=CloudStore(project, (), ports.clock, channel, database="keys"))

    world = LeavingWorld(tmp_path, on_firestore)
    expect_nothing_left(world, mailbox)
    world.close()
    channel.close()
