"""What is particular to documents in Firestore: what is stored as what, what a failure means, and who may connect."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum, StrEnum
from typing import Any

import google.auth
import grpc
import orjson
import pytest
from google.api_core.exceptions import from_grpc_status
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.firestore_v1 import types
from hypothesis import given
from hypothesis import strategies as st

from shared import queries as product
from shared.adapters.cloud import connect, decode, encode, failures, queries
from shared.adapters.cloud.store import COMMIT_SECONDS, READ_SECONDS, CloudStore
from shared.adapters.embedded.clock import VirtualClock
from shared.errors import ConfigurationError, Conflict, Retry, TooLarge, Unknown
from shared.ports import Check, Create, Data, Delete, Put, Query, Range, Shape, Update

ROOT = "projects/p/databases/(default)/documents"
T0, T1 = "1795183200.000001000", "1795183200.000002000"

_Document = types.Document.pb()
_Request = types.RunQueryRequest.pb()


class Client:
    """Notes calls, with what the library may do about their failing, and answers each the same."""

    def __init__(self, answer: Any = ()) -> None:
        self.answer = answer
        self.calls: list[tuple[str, Any, Any, Any]] = []

    def __getattr__(self, method: str) -> Any:
        def call(request: Any, retry: Any, timeout: Any) -> Any:
            self.calls.append((method, type(request).pb(request), retry, timeout))
            return self.answer

        return call


def store(client: Client, *shapes: Shape, database: str = "(default)") -> CloudStore:
    store = CloudStore("p", shapes, VirtualClock(), connect.plain_channel("localhost:1"), database)
    store.close()
    store._client = client  # type: ignore[assignment]
    return store


def stored(data: Data) -> dict[str, Any]:
    """The protobuf value of each field by its stored name."""
    raw = _Document()
    encode.fill(raw, data)
    return dict(raw.fields)


def round_trip(data: Data) -> Data:
    raw = _Document()
    encode.fill(raw, data)
    return decode.data(_Document.FromString(raw.SerializeToString()).fields)


def kinds(data: Data) -> dict[str, str]:
    return {name: value.WhichOneof("value_type") for name, value in stored(data).items()}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.text() | st.sampled_from(["", "_", "_w", "_u", "_u_w", "__x__", "a.b", "`", "\\"])


def typed(value: Any) -> Any:
    """A value in which 1, 1.0 and True differ, and 0.0 and -0.0."""
    if isinstance(value, dict):
        return {name: typed(item) for name, item in value.items()}
    return [typed(item) for item in value] if isinstance(value, list) else (type(value), repr(value))


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_every_document_comes_back_as_it_was(data: Data) -> None:
    assert typed(round_trip(data)) == typed(data)


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_a_document_is_never_taken_for_lighter_than_its_compact_json(data: Data) -> None:
    assert encode.fill(_Document(), data) >= len(orjson.dumps(data))


def test_a_document_that_could_be_too_heavy_is_weighed_exactly() -> None:
    data = {"x": "é" * 400_000, "l": ["a"]}
    assert encode.fill(_Document(), data) == len(orjson.dumps(data))


def of_protobuf(value: Any) -> Any:
    """The protobuf value as the library makes it, field by field."""
    raw = types.Value.pb()()
    if isinstance(value, bool):
        raw.boolean_value = value
    elif value is None:
        raw.null_value = 0
    elif isinstance(value, str):
        raw.string_value = value
    elif isinstance(value, int):
        raw.integer_value = value
    elif isinstance(value, float):
        raw.double_value = value
    elif isinstance(value, dict) or any(isinstance(item, list | dict) for item in value):
        raw.bytes_value = orjson.dumps(value)
    else:
        raw.array_value.SetInParent()
        raw.array_value.values.extend([of_protobuf(item) for item in value])
    return raw


@given(VALUES)
def test_a_value_is_on_the_wire_as_protobuf_puts_it_there(value: Any) -> None:
    assert encode.value_of(value).SerializeToString(deterministic=True) == of_protobuf(value).SerializeToString()


@given(st.dictionaries(NAMES, VALUES | st.text(min_size=100, max_size=400), max_size=20))
def test_a_document_is_on_the_wire_as_protobuf_puts_it_there(data: Data) -> None:
    ours, theirs = _Document(), _Document()
    encode.fill(ours, data)
    for name, value in data.items():
        theirs.fields[encode.stored_name(name)].CopyFrom(of_protobuf(value))
    assert ours == theirs
    assert ours.ByteSize() == theirs.ByteSize()


@pytest.mark.parametrize(
    "value",
    [2**63, -(2**63) - 1, float("nan"), float("inf"), "\ud800", ["\ud800"], {"a": "\ud800"}, (), {1: 1}, b"", set()],
)
def test_what_no_document_may_hold_is_refused(value: Any) -> None:
    for data in ({"x": value}, {"x": [value]}, {"x": {"y": [value]}}):
        with pytest.raises(ValueError, match="document"):
            encode.fill(_Document(), data)


PARTS = st.text(min_size=1, max_size=6) | st.sampled_from(
    ["users", "u1", "__x__", "__", "a__", ".", "..", "", "x" * 1501]
)


@given(st.lists(PARTS, min_size=1, max_size=5).map("/".join))
def test_a_reference_is_judged_the_same_whether_its_key_is_plain_or_not(ref: str) -> None:
    def named(ref: str) -> str | None:
        try:
            return encode.document_name(ROOT, ref)
        except ValueError:
            return None

    try:
        encode._ensure_name(ref)
    except ValueError:
        assert named(ref) is None
    else:
        assert named(ref) == f"{ROOT}/{ref}"


@given(NAMES)
def test_no_name_is_stored_as_one_that_firestore_refuses_or_as_ours(name: str) -> None:
    kept = encode.stored_name(name)
    assert kept
    assert not kept.startswith("__")
    assert kept != encode.TOUCH
    assert encode.original_name(kept) == name


def test_what_a_query_may_ask_for_is_native_and_what_nests_is_json() -> None:
    assert kinds({"s": "", "i": 1, "f": 1.0, "b": True, "n": None, "l": ["a", 1], "e": []}) == {
        "s": "string_value", "i": "integer_value", "f": "double_value", "b": "boolean_value", "n": "null_value",
        "l": "array_value", "e": "array_value",
    }  # fmt: skip
    assert kinds({"d": {"a": 1}, "l": [{"a": 1}], "ll": [[1]]}) == dict.fromkeys(("d", "l", "ll"), "bytes_value")
    assert stored({"events": [{"id": 1}]})["events"].bytes_value == b'[{"id":1}]'


def test_enums_are_stored_as_the_values_they_are() -> None:
    class Word(StrEnum):
        ONE = "one"

    class Number(IntEnum):
        ONE = 1

    assert round_trip({"w": Word.ONE, "n": Number.ONE, "l": [Word.ONE]}) == {"w": "one", "n": 1, "l": ["one"]}
    assert kinds({"w": Word.ONE, "n": Number.ONE}) == {"w": "string_value", "n": "integer_value"}


def test_a_value_of_another_writer_is_not_misread() -> None:
    raw = _Document()
    raw.fields["a"].geo_point_value.latitude = 1
    with pytest.raises(ValueError, match="did not write"):
        decode.data(raw.fields)


@pytest.mark.parametrize("ref", ["users/__x__", "__all__/x", "users/u/__a__/b"])
def test_a_part_that_firestore_reserves_names_no_document(ref: str) -> None:
    with pytest.raises(ValueError, match="reference"):
        encode.document_name(ROOT, ref)


def test_names_with_underscores_are_not_reserved_by_that() -> None:
    for ref in ("users/__x", "users/x__", "users/a__b__c"):
        assert encode.document_name(ROOT, ref) == f"{ROOT}/{ref}"


@given(st.integers(0, 99_999_999_999), st.integers(0, 999_999_999))
def test_a_version_is_the_time_of_the_last_change(seconds: int, nanos: int) -> None:
    raw = _Document()
    raw.update_time.seconds, raw.update_time.nanos = seconds, nanos
    other = _Document()
    assert decode.into_time(decode.version(raw.update_time), other.update_time)
    assert other.update_time == raw.update_time


def committed(*writes: Any) -> Any:
    answer = types.CommitResponse(write_results=[{"update_time": {"seconds": 1, "nanos": 5}} for _ in writes])
    client = Client(answer)
    store(client).commit(writes)
    ((method, request, retry, timeout),) = client.calls
    assert (method, retry, timeout) == ("commit", None, COMMIT_SECONDS)
    return request.writes


def test_an_update_writes_the_version_it_replaces_so_that_something_always_changes() -> None:
    (write,) = committed(Update("users/u", {"a": 1, "b.c": 2}, T0))
    assert list(write.update_mask.field_paths) == ["a", "`b.c`", "_w"]
    assert write.update.fields["_w"].timestamp_value == write.current_document.update_time
    assert decode.version(write.current_document.update_time) == T0


def test_two_puts_of_equal_data_differ() -> None:
    first, second = committed(Put("users/a", {"a": 1}), Put("users/b", {"a": 1}))
    assert first.update.fields["_w"] != second.update.fields["_w"]
    assert not first.HasField("update_mask")
    assert not first.HasField("current_document")


def test_a_create_and_a_check_write_nothing_of_ours() -> None:
    create, check = committed(Create("users/a", {"a": 1}), Check("users/b", T0))
    assert list(create.update.fields) == ["a"]
    assert create.current_document.WhichOneof("condition_type") == "exists"
    assert create.current_document.exists is False
    assert check.HasField("update_mask")
    assert (list(check.update_mask.field_paths), dict(check.update.fields)) == ([], {})
    assert decode.version(check.current_document.update_time) == T0


def test_what_was_never_a_version_costs_no_call() -> None:
    client = Client()
    for write in (Update("users/u", {}, "0"), Delete("users/u", ""), Check("users/u", "1.5")):
        with pytest.raises(Conflict):
            store(client).commit([Put("users/other", {}), write])
    assert client.calls == []


def test_every_read_has_a_timeout_and_names_its_database() -> None:
    client = Client()
    keys = store(client, Shape("log", scoped=True), database="keys")
    keys.get(["keys/u", "keys/u", "keys/v"])
    keys.query(Query("log", "users/u"))
    (one, batch, *first), (other, run, *second) = client.calls
    assert (one, other) == ("batch_get_documents", "run_query")
    assert first == second == [None, READ_SECONDS]
    assert list(batch.documents) == [f"projects/p/databases/keys/documents/keys/{uid}" for uid in "uv"]
    assert batch.database == "projects/p/databases/keys"
    assert run.parent == "projects/p/databases/keys/documents/users/u"


def test_the_product_asks_nothing_that_cannot_be_built() -> None:
    for shape in product.SHAPES:
        request = _Request()
        query = Query(
            shape.group,
            "users/u" if shape.scoped else None,
            tuple((name, "x") for name in shape.equal),
            Range(shape.order, up_to=1) if shape.order else None,
        )
        queries.build(query, ROOT, request)
        orders = [order.field.field_path for order in request.structured_query.order_by]
        assert orders == [*([shape.order] if shape.order else []), "__name__"]


def failure(code: str, message: str = "") -> Any:
    return from_grpc_status(grpc.StatusCode[code], message)


# What each status of gRPC means to a commit and to a read; a status that is missing here fails the test below.
MEANINGS: dict[str, tuple[type[Exception], type[Exception]]] = {
    "CANCELLED": (Unknown, Retry),
    "UNKNOWN": (Unknown, Retry),
    "INVALID_ARGUMENT": (ValueError, ValueError),
    "DEADLINE_EXCEEDED": (Unknown, Retry),
    "NOT_FOUND": (Conflict, Retry),
    "ALREADY_EXISTS": (Conflict, Retry),
    "PERMISSION_DENIED": (Retry, Retry),
    "UNAUTHENTICATED": (Retry, Retry),
    "RESOURCE_EXHAUSTED": (Retry, Retry),
    "FAILED_PRECONDITION": (Conflict, Retry),
    "ABORTED": (Retry, Retry),
    "UNIMPLEMENTED": (Unknown, Retry),
    "INTERNAL": (Unknown, Retry),
    "UNAVAILABLE": (Unknown, Retry),
    "DATA_LOSS": (Unknown, Retry),
    "OUT_OF_RANGE": (Unknown, Retry),
}


@pytest.mark.parametrize("code", [code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_has_its_meaning(code: str) -> None:
    of_commit, of_read = MEANINGS[code]
    assert type(failures.of_commit(failure(code))) is of_commit
    assert type(failures.of_read(failure(code))) is of_read


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("INVALID_ARGUMENT", 'The value of property "x" is longer than 1048487 bytes.'),
        ("INVALID_ARGUMENT", "maximum entity size is 1048576 bytes"),
        ("INVALID_ARGUMENT", "Request payload size exceeds the limit: 11534336 bytes."),
        ("INVALID_ARGUMENT", "too many index entries for entity"),
        ("RESOURCE_EXHAUSTED", "gRPC message exceeds maximum size 4194304: 4500413"),
    ],
)
def test_what_firestore_finds_too_large_is_never_tried_again(code: str, message: str) -> None:
    assert type(failures.of_commit(failure(code, message))) is TooLarge


def test_a_missing_database_is_not_taken_for_a_conflict() -> None:
    said = "The database keys does not exist for project p. Please visit the console to add a database."
    for meaning in (failures.of_commit, failures.of_read):
        assert type(meaning(failure("NOT_FOUND", said))) is Retry


@pytest.mark.parametrize(
    ("code", "message", "cure"),
    [
        ("PERMISSION_DENIED", "", "roles/datastore.user"),
        ("FAILED_PRECONDITION", "The query requires an index.", "infra/firestore.indexes.json"),
        ("NOT_FOUND", "The database x does not exist for project p.", "create it"),
    ],
)
def test_what_only_an_operator_can_cure_is_named_while_the_work_waits(code: str, message: str, cure: str) -> None:
    error = failures.of_read(failure(code, message))
    assert type(error) is Retry
    assert cure in str(error)


def test_what_firestore_says_is_never_repeated() -> None:
    for code in MEANINGS:
        for meaning in (failures.of_commit, failures.of_read):
            assert "canary" not in str(meaning(failure(code, "canary")))


def test_the_project_has_to_be_named() -> None:
    assert connect.project_id("brainstem-1") == "brainstem-1"
    for project in ("", "a/b", "Brainstem", "a" * 101):
        with pytest.raises(ConfigurationError, match="GOOGLE_CLOUD_PROJECT"):
            connect.project_id(project)


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What ``google.auth.default`` answers, in turn; the last one for good."""
    answers: list[object] = []

    def default(**_: object) -> tuple[object, None]:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer, None

    monkeypatch.setattr(google.auth, "default", default)
    connect._credentials.cache_clear()
    yield answers
    connect._credentials.cache_clear()


def test_missing_credentials_are_one_clear_sentence(identity: list[object]) -> None:
    identity.append(DefaultCredentialsError("a long text about environments"))
    with pytest.raises(ConfigurationError, match="credentials are missing: run") as caught:
        connect.reach(lambda credentials: credentials, None)
    assert "\n" not in str(caught.value)


def test_credentials_are_looked_for_once_and_again_only_after_a_failure(identity: list[object]) -> None:
    identity += [DefaultCredentialsError(""), "mine", "another's"]
    with pytest.raises(ConfigurationError):
        connect.reach(lambda credentials: credentials, None)
    assert [connect.reach(lambda credentials: credentials, None) for _ in range(3)] == ["mine"] * 3


@pytest.mark.parametrize(
    "address", ["", "localhost", "http://localhost:8080", "localhost:8080/x", "a b:1", "localhost:"]
)
def test_what_is_no_address_of_an_emulator_is_named_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        connect.plain_channel(address, "FIRESTORE_EMULATOR_HOST")
    assert str(caught.value) == "FIRESTORE_EMULATOR_HOST must be host:port."


@pytest.mark.parametrize("address", ["localhost:8080", "127.0.0.1:1", "[::1]:8080"])
def test_an_emulator_needs_no_credentials_but_an_address(address: str) -> None:
    connect.plain_channel(address).close()
