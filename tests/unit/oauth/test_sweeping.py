"""Consents that came to nothing do not stay: the tick removes them once they have expired."""

from __future__ import annotations

from infra.local.connecting import consent_url
from infra.local.world import WorldClient
from shared.oauth.consents import LIFETIME
from tests.world import World


def test_the_tick_removes_expired_consents_and_no_others(tmp_path):
    world = World(tmp_path)
    client = WorldClient(world)
    for _ in range(3):
        assert consent_url(client)
    world.run(LIFETIME - 120)
    assert consent_url(client)
    world.run(240)
    (left,) = world.database.execute("SELECT COUNT(*) FROM doc WHERE grp = 'oauth'").fetchone()
    assert left == 1
    world.run(LIFETIME)
    assert world.database.execute("SELECT COUNT(*) FROM doc WHERE grp = 'oauth'").fetchone() == (0,)
