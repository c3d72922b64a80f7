"""What is left of a deleted person: that there was one, under a name that only we can work out from the uid.

The key of that name is the first version of the secret ``tombstone-key``, provided by the cloud's deployment and made for the
first deletion on the laptop; of two that make it at once, both go by the first. It is never rotated: whoever reads the store
learns when somebody was deleted and not who, and whoever comes with a token of that person is known again, and refused.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from shared import refs
from shared.errors import AccountDeleted
from shared.ports import Store
from shared.privacy.keys import LastingKey

SECRET = "tombstone-key"  # noqa: S105 - the name of the secret


class TombstoneKey(LastingKey):
    """The key of the names of tombstones."""

    name = SECRET


@dataclass(frozen=True, slots=True)
class Tombstones:
    """Knows deleted people again. Raises what store and key raise."""

    store: Store
    key: TombstoneKey

    def lies(self, uid: str) -> bool:
        """Whether this person was deleted; while there is no key, nobody was."""
        key = self.key.find()
        if key is None:
            return False
        ref = _ref(key, uid)
        return ref in self.store.get([ref])

    def refuse(self, uid: str) -> None:
        """Raise ``AccountDeleted`` for somebody who was deleted."""
        if self.lies(uid):
            raise AccountDeleted("The account has been deleted.")

    def place(self, uid: str) -> str:
        """Where the person's tombstone goes."""
        return _ref(self.key.find_or_make(), uid)


def _ref(key: bytes, uid: str) -> str:
    return refs.tombstone(hmac.digest(key, uid.encode("utf-8", "surrogatepass"), "sha256").hex())
