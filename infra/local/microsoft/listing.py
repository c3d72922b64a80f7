"""$filter and $orderby as far as they are simulated: times of receipt, and whether a message was read."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from infra.local.microsoft.errors import invalid

_TIME = re.compile(r"receivedDateTime\s+(ge|gt|le|lt|eq)\s+'?([0-9TZ:.+-]+)'?", re.IGNORECASE)
_READ = re.compile(r"isRead\s+(eq|ne)\s+(true|false)", re.IGNORECASE)
_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "eq": "="}
_ORDERS = {"": "DESC", "receiveddatetime desc": "DESC", "receiveddatetime asc": "ASC", "receiveddatetime": "ASC"}


def conditions(expression: str, only: tuple[str, ...] = ("ge", "gt", "le", "lt", "eq")) -> tuple[str, list[Any]]:
    """SQL for a $filter, and its values; '' for none. Raises ``GraphError`` 400 for what is not simulated."""
    parts: list[str] = []
    values: list[Any] = []
    for term in re.split(r"\s+and\s+", expression.strip(), flags=re.IGNORECASE) if expression.strip() else ():
        if (time := _TIME.fullmatch(term.strip())) and time[1].lower() in only:
            parts.append(f"received {_SIGNS[time[1].lower()]} ?")
            values.append(_milliseconds(time[2]))
        elif (read := _READ.fullmatch(term.strip())) and "eq" in only:
            parts.append("shown_read = ?")
            values.append((read[1].lower() == "eq") == (read[2].lower() == "true"))
        else:
            raise invalid("The query filter contains one or more invalid nodes.", "ErrorInvalidUrlQueryFilter")
    return "".join(f" AND {part}" for part in parts), values


def direction(expression: str) -> str:
    """ASC or DESC for an $orderby. Raises ``GraphError`` 400 for what is not simulated."""
    found = _ORDERS.get(" ".join(expression.lower().split()))
    if found is None:
        raise invalid("The restriction or sort order is too complex for this operation.", "InefficientFilter")
    return found


def _milliseconds(value: str) -> int:
    try:
        return int(datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp() * 1000)
    except ValueError:
        raise invalid("Invalid date in $filter.", "ErrorInvalidUrlQueryFilter") from None
