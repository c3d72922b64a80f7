"""The profile document of a person, made when they are first seen."""

from __future__ import annotations

from shared import refs
from shared.errors import Busy, Conflict, Unknown
from shared.identity.tokens import Principal
from shared.ports import Clock, Create, Data, Store

ATTEMPTS = 5


def ensure_user(store: Store, clock: Clock, principal: Principal) -> Data:
    """The profile ``{uid, email, name, created_at, rev}``, created from the token if there is none.

    One read for a person who is known. Raises ``Retry`` when the store stays out of reach.
    """
    ref = refs.user(principal.uid)
    for _ in range(ATTEMPTS):
        known = store.get([ref]).get(ref)
        if known is not None:
            return known.data
        profile: Data = {
            "uid": principal.uid,
            "email": principal.email,
            "name": principal.name,
            "created_at": clock.now(),
            "rev": 1,
        }
        try:
            store.commit([Create(ref, profile)])
        except (Conflict, Unknown):
            continue  # somebody else was first, or the answer was lost: either way the next read shows it
        return profile
    raise Busy("The profile could not be written; try again.", retry_after=2)
