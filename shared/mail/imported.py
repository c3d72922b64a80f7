"""A mailbox that comes in an archive: as it was, with nothing under way and nobody to follow it until it is connected.

While its contents are being written it is one that is being erased: nobody shows it, follows its stream or connects it, its id
is taken, and should its time pass without a further commit the tick has it erased, as any whose erasure stands still.
"""

from __future__ import annotations

from shared.mail.state import MailboxState, document
from shared.ports import Data


def imported(data: Data, until: float | None = None) -> Data:
    """The document of a mailbox from its record in an archive. Raises ``KeyError`` for what is none.

    ``until``: when it is erased, unless its contents are all there or more of them came; None once they are. Its cursors
    were not in the archive; whoever connects it has it listed anew, and what is stored is known by then.
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
        erasing=until is not None,
        address=data["address"],
        head=data["head"],
        published=data["head"],
        messages=data["messages"],
        due_chain=until,
    )
    return document(state)
