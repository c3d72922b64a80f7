"""Log lines: their shape, what is bound to them, and that no secret ever gets into one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from shared.errors import ConfigurationError, ProviderUnavailable
from shared.observability import logs
from shared.observability.redaction import HIDDEN, MAX_TEXT, clean, scrub
from tests.unit.fakes import FakeClock

CANARY = "".join(["can", "ary-", "7f3a91"])
LOG = logs.named("shared.mail.sync")


class Lines(io.StringIO):
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    stream = Lines()
    root, own = logging.getLogger(), logging.getLogger(logs.ROOT)
    before = (list(root.handlers), root.level, own.level)
    logs.configure(FakeClock(1_790_000_000.25), "DEBUG", stream)
    yield stream
    logs.clear()
    root.handlers[:], root.level = before[0], before[1]
    own.setLevel(before[2])


def test_a_line_is_one_json_object_with_the_fields_that_cloud_logging_reads(lines: Lines) -> None:
    LOG.info("page_committed", "A page was committed.", mailbox_id="u:primary:GOOGLE", messages=100)
    assert lines.entries() == [
        {
            "severity": "INFO",
            "message": "A page was committed.",
            "time": "2026-09-21T14:13:20.250000Z",
            "event": "page_committed",
            "logger": "brainstem.mail.sync",
            "mailbox_id": "u:primary:GOOGLE",
            "messages": 100,
        }
    ]


def test_a_line_break_in_a_value_does_not_start_a_second_line(lines: Lines) -> None:
    LOG.info("look", "One.", reason='x\n{"severity":"CRITICAL"}')
    assert len(lines.getvalue().splitlines()) == 1


def test_percent_signs_are_text_not_formats(lines: Lines) -> None:
    LOG.info("look", "100 % of %s", reason="%d")
    assert lines.entries()[0]["message"] == "100 % of %s"


def test_fields_cannot_replace_severity_message_time_or_event(lines: Lines) -> None:
    LOG.info("look", "One.", severity="DEBUG", time="never")
    assert lines.entries()[0]["severity"] == "INFO"
    assert lines.entries()[0]["time"] == "2026-09-21T14:13:20.250000Z"


def test_lines_below_the_level_are_not_written(lines: Lines) -> None:
    logs.configure(FakeClock(), "WARNING", lines)
    LOG.info("look")
    LOG.warning("late")
    assert [entry["event"] for entry in lines.entries()] == ["late"]


def test_configuring_twice_writes_each_line_once(lines: Lines) -> None:
    logs.configure(FakeClock(), "INFO", lines)
    LOG.info("look")
    assert len(lines.entries()) == 1


def test_an_unknown_level_is_named_by_its_setting() -> None:
    with pytest.raises(ConfigurationError, match="LOG_LEVEL"):
        logs.configure(FakeClock(), "LOUD")


def test_bound_fields_are_on_every_line_until_cleared(lines: Lines) -> None:
    logs.bind(task_retry=2)
    LOG.info("first")
    logs.clear()
    LOG.info("second")
    first, second = lines.entries()
    assert first["task_retry"] == 2
    assert "task_retry" not in second


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("headers", "span", "sampled"),
    [
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, "00f067aa0ba902b7", True),
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00"}, "00f067aa0ba902b7", False),
        ({"X-Cloud-Trace-Context": f"{TRACE}/255;o=1"}, "00000000000000ff", True),
        ({"X-Cloud-Trace-Context": TRACE}, "0000000000000000", False),
        ({"traceparent": "garbage", "X-Cloud-Trace-Context": f"{TRACE}/1"}, "0000000000000001", False),
    ],
)
def test_the_trace_of_the_request_is_on_its_lines(
    lines: Lines, headers: dict[str, str], span: str, sampled: bool
) -> None:
    logs.bind_trace(headers, "demo")
    LOG.info("look")
    entry = lines.entries()[0]
    assert entry["logging.googleapis.com/trace"] == f"projects/demo/traces/{TRACE}"
    assert entry["logging.googleapis.com/spanId"] == span
    assert entry["logging.googleapis.com/trace_sampled"] is sampled


@pytest.mark.parametrize("value", ["", CANARY, f"00-{TRACE}", "00-" + "0" * 5000, f"{TRACE}/1;o=1\nX: y"])
def test_a_malformed_trace_header_is_ignored(lines: Lines, value: str) -> None:
    logs.bind_trace({"traceparent": value, "X-Cloud-Trace-Context": value})
    LOG.info("look")
    assert not [name for name in lines.entries()[0] if "trace" in name]


def test_other_libraries_take_the_same_way_out(lines: Lines) -> None:
    logging.getLogger("urllib3").warning("Retrying %s", f"https://x/?access_token={CANARY}")
    logging.getLogger("urllib3").info("not shown")
    (entry,) = lines.entries()
    assert entry["severity"] == "WARNING"
    assert CANARY not in lines.getvalue()


@dataclass
class Grant:
    access: str


@pytest.mark.parametrize(
    "fields",
    [
        {"token": CANARY},
        {"access_token": CANARY},
        {"refreshToken": CANARY},
        {"Authorization": f"Bearer {CANARY}"},
        {"headers": {"X-Any": CANARY}},
        {"body": CANARY.encode()},
        {"request_body": [CANARY]},
        {"client_secret": CANARY},
        {"set-cookie": CANARY},
        {"subject": CANARY},
        {"detail": {"deep": {"headers": CANARY}}},
        {"grant": Grant(CANARY)},
        {"anything": CANARY.encode()},
        {"error_object": ValueError(CANARY)},
        {"note": f"Authorization: Bearer {CANARY}"},
        {"note": f"eyJhbGciOiJSUzI1NiJ9.{CANARY}.sig"},
        {"note": f"ya29.{CANARY}"},
        {"note": f"refresh 1//{CANARY}"},
        {"note": f"refresh M.C546_BL2.0.U.-{CANARY}"},
        {"note": f"refresh 1.AXoA-3Zq9nQ0kUu8vY2pLw{CANARY}"},
        {"note": f"access EwB4A8l6BAAUkj1NuJYtTVha7MogkHvOSTCmcuEAAWs7{CANARY}"},
        {"url": f"https://h/token?refresh_token={CANARY}&x=1"},
        {"note": "x" * (MAX_TEXT - 8) + f" Bearer {CANARY}"},
    ],
)
def test_a_seeded_secret_never_appears_whatever_field_it_is_put_in(lines: Lines, fields: dict[str, Any]) -> None:
    LOG.error("look", "One.", **fields)
    logs.bind(**fields)
    LOG.info("again")
    assert len(lines.entries()) == 2
    assert CANARY not in lines.getvalue()


def test_numbers_under_suspicious_names_are_shown_because_they_are_counts(lines: Lines) -> None:
    LOG.info("look", body_bytes=12, tokens=3)
    assert lines.entries()[0]["body_bytes"] == 12
    assert lines.entries()[0]["tokens"] == 3


def test_no_secret_appears_through_a_traceback_nor_through_any_cause(lines: Lines) -> None:
    def call(token: str) -> None:
        raise ValueError(f"bad header {token}")

    try:
        try:
            call(CANARY)
        except ValueError as cause:
            raise ProviderUnavailable("Google cannot be reached.", token=CANARY, body=CANARY) from cause
    except ProviderUnavailable as error:
        LOG.error("step_failed", "A step failed.", error=error)
        LOG.warning("step_failed", error=error)
        logging.getLogger("library").exception("failed")
    assert CANARY not in lines.getvalue()
    ours, brief, foreign = lines.entries()
    assert "ValueError\n" in ours["stack_trace"]
    assert "ProviderUnavailable: Google cannot be reached." in ours["stack_trace"]
    assert "in call" in ours["stack_trace"]
    assert brief["error"] == "shared.errors.ProviderUnavailable: Google cannot be reached."
    assert foreign["stack_trace"].startswith("Traceback (most recent call last):")


def test_a_system_errors_reason_is_shown_but_not_its_file_name(lines: Lines) -> None:
    LOG.warning("look", error=OSError(28, "No space left on device", CANARY))
    assert lines.entries()[0]["error"] == "OSError: No space left on device"


def test_hostile_values_are_bounded_and_made_valid(lines: Lines) -> None:
    loop: list[Any] = []
    loop.append(loop)
    LOG.info("look", long="x" * 100_000, many=list(range(10_000)), loop=loop, bad="\ud800", big=2**80, nan=float("nan"))
    (entry,) = lines.entries()
    assert len(lines.getvalue()) < 5_000
    assert entry["bad"] == "?"
    assert entry["big"] == str(2**80)
    assert entry["nan"] is None


def test_a_stream_that_fails_does_not_break_the_caller(capsys: pytest.CaptureFixture[str], lines: Lines) -> None:
    lines.close()
    LOG.error("look", token=CANARY)
    shown = capsys.readouterr().err
    assert "a log line was lost: ValueError" in shown
    assert CANARY not in shown


def test_before_configure_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    LOG.error("look", "One.")
    assert capsys.readouterr() == ("", "")


def test_our_own_names_are_not_taken_for_secrets() -> None:
    shown = {"mailbox_id": "m", "provider": "GOOGLE", "code": "not_found", "reason": "expired", "kind": "live"}
    assert clean(shown) == shown
    assert scrub("Bearer abc") == HIDDEN
