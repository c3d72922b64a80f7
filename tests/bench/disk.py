"""How many commits a second the embedded store makes on this disk, each forced to it before it is answered."""

from __future__ import annotations

import time
from pathlib import Path

from shared.adapters.embedded.database import Database
from shared.adapters.embedded.store import EmbeddedStore
from shared.ports import Create
from tests.bench.figures import Figure, Spread

DISK = "embedded store, synchronous=FULL"
SAMPLES = 12
_BODY = {"subject": "A line of ordinary length", "labels": ["INBOX", "UNREAD"], "snippet": "x" * 600}
"""About the size of a message document without its headers."""


def measure(folder: Path) -> list[Figure]:
    """Commits of one document and of a hundred."""
    database = Database(folder / "disk.sqlite", synchronous="FULL")
    store = EmbeddedStore(database, ())
    try:
        _commits(store, "warm", 1, 20)
        single = Spread.of([_commits(store, f"one{sample}", 1, 30) for sample in range(SAMPLES)])
        hundred = Spread.of([_commits(store, f"many{sample}", 100, 3) for sample in range(SAMPLES)])
    finally:
        database.close()
    note = f"{100 * hundred.middle:,.0f} documents a second"
    return [
        single.figure(DISK, "commits of 1 document", "/s"),
        hundred.figure(DISK, "commits of 100 documents", "/s", note=note),
    ]


def _commits(store: EmbeddedStore, name: str, documents: int, times: int) -> float:
    """Commits per second."""
    began = time.perf_counter()
    for number in range(times):
        store.commit([Create(f"things/{name}-{number}-{each}", {**_BODY, "n": each}) for each in range(documents)])
    return times / (time.perf_counter() - began)
