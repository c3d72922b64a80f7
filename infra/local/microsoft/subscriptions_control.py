"""The control endpoints of subscriptions: lifecycle events on demand, outages, delays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask

from infra.local.simulated.control import body_of, text_in
from infra.local.simulated.errors import ControlError

if TYPE_CHECKING:
    from infra.local.microsoft.subscriptions import Subscriptions

Json = dict[str, Any]
_LONGEST_LAG = 3600.0


def add_control(app: Flask, subscriptions: Subscriptions) -> None:
    """Add ``/control/mailboxes/<address>/lifecycle`` and ``/control/notifications``."""

    @app.post("/control/mailboxes/<address>/lifecycle")
    def happen(address: str) -> Json:
        body = body_of()
        return {"ids": subscriptions.lifecycle(address, text_in(body, "event"), text_in(body, "subscription", ""))}

    @app.put("/control/notifications")
    def arrange() -> Json:
        body = body_of()
        outage, lag = body.get("outage"), body.get("lag_seconds")
        if not set(body) <= {"outage", "lag_seconds"} or not (outage is None or isinstance(outage, bool)):
            raise ControlError("The body must be an object with outage, true or false, and lag_seconds.")
        if lag is not None and (
            isinstance(lag, bool) or not isinstance(lag, (int, float)) or not 0 <= lag <= _LONGEST_LAG
        ):
            raise ControlError(f"lag_seconds must be a number from 0 to {_LONGEST_LAG:.0f}.")
        return subscriptions.arrange(outage, lag)
