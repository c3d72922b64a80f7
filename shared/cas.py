"""Compare-and-set on one document: read, decide, write what the decision was made on, or read again."""

from __future__ import annotations

from collections.abc import Callable

from shared.errors import Busy, Conflict, Unknown
from shared.ports import Data, Doc, Store, Update

ATTEMPTS = 16


def amend(store: Store, ref: str, decide: Callable[[Doc], Data | None], known: Doc | None = None) -> Doc | None:
    """Update the fields that ``decide`` answers for the document as it is now; None leaves it alone.

    ``known`` saves the first read. After a Conflict or an Unknown the document is read and ``decide`` asked again, so it
    must answer None where its own change is already there. Answers the document as it stands (``data`` merged), or None
    when it is gone. Raises ``Retry`` when others keep writing.
    """
    for _ in range(ATTEMPTS):
        document = known or store.get([ref]).get(ref)
        known = None
        if document is None:
            return None
        change = decide(document)
        if change is None:
            return document
        try:
            version = store.commit([Update(ref, change, document.version)])[0]
        except (Conflict, Unknown):
            continue
        return Doc(ref, {**document.data, **change}, version or "")
    raise Busy(f"A {ref.split('/')[-2]} document kept changing.")
