"""The Store against a dict: whatever the commits, both hold the same documents and refuse the same commits."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import Conflict
from shared.ports import Check, Create, Delete, Put, Query, Range, Shape, Store, Update, Write
from tests.contract.worlds import World

KEYS = ["a", "b", "c", "d"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([-0.5, 0.0, 1.0, 1.5]),
    st.sampled_from(["", "1", "a", "true"]),
)
DATA = st.dictionaries(st.sampled_from(["f", "n", "other"]), VALUES, max_size=3)
EXPECTATION = st.sampled_from(["current", "current", "stale", "never"])
OPERATION = st.tuples(st.sampled_from([Create, Update, Put, Delete, Check]), DATA, EXPECTATION, st.booleans())
COMMIT = st.dictionaries(st.sampled_from(KEYS), OPERATION, min_size=1, max_size=4)
SHAPES = [Shape("things", scoped=True, equal=("f",), order="n"), Shape("things", scoped=True)]

_runs = itertools.count()


class Model:
    """Documents with versions, as the port's docstrings describe them."""

    def __init__(self) -> None:
        self.docs: dict[str, tuple[dict[str, Any], str]] = {}
        self.stale: dict[str, str] = {}

    def expectation(self, ref: str, kind: str) -> str:
        if kind == "current" and ref in self.docs:
            return self.docs[ref][1]
        return self.stale.get(ref, "0") if kind == "stale" else "0"

    def allows(self, write: Write) -> bool:
        held = self.docs.get(write.ref)
        match write:
            case Create():
                return held is None
            case Update() | Check():
                return held is not None and held[1] == write.expect
            case Delete():
                return write.expect is None or (held is not None and held[1] == write.expect)
        return True

    def apply(self, write: Write, version: str | None) -> None:
        held = self.docs.get(write.ref)
        if held and not isinstance(write, Check):
            self.stale[write.ref] = held[1]
        match write:
            case Create() | Put():
                assert version
                self.docs[write.ref] = (write.data, version)
            case Update():
                assert version
                assert held
                self.docs[write.ref] = ({**held[0], **write.data}, version)
            case Delete():
                assert version is None
                self.docs.pop(write.ref, None)
            case Check():
                assert held
                assert version == held[1]


def written(model: Model, ref: str, operation: Any) -> Write:
    kind, data, expectation, blind = operation
    expect = model.expectation(ref, expectation)
    if kind is Delete:
        return Delete(ref, None if blind else expect)
    if kind is Check:
        return Check(ref, expect)
    return Update(ref, data, expect) if kind is Update else kind(ref, data)


def same(left: Any, right: Any) -> bool:
    """Equal as the store compares: numbers with numbers, everything else within its type."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left is not None and left == right


@pytest.fixture
def store(world: World) -> Store:
    return world.store(SHAPES)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    commits=st.lists(COMMIT, max_size=8), value=VALUES.filter(lambda value: value is not None), bound=st.integers(-3, 3)
)
def test_the_store_is_a_dict_under_compare_and_set(store: Store, commits: list[Any], value: Any, bound: int) -> None:
    parent, model = f"runs/{next(_runs)}", Model()
    for commit in commits:
        writes = [written(model, f"{parent}/things/{key}", operation) for key, operation in commit.items()]
        if all(map(model.allows, writes)):
            versions = store.commit(writes)
            for write, version in zip(writes, versions, strict=True):
                model.apply(write, version)
        else:
            with pytest.raises(Conflict):
                store.commit(writes)
        found = store.get([f"{parent}/things/{key}" for key in KEYS])
        assert {ref: (doc.data, doc.version) for ref, doc in found.items()} == model.docs

    assert [doc.ref for doc in store.query(Query("things", parent))] == sorted(model.docs)
    query = Query("things", parent, equal=(("f", value),), range=Range("n", after=bound - 3, up_to=bound))
    expected = sorted(
        (data["n"], ref)
        for ref, (data, _) in model.docs.items()
        if same(data.get("f"), value)
        and isinstance(data.get("n"), int | float)
        and not isinstance(data["n"], bool)
        and bound - 3 < data["n"] <= bound
    )
    assert [doc.ref for doc in store.query(query)] == [ref for _, ref in expected]
