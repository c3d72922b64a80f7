"""The plan with every kind of fault in it, for the demo that has to end exact all the same.

A client of Graph makes few calls: a page of a delta brings many messages, and only what notifications name is read alone.
So the numbers in ``at`` are small, and the probabilities larger than the Gmail simulator's. The numbers lie further apart than
the calls that connecting takes, which begins anew whenever one of them fails. Statuses that say something
final about a mail or a grant (a plain 400, 403 or 404, ``invalid_grant``) are not in it: a client is right to believe those.
Parts of a $batch are left alone, because a client of one mailbox gains nothing by it.
"""

from __future__ import annotations

from typing import Any

_HINDRANCES = {
    "replays": 0.3, "duplicates": 0.2, "empty_pages": 0.2, "halves": 0.2, "lost_returns": 0.9, "token_eviction": 0.02,
    "recoverable": 0.7, "late": 0.1, "late_seconds": 2.0, "latency": 0.005,
}  # fmt: skip
_NOTIFICATIONS = {
    "drop": 0.3, "duplicate": 0.3, "early": 0.2, "early_seconds": 1.5, "delay": 0.2, "delay_seconds": 2.0,
    "reorder": 0.25, "sure": 5,
}  # fmt: skip
_ALL = {"methods": ["*"]}
_DELTA = {"methods": ["messages.delta"]}
_TOKEN = {"methods": ["token"]}
_CALLS: list[dict[str, Any]] = [
    {"fault": "status", "status": 503, **_TOKEN, "at": [2], "most": 1},
    {"fault": "status", "status": 500, **_ALL, "probability": 0.01, "at": [20]},
    {"fault": "status", "status": 502, **_ALL, "probability": 0.005, "at": [34]},
    {"fault": "status", "status": 503, **_ALL, "probability": 0.01, "at": [48], "retry_after": 1},
    {"fault": "status", "status": 504, **_ALL, "probability": 0.005, "at": [62]},
    {"fault": "limit_429", **_ALL, "probability": 0.01, "at": [76], "retry_after": 2},
    {"fault": "concurrency_429", **_ALL, "probability": 0.01, "at": [90], "retry_after": 1},
    {"fault": "timeout", **_ALL, "probability": 0.002, "at": [104], "most": 3, "seconds": 2.0},
    {"fault": "cut", **_ALL, "probability": 0.005, "at": [118]},
    {"fault": "garbage", **_ALL, "probability": 0.005, "at": [132]},
    {"fault": "limit_429", **_ALL, "at": [146], "most": 1, "retry_after": 15},
    {"fault": "status", "status": 401, **_ALL, "at": [160, 190]},
    {"fault": "cut", **_DELTA, "probability": 0.01, "at": [12]},
    {"fault": "garbage", **_DELTA, "probability": 0.01, "at": [24]},
    {"fault": "fresh_404", "probability": 0.3, "at": [1], "seconds": 3.0},
]


def everything(seed: int) -> dict[str, Any]:
    """The plan for ``MicrosoftSimulator.set_faults`` and ``PUT /control/faults``."""
    return {**_HINDRANCES, **_NOTIFICATIONS, "seed": seed, "calls": [dict(rule) for rule in _CALLS]}
