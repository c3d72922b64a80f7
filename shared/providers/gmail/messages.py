"""Read the metadata of messages, and tell a bad message from a bad moment.

A message that Gmail keeps refusing while it serves others becomes a ``Refused``, which the engine records as a gap: one
bad message must not end a mailbox (docs/gmail.md, 9). Where nothing is served at all it is not the
messages' fault. A limit, a dead grant or a broken connection is about the whole call and is raised.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.errors import NotFound, ProviderRefused, ProviderUnavailable
from shared.providers.base import Fetched, Missing, Refused
from shared.providers.gmail.api import GmailApi
from shared.providers.gmail.bounds import MAX_ID
from shared.providers.gmail.failures import Failure, Where, error_for
from shared.providers.gmail.normalise import STRUCTURAL, normalise

_TRIES = 2  # of one message, at once: refusals on a small share of calls are ordinary (docs/gmail.md, 9)
_ENOUGH = 10  # so many refusals with nothing served are Gmail's trouble; after so many server errors no more are asked


class MessageReader:
    """Reads messages one by one and normalises them."""

    def __init__(self, api: GmailApi, headers: Sequence[str]) -> None:
        self._api = api
        self._headers = headers
        self._asked = list({name.lower(): name for name in (*STRUCTURAL, *headers)}.values())

    def fetch(self, token: str, ids: Sequence[str]) -> tuple[Fetched, ...]:
        """Answer once per id, in the given order; a repeated id is asked for once.

        Raises ``ProviderUnavailable`` if nothing was served and at least ten messages were refused.
        """
        answers: dict[str, Fetched] = {}
        served = refused = outages = 0
        for id in dict.fromkeys(ids):
            answer = self._read(token, id) if _askable(id) else Refused(id, "The id cannot be asked for.")
            if not isinstance(answer, Failure):
                answers[id] = answer
                served += _askable(id)
                continue
            answers[id] = Refused(id, f"Gmail refused the message ({answer.describe()}).")
            refused += 1
            outages += answer.outage
            if not served and outages >= _ENOUGH:
                break
        if not served and refused >= _ENOUGH:
            raise ProviderUnavailable(f"Gmail served none of {refused} messages.")
        return tuple(answers[id] for id in ids)

    def _read(self, token: str, id: str) -> Fetched | Failure:
        """Read one message; a failure is one that may be about this message alone, and has stayed."""
        request = self._api.messages.get(userId="me", id=id, format="metadata", metadataHeaders=self._asked)
        failure = Failure(0)
        for _ in range(_TRIES):
            answer = self._api.ask(request, token)
            if not isinstance(answer, Failure):
                return normalise(answer, self._headers, id)
            failure, error = answer, error_for(answer, Where.MESSAGE)
            if isinstance(error, NotFound):
                return Missing(id)
            if not isinstance(error, (ProviderRefused, ProviderUnavailable)):
                raise error
        return failure


def _askable(id: str) -> bool:
    """Whether an id can stand in a URL: an empty one or ``..`` would ask for something else."""
    return bool(id.strip(".")) and len(id) <= MAX_ID
