"""Everything that can go wrong, each error with the HTTP status it maps to and what the trigger should do about it.

::

    BrainstemError
    ├── RequestError                the caller's fault; changes nothing; never retried
    │   ├── InvalidRequest          400 invalid_request
    │   ├── Unauthorized            401 unauthorized
    │   ├── Forbidden               403 forbidden
    │   ├── NotFound                404 not_found
    │   ├── ConsentRequired         409 consent_required
    │   ├── AccountRequired         409 account_required   there are several, and the request names none
    │   ├── TooManyRequests         429 too_many_requests  over a limit of ours; ``retry_after`` says when it may be served
    │   ├── AccountDeleted          410 account_deleted    the person's account is being deleted, or has been
    │   ├── Hole                    410 events_expired     the log no longer (or not contiguously) holds what was asked
    │   └── TooLarge                413 too_large          a body, a document or a commit over its limit
    ├── StoreError
    │   ├── Conflict                409 conflict           an expectation failed: re-read what you expected, decide again
    │   ├── Retry                   503 unavailable        nothing was applied
    │   │   ├── Busy                409 busy               others were faster; says nothing of the service
    │   │   └── StorageFull         507 storage_full       the disk is full: retried, and said aloud
    │   └── Unknown                 503 outcome_unknown    it may have been applied: re-read before deciding
    ├── ProviderError
    │   ├── CursorExpired           410 cursor_expired     leads to a resync, never to "now"
    │   ├── FolderAbsent            404 folder_absent      that one folder is gone: what it held is asked for
    │   ├── PageExpired             410 page_expired       a listing's page token is refused: restart that listing
    │   ├── RateLimited             429 rate_limited       the same task again after ``retry_after`` seconds
    │   │   └── Paced               429 paced              not refused: we keep below the limit; only this task waits
    │   ├── ReauthRequired          401 reauth_required    silence until the person reconnects
    │   ├── ProviderUnavailable     503 provider_unavailable   5xx, timeouts, cut connections: retried with backoff
    │   └── ProviderRefused         502 provider_refused   a permanent refusal of the whole call: visible, retried hourly
    └── ConfigurationError          500 misconfigured      a setting is missing or wrong; one clear sentence
"""

from __future__ import annotations

from typing import Any, ClassVar


class BrainstemError(Exception):
    """The root: a stable ``code``, an HTTP ``status``, and whether the trigger should deliver the same thing again."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retry: ClassVar[bool] = True

    def __init__(self, message: str = "", *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message or (type(self).__doc__ or "").split("\n")[0])
        self.retry_after = retry_after
        self.details = details

    @property
    def message(self) -> str:
        """One sentence for people; holds no secret, token, header value or body."""
        return str(self.args[0])


class RequestError(BrainstemError):
    """The request cannot be served as it is."""

    code = "invalid_request"
    status = 400
    retry = False


class InvalidRequest(RequestError):
    """The request is malformed."""


class Unauthorized(RequestError):
    """A valid access token is required."""

    code = "unauthorized"
    status = 401


class Forbidden(RequestError):
    """The caller may not do this."""

    code = "forbidden"
    status = 403


class NotFound(RequestError):
    """There is no such thing."""

    code = "not_found"
    status = 404


class ConsentRequired(RequestError):
    """The person has to grant access to the mailbox first."""

    code = "consent_required"
    status = 409


class AccountRequired(RequestError):
    """There are several accounts; name the one that is meant."""

    code = "account_required"
    status = 409


class TooManyRequests(RequestError):
    """There were too many requests of this kind; try again later."""

    code = "too_many_requests"
    status = 429


class AccountDeleted(RequestError):
    """The account is being deleted, or has been."""

    code = "account_deleted"
    status = 410


class Hole(RequestError):
    """The log does not hold the next event any more."""

    code = "events_expired"
    status = 410


class TooLarge(RequestError):
    """It is larger than its limit."""

    code = "too_large"
    status = 413


class StoreError(BrainstemError):
    """The store did not do what it was asked."""


class Conflict(StoreError):
    """Something else was written in between."""

    code = "conflict"
    status = 409


class Retry(StoreError):
    """The service is not available right now; nothing was applied."""

    code = "unavailable"
    status = 503


class Busy(Retry):
    """Others were faster; nothing was applied."""

    # Not 503: a queue takes that for an overloaded target and slows down for everybody (docs/errors.md).
    code = "busy"
    status = 409


class StorageFull(Retry):
    """The disk is full; nothing was applied."""

    code = "storage_full"
    status = 507


class Unknown(StoreError):
    """The answer was lost; the write may have been applied."""

    code = "outcome_unknown"
    status = 503


class ProviderError(BrainstemError):
    """A mail provider did not do what it was asked; ``account`` is what counts the asking, where there is one."""

    code = "provider_error"
    status = 502
    account: Any = None


class CursorExpired(ProviderError):
    """The provider no longer knows the cursor."""

    code = "cursor_expired"
    status = 410


class FolderAbsent(ProviderError):
    """The provider has no such folder, or no longer."""

    code = "folder_absent"
    status = 404


class PageExpired(ProviderError):
    """The provider refuses the page token of a listing."""

    code = "page_expired"
    status = 410


class RateLimited(ProviderError):
    """The provider asks us to slow down."""

    code = "rate_limited"
    status = 429


class Paced(RateLimited):
    """The mailbox has used what it may for now."""

    code = "paced"


class ReauthRequired(ProviderError):
    """The provider no longer accepts the grant."""

    code = "reauth_required"
    status = 401
    retry = False


class ProviderUnavailable(ProviderError):
    """The provider cannot be reached right now."""

    code = "provider_unavailable"
    status = 503


class ProviderRefused(ProviderError):
    """The provider refuses the call."""

    code = "provider_refused"


class ConfigurationError(BrainstemError):
    """A setting is missing or wrong."""

    code = "misconfigured"
    retry = False
