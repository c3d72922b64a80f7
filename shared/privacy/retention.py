"""What goes by its age: entries of audit trails, and the tombstones of people, where the settings say so.

A tick removes a bounded portion, of one shard at a time. The log of events goes by its own setting (``mail/tick.py``),
exports by theirs, tickets, sessions and counts by the time that each of them says.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared import queries
from shared.ports import Delete, Query, Store
from shared.settings import Settings

DAY = 86_400.0
AT_ONCE = 200
"""Documents of one query, at most: of one shard's trails, or of the tombstones."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Seconds that each is kept, 0 for ever; ``tick`` is how often it is swept."""

    trail: float = 0.0
    tombstones: float = 0.0
    tick: float = 60.0

    @classmethod
    def of(cls, settings: Settings) -> Retention:
        """The ages that the settings give."""
        return cls(settings.audit_trail_days * DAY, settings.tombstone_days * DAY, settings.tick_seconds)

    def sweep(self, store: Store, now: float) -> int:
        """Delete a portion of what is too old; answers how many documents. Raises ``StoreError``."""
        swept = 0
        if self.trail:
            shard = queries.shard_in_turn(now, self.tick)
            swept += _delete(store, queries.old_trail(shard, now - self.trail, AT_ONCE))
        if self.tombstones:
            swept += _delete(store, queries.old_tombstones(now - self.tombstones, AT_ONCE))
        return swept


def _delete(store: Store, query: Query) -> int:
    docs = store.query(query)
    if docs:
        store.commit([Delete(doc.ref) for doc in docs])
    return len(docs)
