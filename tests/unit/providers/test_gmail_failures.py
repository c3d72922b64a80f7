"""Every answer that is no success has one meaning: a table of status, reason and what was asked."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import errors
from shared.providers.gmail.failures import Where, error_for
from shared.providers.http.answers import MALFORMED, parse, read_failure
from shared.providers.http.failure import Failure

NOW = 1_790_000_000.0
OAUTH = {Where.TOKEN, Where.DISCOVERY, Where.REVOCATION}
API = set(Where) - OAUTH
ALL = set(Where)
PAGES = {Where.LIST_PAGE, Where.HISTORY_PAGE}
HISTORY = {Where.HISTORY, Where.HISTORY_PAGE}

TABLE: list[tuple[int, str, set[Where], type[errors.BrainstemError]]] = [
    (200, MALFORMED, ALL, errors.ProviderUnavailable),
    (302, "", ALL, errors.ProviderUnavailable),
    (400, "", API - PAGES, errors.ProviderRefused),
    (400, "invalidArgument", API - PAGES, errors.ProviderRefused),
    (400, "invalidArgument", PAGES, errors.PageExpired),
    (400, "", PAGES, errors.PageExpired),
    (400, "failedPrecondition", API, errors.ProviderRefused),
    (400, "FAILED_PRECONDITION", API, errors.ProviderRefused),
    (401, "authError", API, errors.ReauthRequired),
    (401, "", API, errors.ReauthRequired),
    (403, "rateLimitExceeded", ALL, errors.RateLimited),
    (403, "userRateLimitExceeded", ALL, errors.RateLimited),
    (403, "quotaExceeded", ALL, errors.RateLimited),
    (403, "dailyLimitExceeded", ALL, errors.RateLimited),
    (403, "RATE_LIMIT_EXCEEDED", ALL, errors.RateLimited),
    (403, "RESOURCE_EXHAUSTED", ALL, errors.RateLimited),
    (403, "insufficientPermissions", API, errors.ReauthRequired),
    (403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", API, errors.ReauthRequired),
    (403, "domainPolicy", ALL, errors.ProviderRefused),
    (403, "accessNotConfigured", ALL, errors.ProviderRefused),
    (403, "", ALL, errors.ProviderRefused),
    (404, "notFound", HISTORY, errors.CursorExpired),
    (404, "notFound", {Where.MESSAGE}, errors.NotFound),
    (404, "notFound", ALL - HISTORY - {Where.MESSAGE}, errors.ProviderRefused),
    (408, "", ALL, errors.ProviderUnavailable),
    (409, "aborted", ALL, errors.ProviderUnavailable),
    (410, "gone", ALL, errors.ProviderRefused),
    (418, "", ALL, errors.ProviderRefused),
    (429, "rateLimitExceeded", ALL, errors.RateLimited),
    (429, "", ALL, errors.RateLimited),
    (429, "invalid_grant", ALL, errors.RateLimited),
    (500, "backendError", ALL, errors.ProviderUnavailable),
    (502, "", ALL, errors.ProviderUnavailable),
    (503, "rateLimitExceeded", ALL, errors.ProviderUnavailable),
    (503, "invalid_grant", ALL, errors.ProviderUnavailable),
    (400, "invalid_grant", {Where.TOKEN}, errors.ReauthRequired),
    (401, "invalid_grant", {Where.TOKEN}, errors.ReauthRequired),
    (403, "admin_policy_enforced", {Where.TOKEN}, errors.ReauthRequired),
    (400, "invalid_client", {Where.TOKEN}, errors.ConfigurationError),
    (401, "invalid_client", {Where.TOKEN}, errors.ConfigurationError),
    (401, "unauthorized_client", {Where.TOKEN}, errors.ConfigurationError),
    (400, "invalid_request", OAUTH, errors.ProviderRefused),
    (401, "", OAUTH, errors.ProviderRefused),
]


@pytest.mark.parametrize(("status", "reason", "wheres", "expected"), TABLE)
def test_the_table(status: int, reason: str, wheres: set[Where], expected: type[errors.BrainstemError]) -> None:
    for where in wheres:
        failure = Failure(status, (reason,) if reason else (), retry_after=7.0)
        error = error_for(failure, where)
        assert type(error) is expected, where
        assert str(status) in error.message or expected is errors.NotFound
        assert error.retry_after == (7.0 if expected in (errors.RateLimited, errors.ProviderUnavailable) else None)


@given(st.integers(0, 999), st.lists(st.text(max_size=30)), st.sampled_from(Where))
def test_every_failure_has_a_meaning(status: int, reasons: list[str], where: Where) -> None:
    error = error_for(Failure(status, tuple(reasons)), where)
    assert isinstance(error, (errors.ProviderError, errors.ConfigurationError, errors.NotFound))


SHAPES: list[tuple[Any, tuple[str, ...]]] = [
    ({"error": {"errors": [{"reason": "quotaExceeded"}], "status": "X", "message": "m"}}, ("quotaExceeded", "X")),
    ({"error": {"details": [{"@type": "…ErrorInfo", "reason": "RATE_LIMIT_EXCEEDED"}]}}, ("RATE_LIMIT_EXCEEDED",)),
    ([{"error": {"errors": [{"reason": "rateLimitExceeded"}]}}], ("rateLimitExceeded",)),
    ({"error": "invalid_grant", "error_description": "Token has been revoked."}, ("invalid_grant",)),
    ({"error": {"errors": {"reason": "x"}, "details": "y", "status": 5}}, ()),
    ({"error": {"errors": [None, 1, "a", {"reason": None}, {"reason": "not a reason!"}]}}, ()),
    ({"error": None}, ()),
    ({"error": {"errors": [{"reason": "<b>secret</b>"}]}}, ()),
    ([], ()),
    ("text", ()),
    (None, ()),
]  # fmt: skip


@pytest.mark.parametrize(("body", "reasons"), SHAPES)
def test_reasons_are_found_in_every_shape(body: Any, reasons: tuple[str, ...]) -> None:
    assert read_failure(403, {}, json.dumps(body).encode(), NOW).reasons == reasons


WAITS: list[tuple[dict[str, str], Any, float | None]] = [
    ({"retry-after": "12"}, None, 12.0),
    ({"retry-after": " 1.5 "}, None, 1.5),
    ({"retry-after": "Mon, 21 Sep 2026 14:13:50 GMT"}, None, 30.0),
    ({"retry-after": "Mon, 21 Sep 2026 14:13:00 GMT"}, None, 0.0),  # past
    ({"retry-after": "999999999"}, None, 3_600.0),
    ({"retry-after": "-5"}, None, None),
    ({"retry-after": "soon"}, None, None),
    ({"retry-after": "9" * 5_000}, None, None),
    ({}, {"error": {"message": "User-rate limit exceeded.  Retry after 2026-09-21T14:14:20.500Z"}}, 60.5),
    ({}, {"error": {"message": "Retry after 2026-99-99T99:99:99Z"}}, None),
    ({}, {"error": {"details": [{"@type": "…RetryInfo", "retryDelay": "34.5s"}]}}, 34.5),
    ({"retry-after": "2"}, {"error": {"details": [{"retryDelay": "34s"}]}}, 2.0),
    ({}, {"error": {"details": [{"retryDelay": {}}], "message": 5}}, None),
    ({}, None, None),
]


@pytest.mark.parametrize(("headers", "body", "wait"), WAITS)
def test_the_wait_is_found_in_every_shape(headers: dict[str, str], body: Any, wait: float | None) -> None:
    assert read_failure(429, headers, json.dumps(body).encode(), NOW).retry_after == wait


@given(
    st.binary()
    | st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["error", "errors", "details", "reason", "message", "status", "retryDelay"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode()),
    st.text(),
)
def test_no_answer_breaks_the_reader(content: bytes, header: str) -> None:
    failure = read_failure(500, {"retry-after": header}, content, NOW)
    assert all(set(reason) <= set(string.ascii_letters + "_") for reason in failure.reasons)


def test_errors_repeat_nothing_that_a_body_says_in_words() -> None:
    body = json.dumps({"error": {"message": "canary", "errors": [{"reason": "can ary", "message": "canary"}]}})
    for where in Where:
        assert "canary" not in repr(error_for(read_failure(403, {}, body.encode(), NOW), where))


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'{"id": 123456789012345678901}', {"id": 123456789012345678901}),
        (b'"\\ud800"', "\ud800"),
        (b'"\xff"', "\ufffd"),
        (b"", None),
        (b"<html>", None),
        (b"[" * 100_000, None),
        (b"1" * 10_000, None),
        (b'{"a":' + b"1" * 10_000 + b"}", None),
    ],
)  # fmt: skip
def test_parsing(content: bytes, value: object) -> None:
    assert parse(content) == value
