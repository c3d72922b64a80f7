"""What is particular to documents in SQLite: declared shapes are served by indexes, and a full disk leaves no trace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import queries as product
from shared.adapters.embedded import queries
from shared.adapters.embedded.database import Database
from shared.adapters.embedded.store import EmbeddedStore
from shared.errors import StorageFull, TooLarge
from shared.ports import MAX_DOCUMENT_BYTES, Create, Doc, Put, Query, Range, Shape, Update

SHAPES = [
    Shape("boxes", scoped=True),
    Shape("boxes", scoped=True, equal=("f",), order="n"),
    Shape("boxes", scoped=False),
    Shape("boxes", scoped=False, equal=("f", "g"), order="n"),
    Shape("boxes", scoped=False, order="n"),
]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "b.db", synchronous="OFF")
    yield database
    database.close()


AFTER = Doc("users/u/boxes/a", {"n": 1}, "")


@pytest.mark.parametrize(
    ("query", "plan"),
    [
        (Query("boxes", "users/u"), "SEARCH parent=? grp=?"),
        (Query("boxes", "users/u", start_after=AFTER), "SEARCH parent=? grp=? key>?"),
        (Query("boxes", "users/u", (("f", 1),), Range("n", 1, 2)), "SEARCH parent=? <expr>=? <expr>>? <expr><?"),
        (Query("boxes", "users/u", (("f", True),), Range("n"), 9, AFTER), "SEARCH parent=? <expr>=? <expr>>?"),
        (Query("boxes"), "SCAN"),
        (Query("boxes", start_after=AFTER), "SEARCH <expr>>?"),
        (Query("boxes", None, (("g", 1.5), ("f", "x")), Range("n", up_to=5)), "SEARCH <expr>=? <expr>=? <expr><?"),
        (Query("boxes", None, (), Range("n", after=0), 9, AFTER), "SEARCH <expr>>? <expr><?"),
    ],
)
def test_a_query_is_one_search_of_one_index_without_sorting(database: Database, query: Query, plan: str) -> None:
    EmbeddedStore(database, SHAPES)
    text, values = queries.select(query)
    with database.read() as connection:
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]
    found = [re.sub(r" doc USING INDEX .*?(\(|$)| AND|\)", " ", step).split() for step in steps]
    assert found == [plan.split()]


def test_the_shapes_of_the_product_can_be_declared_twice(database: Database) -> None:
    EmbeddedStore(database, product.SHAPES)
    store = EmbeddedStore(database, product.SHAPES)
    assert store.query(product.due_mailboxes(0, 1.0)) == []


@pytest.mark.parametrize("shape", [Shape("x'y", True), Shape("x", True, ("a.b",)), Shape("x", False, (), "a'b")])
def test_names_that_cannot_be_spelt_into_sql_are_refused(database: Database, shape: Shape) -> None:
    with pytest.raises(ValueError, match="shape"):
        EmbeddedStore(database, [shape])


def test_a_full_disk_is_said_aloud_and_the_whole_commit_is_missing(database: Database) -> None:
    store = EmbeddedStore(database, SHAPES)
    store.commit([Put("users/u", {"a": 1})])
    with database.write() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 10}")
    with pytest.raises(StorageFull):
        store.commit([Put("users/u", {"a": 2}), *(Create(f"users/{n}", {"x": "x" * 50_000}) for n in range(20))])
    assert store.get(["users/u"])["users/u"].data == {"a": 1}
    assert store.get([f"users/{n}" for n in range(20)]) == {}
    store.commit([Put("users/u", {"a": 3})])


def test_two_stores_on_one_file_share_versions_and_documents(database: Database) -> None:
    one, two = EmbeddedStore(database, []), EmbeddedStore(database, SHAPES)
    one.commit([Create("users/u", {})])
    assert two.get(["users/u"]) == one.get(["users/u"])


def test_what_was_committed_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    database = Database(tmp_path / "again.db")
    version = EmbeddedStore(database, SHAPES).commit([Create("users/u/boxes/a", {"n": 1, "f": 1})])[0]
    # Not closed: this is what a killed process leaves.
    again = Database(tmp_path / "again.db")
    found = EmbeddedStore(again, SHAPES).query(Query("boxes", "users/u", equal=(("f", 1),), range=Range("n")))
    assert found == [Doc("users/u/boxes/a", {"n": 1, "f": 1}, str(version))]
    again.close()
    database.close()


def test_an_update_cannot_grow_a_document_by_one_byte_over_its_limit(database: Database) -> None:
    store = EmbeddedStore(database, [])
    version = store.commit([Create("users/u", {"x": "x" * (MAX_DOCUMENT_BYTES - len('{"x":"","y":1}'))})])[0] or ""
    with pytest.raises(TooLarge):
        store.commit([Put("users/w", {}), Update("users/u", {"y": 10}, version)])
    assert list(store.get(["users/u", "users/w"])) == ["users/u"]
    store.commit([Update("users/u", {"y": 1}, version)])
