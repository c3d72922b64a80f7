"""The Store: batched reads, atomic commits, compare-and-set on versions, limits."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from shared.errors import Conflict, TooLarge, Unknown
from shared.ports import (
    MAX_COMMIT_BYTES,
    MAX_DOCUMENT_BYTES,
    Check,
    Create,
    Delete,
    Doc,
    Put,
    Store,
    Update,
    Write,
)
from tests.contract.worlds import World


@pytest.fixture
def store(world: World) -> Store:
    return world.store()


def seed(store: Store, ref: str = "users/u", **data: Any) -> str:
    version = store.commit([Put(ref, data)])[0]
    assert version is not None
    return version


def read(store: Store, ref: str = "users/u") -> dict[str, Any] | None:
    doc = store.get([ref]).get(ref)
    return doc.data if doc else None


def test_get_answers_what_exists_and_leaves_out_the_rest(store: Store) -> None:
    version = seed(store, "users/u/mailboxes/m", a=1)
    found = store.get(["users/u/mailboxes/m", "users/u", "users/u/mailboxes/n"])
    assert list(found) == ["users/u/mailboxes/m"]
    doc = found["users/u/mailboxes/m"]
    assert (doc.ref, doc.data, doc.version) == ("users/u/mailboxes/m", {"a": 1}, version)


def test_get_of_nothing_and_of_one_reference_twice(store: Store) -> None:
    seed(store, a=1)
    assert store.get([]) == {}
    assert list(store.get(["users/u", "users/u"])) == ["users/u"]


def test_every_kind_of_value_comes_back_as_it_was(store: Store) -> None:
    data: dict[str, Any] = {
        "none": None, "yes": True, "no": False, "int": 2**63 - 1, "least": -(2**63), "float": 1795183200.123456,
        "whole": 3.0, "tiny": 5e-324, "text": "naïve \U0001f9e0 \x00 \" ' \\ \n", "empty": "",
        "list": [1, [], {"a": None}],
        "dict": {"": {"ü.x/y": [True]}}, "": 0,
    }  # fmt: skip
    seed(store, **data)
    found = read(store)
    assert found == data
    assert [type(found[name]) for name in data] == [type(value) for value in data.values()]


def test_what_was_read_or_written_is_a_private_copy(store: Store) -> None:
    data = {"list": [1]}
    store.commit([Create("users/u", data)])
    data["list"].append(2)
    first = read(store)
    assert first == {"list": [1]}
    first["list"].append(3)
    assert read(store) == {"list": [1]}


def test_create_refuses_what_exists(store: Store) -> None:
    seed(store, a=1)
    with pytest.raises(Conflict):
        store.commit([Create("users/u", {"a": 2})])
    assert read(store) == {"a": 1}


def test_update_replaces_the_named_top_level_fields_and_keeps_the_others(store: Store) -> None:
    version = seed(store, a={"x": 1, "y": 2}, b=2)
    store.commit([Update("users/u", {"a": {"x": 3}, "c": None}, version)])
    assert read(store) == {"a": {"x": 3}, "b": 2, "c": None}


@pytest.mark.parametrize("expect", ["", "0", "nonsense"])
def test_update_check_and_delete_refuse_another_version(store: Store, expect: str) -> None:
    seed(store, a=1)
    for write in (Update("users/u", {"a": 2}, expect), Check("users/u", expect), Delete("users/u", expect)):
        with pytest.raises(Conflict):
            store.commit([write])
    assert read(store) == {"a": 1}


def test_update_check_and_delete_refuse_a_stale_version(store: Store) -> None:
    stale = seed(store, a=1)
    seed(store, a=2)
    for write in (Update("users/u", {"a": 3}, stale), Check("users/u", stale), Delete("users/u", stale)):
        with pytest.raises(Conflict):
            store.commit([write])
    assert read(store) == {"a": 2}


def test_update_check_and_delete_refuse_a_document_that_is_gone(store: Store) -> None:
    version = seed(store, a=1)
    store.commit([Delete("users/u")])
    for write in (Update("users/u", {"a": 3}, version), Check("users/u", version), Delete("users/u", version)):
        with pytest.raises(Conflict):
            store.commit([write])
    assert read(store) is None


def test_put_replaces_the_whole_document_whatever_was_there(store: Store) -> None:
    store.commit([Put("users/u", {"a": 1, "b": 1})])
    store.commit([Put("users/u", {"c": 1})])
    assert read(store) == {"c": 1}


def test_delete_without_expectation_is_content_with_nothing(store: Store) -> None:
    assert store.commit([Delete("users/u")]) == [None]
    seed(store, a=1)
    store.commit([Delete("users/u")])
    assert read(store) is None


def test_commit_answers_the_version_that_a_read_answers(store: Store) -> None:
    kept = seed(store, "users/kept")
    old = seed(store, "users/old", a=1)
    seed(store, "users/gone")
    versions = store.commit(
        [
            Create("users/new", {}),
            Update("users/old", {"a": 2}, old),
            Put("users/put", {}),
            Delete("users/gone"),
            Check("users/kept", kept),
        ]
    )
    found = store.get(["users/new", "users/old", "users/put", "users/gone", "users/kept"])
    assert versions[3] is None
    assert versions[4] == kept
    answered = dict(
        zip(["users/new", "users/old", "users/put", "users/kept"], versions[:3] + versions[4:], strict=True)
    )
    assert answered == {ref: doc.version for ref, doc in found.items()}


def test_a_write_of_equal_data_changes_the_version(store: Store) -> None:
    first = seed(store, a=1)
    second = store.commit([Update("users/u", {"a": 1}, first)])[0]
    third = store.commit([Update("users/u", {}, second or "")])[0]
    fourth = store.commit([Put("users/u", {"a": 1})])[0]
    assert len({first, second, third, fourth}) == 4


def test_a_version_never_returns_after_a_deletion(store: Store) -> None:
    before = seed(store, a=1)
    store.commit([Delete("users/u")])
    after = seed(store, a=1)
    assert after != before
    with pytest.raises(Conflict):
        store.commit([Update("users/u", {"a": 2}, before)])


def test_check_changes_nothing_not_even_the_version(store: Store) -> None:
    version = seed(store, a=1)
    assert store.commit([Check("users/u", version)]) == [version]
    assert store.get(["users/u"])["users/u"].version == version


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_commit_with_one_failed_expectation_changes_nothing(store: Store, place: int) -> None:
    version = seed(store, "users/there", a=1)
    writes: list[Write] = [Put("users/there", {"a": 2}), Create("users/new", {})]
    writes.insert(place, Check("users/missing", version))
    with pytest.raises(Conflict):
        store.commit(writes)
    assert read(store, "users/there") == {"a": 1}
    assert read(store, "users/new") is None
    assert store.get(["users/there"])["users/there"].version == version


def test_a_failed_create_takes_all_other_kinds_of_write_back(store: Store) -> None:
    exists, changed, gone = seed(store, "users/exists"), seed(store, "users/changed"), seed(store, "users/gone")
    with pytest.raises(Conflict):
        store.commit(
            [
                Delete("users/gone", gone),
                Update("users/changed", {"a": 1}, changed),
                Create("users/fresh", {}),
                Create("users/exists", {}),
            ]
        )
    found = store.get(["users/exists", "users/changed", "users/gone", "users/fresh"])
    assert {ref: doc.version for ref, doc in found.items()} == {
        "users/exists": exists,
        "users/changed": changed,
        "users/gone": gone,
    }


def test_an_empty_commit_is_fine(store: Store) -> None:
    assert store.commit([]) == []


def test_a_reference_may_occur_once_in_a_commit(store: Store) -> None:
    with pytest.raises(ValueError, match="twice"):
        store.commit([Put("users/u", {}), Delete("users/u")])
    assert read(store) is None


@pytest.mark.parametrize(
    "ref", ["", "users", "users/", "/u", "users//x/y", "users/u/mailboxes", "users/../x/y", "users/.", "users/\ud800"]
)
def test_a_reference_that_names_no_document_is_refused(store: Store, ref: str) -> None:
    with pytest.raises(ValueError, match="reference"):
        store.commit([Put(ref, {})])
    with pytest.raises(ValueError, match="reference"):
        store.get([ref])


def test_a_reference_may_hold_what_ids_hold(store: Store) -> None:
    for ref in ("users/auth0|x:primary:GOOGLE", "users/a'b\"c%_", "users/\U0001f9e0", "users/" + "x" * 1500):
        store.commit([Create(ref, {"ref": ref})])
        assert read(store, ref) == {"ref": ref}


@pytest.mark.parametrize(
    "value",
    [
        2**63, -(2**63) - 1, float("nan"), float("inf"), float("-inf"), "\ud800", {"\ud800": 1}, {1: 1}, {None: 1},
        b"bytes", {1, 2}, (1, 2), object(), [[object()]], {"a": {"b": float("nan")}},
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)  # fmt: skip
def test_what_is_not_a_document_is_refused_and_nothing_written(store: Store, value: Any) -> None:
    version = seed(store, "users/there", a=1)
    bad = {"field": value}
    for write in (Create("users/u", bad), Put("users/u", bad), Update("users/there", bad, version)):
        with pytest.raises(ValueError, match="document"):
            store.commit([Put("users/other", {}), write])
    assert list(store.get(["users/u", "users/other"])) == []
    assert read(store, "users/there") == {"a": 1}


def test_endless_nesting_is_refused(store: Store) -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ValueError, match="deep"):
        store.commit([Put("users/u", {"deep": deep})])


def padded(size: int) -> dict[str, Any]:
    """A document whose compact JSON has this many bytes; ``é`` has two."""
    body = size - len('{"x":""}')
    return {"x": "é" * (body // 2) + "x" * (body % 2)}


def test_a_document_may_weigh_its_limit_and_no_byte_more(store: Store) -> None:
    store.commit([Create("users/u", padded(MAX_DOCUMENT_BYTES))])
    for write in (Create("users/v", padded(MAX_DOCUMENT_BYTES + 1)), Put("users/u", padded(MAX_DOCUMENT_BYTES + 1))):
        with pytest.raises(TooLarge):
            store.commit([Put("users/w", {}), write])
    assert list(store.get(["users/v", "users/w"])) == []
    assert read(store) == padded(MAX_DOCUMENT_BYTES)


def test_an_update_cannot_grow_a_document_over_its_limit(store: Store) -> None:
    version = seed(store, **padded(MAX_DOCUMENT_BYTES - 10))
    with pytest.raises(TooLarge):
        store.commit([Put("users/w", {}), Update("users/u", {"more": "x" * 200_000}, version)])
    assert read(store, "users/w") is None
    assert store.get(["users/u"])["users/u"].version == version


def test_a_commit_may_weigh_its_limit_and_no_byte_more(store: Store) -> None:
    parts = [MAX_DOCUMENT_BYTES] * 4 + [MAX_COMMIT_BYTES - 4 * MAX_DOCUMENT_BYTES]
    with pytest.raises(TooLarge):
        store.commit([Create(f"users/{place}", padded(size + (place == 4))) for place, size in enumerate(parts)])
    assert store.get([f"users/{place}" for place in range(5)]) == {}
    store.commit([Create(f"users/{place}", padded(size)) for place, size in enumerate(parts)])
    assert len(store.get([f"users/{place}" for place in range(5)])) == 5


def test_a_commit_of_five_hundred_documents_is_read_back_in_one_call(store: Store) -> None:
    refs = [f"users/u/messages/{n}" for n in range(500)]
    store.commit([Create(ref, {"n": n}) for n, ref in enumerate(refs)])
    found = store.get(refs)
    assert [found[ref].data["n"] for ref in refs] == list(range(500))


def test_racing_compare_and_set_loses_no_update(store: Store) -> None:
    seed(store, n=0)
    barrier = threading.Barrier(4)

    def count() -> None:
        barrier.wait()
        done = 0
        while done < 25:
            doc = store.get(["users/u"])["users/u"]
            try:
                store.commit([Update("users/u", {"n": doc.data["n"] + 1}, doc.version)])
            except Conflict:
                continue
            done += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(store) == {"n": 100}


def test_of_racing_creates_one_wins_and_its_whole_commit_is_there(store: Store) -> None:
    barrier = threading.Barrier(4)
    won: list[int] = []

    def extend(who: int) -> None:
        barrier.wait()
        try:
            store.commit([Create("users/u/log/1", {"who": who}), Create(f"users/u/events/{who}", {})])
        except Conflict:
            return
        won.append(who)

    threads = [threading.Thread(target=extend, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert read(store, "users/u/log/1") == {"who": won[0]}
    assert list(store.get([f"users/u/events/{who}" for who in range(4)])) == [f"users/u/events/{won[0]}"]


def test_a_commit_whose_answer_is_lost_is_unknown_not_a_conflict_with_itself(world: World, store: Store) -> None:
    version = seed(store, "users/old", a=1)
    with world.losing_answers(), pytest.raises(Unknown):
        store.commit([Create("users/new", {}), Update("users/old", {"a": 2}, version)])
    found = store.get(["users/new", "users/old"])
    assert {ref: doc.data for ref, doc in found.items()} == {"users/new": {}, "users/old": {"a": 2}}
    with pytest.raises(Conflict):
        store.commit([Create("users/new", {})])


def test_nothing_can_be_committed_on_a_read_of_half_a_commit(world: World, store: Store) -> None:
    store.commit([Put("users/a", {"n": 0}), Put("users/b", {"n": 0})])
    torn: list[list[Doc]] = []
    finished = threading.Event()

    def look() -> None:
        while not finished.is_set():
            found = store.get(["users/a", "users/b"])
            if found["users/a"].data["n"] != found["users/b"].data["n"]:
                torn.append(list(found.values()))

    reader = threading.Thread(target=look)
    reader.start()
    for n in range(200):
        store.commit([Put("users/a", {"n": n}), Put("users/b", {"n": n})])
    finished.set()
    reader.join()
    assert not (world.reads_are_snapshots and torn)
    for docs in torn:
        with pytest.raises(Conflict):
            store.commit([Check(doc.ref, doc.version) for doc in docs])
