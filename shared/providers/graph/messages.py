"""Read single messages, and tell a bad message from a bad moment.

They are read one after another: a ``$batch`` counts as four requests at once (docs/graph.md, 11), all that a mailbox has.
A message that Graph keeps refusing while it serves others becomes a ``Refused``, which the engine records as a gap: one bad
message must not end a mailbox. Where nothing is served at all it is not the messages' fault. One that is served from among the
deleted ones is as missing as one that is not served (docs/graph.md, 23).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import ProviderUnavailable, RateLimited, ReauthRequired
from shared.providers.base import Access, Fetched, Missing, Refused
from shared.providers.graph.api import GraphApi, Request
from shared.providers.graph.failures import Where, absent, error_for
from shared.providers.graph.normalise import Reader, identifier, is_discarded, normalise
from shared.providers.http.failure import Failure

FIELDS = (
    "id", "changeKey", "parentFolderId", "conversationId", "receivedDateTime", "sentDateTime", "subject", "from", "sender",
    "toRecipients", "ccRecipients", "bccRecipients", "replyTo", "isRead", "isDraft", "importance", "flag", "categories",
    "internetMessageId", "internetMessageHeaders",
)  # fmt: skip
PREVIEW = "bodyPreview"
"""What ``Mail.ReadBasic`` does not let one read (docs/graph.md, 17)."""

_TRIES = 2
_ENOUGH = 10  # so many refusals with nothing served are Graph's trouble
_BREAKS = 2  # so many messages may be without any answer in one call; more are a bad moment


@dataclass(slots=True)
class _Tally:
    served: int = 0
    refused: int = 0
    broken: int = 0


@dataclass(frozen=True, slots=True)
class MessageReader:
    """Reads messages and normalises them; ``headers`` is the allow-list."""

    api: GraphApi
    headers: tuple[str, ...]
    preview: bool

    @property
    def select(self) -> str:
        """What is asked of each message."""
        return ",".join((*FIELDS, PREVIEW) if self.preview else FIELDS)

    def reader(self, access: Access) -> Reader:
        """What messages of this mailbox are read by."""
        return Reader(self.headers, access.address, access.folders)

    def fetch(self, access: Access, ids: Sequence[str]) -> tuple[Fetched, ...]:
        """Answer once per id, in the given order; a repeated id is asked for once.

        Raises ``ProviderUnavailable`` if nothing was served and ten messages were refused, or more than two brought no answer;
        ``RateLimited`` if a limit lasts.
        """
        tally = _Tally()
        answers = {id: self._one(access, id, tally) for id in dict.fromkeys(ids)}
        return tuple([answers[id] for id in ids])

    def _one(self, access: Access, id: str, tally: _Tally) -> Fetched:
        if identifier(id) == "" or id in (".", ".."):
            return Refused(id, "No message of Outlook's can have this id.")
        failure: Failure | None = None
        for _ in range(_TRIES):
            try:
                answer = self.api.ask(access, Request("GET", self.api.url("me", "messages", id, select=self.select)))
            except ProviderUnavailable:
                if tally.served == 0 or tally.broken >= _BREAKS:
                    raise
                failure = None
                continue
            if not isinstance(answer, Failure):
                tally.served += 1
                if answer.get("id") == id and is_discarded(answer, access.folders):
                    return Missing(id, certain=True)
                return normalise(answer, self.reader(access), id)
            if absent(answer):
                tally.served += 1
                return Missing(id)
            error = error_for(answer, Where.MESSAGE)
            if isinstance(error, (RateLimited, ReauthRequired)):
                raise error
            failure = answer
        if failure is None:
            tally.broken += 1
            return Refused(id, "Outlook serves others, but breaks off over this message.")
        tally.refused += 1
        if tally.served == 0 and tally.refused >= _ENOUGH:
            raise error_for(failure, Where.MESSAGE)
        return Refused(id, f"Outlook refused the message ({failure.describe()}).")
