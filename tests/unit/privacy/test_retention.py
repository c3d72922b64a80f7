"""What is kept for a time goes after it, a portion with each tick, and nothing goes that shall stay."""

from __future__ import annotations

from pathlib import Path

from shared import queries, refs
from shared.adapters.embedded.clock import VirtualClock
from shared.adapters.embedded.database import Database
from shared.adapters.embedded.store import EmbeddedStore
from shared.identity.trail import Trail
from shared.ports import Create
from shared.privacy.retention import AT_ONCE, DAY, Retention
from shared.settings import Settings
from tests.leaving import LeavingWorld, alone


def store_in(folder: Path) -> EmbeddedStore:
    return EmbeddedStore(Database(folder / "brainstem.sqlite", synchronous="OFF"), queries.SHAPES)


def swept(store: EmbeddedStore, retention: Retention, now: float) -> int:
    """So many ticks that each shard has had its turn."""
    return sum(retention.sweep(store, now + 60 * number) for number in range(queries.SHARDS))


def test_old_entries_of_a_trail_go_and_young_ones_stay(tmp_path: Path) -> None:
    store, clock = store_in(tmp_path), VirtualClock()
    trail = Trail(store, clock)
    for uid in ("ann", "bob", "eve"):
        trail.add(uid, "sign_in")
    clock.advance(100 * DAY)
    trail.add("ann", "sign_out")
    retention = Retention.of(Settings(audit_trail_days=99))
    assert swept(store, retention, clock.now()) == 3
    assert [entry["action"] for entry in trail.page("ann", None, 10)[0]] == ["sign_out"]
    assert trail.page("bob", None, 10)[0] == []


def test_without_a_setting_everything_stays(tmp_path: Path) -> None:
    store, clock = store_in(tmp_path), VirtualClock()
    Trail(store, clock).add("ann", "sign_in")
    store.commit([Create(refs.tombstone("t"), {"deleted_at": clock.now()})])
    assert swept(store, Retention.of(Settings(audit_trail_days=0)), clock.now() + 10_000 * DAY) == 0


def test_a_tick_removes_a_bounded_portion(tmp_path: Path) -> None:
    store, clock = store_in(tmp_path), VirtualClock()
    for number in range(AT_ONCE + 5):
        store.commit([Create(refs.tombstone(str(number)), {"deleted_at": clock.now()})])
    retention = Retention(tombstones=DAY)
    assert [retention.sweep(store, clock.now() + 2 * DAY) for _ in range(3)] == [AT_ONCE, 5, 0]


def test_whose_tombstone_has_expired_may_come_back_as_somebody_new(tmp_path: Path) -> None:
    world = LeavingWorld(tmp_path, tombstone_days=1)
    first = world.api("GET", "/me")
    assert world.leave() == 202
    world.run(DAY / 2)
    assert alone(world)
    world.run(DAY)
    again = world.api("GET", "/me")
    assert again["user_id"] == first["user_id"]
    assert again["created_at"] > first["created_at"]
    world.close()
