"""Blobs: each there as a whole or not at all, replaced in one moment, found below their folder, under plain names only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import NotFound, TooLarge
from shared.ports import MAX_BLOB_BYTES, Blobs
from tests.contract.blob_worlds import BLOB_WORLDS


@pytest.fixture(
    params=[pytest.param(kind, marks=pytest.mark.loopback) if kind == "s3" else kind for kind in BLOB_WORLDS]
)
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    with BLOB_WORLDS[request.param](tmp_path) as blobs:
        yield blobs


@pytest.mark.parametrize("value", [b"\x00", b"\x00\xff\r\n", b"x" * 6_000_000], ids=["nul", "lines", "6 MB"])
def test_any_bytes_come_back_as_they_were(blobs: Blobs, value: bytes) -> None:
    blobs.put("exports/ann/e1/part-00001.gz", value)
    assert blobs.get("exports/ann/e1/part-00001.gz") == value


def test_a_blob_that_is_there_is_replaced(blobs: Blobs) -> None:
    for value in (b"a longer one", b"two"):
        blobs.put("a/b", value)
    assert blobs.get("a/b") == b"two"
    assert blobs.below("a") == ["a/b"]


def test_what_is_below_a_folder_is_found_in_order_and_nothing_beside_it(blobs: Blobs) -> None:
    for name in ("exports/ann/2", "exports/ann/10", "exports/ann/e/deep/er", "exports/anna/1", "exports/an", "other"):
        blobs.put(name, b"x")
    assert blobs.below("exports/ann") == ["exports/ann/10", "exports/ann/2", "exports/ann/e/deep/er"]
    assert blobs.below("exports/ann", limit=2) == ["exports/ann/10", "exports/ann/2"]
    assert blobs.below("exports/nobody") == []


def test_a_folder_is_no_blob(blobs: Blobs) -> None:
    blobs.put("a/b", b"x")
    for name in ("a", "a/c", "b"):
        with pytest.raises(NotFound):
            blobs.get(name)


def test_what_is_removed_is_gone_and_may_be_removed_again(blobs: Blobs) -> None:
    for name in ("a/1", "a/2", "a/3"):
        blobs.put(name, b"x")
    blobs.delete(["a/1", "a/2"])
    blobs.delete(["a/1", "never/there"])
    assert blobs.below("a") == ["a/3"]
    with pytest.raises(NotFound):
        blobs.get("a/1")
    blobs.put("a/1", b"again")
    assert blobs.get("a/1") == b"again"


def test_nothing_and_too_much_are_no_blobs(blobs: Blobs) -> None:
    with pytest.raises(ValueError, match="empty"):
        blobs.put("a", b"")
    with pytest.raises(TooLarge):
        blobs.put("a", bytes(MAX_BLOB_BYTES + 1))
    assert blobs.below("a") == []


NO_NAMES = (
    "", ".", "..", "a/../b", "/a", "a/", "a//b", "a/.b", "a b", "a\x00", "é", "a\\b", "a?b", "a*", "x" * 201,
    "/".join("abcdefghi"),
)  # fmt: skip


def test_what_is_no_name_is_refused_everywhere(blobs: Blobs) -> None:
    for name in NO_NAMES:
        for ask in (blobs.get, blobs.below, lambda name: blobs.put(name, b"x"), lambda name: blobs.delete([name])):
            with pytest.raises(ValueError, match="name"):
                ask(name)


def test_readers_see_one_value_or_the_other_while_a_blob_is_replaced(blobs: Blobs) -> None:
    values = [letter * 200_000 for letter in (b"a", b"b")]
    blobs.put("x/y", values[0])
    done = threading.Event()

    def replace() -> None:
        for turn in range(20):
            blobs.put("x/y", values[turn % 2])
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        while not done.is_set():
            assert blobs.get("x/y") in values
            assert blobs.below("x") == ["x/y"]
    finally:
        writer.join()
