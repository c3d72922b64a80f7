"""What an error of Google's services means to the callers of a port.

Messages are our own: Google's text may quote what was sent. It stays in the chain, for a log's stack.
"""

from __future__ import annotations

from google.api_core import exceptions

from shared.errors import Retry

_REASONS: tuple[tuple[type[exceptions.GoogleAPICallError], str], ...] = (
    (exceptions.NotFound, "it does not exist (yet, or any more)"),
    (exceptions.Forbidden, "this identity may not do that"),
    (exceptions.Unauthorized, "the credentials were refused"),
    (exceptions.TooManyRequests, "a quota is used up"),
)


def postponed(what: str, error: exceptions.GoogleAPICallError) -> Retry:
    """The ``Retry`` for an error that trying again later may cure; ``what`` is a noun (``The topic events``).

    That includes what only an operator can cure, a missing topic or permission: work waits for it, and the message
    names it in every log line meanwhile.
    """
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return Retry(f"{what} cannot be used: {reason}.")
    return Retry(f"{what} cannot be reached right now.")
