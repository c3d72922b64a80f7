"""The data keys of people: in the store of keys, wrapped, and for a while in memory, bounded in number and age.

``keys/{uid}`` holds the key that seals (``id``, ``wrapped``) and, while a rotation is under way, those before it that still
open (``older``). Every change is a compare-and-set on the document. What is remembered only opens, and for ``CACHED_SECONDS``
at the longest; to seal, the document is read each time.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared import refs
from shared.cas import amend
from shared.errors import Busy, Conflict, Unknown
from shared.ports import Clock, Create, Data, Delete, Doc, Store, Update
from shared.vault.texts import KeyLost, Unopenable, bound, made_by
from shared.vault.wrapping import Wrapping

KEY_BYTES = 32
CACHED_KEYS = 1_000
CACHED_SECONDS = 600.0
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class KeySet:
    """The unwrapped data keys of one person by their ids; ``current`` is the id of the one that seals."""

    current: str
    keys: Mapping[str, bytes] = field(repr=False)
    read_at: float


class DataKeys:
    """Everybody's data keys; safe to share between threads."""

    def __init__(self, store: Store, wrapping: Wrapping, clock: Clock) -> None:
        self._store = store
        self._wrapping = wrapping
        self._clock = clock
        self._cache: OrderedDict[str, KeySet] = OrderedDict()
        self._lock = threading.Lock()

    def cached(self, uid: str) -> KeySet | None:
        """What is remembered, to open with and not to seal."""
        with self._lock:
            known = self._cache.get(uid)
            if known is None or self._clock.now() - known.read_at >= CACHED_SECONDS:
                self._cache.pop(uid, None)
                return None
            self._cache.move_to_end(uid)
            return known

    def read(self, uid: str) -> KeySet | None:
        """The keys as they are stored now; None where there are none. Raises ``Unopenable``, ``KeyLost``, ``Retry``."""
        stored = self.stored(uid)
        if stored is None:
            self._drop_cached(uid)
            return None
        known = self.cached(uid)
        unwrapped = {} if known is None else known.keys
        # A key is named by its digest, so what is remembered under that name is the same one.
        keys = {
            entry["id"]: unwrapped.get(entry["id"]) or self._wrapping.unwrap(*_wrapped(uid, entry))
            for entry in _entries(stored)
        }
        read_at = self._clock.now() if known is None else known.read_at
        return self._remember(uid, KeySet(stored.data["id"], keys, read_at))

    def begin(self, uid: str) -> KeySet:
        """Make the first key of a person; of many who do one is first, and all get that one's. Raises ``Retry``."""
        for _ in range(ATTEMPTS):
            entry, key = self._fresh(uid)
            try:
                self._store.commit([Create(refs.data_key(uid), {**entry, "rev": 1})])
            except (Conflict, Unknown):
                # Another instance was first, or the answer was lost: the stored key is the one that counts.
                if (keys := self.read(uid)) is not None:
                    return keys
                continue
            return self._remember(uid, KeySet(entry["id"], {entry["id"]: key}, self._clock.now()))
        raise Busy("The data key could not be written; try again.", retry_after=2)

    def forget(self, uid: str) -> None:
        """Delete the keys of a person, for good. Raises ``Retry``."""
        for _ in range(ATTEMPTS):
            try:
                self._store.commit([Delete(refs.data_key(uid))])
            except Unknown:
                continue
            self._drop_cached(uid)
            return
        raise Busy("The data keys could not be deleted; try again.", retry_after=2)

    def stored(self, uid: str) -> Doc | None:
        """The document as it is now."""
        ref = refs.data_key(uid)
        return self._store.get([ref]).get(ref)

    def renew(self, uid: str) -> Doc | None:
        """Have a fresh key seal from now on; one that a rotation has not finished with stays. None where there is none."""
        entry: Data = {}

        def renewed(doc: Doc) -> Data | None:
            if doc.data.get("older"):
                return None
            if not entry:
                entry.update(self._fresh(uid)[0])
            (old,) = _entries(doc)
            return {**entry, "older": [old], "rev": doc.data["rev"] + 1}

        return amend(self._store, refs.data_key(uid), renewed)

    def retire(self, doc: Doc) -> None:
        """Drop all keys but the one that seals, if nothing has changed since ``doc``. Raises ``Conflict``, ``Unknown``."""
        self._store.commit([Update(doc.ref, {"older": [], "rev": doc.data["rev"] + 1}, doc.version)])

    def rewrap(self, uid: str, doc: Doc, target: str) -> bool:
        """Wrap all keys of a document anew that ``target`` has not made; answers whether there were any.

        Raises ``Unopenable``, ``KeyLost``, ``Retry``.
        """
        changed = False

        def rewrapped(doc: Doc) -> Data | None:
            nonlocal changed
            if all(made_by(entry["wrapped"]) == target for entry in _entries(doc)):
                return None
            changed = True
            first, *older = [self._rewrapped(uid, entry) for entry in _entries(doc)]
            return {**first, "older": older, "rev": doc.data["rev"] + 1}

        amend(self._store, doc.ref, rewrapped, doc)
        return changed

    def lost(self, uid: str, doc: Doc) -> tuple[str, bool]:
        """By what the first key of a document was wrapped whose vault key is lost, and whether it is the one that seals."""
        for entry in _entries(doc):
            try:
                self._wrapping.unwrap(*_wrapped(uid, entry))
            except KeyLost:
                return made_by(entry["wrapped"]), entry["id"] == doc.data["id"]
        return "", False

    def _rewrapped(self, uid: str, entry: Data) -> Data:
        _, binding = text_and_bound = _wrapped(uid, entry)
        return {**entry, "wrapped": self._wrapping.wrap(self._wrapping.unwrap(*text_and_bound), binding)}

    def _fresh(self, uid: str) -> tuple[Data, bytes]:
        key = self._clock.entropy(KEY_BYTES)
        key_id = hashlib.sha256(key).hexdigest()[:16]
        wrapped = self._wrapping.wrap(key, bound("wrapped", uid, key_id))
        return {"id": key_id, "wrapped": wrapped, "created_at": self._clock.now()}, key

    def _remember(self, uid: str, keys: KeySet) -> KeySet:
        with self._lock:
            self._cache[uid] = keys
            self._cache.move_to_end(uid)
            while len(self._cache) > CACHED_KEYS:
                self._cache.popitem(last=False)
        return keys

    def _drop_cached(self, uid: str) -> None:
        with self._lock:
            self._cache.pop(uid, None)


def _entries(doc: Doc) -> list[Data]:
    """The keys of a document, the one that seals first; those of before rotation have no ``older``."""
    data = doc.data
    return [{name: data[name] for name in ("id", "wrapped", "created_at")}, *data.get("older", ())]


def _wrapped(uid: str, entry: Data) -> tuple[str, bytes]:
    if not isinstance(entry["wrapped"], str):
        raise Unopenable("The stored grant cannot be opened: it is not in a known format.")
    return entry["wrapped"], bound("wrapped", uid, entry["id"])
