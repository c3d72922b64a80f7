"""What can go wrong with calls of the Gmail API, and what it answers then."""

from __future__ import annotations

from infra.local.google.errors import (
    GoogleError,
    exhausted,
    not_found,
    precondition_failed,
    unauthenticated,
    units_used_up,
    user_too_fast,
)
from infra.local.google.state import State
from infra.local.simulated.faults import Fired
from infra.local.simulated.rules import ANY, Rule, Vocabulary

_FRESH_AT_MOST = 300.0
_LISTS = ("users.messages.list", "users.threads.list", "users.history.list", "users.drafts.list")
_METHODS = {
    "status": ANY, "precondition": ANY, "limit_403": ANY, "limit_429": ANY, "timeout": ANY, "cut": ANY,
    "garbage": ANY, "bad_page_token": _LISTS, "expired_history": ("users.history.list",),
    "one_push_client": ("users.watch",), "fresh_404": ("users.messages.get",),
    "lost_part": ("batch",), "shuffled_parts": ("batch",), "no_content_ids": ("batch",),
}  # fmt: skip
_WORDS = {
    "precondition": "400 failedPrecondition", "limit_403": "403 rate limit", "limit_429": "429 rate limit",
    "timeout": "held and cut", "cut": "cut in the middle", "garbage": "garbage", "bad_page_token": "invalid page token",
    "expired_history": "history expired", "one_push_client": "one push client only", "fresh_404": "404 for a fresh mail",
    "lost_part": "part of a batch missing", "shuffled_parts": "parts of a batch in another order",
    "no_content_ids": "batch without Content-IDs",
}  # fmt: skip
_MESSAGES = {
    400: "Bad Request", 401: str(unauthenticated()), 403: "Forbidden", 404: str(not_found()),
    409: "The operation was aborted.", 429: "Too many requests.", 500: "Internal error encountered.", 502: "Bad Gateway",
    503: "The service is currently unavailable.", 504: "Deadline expired before operation could complete.",
}  # fmt: skip


def status_error(rule: Rule) -> GoogleError:
    """What a rule of the kind ``status`` answers."""
    if rule.status == 429 and not rule.reason:
        return exhausted(rule.retry_after or 1, retry_after=bool(rule.retry_after))
    headers = [("Retry-After", str(rule.retry_after))] if rule.retry_after else []
    return GoogleError(rule.status, _MESSAGES[rule.status], rule.reason, headers=headers)


GMAIL = Vocabulary(_METHODS, _WORDS, status_error, {"timeout": 30.0, "fresh_404": 3.0}, "users.")
"""Every kind of fault of the Gmail API."""


def refusal(fired: Fired, now: float) -> GoogleError | None:
    """What to answer instead of carrying the call out; None where the fault is of another nature."""
    rule = fired.rule
    match rule.fault:
        case "status":
            return status_error(rule)
        case "precondition":
            return precondition_failed()
        case "limit_403":
            return units_used_up() if fired.number % 2 else user_too_fast(now + (rule.retry_after or 1))
        case "limit_429":
            return exhausted(rule.retry_after or 1, retry_after=bool(rule.retry_after or fired.number % 2))
        case "bad_page_token":
            return GoogleError(400, "Invalid pageToken", "invalidArgument")
        case "expired_history" | "fresh_404":
            return not_found()
        case "one_push_client":
            return GoogleError(
                400,
                "Only one user push notification client allowed per developer (call /stop then try again)",
                "failedPrecondition",
                "FAILED_PRECONDITION",
            )
    return None


def arrival_age(state: State, address: str, message_id: str, now: float) -> float | None:
    """Seconds since a message could first be read; None for one that was there all along, is unknown, or is old."""
    with state.reading() as db:
        message = db.execute(
            "SELECT changed FROM messages WHERE address = ? AND id = ?", (address, message_id)
        ).fetchone()
        # Looking through the history takes long, so only for what changed lately.
        if message is None or message["changed"] is None or now - message["changed"] > _FRESH_AT_MOST:
            return None
        arrival = db.execute(
            "SELECT visible FROM history WHERE address = ? AND message = ? AND instr(types, ',messagesAdded,') > 0",
            (address, message_id),
        ).fetchone()
    return None if arrival is None else now - float(arrival["visible"])
