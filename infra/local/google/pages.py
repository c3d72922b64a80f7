"""Page tokens: opaque to clients, bound to the listing they continue, refused with 400 when they are anything else.

They name a position, not an offset, so what arrives while a client walks shifts nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from infra.local.google.errors import GoogleError


@dataclass(frozen=True, slots=True)
class MessagesPage:
    """Where a walk through messages stands: behind this time (milliseconds) and id, going back in time.

    ``kind`` is what is listed by them: messages, threads or drafts. ``span`` is after and before which second they came.
    """

    kind: str
    labels: tuple[str, ...]
    everything: bool
    span: tuple[int | None, int | None] = (None, None)
    received: int | None = None
    id: str = ""

    @classmethod
    def parse(
        cls,
        token: str,
        kind: str,
        labels: Sequence[str],
        everything: bool,
        span: tuple[int | None, int | None] = (None, None),
    ) -> MessagesPage:
        """Read a token. Raises ``GoogleError`` 400."""
        begun = cls(kind, tuple(labels), everything, span)
        if not token:
            return begun
        match _opened(token):
            case [str(of), list(which), bool(whole), list(times), int(received), str(last)]:
                if (of, which, whole, times) == (kind, list(labels), everything, list(span)):
                    return replace(begun, received=received, id=last)
        raise _invalid()

    def after(self, received: int, message_id: str) -> str:
        """The token that continues behind a message."""
        return _sealed([self.kind, list(self.labels), self.everything, list(self.span), received, message_id])

    def condition(self, address: str, table: str = "") -> tuple[str, list[Any]]:
        """SQL that selects what is left of the walk; ``table`` is a prefix of the columns, such as ``m.``."""
        where, values = self.fitting(address, table)
        if self.received is not None:
            where += f" AND ({table}received, {table}id) < (?, ?)"
            values += [self.received, self.id]
        return where, values

    def fitting(self, address: str, table: str = "") -> tuple[str, list[Any]]:
        """SQL that selects every message of the whole walk."""
        where = f"{table}address = ? AND {table}shown = 1"
        values: list[Any] = [address]
        for label in self.labels:
            where += f" AND instr({table}shown_labels, ?) > 0"
            values.append(f",{label},")
        if not self.everything:
            for label in sorted({"SPAM", "TRASH"} - set(self.labels)):
                where += f" AND instr({table}shown_labels, ',{label},') = 0"
        for second, comparison in zip(self.span, (">=", "<"), strict=True):
            if second is not None:
                where += f" AND {table}received {comparison} ?"
                values.append(second * 1000)
        return where, values


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Where a walk through the history stands: behind ``position``, having begun behind ``start``."""

    start: int
    position: int

    @classmethod
    def parse(cls, token: str, start: int) -> HistoryPage:
        """Read a token. Raises ``GoogleError`` 400."""
        if not token:
            # Cursors beyond 64 bits are legal; nothing is behind them.
            return cls(start, min(start, 2**63 - 1))
        match _opened(token):
            case ["h", str(begun), int(position)] if begun == str(start):
                return cls(start, position)
        raise _invalid()

    def after(self, history: int) -> str:
        """The token that continues behind a record."""
        return _sealed(["h", str(self.start), history])


def _sealed(value: list[Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


def _opened(token: str) -> Any:
    try:
        return orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, binascii.Error):
        return None


def _invalid() -> GoogleError:
    return GoogleError(400, "Invalid pageToken", "invalidArgument")
