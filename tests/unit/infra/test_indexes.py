"""The file of indexes is the one that the queries give, and every query that is really issued finds its index in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.cloud import indexes
from shared.ports import Shape
from shared.queries import SHAPES
from tests.unit.infra.recording import RecordingStore, a_whole_life

FILE: dict[str, Any] = json.loads(indexes.PATH.read_text(encoding="utf-8"))


def lacking(shape: Shape, file: dict[str, Any]) -> str:
    """Which index a query of this shape would miss in production, read from the file as Firestore reads it."""
    scope = "COLLECTION" if shape.scoped else "COLLECTION_GROUP"
    wanted = [*sorted(shape.equal), *([shape.order] if shape.order else [])]
    if not wanted:
        return "" if shape.scoped else f"{shape.group}: a whole group without a field"
    if len(wanted) == 1:
        for override in file["fieldOverrides"]:
            if (override["collectionGroup"], override["fieldPath"]) == (shape.group, wanted[0]):
                found = {(index.get("order"), index["queryScope"]) for index in override["indexes"]}
                return "" if ("ASCENDING", scope) in found else f"{shape.group}.{wanted[0]} in scope {scope}"
        return f"{shape.group}.{wanted[0]}"
    for index in file["indexes"]:
        fields = [field["fieldPath"] for field in index["fields"]]
        ascending = all(field["order"] == "ASCENDING" for field in index["fields"])
        ordered = fields[-1] == shape.order if shape.order else True
        served = (index["collectionGroup"], index["queryScope"]) == (shape.group, scope)
        if served and ascending and ordered and sorted(fields) == sorted(wanted):
            return ""
    return f"{shape.group} by {wanted} in scope {scope}"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[RecordingStore, RecordingStore]:
    with pytest.MonkeyPatch.context() as patch:
        return a_whole_life(tmp_path_factory.mktemp("life"), patch)


def test_the_file_is_as_the_shapes_give_it() -> None:
    assert indexes.PATH.read_text(encoding="utf-8") == indexes.text(), "run: python -m infra.cloud.indexes"


def test_every_declared_shape_finds_its_index() -> None:
    assert [said for shape in SHAPES if (said := lacking(shape, FILE))] == []


def test_every_query_of_a_whole_life_finds_its_index(recorded: tuple[RecordingStore, RecordingStore]) -> None:
    main, keys = recorded
    assert [said for shape in main.shapes if (said := lacking(shape, FILE))] == []
    assert keys.shapes == set()


def test_every_declared_shape_is_really_asked(recorded: tuple[RecordingStore, RecordingStore]) -> None:
    assert SHAPES - recorded[0].shapes == set()


def test_documents_are_written_only_where_the_file_exempts(recorded: tuple[RecordingStore, RecordingStore]) -> None:
    main, keys = recorded
    assert main.groups == set(indexes.COLLECTIONS) - {"intents"}
    assert keys.groups == set(indexes.KEY_COLLECTIONS)


def test_a_lacking_index_is_noticed() -> None:
    whole = lacking(Shape("gaps", True, ("status",), "next_at"), FILE)
    assert not whole
    assert lacking(Shape("gaps", True, ("status",), "next_at"), {**FILE, "indexes": []})
    assert lacking(Shape("gaps", False, ("status",), "next_at"), FILE), "of the other scope"
    assert lacking(Shape("log", True, (), "last"), {**FILE, "fieldOverrides": []})
    assert lacking(Shape("log", False, (), "last"), FILE)
    assert lacking(Shape("messages", True, ("sender",)), FILE)
    assert lacking(Shape("messages", False), FILE)


def test_no_field_is_indexed_but_those_that_queries_name() -> None:
    every = {override["collectionGroup"] for override in FILE["fieldOverrides"] if override["fieldPath"] == "*"}
    assert every == set(indexes.COLLECTIONS)
    named = {(shape.group, name) for shape in SHAPES for name in (*shape.equal, shape.order) if name}
    for override in FILE["fieldOverrides"]:
        if override["fieldPath"] == "*":
            assert override["indexes"] == []
        else:
            assert (override["collectionGroup"], override["fieldPath"]) in named


def test_no_index_on_a_time_spans_a_group_without_a_shard() -> None:
    for index in FILE["indexes"]:
        if index["queryScope"] == "COLLECTION_GROUP":
            assert index["fields"][0]["fieldPath"] == "shard" or index["fields"][-1]["fieldPath"] == "shard"


def test_there_is_no_ttl_because_no_document_holds_a_timestamp() -> None:
    assert "ttl" not in json.dumps(FILE)
