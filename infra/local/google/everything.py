"""The plan with every kind of fault in it, for the demo that has to end exact all the same.

The numbers in ``at`` are chosen so that each rule fires at least once in a run of 2,000 mails (batches of 25, so about 80
of them) and 100 changes; the probabilities add as much as a mailbox bears without becoming slow. The token endpoint is
asked again only because some calls answer 401. Statuses that say something final about a mail or a grant (a plain 400,
403 or 404, ``invalid_grant``) are not in it: a client is right to believe those.
"""

from __future__ import annotations

from typing import Any

_GETS = ["users.messages.get", "users.threads.get"]
_PUSHES = {
    "drop": 0.3, "duplicate": 0.3, "early": 0.25, "early_seconds": 1.5, "delay": 0.2, "delay_seconds": 2.0,
    "reorder": 0.25, "latency": 0.005, "sure": 5,
}  # fmt: skip
_ALONE = {"methods": ["*"], "where": "outer"}
_INSIDE = {"methods": ["*"], "where": "inner"}
_BATCH = {"methods": ["batch"]}
_TOKEN = {"methods": ["token"]}
_CALLS: list[dict[str, Any]] = [
    {"fault": "one_push_client", "at": [1], "most": 1},
    {"fault": "status", "status": 503, **_TOKEN, "at": [2], "most": 1},
    {"fault": "status", "status": 429, **_TOKEN, "at": [3], "most": 1},
    {"fault": "status", "status": 401, **_ALONE, "at": [30, 60, 90]},
    {"fault": "status", "status": 401, **_INSIDE, "at": [400, 1200]},
    {"fault": "status", "status": 500, "methods": ["*"], "probability": 0.002, "at": [50]},
    {"fault": "status", "status": 502, "methods": ["*"], "probability": 0.001, "at": [300]},
    {"fault": "status", "status": 503, "methods": ["*"], "probability": 0.002, "at": [120], "retry_after": 1},
    {"fault": "status", "status": 504, "methods": ["*"], "probability": 0.001, "at": [420]},
    {"fault": "status", "status": 503, **_BATCH, "probability": 0.01, "at": [6]},
    {"fault": "precondition", "methods": _GETS, "probability": 0.002, "at": [150]},
    {"fault": "limit_403", **_ALONE, "probability": 0.003, "at": [12]},
    {"fault": "limit_403", **_INSIDE, "probability": 0.001, "at": [200]},
    {"fault": "limit_429", **_ALONE, "probability": 0.003, "at": [24]},
    {"fault": "limit_429", **_INSIDE, "probability": 0.001, "at": [500]},
    {"fault": "limit_429", **_BATCH, "probability": 0.01, "at": [15]},
    {"fault": "timeout", **_ALONE, "probability": 0.002, "at": [40], "most": 3, "seconds": 2.0},
    {"fault": "timeout", **_BATCH, "at": [20], "most": 1, "seconds": 2.0},
    {"fault": "cut", **_ALONE, "probability": 0.005, "at": [9]},
    {"fault": "cut", **_BATCH, "probability": 0.01, "at": [10]},
    {"fault": "garbage", **_ALONE, "probability": 0.005, "at": [28]},
    {"fault": "garbage", **_INSIDE, "probability": 0.001, "at": [800]},
    {"fault": "garbage", **_BATCH, "probability": 0.01, "at": [12]},
    {"fault": "bad_page_token", "at": [2], "most": 2},
    {"fault": "expired_history", "probability": 0.005, "at": [20], "most": 2},
    {"fault": "fresh_404", "probability": 0.3, "at": [1], "seconds": 3.0},
    {"fault": "shuffled_parts", "probability": 0.2, "at": [2]},
    {"fault": "lost_part", "probability": 0.05, "at": [3]},
    {"fault": "no_content_ids", "probability": 0.1, "at": [4]},
]


def everything(seed: int) -> dict[str, Any]:
    """The plan for ``GoogleSimulator.set_faults`` and ``PUT /control/faults``."""
    return {**_PUSHES, "seed": seed, "calls": [dict(rule) for rule in _CALLS]}
