"""Mail that was read, into the simulator; what it cannot keep is remembered with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from infra.local.importer.read import Imported, Item, Unreadable
from infra.local.simulated.control import Simulator
from infra.local.simulated.errors import UnreadableMail


def load(
    simulator: Simulator, address: str, items: Iterable[Item], progress: Callable[[int], None] | None = None
) -> tuple[int, int]:
    """Fill a mailbox as if the mail had been there all along; answer how many were loaded and how many unreadable.

    ``progress`` is called after every item with the number of items so far.
    """
    loaded = unreadable = 0
    for item in items:
        failed = item if isinstance(item, Unreadable) else _deliver(simulator, address, item)
        if failed is None:
            loaded += 1
        else:
            unreadable += 1
            simulator.note_unreadable(address, failed.name, failed.reason)
        if progress is not None:
            progress(loaded + unreadable)
    return loaded, unreadable


def _deliver(simulator: Simulator, address: str, item: Imported) -> Unreadable | None:
    mail = {"raw": item.raw, "labels": item.labels, "received_at": item.received_at}
    try:
        simulator.add_mails(address, [mail], silent=True)
    except UnreadableMail as error:
        return Unreadable(item.name, str(error))
    except (TypeError, ValueError) as error:
        # Text that no store takes, such as half a surrogate pair out of UTF-7: the fault of this mail, not of the next.
        return Unreadable(item.name, f"It cannot be kept: {type(error).__name__}.")
    return None
