"""What can go wrong with calls of Graph, and what it answers then."""

from __future__ import annotations

from infra.local.microsoft.errors import GraphError, not_found, status_error, throttled
from infra.local.simulated.faults import Fired
from infra.local.simulated.rules import ANY, Vocabulary

_WORDS = {
    "limit_429": "429 throttled", "concurrency_429": "429 too many at once", "timeout": "held and cut",
    "cut": "cut in the middle", "garbage": "garbage", "fresh_404": "404 for a fresh mail",
    "shuffled_parts": "parts of a batch in another order",
}  # fmt: skip
GRAPH = Vocabulary(
    {"status": ANY, **dict.fromkeys(_WORDS, ANY), "fresh_404": ("messages.get",), "shuffled_parts": ("batch",)},
    _WORDS, status_error, {"timeout": 30.0, "fresh_404": 3.0},
)  # fmt: skip
"""Every kind of fault of Graph; ``batch`` and ``token`` have to be named, as everywhere."""


def refusal(fired: Fired) -> GraphError | None:
    """What to answer instead of carrying the call out; None where the fault is of another nature."""
    match fired.rule.fault:
        case "status":
            return status_error(fired.rule)
        case "limit_429":
            return throttled(fired.rule.retry_after or 1)
        case "concurrency_429":
            return throttled(fired.rule.retry_after or 1, "MailboxConcurrency")
        case "fresh_404":
            return not_found()
    return None
