"""Queries: declared shapes, parents and groups, typed equality, one range, order, pages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.ports import Doc, Put, Query, Range, Shape, Store
from tests.contract.worlds import World

SHAPES = [
    Shape("boxes", scoped=True),
    Shape("boxes", scoped=False),
    Shape("boxes", scoped=True, equal=("f",)),
    Shape("boxes", scoped=True, order="n"),
    Shape("boxes", scoped=False, order="n"),
    Shape("boxes", scoped=False, equal=("f",), order="n"),
    Shape("boxes", scoped=False, equal=("f", "g"), order="n"),
    Shape("users", scoped=True),
]


@pytest.fixture
def store(world: World) -> Store:
    return world.store(SHAPES)


def fill(store: Store, documents: dict[str, dict[str, Any]]) -> None:
    store.commit([Put(ref, data) for ref, data in documents.items()])


def refs(docs: list[Doc]) -> list[str]:
    return [doc.ref for doc in docs]


def pages(store: Store, query: Query) -> list[str]:
    """All references of a query, read page by page."""
    seen: list[str] = []
    while True:
        page = store.query(query)
        assert len(page) <= query.limit
        if not page:
            return seen
        seen += refs(page)
        assert len(seen) <= 100, "the pages do not end"
        query = replace(query, start_after=page[-1])


def test_a_query_answers_documents_as_a_read_does(store: Store) -> None:
    fill(store, {"users/u/boxes/a": {"x": [1]}})
    assert store.query(Query("boxes", "users/u")) == list(store.get(["users/u/boxes/a"]).values())


def test_a_parent_has_only_its_own_documents(store: Store) -> None:
    fill(
        store,
        {
            "users/u/boxes/a": {},
            "users/u/other/a": {},
            "users/v/boxes/a": {},
            "users/u/boxes/a/boxes/b": {},
            "users/u": {},
        },
    )
    assert refs(store.query(Query("boxes", "users/u"))) == ["users/u/boxes/a"]
    assert refs(store.query(Query("boxes", "users/u/boxes/a"))) == ["users/u/boxes/a/boxes/b"]
    assert refs(store.query(Query("users", ""))) == ["users/u"]


def test_a_group_has_the_documents_of_every_parent_by_reference(store: Store) -> None:
    fill(store, {"users/v/boxes/a": {}, "boxes/z": {}, "users/u/boxes/b": {}, "users/u/boxes/a": {}, "users/u/x/a": {}})
    assert refs(store.query(Query("boxes"))) == ["boxes/z", "users/u/boxes/a", "users/u/boxes/b", "users/v/boxes/a"]


def test_references_are_ordered_segment_by_segment(store: Store) -> None:
    fill(store, {"users/a!/boxes/a": {}, "users/a/boxes/z": {}, "users/a/boxes/é": {}, "users/a/boxes/\U0001f9e0": {}})
    expected = ["users/a/boxes/z", "users/a/boxes/é", "users/a/boxes/\U0001f9e0", "users/a!/boxes/a"]
    assert refs(store.query(Query("boxes"))) == expected
    assert pages(store, Query("boxes", limit=1)) == expected


@pytest.mark.parametrize(
    ("value", "matching"),
    [
        (True, ["true"]),
        (False, ["false"]),
        (1, ["float one", "one"]),
        (1.0, ["float one", "one"]),
        (0, ["zero"]),
        ("1", ["string one"]),
        ("true", ["string true"]),
        ("", ["empty"]),
        ("null", []),
        ("[]", []),
        (2**62 + 1, ["big"]),
        (1795183200.123456, ["time"]),
        ("a\x00b", ["nul"]),
        ("a", []),
        ("qu\"o'te\\é", ["quote"]),
    ],
    ids=repr,
)
def test_equality_tells_types_apart(store: Store, value: Any, matching: list[str]) -> None:
    values = {
        "true": True, "false": False, "one": 1, "float one": 1.0, "zero": 0, "string one": "1", "string true": "true",
        "empty": "", "null": None, "list": [], "dict": {}, "big": 2**62 + 1, "bigger": 2**62 + 2,
        "time": 1795183200.123456, "nul": "a\x00b", "quote": 'qu"o\'te\\é',
    }  # fmt: skip
    fill(store, {f"users/u/boxes/{name}": {"f": content} for name, content in values.items()})
    fill(store, {"users/u/boxes/missing": {}})
    found = store.query(Query("boxes", "users/u", equal=(("f", value),)))
    assert refs(found) == [f"users/u/boxes/{name}" for name in matching]


def test_several_equal_fields_must_all_agree_in_whatever_order(store: Store) -> None:
    fill(
        store,
        {
            "users/u/boxes/a": {"f": 1, "g": "x", "n": 2},
            "users/v/boxes/b": {"f": 1, "g": "x", "n": 1},
            "users/v/boxes/c": {"f": 1, "g": "y", "n": 1},
            "users/v/boxes/d": {"f": 2, "g": "x", "n": 1},
        },
    )
    for equal in ((("f", 1), ("g", "x")), (("g", "x"), ("f", 1))):
        found = store.query(Query("boxes", equal=equal, range=Range("n", after=0, up_to=5)))
        assert refs(found) == ["users/v/boxes/b", "users/u/boxes/a"]


def test_a_range_keeps_after_below_and_up_to_included(store: Store) -> None:
    fill(store, {f"users/u/boxes/{n}": {"n": n} for n in range(6)})
    scoped = Query("boxes", "users/u")
    for bounds, expected in (
        (Range("n", after=2), "345"),
        (Range("n", up_to=2), "012"),
        (Range("n", after=1, up_to=3), "23"),
        (Range("n", after=1.5, up_to=3.5), "23"),
        (Range("n", after=3, up_to=1), ""),
        (Range("n"), "012345"),
    ):
        assert refs(store.query(replace(scoped, range=bounds))) == [f"users/u/boxes/{n}" for n in expected]


def test_a_range_orders_by_its_field_and_then_by_reference(store: Store) -> None:
    fill(
        store,
        {
            "users/v/boxes/a": {"n": 10},
            "users/u/boxes/c": {"n": 9},
            "users/u/boxes/b": {"n": 10},
            "users/u/boxes/a": {"n": 9.5},
        },
    )
    assert refs(store.query(Query("boxes", range=Range("n")))) == [
        "users/u/boxes/c",
        "users/u/boxes/a",
        "users/u/boxes/b",
        "users/v/boxes/a",
    ]


@pytest.mark.parametrize("bounds", [Range("n"), Range("n", after=-1), Range("n", up_to=9)])
def test_a_range_leaves_out_documents_without_the_field(store: Store, bounds: Range) -> None:
    fill(store, {"users/u/boxes/a": {"n": 1}, "users/u/boxes/b": {"n": None}, "users/u/boxes/c": {"m": 1}})
    assert refs(store.query(Query("boxes", "users/u", range=bounds))) == ["users/u/boxes/a"]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (Range("n", after=0), ["int"]),
        (Range("n", up_to=10**6), ["int"]),
        (Range("n", after=""), ["text"]),
        (Range("n", up_to="zzz"), ["text"]),
        (Range("n", after=False), ["yes"]),
        (Range("n", up_to=True), ["no", "yes"]),
    ],
)
def test_a_bound_keeps_only_values_of_its_own_type(store: Store, bounds: Range, expected: list[str]) -> None:
    values = {"int": 1, "text": "1", "yes": True, "no": False, "list": [1], "none": None}
    fill(store, {f"users/u/boxes/{name}": {"n": value} for name, value in values.items()})
    found = store.query(Query("boxes", "users/u", range=bounds))
    assert refs(found) == [f"users/u/boxes/{name}" for name in expected]


def test_strings_are_ordered_by_code_point(store: Store) -> None:
    texts = ["", "B", "a", "a!", 'a"', "ab", "é", "\uffff", "\U0001f9e0"]
    fill(store, {f"users/u/boxes/{place}": {"n": text} for place, text in enumerate(reversed(texts))})
    found = store.query(Query("boxes", "users/u", range=Range("n")))
    assert [doc.data["n"] for doc in found] == texts


@pytest.mark.parametrize(
    "query",
    [
        Query("boxes", "users/u"),
        Query("boxes"),
        Query("boxes", "users/u", equal=(("f", True),)),
        Query("boxes", "users/u", range=Range("n")),
        Query("boxes", range=Range("n")),
        Query("boxes", range=Range("n", after=0, up_to=2.2)),
        Query("boxes", equal=(("f", True),), range=Range("n", up_to=2)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_join_without_hole_or_repeat(store: Store, query: Query, limit: int) -> None:
    fill(
        store,
        {
            f"users/{user}/boxes/{place}": {"n": [1, 1.1, 2, 2.2, 0.1 + 0.2][place % 5], "f": place % 2 == 0}
            for user in ("u", "v")
            for place in range(10)
        },
    )
    whole = refs(store.query(query))
    assert len(whole) > 2
    assert pages(store, replace(query, limit=limit)) == whole


def test_a_page_may_start_after_a_document_that_has_gone(store: Store) -> None:
    fill(store, {"users/u/boxes/a": {"n": 1}, "users/u/boxes/c": {"n": 2}})
    by_reference = Query("boxes", "users/u", start_after=Doc("users/u/boxes/b", {}, ""))
    assert refs(store.query(by_reference)) == ["users/u/boxes/c"]
    by_field = Query("boxes", "users/u", range=Range("n"), start_after=Doc("users/u/boxes/b", {"n": 1}, ""))
    assert refs(store.query(by_field)) == ["users/u/boxes/c"]


@pytest.mark.parametrize(
    "query",
    [
        Query("others", "users/u"),
        Query("users"),
        Query("boxes", equal=(("f", 1),)),
        Query("boxes", "users/u", equal=(("g", 1),)),
        Query("boxes", "users/u", range=Range("m")),
        Query("boxes", "users/u", equal=(("f", 1),), range=Range("n")),
    ],
    ids=repr,
)
def test_an_undeclared_shape_is_refused(store: Store, query: Query) -> None:
    with pytest.raises(ValueError, match="shape"):
        store.query(query)


@pytest.mark.parametrize(
    "query",
    [
        Query("boxes", "users"),
        Query("boxes", "users/u", limit=0),
        Query("boxes", "users/u", start_after=Doc("users/v/boxes/a", {}, "")),
        Query("boxes", "users/u", range=Range("n"), start_after=Doc("users/u/boxes/a", {}, "")),
        Query("boxes", "users/u", equal=(("f", float("nan")),)),
        Query("boxes", "users/u", equal=(("f", 2**63),)),
        Query("boxes", "users/u", equal=(("f", "\ud800"),)),
        Query("boxes", "users/u", equal=(("f", None),)),  # type: ignore[arg-type]
        Query("boxes", "users/u", range=Range("n", after=float("inf"))),
    ],
    ids=repr,
)
def test_a_query_that_makes_no_sense_is_refused(store: Store, query: Query) -> None:
    with pytest.raises(ValueError, match=r"."):
        store.query(query)


def test_a_query_sees_the_last_commit(store: Store) -> None:
    fill(store, {"users/u/boxes/a": {"f": 1}})
    fill(store, {"users/u/boxes/a": {"f": 2}})
    assert store.query(Query("boxes", "users/u", equal=(("f", 1),))) == []
    assert refs(store.query(Query("boxes", "users/u", equal=(("f", 2),)))) == ["users/u/boxes/a"]
