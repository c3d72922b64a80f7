"""A mailbox that comes in an archive: as it was, with nothing under way and nobody to follow it until it is connected."""

from __future__ import annotations

from shared.mail.state import MailboxState, document
from shared.ports import Data


def imported(data: Data) -> Data:
    """The document of a mailbox from its record in an archive. Raises ``KeyError`` for what is none.

    Its cursors were not in the archive; whoever connects it has it listed anew, and what is stored is known by then.
    """
    state = MailboxState(
        id=data["id"],
        uid=data["uid"],
        provider=data["provider"],
        slot=data["slot"],
        grant_id=data["grant_id"],
        created_at=data["created_at"],
        updated_at=data["updated_at"],
        status="disconnected",
        address=data["address"],
        head=data["head"],
        published=data["head"],
        messages=data["messages"],
    )
    return document(state)
