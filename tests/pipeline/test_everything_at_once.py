"""Every fault that the simulated Google knows, and its quota, against the whole product under virtual time."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from infra.local import quota_demo
from infra.local.collect import collect
from infra.local.connecting import connect_through
from infra.local.generator import generate
from infra.local.google.everything import everything
from infra.local.options import Options
from infra.local.verify import verify
from infra.local.world import WorldClient
from tests.world import ADDRESS, World


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_mailbox_under_every_kind_of_fault_ends_exact(tmp_path, seed):
    world = World(tmp_path, seed)
    world.google.add_mailbox(ADDRESS)
    world.google.add_mails(ADDRESS, list(generate(seed, 700, ADDRESS, world.clock.now() - 60)), silent=True)
    world.google.set_faults(everything(seed))
    client = WorldClient(world)
    connect_through("google", client, world.browser(), ADDRESS)
    connected = world.clock.now()
    world.run(5)
    world.traffic(80, seconds=160)
    world.run(3 * 3600)
    seen, truth = collect(client), world.google.truth(ADDRESS)
    report = verify(truth, seen.messages, seen.gaps, seen.status, seen.events, world.received, seen.senders, connected)
    assert report.differences == ()
    assert report.ok
    fired = [label for label, count in world.google.report()["faults"].items() if count]
    assert len(fired) > 20


def test_the_quota_demo_reports_what_google_has_charged():
    options = Options(mails=400, changes=5, quota="2026", json=True)
    said = io.StringIO()
    console = Console(file=said, width=120)
    result = quota_demo.run(options, console)
    quota_demo.show(console, result)
    assert result.ok
    shown = json.loads(quota_demo.as_json(result))
    assert shown["refused"] == 0
    assert shown["used"] >= 0.95
    rates = [shown["threads"][mean]["mails_per_minute"] for mean in ("1", "3", "8")]
    assert rates == sorted(rates)
    assert "no threads" in said.getvalue()
