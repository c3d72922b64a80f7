"""The contract catches broken stores: each of these breaks one promise of the cloud's store, and fails.

The mutants are the real adapter on the real emulator, changed in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.local.emulators import Unavailable
from shared.adapters.cloud.encode import TOUCH
from shared.adapters.cloud.store import CloudStore
from shared.errors import Conflict, Unknown
from shared.ports import Check, Write
from tests.contract import test_store_port as promises
from tests.contract.cloud_world import CloudWorld

pytestmark = pytest.mark.emulators

Promise = Callable[[CloudWorld, CloudStore], None]


class DroppedPrecondition(CloudStore):
    def _request(self, writes: Sequence[Write]) -> Any:
        request = super()._request(writes)
        for write in request.writes:
            write.ClearField("current_document")
        return request


class IgnoredConflict(CloudStore):
    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        try:
            return super().commit(writes)
        except Conflict:
            return [None for _ in writes]


class SwallowedUnknown(CloudStore):
    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        try:
            return super().commit(writes)
        except Unknown:
            return [None for _ in writes]


class RepeatedAfterUnknown(CloudStore):
    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        try:
            return super().commit(writes)
        except Unknown:
            return super().commit(writes)


class DroppedCheck(CloudStore):
    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        versions = iter(super().commit([write for write in writes if not isinstance(write, Check)]))
        return [write.expect if isinstance(write, Check) else next(versions) for write in writes]


class NothingTouched(CloudStore):
    def _request(self, writes: Sequence[Write]) -> Any:
        request = super()._request(writes)
        for write in request.writes:
            if TOUCH in write.update.fields:
                del write.update.fields[TOUCH]
                write.update_mask.field_paths[:] = [path for path in write.update_mask.field_paths if path != TOUCH]
        return request


class OneByOne(CloudStore):
    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        return [version for write in writes for version in super(OneByOne, self).commit([write])]


class LostMask(CloudStore):
    def _request(self, writes: Sequence[Write]) -> Any:
        request = super()._request(writes)
        for write in request.writes:
            if write.update_mask.field_paths:
                write.ClearField("update_mask")
        return request


def stale(_: CloudWorld, store: CloudStore) -> None:
    promises.test_update_check_and_delete_refuse_a_stale_version(store)


def created(_: CloudWorld, store: CloudStore) -> None:
    promises.test_create_refuses_what_exists(store)


def atomic(_: CloudWorld, store: CloudStore) -> None:
    promises.test_a_failed_create_takes_all_other_kinds_of_write_back(store)


def checked(_: CloudWorld, store: CloudStore) -> None:
    promises.test_a_commit_with_one_failed_expectation_changes_nothing(store, 0)


def touched(_: CloudWorld, store: CloudStore) -> None:
    promises.test_a_write_of_equal_data_changes_the_version(store)


def masked(_: CloudWorld, store: CloudStore) -> None:
    promises.test_update_replaces_the_named_top_level_fields_and_keeps_the_others(store)


unknown = promises.test_a_commit_whose_answer_is_lost_is_unknown_not_a_conflict_with_itself

MUTANTS: list[tuple[type[CloudStore], Promise]] = [
    (DroppedPrecondition, stale),
    (DroppedPrecondition, created),
    (IgnoredConflict, created),
    (SwallowedUnknown, unknown),
    (RepeatedAfterUnknown, unknown),
    (DroppedCheck, checked),
    (NothingTouched, touched),
    (OneByOne, atomic),
    (LostMask, masked),
]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[CloudWorld]:
    try:
        world = CloudWorld(tmp_path)
    except Unavailable as error:
        pytest.skip(str(error))
    yield world
    world.close()


@pytest.mark.parametrize(("mutant", "promise"), MUTANTS)
def test_a_broken_store_is_caught(world: CloudWorld, mutant: type[CloudStore], promise: Promise) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception, Conflict)):
        promise(world, world.store_of(mutant))


@pytest.mark.parametrize("promise", sorted({promise for _, promise in MUTANTS}, key=lambda one: one.__name__))
def test_the_sound_store_keeps_the_same_promises(world: CloudWorld, promise: Promise) -> None:
    promise(world, world.store_of(CloudStore))
