"""What an answer that is not a success means: the only place that maps Google's errors to ours.

Messages of the resulting errors hold our words, the HTTP status and at most a reason made of letters: no body, no
address, no token.

Sources, docs/gmail.md: 1 (404 of a cursor), 5 (one push client), 9 (``failedPrecondition``), 10 (both 403 and 429 are rate
limits), 12 (a token endpoint's 5xx or 429 says nothing about the grant).
"""

from __future__ import annotations

from enum import StrEnum

from shared import errors
from shared.providers.http.failure import Failure

_LIMITS = {
    "ratelimitexceeded", "userratelimitexceeded", "quotaexceeded", "dailylimitexceeded", "limitexceeded",
    "resourceexhausted", "toomanyrequests",
}  # fmt: skip
_SCOPES = {"insufficientpermissions", "accesstokenscopeinsufficient", "insufficientscope"}
_DEAD_GRANT = {"invalidgrant", "adminpolicyenforced"}
_BAD_CLIENT = {"invalidclient", "unauthorizedclient", "deletedclient", "disabledclient"}
_PRECONDITION = {"failedprecondition"}
_ONE_PUSH_CLIENT = "only one user push notification client"


class Where(StrEnum):
    """What was being asked; the value completes the sentence "Gmail refused ..."."""

    PROFILE = "the profile"
    LIST = "a listing"
    LIST_PAGE = "a further page of a listing"
    LABELS = "the labels"
    MESSAGE = "a message"
    BATCH = "a batch of messages"
    HISTORY = "the history"
    HISTORY_PAGE = "a further page of the history"
    WATCH = "a watch"
    STOP = "the end of a watch"
    TOKEN = "a token"  # noqa: S105 - not a password, a noun
    DISCOVERY = "the discovery document"
    REVOCATION = "to revoke a grant"


def precondition(failure: Failure) -> bool:
    """Whether it is Google's intermittent ``failedPrecondition``: permanent only if it stays (docs/gmail.md, 9)."""
    return failure.status == 400 and failure.says(_PRECONDITION)


def one_push_client(failure: Failure) -> bool:
    """Whether a watch of ours is in the way of this one (docs/gmail.md, 5)."""
    return failure.status == 400 and _ONE_PUSH_CLIENT in failure.message


def unknown_label(failure: Failure) -> bool:
    """Whether the label that a listing asked for does not exist (any more)."""
    return failure.status in (400, 404) and "invalid label" in failure.message


def error_for(failure: Failure, where: Where) -> errors.BrainstemError:
    """Map any failure to the error that callers act on; ``NotFound`` only for a message."""
    if where in (Where.TOKEN, Where.DISCOVERY, Where.REVOCATION):
        return _token_error(failure, where)
    said = f"({failure.describe()})"
    if failure.status == 429 or (400 <= failure.status < 500 and failure.says(_LIMITS)):
        return errors.RateLimited(f"Gmail asks us to slow down {said}.", retry_after=failure.retry_after)
    if failure.status == 401 or (failure.status == 403 and failure.says(_SCOPES)):
        return errors.ReauthRequired(f"Gmail does not accept the access granted {said}.")
    if failure.outage:
        return errors.ProviderUnavailable(f"Gmail did not serve {where} {said}.", retry_after=failure.retry_after)
    if failure.status == 404 and where is Where.MESSAGE:
        return errors.NotFound("Gmail does not have the message (any more).")
    if failure.status == 404 and where in (Where.HISTORY, Where.HISTORY_PAGE):
        return errors.CursorExpired(f"Gmail no longer has the history after the cursor {said}.")
    if failure.status == 400 and where in (Where.LIST_PAGE, Where.HISTORY_PAGE) and not precondition(failure):
        return errors.PageExpired(f"Gmail does not accept the page token {said}.")
    return errors.ProviderRefused(f"Gmail refused {where} {said}.")


def _token_error(failure: Failure, where: Where) -> errors.BrainstemError:
    said = f"({failure.describe()})"
    if failure.status == 429 or (400 <= failure.status < 500 and failure.says(_LIMITS)):
        return errors.RateLimited(f"Google asks us to slow down {said}.", retry_after=failure.retry_after)
    if failure.outage:
        return errors.ProviderUnavailable(f"Google did not serve {where} {said}.", retry_after=failure.retry_after)
    if where is Where.TOKEN and failure.says(_DEAD_GRANT):
        return errors.ReauthRequired(f"Google no longer accepts the refresh token {said}.")
    if where is Where.TOKEN and failure.says(_BAD_CLIENT):
        return errors.ConfigurationError(f"Google does not accept GOOGLE_CLIENT_ID or its secret {said}.")
    return errors.ProviderRefused(f"Google refused {where} {said}.")
