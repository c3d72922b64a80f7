"""At the end of a walk: messages that were read by their ids, and that no folder has named since, are read once more.

A message that came after a folder's link and left again before it was followed is told of by nobody (docs/graph.md, 5). What
cannot be read now is stored all the same, and is no news: it keeps nothing of the walk from being kept, and makes no gap. Each
that was asked for goes to the end of the row, so that those which no folder will ever name leave room for others.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field, replace

from shared import refs
from shared.errors import Paced, ProviderError, ProviderRefused, ProviderUnavailable, RateLimited
from shared.mail.apply import believed
from shared.mail.context import Account, Context
from shared.mail.folders.reading import SECONDS_AT_ONCE
from shared.mail.state import MailboxState, Walk
from shared.providers.base import Change, Fetched, Missing, Refused

AT_ONCE = 25
"""Messages that the end of a walk asks for, at most."""

FAILURES = 2
"""So many requests without an answer, and the rest is left to the next walk: it is not the messages that are wrong."""


@dataclass(slots=True)
class Again:
    """What was asked for, with the mailbox's revision at that moment; what the answers mean; the limit that ended it."""

    read: dict[str, int] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    trouble: ProviderError | None = None

    def turned(self, state: MailboxState) -> MailboxState:
        """The mailbox, with what was asked for behind all that was not."""
        asked = dict.fromkeys(self.read.keys() & state.unwalked.keys(), state.rev + 1)
        return replace(state, unwalked={**state.unwalked, **asked}) if asked else state


def read(ctx: Context, account: Account, state: MailboxState, walk: Walk, named: Container[str]) -> Again:
    """Read what was stored before the walk began and is not ``named`` now either, one after another."""
    waiting = sorted((rev, id_) for id_, rev in state.unwalked.items() if rev <= walk.since and id_ not in named)
    again = Again()
    answers: list[Fetched] = []
    begun, failures = ctx.clock.now(), 0
    for _, id_ in waiting[:AT_ONCE]:
        if failures == FAILURES or ctx.clock.now() - begun > SECONDS_AT_ONCE:
            break
        try:
            answers += _one(account, id_)
        except (ProviderRefused, ProviderUnavailable):
            failures += 1
        except (RateLimited, Paced) as limit:
            again.trouble = limit
            break
        again.read[id_] = state.rev
    # A 404 is believed of what is stored alone, and not while it may mean "not yet".
    found = ctx.store.get([refs.message(state.id, one.id) for one in answers]) if answers else {}
    stored = {doc.data["id"]: doc for doc in found.values()}
    at = ctx.clock.now()
    again.changes = tuple(
        believed(one, stored, at)
        for one in answers
        if not isinstance(one, Refused) and (one.id in stored or not isinstance(one, Missing))
    )
    return again


def _one(account: Account, id_: str) -> tuple[Fetched, ...]:
    return account.call(lambda provider, access: provider.fetch(access, (id_,)))
