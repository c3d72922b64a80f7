"""A new data key for a person while everything goes on.

::

    add      keys/{uid}: a fresh key seals, the one before it still opens
    re-seal  each grant, by compare-and-set on the row
    drop     the key before, if keys/{uid} has not changed since the grants were looked through

A crash anywhere leaves a person with two keys that both open, and the next rotation goes on from there. Whoever writes a
token in between has read its row first, so either the row was re-sealed before, and the fresh key seals; or it is re-sealed
after; or the write fails. A grant that appears after the look is sealed anew by whoever made it (``Grants.put``).

Grants are all that is sealed for a person. What else is sealed one day has to be re-sealed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from shared import queries, refs
from shared.errors import BrainstemError, Busy, Conflict, Unknown
from shared.observability import logs
from shared.ports import Store
from shared.queries import scan
from shared.vault.grants import Grants

ATTEMPTS = 5
PAGE = 100

_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a run over everybody has done, in people: those seen, those with a new key, those for whom it did not work."""

    seen: int = 0
    rotated: int = 0
    failed: int = 0


def rotate(grants: Grants, uid: str) -> bool:
    """Replace the data key of a person, or finish replacing it; False where there is none.

    May be repeated after any failure. Raises ``Retry``, ``ConfigurationError``.
    """
    keys = grants.vault.keys
    if keys.renew(uid) is None:
        return False
    for _ in range(ATTEMPTS):
        doc = keys.stored(uid)
        if doc is None:
            return False
        if not doc.data.get("older"):
            return True
        for row in scan(grants.store, queries.grants_of(uid)):
            grants.reseal(uid, row)
        try:
            keys.retire(doc)
        except (Conflict, Unknown):
            continue
        return True
    raise Busy("The data keys kept changing; try again.", retry_after=2)


def rotate_all(grants: Grants, keys: Store, before: float, said: Callable[[Rotated], None]) -> Rotated:
    """Replace every data key that was made before a time, and finish what a crash left; ``said`` is told after each page.

    A run that ended early is gone on with by another with the same time: who has a new key is not due. Raises ``Retry``.
    """
    run, after = Rotated(), None
    while True:
        page = keys.query(queries.data_keys(PAGE, after))
        for doc in page:
            run = replace(run, seen=run.seen + 1)
            if doc.data["created_at"] >= before and not doc.data.get("older"):
                continue
            try:
                if rotate(grants, refs.key(doc.ref)):
                    run = replace(run, rotated=run.rotated + 1)
            except BrainstemError as error:
                _LOG.warning("key_not_rotated", "A data key could not be replaced; the run goes on.", error)
                run = replace(run, failed=run.failed + 1)
        said(run)
        if len(page) < PAGE:
            return run
        after = refs.key(page[-1].ref)
