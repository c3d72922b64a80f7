"""Mail as whoever drives the simulator hands it in: planned or raw, with labels, perhaps a folder's path and categories."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeAlias

from infra.local.microsoft.mailbox import Arrival
from infra.local.microsoft.placement import place
from infra.local.simulated.chance import stream
from infra.local.simulated.errors import BadPlan
from infra.local.simulated.plan import Plan, labels_of
from infra.local.simulated.reading import Mail, from_plan, from_raw

PLAN: TypeAlias = Mapping[str, Any]


def arrival(data: PLAN, seed: int, now: float) -> Arrival:
    """Read a plan or a raw mail. Raises ``BadPlan`` and ``UnreadableMail``."""
    path, categories = data.get("folder") or "", data.get("categories") or []
    if not isinstance(path, str):
        raise BadPlan("folder must be a path such as A/B.")
    where = place(labels_of(data), labels_of({"labels": categories}))
    if "raw" in data:
        mail = from_raw(_bytes(data["raw"]))
        received = data.get("received_at")
        return Arrival(where, now if received is None else float(received), lambda _: mail, path)
    plan = Plan.from_json({name: value for name, value in data.items() if name not in ("folder", "categories")})
    return Arrival(where, now if plan.received_at is None else plan.received_at, partial(_render, plan, seed), path)


def _render(plan: Plan, seed: int, message_id: str) -> Mail:
    name = message_id[-24:].strip("=")
    return from_plan(plan, f"<{name}@simulator.example>", stream(seed, "mime", message_id))


def _bytes(raw: Any) -> bytes:
    if isinstance(raw, bytes):
        return raw
    try:
        return base64.b64decode(raw, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise BadPlan("raw must be a message in base64.") from None
