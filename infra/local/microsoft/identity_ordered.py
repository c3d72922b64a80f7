"""Refusals of the token endpoint that somebody has ordered: so many of a code or a status, for one account or any.

An order is ``{"code": 50076 | "temporarily_unavailable", "times": 1, "address": null}``, or in place of the code
``{"status": 429 | 5xx, "retry_after": seconds}``. Orders are kept in the state file and used up the oldest first.
"""

from __future__ import annotations

import threading
from typing import Any

from infra.local.microsoft.identity_refusals import AADSTS, TEMPORARILY, AadstsError
from infra.local.microsoft.state import State
from infra.local.simulated.errors import ControlError

_SETTING = "aadsts"
_FIELDS = frozenset({"code", "status", "retry_after", "times", "address"})
_MOST_TIMES = 10_000
_MOST_ORDERS = 100


class OrderedRefusals:
    """The orders. Thread-safe."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.Lock()

    def order(self, asked: Any) -> dict[str, Any]:
        """Add an order, and answer all that are open; ``times`` 0 takes back all there are. Raises ``ControlError``."""
        order = _read(asked)
        with self._lock:
            orders = self._orders() if order["times"] else []
            if len(orders) >= _MOST_ORDERS:
                raise ControlError("There are too many orders already.")
            if order["times"]:
                orders.append(order)
            self._state.remember(_SETTING, orders)
        return {"orders": orders}

    def strike(self, address: str) -> None:
        """Raise ``AadstsError`` where an order is open for this account. Not inside of a transaction."""
        with self._lock:
            orders = self._orders()
            order = next((one for one in orders if one["address"] in (None, address)), None)
            if order is None:
                return
            order["times"] -= 1
            self._state.remember(_SETTING, [one for one in orders if one["times"]])
        raise AadstsError(order["code"], status=order["status"], retry_after=order["retry_after"])

    def _orders(self) -> list[dict[str, Any]]:
        return self._state.setting(_SETTING) or []


def _read(asked: Any) -> dict[str, Any]:
    if not isinstance(asked, dict) or not set(asked) <= _FIELDS:
        raise ControlError(f"The body must be an object with {', '.join(sorted(_FIELDS))}.")
    code = TEMPORARILY if asked.get("code") == "temporarily_unavailable" else asked.get("code", 0)
    status, times = asked.get("status", 0), asked.get("times", 1)
    after, address = asked.get("retry_after", 0), asked.get("address")
    if any(isinstance(number, bool) or not isinstance(number, int) for number in (code, status, times, after)):
        raise ControlError("code, status, retry_after and times must be whole numbers.")
    if code and code not in AADSTS:
        raise ControlError(f"There is no code {code}; known are {', '.join(map(str, sorted(AADSTS)))}.")
    if times and not code and not (status == 429 or 500 <= status <= 599):
        raise ControlError("An order needs a code, or a status that is 429 or from 500 to 599.")
    if not 0 <= times <= _MOST_TIMES or after < 0:
        raise ControlError(f"times must be from 0 to {_MOST_TIMES}, retry_after not negative.")
    if address is not None and not isinstance(address, str):
        raise ControlError("address must be an address or null.")
    return {"code": code, "status": status, "retry_after": after, "times": times, "address": address}
