"""One JSON object per line on standard output, in the shape that Cloud Logging reads, safe by construction.

``log = logs.named(__name__)``, then ``log.info("page_committed", "A page was committed.", mailbox_id=m, mails=100)``:
``event`` is a snake_case name that metrics can count, the message is for people and holds no data, and the data are
fields that pass ``redaction.clean``. What ``bind`` binds is on every line until ``clear``, which ends each request.

Built on the standard library's logging, so that other libraries' records take the same way out (warnings and up), and
importing it costs nothing. Field names: cloud.google.com/logging/docs/structured-logging.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TextIO

import orjson

from shared.errors import ConfigurationError
from shared.observability.redaction import clean, describe, scrub, stack
from shared.ports import Clock

ROOT = "brainstem"
SEVERITIES = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_BOUND: ContextVar[Mapping[str, Any]] = ContextVar("brainstem_log_fields", default=_NOTHING)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-|\Z)")
_CLOUD_TRACE = re.compile(r"([0-9a-f]{32})(?:/([0-9]{1,20}))?(?:;o=([01]))?\Z")


@dataclass(frozen=True, slots=True)
class Log:
    """The log of one module."""

    name: str

    def debug(self, event: str, message: str = "", **fields: Any) -> None:
        """Say something that is of use only while hunting a bug."""
        self._say(logging.DEBUG, event, message, None, fields)

    def info(self, event: str, message: str = "", **fields: Any) -> None:
        """Say what was done."""
        self._say(logging.INFO, event, message, None, fields)

    def warning(self, event: str, message: str = "", error: BaseException | None = None, **fields: Any) -> None:
        """Say what will be tried again, or what a person may want to know; ``error`` adds one line about it."""
        if error is not None:
            fields["error"] = describe(error)
        self._say(logging.WARNING, event, message, None, fields)

    def error(self, event: str, message: str = "", error: BaseException | None = None, **fields: Any) -> None:
        """Say what somebody has to look at; ``error`` adds its stack, which Error Reporting groups."""
        self._say(logging.ERROR, event, message, error, fields)

    def _say(
        self, level: int, event: str, message: str, error: BaseException | None, fields: Mapping[str, Any]
    ) -> None:
        logger = logging.getLogger(self.name)
        if logger.isEnabledFor(level):
            # The message is handed over whole, never as a format: a field's text must not be interpreted.
            logger.log(level, "%s", message or event, extra={"said": (event, fields, error)})


def named(module: str) -> Log:
    """The log of a module; pass ``__name__``."""
    return Log(f"{ROOT}.{module.removeprefix('shared.')}")


def bind(**fields: Any) -> None:
    """Put fields on every line of this context from now on."""
    _BOUND.set({**_BOUND.get(), **fields})


def bind_trace(headers: Mapping[str, str], project: str = "") -> None:
    """Bind the trace of a request: ``traceparent`` where it is well formed, else ``X-Cloud-Trace-Context``."""
    trace = span = sampled = None
    given = {name.lower(): value for name, value in headers.items()}
    if match := _TRACEPARENT.match(given.get("traceparent", "")):
        trace, span, sampled = match[1], match[2], bool(int(match[3], 16) & 1)
    elif match := _CLOUD_TRACE.match(given.get("x-cloud-trace-context", "")):
        trace, span, sampled = match[1], f"{int(match[2] or 0) % 2**64:016x}", match[3] == "1"
    if trace is None:
        return
    bind(
        **{
            "logging.googleapis.com/trace": f"projects/{project}/traces/{trace}" if project else trace,
            "logging.googleapis.com/spanId": span,
            "logging.googleapis.com/trace_sampled": sampled,
        }
    )


def clear() -> None:
    """Forget what was bound; called when a request ends, because threads are used again."""
    _BOUND.set(_NOTHING)


def configure(clock: Clock, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every log line of the process to ``stream`` (standard output), with times of this clock; may be repeated.

    Raises ``ConfigurationError``.
    """
    if level.upper() not in SEVERITIES:
        raise ConfigurationError(f"LOG_LEVEL must be one of {', '.join(SEVERITIES)}.")
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Lines)]:
        root.removeHandler(handler)
    root.addHandler(_Lines(clock, stream))
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(level.upper())


class _Lines(logging.Handler):
    """Writes records as lines of JSON."""

    def __init__(self, clock: Clock, stream: TextIO | None) -> None:
        super().__init__()
        self._clock = clock
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; a broken record or stream must not break the request that it tells of."""
        try:
            stream = self._stream or sys.stdout
            stream.write(_line(record, self._clock.now()))
            stream.flush()
        except Exception as failure:
            # ``logging``'s own report would print the record's arguments, so only the class of the failure is shown.
            sys.stderr.write(f"a log line was lost: {describe(failure)}\n")


def _line(record: logging.LogRecord, now: float) -> str:
    event, fields, error = getattr(record, "said", ("library", _NOTHING, None))
    if error is None and record.exc_info:
        error = record.exc_info[1]
    entry: dict[str, Any] = {
        "severity": record.levelname,
        "message": scrub(record.getMessage()),
        "time": datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "event": event,
        "logger": record.name,
    }
    for name, value in {**_BOUND.get(), **fields}.items():
        entry.setdefault(name, clean(value, name))
    if error is not None:
        entry["stack_trace"] = stack(error)
    return orjson.dumps(entry).decode() + "\n"


# Before ``configure`` nothing is printed, rather than printed in another shape to standard error.
logging.getLogger(ROOT).addHandler(logging.NullHandler())
