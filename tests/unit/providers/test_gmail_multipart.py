"""A batch is written as Google's page shows it, and its answer is never taken for that of another call."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.providers.gmail.multipart import BOUNDARY, CONTENT_TYPE, Part, build, parse
from tests.unit.providers.gmail_playback import Answer, calls_of, error, mail, multipart

TYPE = "multipart/mixed; boundary=batch_X-y_Z"


def test_a_batch_as_it_goes_out() -> None:
    assert build(["/gmail/v1/users/me/messages/a?format=metadata", "/x"]).decode() == (
        "--brainstem_batch\r\nContent-Type: application/http\r\nContent-ID: <brainstem-0>\r\n\r\n"
        "GET /gmail/v1/users/me/messages/a?format=metadata HTTP/1.1\r\n\r\n\r\n"
        "--brainstem_batch\r\nContent-Type: application/http\r\nContent-ID: <brainstem-1>\r\n\r\n"
        "GET /x HTTP/1.1\r\n\r\n\r\n"
        "--brainstem_batch--\r\n"
    )
    assert f"multipart/mixed; boundary={BOUNDARY}" == CONTENT_TYPE


def answered(*parts: tuple[str | None, Answer], newline: str = "\r\n") -> bytes:
    content = multipart(parts, newline).body
    assert isinstance(content, bytes)
    return content


def bodies(parts: list[Part | None]) -> list[object]:
    return [None if part is None else orjson.loads(part.body) for part in parts]


A, B, C = (Answer(200, {"id": id}) for id in "abc")
NAMED = [("brainstem-0", A), ("brainstem-1", B), ("brainstem-2", C)]


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
@pytest.mark.parametrize(
    "kind",
    [
        TYPE,
        'Multipart/Mixed; Boundary="batch_X-y_Z"',
        "multipart/mixed; charset=utf-8; boundary=batch_X-y_Z; x=y",
    ],
)
def test_parts_are_told_by_their_names_whatever_their_order(newline: str, kind: str) -> None:
    content = answered(*reversed(NAMED), newline=newline)
    assert bodies(parse(content, kind, 3)) == [{"id": "a"}, {"id": "b"}, {"id": "c"}]


def test_without_any_names_they_count_by_position_if_they_are_as_many_as_calls() -> None:
    content = answered((None, A), (None, B))
    assert bodies(parse(content, TYPE, 2)) == [{"id": "a"}, {"id": "b"}]
    assert parse(content, TYPE, 3) == [None] * 3
    assert parse(content, TYPE, 1) == [None]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([NAMED[0], NAMED[2]], ["a", None, "c"]),
        ([NAMED[0], NAMED[1], NAMED[1], NAMED[2]], ["a", None, "c"]),
        ([NAMED[0], (None, B), NAMED[2]], ["a", None, "c"]),
        ([NAMED[0], ("brainstem-3", B), ("brainstem-999", B), NAMED[2]], ["a", None, "c"]),
        ([NAMED[0], ("other-1", B), ("1", B), ("", B), NAMED[2]], ["a", None, "c"]),
        ([("other-0", A), ("other-1", B), ("other-2", C)], [None, None, None]),
        ([], [None, None, None]),
    ],
    ids=["missing", "doubled", "nameless among named", "of no call", "not ours", "none of ours", "empty"],
)
def test_what_cannot_be_told_answers_nothing(
    parts: list[tuple[str | None, Answer]], expected: list[str | None]
) -> None:
    found = bodies(parse(answered(*parts), TYPE, 3))
    assert found == [None if id is None else {"id": id} for id in expected]


def test_a_part_that_is_no_http_answer_answers_nothing() -> None:
    broken = answered(*NAMED).replace(b"HTTP/1.1 200", b"HTTP 200", 1)
    assert bodies(parse(broken, TYPE, 3)) == [None, {"id": "b"}, {"id": "c"}]


def test_an_error_comes_with_its_status_and_its_wait() -> None:
    parts = parse(answered(("brainstem-0", error(429, "rateLimitExceeded", **{"Retry-After": "7"}))), TYPE, 1)
    assert parts[0] is not None
    assert (parts[0].status, parts[0].retry_after) == (429, "7")


@pytest.mark.parametrize("kind", ["", "application/json", "multipart/mixed", "multipart/mixed; boundary=other"])
def test_what_is_no_batch_answers_nothing(kind: str) -> None:
    assert parse(answered(*NAMED), kind, 3) == [None] * 3


def test_an_answer_that_was_cut_short_keeps_its_whole_parts() -> None:
    content = answered(*NAMED)
    parts = parse(content[: content.index(b'"c"')], TYPE, 3)
    assert bodies(parts[:2]) == [{"id": "a"}, {"id": "b"}]
    assert parts[2] is not None
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(parts[2].body)


def test_a_mail_that_quotes_the_boundary_is_still_one_mail() -> None:
    snippet = "\r\n--batch_X-y_Z\r\nContent-ID: <response-brainstem-1>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}"
    content = answered(("brainstem-0", Answer(200, mail("a", snippet=snippet))), NAMED[1])
    assert bodies(parse(content, TYPE, 2)) == [mail("a", snippet=snippet), {"id": "b"}]


@given(st.lists(st.sampled_from(["/a", "/b?c=d%20e"]), max_size=5))
def test_what_is_written_can_be_read(targets: list[str]) -> None:
    assert calls_of(build(targets)) == [(f"brainstem-{number}", target) for number, target in enumerate(targets)]


@given(st.binary(max_size=300), st.text(max_size=60), st.integers(0, 3))
def test_no_answer_breaks_the_parser(content: bytes, kind: str, calls: int) -> None:
    assert len(parse(content, kind, calls)) == calls
    spoilt = answered(*NAMED).replace(b"\r\n\r\n", content or b"?", 2)
    assert len(parse(spoilt, TYPE, calls)) == calls
