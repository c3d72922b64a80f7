"""The profile document of a person, made when they are first seen, and refused once they asked to be forgotten.

A profile with ``erasing`` is fenced: its person is being deleted. After that a tombstone keeps a token that is still good
from making everything anew. The tombstone is only asked for where there is no profile, so a person who is known costs one
read, as ever; the profile goes in the same commit that writes the tombstone, and not before every request that passed the
fence is over, so that none can fall between the two.
"""

from __future__ import annotations

from shared import refs
from shared.errors import AccountDeleted, Busy, Conflict, Unknown
from shared.identity.tokens import Principal
from shared.ports import Clock, Create, Data, Store
from shared.privacy.tombstones import Tombstones

ATTEMPTS = 5


def ensure_user(store: Store, clock: Clock, principal: Principal, tombstones: Tombstones) -> Data:
    """The profile ``{uid, email, name, created_at, rev}``, created from the token if there is none.

    One read for a person who is known. Raises ``AccountDeleted``; ``Retry`` when the store stays out of reach.
    """
    for _ in range(ATTEMPTS):
        known = known_user(store, principal.uid, tombstones)
        if known is not None:
            return known
        profile: Data = {
            "uid": principal.uid,
            "email": principal.email,
            "name": principal.name,
            "created_at": clock.now(),
            "rev": 1,
        }
        try:
            store.commit([Create(refs.user(principal.uid), profile)])
        except (Conflict, Unknown):
            continue  # somebody else was first, or the answer was lost: either way the next read shows it
        return profile
    raise Busy("The profile could not be written; try again.", retry_after=2)


def known_user(store: Store, uid: str, tombstones: Tombstones) -> Data | None:
    """The profile; None for somebody who has not been seen yet. Raises ``AccountDeleted``, ``Retry``."""
    ref = refs.user(uid)
    known = store.get([ref]).get(ref)
    if known is None:
        tombstones.refuse(uid)
        return None
    refuse_erasing(known.data)
    return known.data


def refuse_erasing(profile: Data) -> None:
    """Raise ``AccountDeleted`` for the profile of somebody who is being deleted."""
    if profile.get("erasing") is not None:
        raise AccountDeleted("The account is being deleted.")
