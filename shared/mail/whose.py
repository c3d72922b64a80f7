"""Whose account a grant is for, and who else follows it: what has to be known before a grant is given back.

To revoke one grant of an account ends those of everybody who has granted us the same account. Whose account a mailbox is of
its route says, which it has from its first connection on; until then only the provider knows.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared import queries, refs
from shared.mail.context import Account, Context
from shared.mail.state import MailboxState, read_state
from shared.providers.base import PROVIDERS


def grants_of(state: MailboxState) -> tuple[str, ...]:
    """The grants that a mailbox is connected with, or may be: what is to be tried first in front."""
    return (state.grant_id,) if state.candidate is None else (state.candidate, state.grant_id)


def accounts(ctx: Context, uid: str) -> dict[str, list[str]]:
    """The grants that a user's mailboxes need, those being erased too; of each the routes of the accounts it is for.

    None of one that has not been tried, or whose mailbox has not learnt its address: nobody knows whose it is.
    """
    found: dict[str, list[str]] = {}
    for state in (read_state(doc) for doc in ctx.store.query(queries.mailboxes_of(uid))):
        for grant_id in grants_of(state):
            is_known = state.address is not None and grant_id != state.candidate
            routes = [refs.route(state.provider, str(state.address))] if is_known else []
            found[grant_id] = list(dict.fromkeys([*found.get(grant_id, ()), *routes]))
    return found


def account(ctx: Context, uid: str, provider: str, grant_id: str) -> str:
    """The route of the account that a grant is for, by asking its provider.

    Raises ``ReauthRequired`` for a grant that has ended or cannot be opened, provider errors, ``ConfigurationError``,
    ``StoreError``.
    """
    now = ctx.clock.now()
    # There may be no mailbox for it, or none that is left: it is asked as a new one would.
    alone = MailboxState("", uid, PROVIDERS[provider], "", grant_id, created_at=now, updated_at=now)
    profile = Account(ctx, alone).call(lambda mail, access: mail.profile(access))
    return refs.route(alone.provider, profile.address.lower())


def is_followed(ctx: Context, uid: str, provider: str, routes: Sequence[str]) -> bool | None:
    """Whether somebody else's mailbox, which is not being erased, follows one of these accounts.

    None while nobody knows: there is a mailbox at the provider that has yet to learn whose account it is of. Of two who leave
    at once, one is the second to be fenced, and finds nobody; the mailboxes of whoever asks have been fenced.
    """
    # First, for a mailbox gets its address and its route in one commit.
    unnamed = ctx.store.query(queries.unnamed_mailboxes(PROVIDERS[provider]))
    found = ctx.store.get(list(routes))
    names = [name for doc in found.values() for name in doc.data["mailboxes"] if refs.owner(name) != uid]
    others = ctx.store.get([refs.stream(name) for name in names]) if names else {}
    if any(not doc.data.get("erasing") for doc in others.values()):
        return True
    return None if unnamed else False
