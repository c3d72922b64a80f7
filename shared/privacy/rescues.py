"""Taking up again what has missed its deadline: a bounded number of chains per tick, each counted by its own document."""

from __future__ import annotations

from collections.abc import Callable

from shared import queries
from shared.cas import amend
from shared.errors import BrainstemError
from shared.observability import logs
from shared.ports import Data, Doc, Query, Store

STUCK_AFTER = 600.0
"""Seconds past its next step after which a chain is taken for dead and rescued."""

AT_ONCE = 100

_LOG = logs.named(__name__)


def rescue_due(
    store: Store, now: float, due: Callable[[int, float, int], Query], go_on: Callable[[Doc], object]
) -> int:
    """Count a rescue in each document that is ``due`` and have its chain ``go_on`` from there; answers how many.

    What cannot be taken up now is due again at the next tick and does not keep the others waiting. Raises ``Retry`` where
    they cannot be found.
    """

    def decide(current: Doc) -> Data | None:
        if current.data["due_at"] > now:
            return None
        return {"rescues": current.data["rescues"] + 1, "due_at": now + STUCK_AFTER}

    rescued = 0
    for shard in range(queries.SHARDS):
        for doc in store.query(due(shard, now, AT_ONCE)):
            try:
                current = amend(store, doc.ref, decide, doc)
                if current is not None and current.data["due_at"] > now:
                    go_on(current)
                    rescued += 1
            except BrainstemError as error:
                _LOG.warning("tick_failed", "What had missed its deadline could not be taken up again.", error)
    return rescued
