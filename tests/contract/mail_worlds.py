"""What a mailbox of the contract's tests can do, whatever is behind it, and what all of its calls are.

What a person or the provider does there has one vocabulary: a *place* is a folder, or a label where there are none; a *tag*
is what a person puts on a message that stays where it is. The mailboxes are in ``mail_simulated`` and ``mail_memory``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeAlias

from shared.adapters.embedded.clock import VirtualClock
from shared.providers.base import Access, Channel, MailProvider, Tokens

ME = "ann@example.org"
BOB = "bob@example.org"
CLIENT_SECRET = "client-secret-mark"
CHANNEL_SECRET = "channel-secret-mark"
PAGE = 3
"""How much is on a page of changes: little, so that there are many."""

Calls: TypeAlias = dict[str, Callable[[], object]]


class MailWorld(Protocol):
    """A mailbox of ``ME`` and whoever changes it."""

    provider: MailProvider
    clock: VirtualClock
    tag: str

    def access(self) -> Access:
        """What a call goes out with, the profile being known."""

    def grant(self) -> str:
        """The refresh token that consent brought."""

    def deliver(self, subject: str, *labels: str, place: str = "") -> str:
        """A mail of Bob's arrives a minute after all before it, unread in the inbox or in a place."""

    def mark(self, id: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """UNREAD, STARRED and tags come and go."""

    def place(self, name: str) -> str:
        """The label of a new place."""

    def move(self, id: str, place: str) -> None:
        """Out of the inbox into a place."""

    def drop(self, place: str) -> None:
        """A place goes; what becomes of its messages is the provider's affair."""

    def trash(self, id: str) -> None: ...

    def untrash(self, id: str) -> None: ...

    def delete(self, id: str) -> None: ...

    def draft(self, subject: str, draft: str = "") -> tuple[str, str]:
        """Save a draft, or another text of one: the draft's id and its message's."""

    def send_draft(self, draft: str) -> str:
        """The id of the message that was sent."""

    def send(self, subject: str, to: str) -> None:
        """A mail is written elsewhere and sent from here."""

    def forget(self, label: str = "") -> None:
        """All cursors, or those of one folder, are no longer known."""

    def refuse(self, id: str) -> None:
        """This message is not served any more."""

    def bad_pages(self) -> list[str]:
        """Page tokens that no listing has given, or not to go on from."""

    def truth(self) -> dict[str, set[str]]:
        """The labels of every mail that there is."""

    def hinder(self) -> None:
        """Tell of changes as awkwardly as this provider may."""

    def revoke(self) -> None:
        """The person takes the grant back."""

    def trouble(self, kind: str) -> None:
        """Every call is ``limited`` for two minutes, ``down``, or ``cut`` off from now on."""

    def channels(self) -> int:
        """How many channels ring for a change."""

    def lose_channels(self) -> None:
        """The provider forgets the channel in place."""

    def unconfigured(self) -> MailProvider:
        """The same provider where no channel is configured."""

    def close(self) -> None: ...


def calls_of(world: MailWorld, access: Access) -> Calls:
    """Every call that asks the provider something, by name; ``fetch`` asks for more than bad luck with one explains."""
    provider = world.provider
    folder = next(iter(access.folders), "")
    cursor = "" if provider.per_folder else provider.profile(access).cursor
    ids = [f"{number:x}" for number in range(1, 13)]
    calls: Calls = {
        "profile": partial(provider.profile, access),
        "list_ids": partial(provider.list_ids, access, None, 5),
        "fetch": partial(provider.fetch, access, ids),
        "changes": partial(provider.changes, access, cursor, folder),
        "open_channel": partial(provider.open_channel, access, "", CHANNEL_SECRET),
        "close_channel": partial(provider.close_channel, access, Channel("none", 0.0)),
    }
    # What a provider has none of it need not be asked for.
    if provider.per_folder:
        calls["folders"] = partial(provider.folders, access, "")
    else:
        calls["labels"] = partial(provider.labels, access)
    return calls


def refreshed(world: MailWorld, times: int) -> list[Tokens]:
    """Trade the refresh token so often, each time the newest that there is."""
    found: list[Tokens] = []
    grant = world.grant()
    for _ in range(times):
        found.append(world.provider.refresh(grant))
        grant = found[-1].refresh or grant
    return found
