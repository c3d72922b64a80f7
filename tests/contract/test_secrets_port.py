"""Secrets: the newest version wins, names are names, versions stay apart."""

from __future__ import annotations

import threading

import pytest

from shared.errors import NotFound
from tests.contract.worlds import World


def test_the_newest_version_is_answered(world: World) -> None:
    versions = [world.secrets.add("google-client-secret", value) for value in (b"one", b"two", b"three")]
    assert len(set(versions)) == 3
    assert world.secrets.get("google-client-secret") == b"three"


def test_more_than_ten_versions_are_still_in_order(world: World) -> None:
    for n in range(12):
        world.secrets.add("name", str(n).encode())
    assert world.secrets.get("name") == b"11"


def test_names_are_told_apart(world: World) -> None:
    world.secrets.add("one", b"1")
    world.secrets.add("two", b"2")
    assert (world.secrets.get("one"), world.secrets.get("two")) == (b"1", b"2")


@pytest.mark.parametrize("value", [b"\x00", b"\x00\xff\n", b"x" * 60_000])
def test_any_bytes_come_back_as_they_were(world: World, value: bytes) -> None:
    world.secrets.add("name", value)
    assert world.secrets.get("name") == value


def test_nothing_is_no_secret(world: World) -> None:
    with pytest.raises(ValueError, match="empty"):
        world.secrets.add("name", b"")
    with pytest.raises(NotFound):
        world.secrets.get("name")


def test_an_unknown_name_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        world.secrets.get("unknown")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a b", "a\x00", "é", "x" * 256])
def test_what_is_no_name_is_refused(world: World, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        world.secrets.add(name, b"value")
    with pytest.raises(ValueError, match="name"):
        world.secrets.get(name)


def test_racing_writers_each_get_a_version_of_their_own(world: World) -> None:
    barrier = threading.Barrier(4)
    versions: list[str] = []

    def add(value: bytes) -> None:
        barrier.wait()
        for _ in range(5):
            versions.append(world.secrets.add("name", value))

    threads = [threading.Thread(target=add, args=(str(n).encode(),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(versions)) == 20


def test_every_version_stays_readable_by_its_id(world: World) -> None:
    versions = {world.secrets.add("name", value): value for value in (b"one", b"two", b"three")}
    assert list(versions) == ["1", "2", "3"]
    assert {version: world.secrets.get("name", version) for version in versions} == versions
    assert world.secrets.get("name") == b"three"


def test_a_version_that_there_is_not_is_not_found(world: World) -> None:
    world.secrets.add("name", b"one")
    for name, version in (("name", "2"), ("name", "999999999"), ("unknown", "1")):
        with pytest.raises(NotFound):
            world.secrets.get(name, version)


@pytest.mark.parametrize("version", ["", "0", "01", "-1", "latest", "1/x", "../1", "1\n", "１", "9999999999"])
def test_what_is_no_version_is_refused(world: World, version: str) -> None:
    world.secrets.add("name", b"one")
    with pytest.raises(ValueError, match="version"):
        world.secrets.get("name", version)
