"""What an answer of Graph's that is not a success means: the only place that maps its errors to ours.

Messages of the resulting errors hold our words, the HTTP status and at most a code made of letters: no body, no address,
no token. What the token endpoint answers is sorted in ``aadsts``.
"""

from __future__ import annotations

from enum import StrEnum

from shared import errors
from shared.providers.http.failure import Failure

_LIMITS = {"toomanyrequests", "applicationthrottled", "mailboxconcurrencylimitexceeded", "activitylimitreached"}
_EXPIRED = {"syncstatenotfound", "resyncrequired", "syncstateinvalid"}
_ABSENT = {"erroritemnotfound", "errorfoldernotfound", "resourcenotfound", "itemnotfound"}


class Where(StrEnum):
    """What was being asked; the value completes the sentence "Outlook refused ..."."""

    PROFILE = "the profile"
    FOLDERS = "the folders"
    CHANGES = "the changes of a folder"
    LIST = "a listing"
    LIST_PAGE = "a further page of a listing"
    MESSAGE = "a message"
    SUBSCRIPTION = "a subscription"


def expired(failure: Failure) -> bool:
    """Whether a delta link is no longer known, in any of the ways in which Graph says so (docs/graph.md, 6)."""
    return failure.status == 410 or (400 <= failure.status < 500 and failure.says(_EXPIRED))


def absent(failure: Failure) -> bool:
    """Whether what the address names is not there; other 404s are about the whole mailbox (docs/graph.md, 22)."""
    return failure.status == 404 and failure.says(_ABSENT)


def limited(failure: Failure) -> bool:
    """Whether the mailbox has asked for too much (docs/graph.md, 11)."""
    return failure.status == 429 or (400 <= failure.status < 500 and failure.says(_LIMITS))


def error_for(failure: Failure, where: Where) -> errors.ProviderError:
    """Map any failure to the error that callers act on."""
    said = f"({failure.describe()})"
    if limited(failure):
        return errors.RateLimited(f"Outlook asks us to slow down {said}.", retry_after=failure.retry_after)
    if failure.status == 401:
        return errors.ReauthRequired(f"Outlook does not accept the access granted {said}.")
    if where in (Where.FOLDERS, Where.CHANGES) and expired(failure):  # before outages: it has been said with a 409
        return errors.CursorExpired(f"Outlook no longer knows where we were in {where} {said}.")
    if failure.outage:
        return errors.ProviderUnavailable(f"Outlook did not serve {where} {said}.", retry_after=failure.retry_after)
    if where is Where.CHANGES and absent(failure):
        return errors.FolderAbsent(f"Outlook does not have the folder (any more) {said}.")
    if where is Where.LIST_PAGE and failure.status in (400, 404, 410):
        return errors.PageExpired(f"Outlook does not accept the link to the next page {said}.")
    return errors.ProviderRefused(f"Outlook refused {where} {said}.")
