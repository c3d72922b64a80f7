"""What an answer that is not a success means: the only place that maps Google's errors to ours.

Messages of the resulting errors hold our words, the HTTP status and at most a reason made of letters: no body, no
address, no token.

Sources, docs/gmail.md: 1 (404 of a cursor), 5 (one push client), 9 (``failedPrecondition``), 10 (both 403 and 429 are rate
limits), 12 (a token endpoint's 5xx or 429 says nothing about the grant).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared import errors

_LIMITS = {
    "ratelimitexceeded", "userratelimitexceeded", "quotaexceeded", "dailylimitexceeded", "limitexceeded",
    "resourceexhausted", "toomanyrequests",
}  # fmt: skip
_SCOPES = {"insufficientpermissions", "accesstokenscopeinsufficient", "insufficientscope"}
_DEAD_GRANT = {"invalidgrant", "adminpolicyenforced"}
_BAD_CLIENT = {"invalidclient", "unauthorizedclient", "deletedclient", "disabledclient"}
_PRECONDITION = "failedprecondition"
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


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that is no success: status, reasons as Google spells them, message in lower case, wait in seconds."""

    status: int
    reasons: tuple[str, ...] = ()
    message: str = ""
    retry_after: float | None = None

    @property
    def precondition(self) -> bool:
        """Google's intermittent ``failedPrecondition``: permanent only if it stays (docs/gmail.md, 9)."""
        return self.status == 400 and _PRECONDITION in self._plain()

    @property
    def one_push_client(self) -> bool:
        """A watch of ours is in the way of this one (docs/gmail.md, 5)."""
        return self.status == 400 and _ONE_PUSH_CLIENT in self.message

    @property
    def unknown_label(self) -> bool:
        """The label that a listing asked for does not exist (any more)."""
        return self.status in (400, 404) and "invalid label" in self.message

    @property
    def outage(self) -> bool:
        """The server did not manage to answer; it says nothing about what was asked."""
        return self.status < 400 or self.status in (408, 409) or self.status >= 500

    @property
    def malformed(self) -> bool:
        """A success that did not bring what was promised."""
        return 200 <= self.status < 300

    def describe(self) -> str:
        """Say the status and the first reason, for people."""
        return f"{self.status} {self.reasons[0]}" if self.reasons else f"{self.status}"

    def says(self, reasons: set[str]) -> bool:
        """Whether any of these (lower case, letters only) was given as a reason."""
        return not reasons.isdisjoint(self._plain())

    def _plain(self) -> set[str]:
        return {reason.replace("_", "").lower() for reason in self.reasons}


def error_for(failure: Failure, where: Where) -> errors.BrainstemError:
    """Map any failure to the error that callers act on; ``NotFound`` only for a message."""
    if where in (Where.TOKEN, Where.DISCOVERY):
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
    if failure.status == 400 and where in (Where.LIST_PAGE, Where.HISTORY_PAGE) and not failure.precondition:
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
