"""Secrets of a person, sealed with AES-256-GCM under a key of their own.

::

    secret `vault-key`  --wraps-->  data key in keys/{uid}  --seals-->  text anywhere else

Deleting ``keys/{uid}`` makes everything sealed for that person unreadable (crypto-shredding). The associated data bind
a sealed text to user, purpose and format, so that it cannot be moved to another document, and a wrapped key to its
user. A sealed text names its data key; a key that was replaced since is noticed instead of used from a cache.

A sealed text is ``v1.{data key id}.{base64url(nonce + ciphertext + tag)}``, a wrapped key the same with the id of the
vault key. Nonces are random, 96 bits: good for far more texts than one person has tokens (NIST SP 800-38D, 8.3).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared import refs
from shared.errors import Busy, ConfigurationError, Conflict, NotFound, ReauthRequired, Unknown
from shared.ports import Clock, Create, Secrets, Store
from shared.vault.master import MasterKey

FORMAT = "v1"
KEY_BYTES = 32
NONCE_BYTES = 12
CACHED_KEYS = 1_000
CACHED_SECONDS = 600.0
ATTEMPTS = 5


class Unopenable(ReauthRequired):
    """What was stored for the grant cannot be opened; only connecting it again helps."""


@dataclass(frozen=True, slots=True)
class _DataKey:
    id: str
    key: bytes = field(repr=False)
    read_at: float


class Vault:
    """Seals and opens; safe to share between threads."""

    def __init__(self, keys: Store, secrets: Secrets, clock: Clock, *, may_create: bool = True) -> None:
        """``may_create`` allows a vault key to be made where there is none; in the cloud one is provided."""
        self._keys = keys
        self._clock = clock
        self._master = MasterKey(keys, secrets, clock, may_create=may_create)
        self._cache: OrderedDict[str, _DataKey] = OrderedDict()
        self._lock = threading.Lock()

    def seal(self, uid: str, purpose: str, plaintext: bytes) -> str:
        """Encrypt under the user's data key, which is made at first use.

        Reads the key afresh: after an erasure a cached one would seal what nobody else can open. Raises ``Retry``;
        ``ConfigurationError`` when the vault key is not the one that wrapped the stored data key.
        """
        try:
            key = self._load(uid) or self._create(uid)
        except Unopenable as error:
            raise ConfigurationError("The vault key does not open the stored data keys.") from error
        nonce = self._clock.entropy(NONCE_BYTES)
        return _text(key.id, nonce + AESGCM(key.key).encrypt(nonce, plaintext, _bound("sealed", uid, purpose)))

    def open(self, uid: str, purpose: str, sealed: str) -> bytes:
        """Decrypt what ``seal`` answered for the same user and purpose.

        Raises ``ReauthRequired`` when it cannot be opened, for whatever reason; ``Retry``.
        """
        key_id, blob = _parsed(sealed)
        key = self._cached(uid)
        if key is None or key.id != key_id:
            key = self._load(uid)
        if key is None or key.id != key_id:
            raise Unopenable("The stored grant cannot be opened: its key is gone.")
        try:
            return AESGCM(key.key).decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], _bound("sealed", uid, purpose))
        except (InvalidTag, ValueError):
            raise Unopenable("The stored grant cannot be opened: it was altered or moved.") from None

    def _cached(self, uid: str) -> _DataKey | None:
        with self._lock:
            key = self._cache.get(uid)
            if key is None or self._clock.now() - key.read_at >= CACHED_SECONDS:
                self._cache.pop(uid, None)
                return None
            self._cache.move_to_end(uid)
            return key

    def _remember(self, uid: str, key: _DataKey) -> _DataKey:
        with self._lock:
            self._cache[uid] = key
            self._cache.move_to_end(uid)
            while len(self._cache) > CACHED_KEYS:
                self._cache.popitem(last=False)
        return key

    def _load(self, uid: str) -> _DataKey | None:
        ref = refs.data_key(uid)
        stored = self._keys.get([ref]).get(ref)
        if stored is None:
            with self._lock:
                self._cache.pop(uid, None)
            return None
        master_id, blob = _parsed(stored.data.get("wrapped"))
        try:
            master = self._master.read(master_id)
        except NotFound:
            raise Unopenable("The stored grant cannot be opened: the vault key is gone.") from None
        try:
            bound = _bound("wrapped", uid, stored.data.get("id"))
            key = AESGCM(master.key).decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], bound)
        except (InvalidTag, ValueError):
            raise Unopenable("The stored grant cannot be opened: its key is wrapped under another one.") from None
        return self._remember(uid, _DataKey(stored.data["id"], key, self._clock.now()))

    def _create(self, uid: str) -> _DataKey:
        master = self._master.read_or_create()
        for _ in range(ATTEMPTS):
            key, nonce = self._clock.entropy(KEY_BYTES), self._clock.entropy(NONCE_BYTES)
            key_id = hashlib.sha256(key).hexdigest()[:16]
            wrapped = nonce + AESGCM(master.key).encrypt(nonce, key, _bound("wrapped", uid, key_id))
            now = self._clock.now()
            document = {"id": key_id, "wrapped": _text(master.id, wrapped), "created_at": now, "rev": 1}
            try:
                self._keys.commit([Create(refs.data_key(uid), document)])
            except (Conflict, Unknown):
                # Another instance was first, or the answer was lost: the stored key is the one that counts.
                if (stored := self._load(uid)) is not None:
                    return stored
                continue
            return self._remember(uid, _DataKey(key_id, key, now))
        raise Busy("The data key could not be written; try again.", retry_after=2)


def _bound(kind: str, uid: str, purpose: object) -> bytes:
    """The associated data; as JSON, so that no two lists of parts look alike."""
    return orjson.dumps(["brainstem", FORMAT, kind, uid, purpose])


def _text(key_id: str, blob: bytes) -> str:
    return f"{FORMAT}.{key_id}.{base64.urlsafe_b64encode(blob).decode()}"


def _parsed(text: object) -> tuple[str, bytes]:
    try:
        version, key_id, encoded = text.split(".") if isinstance(text, str) else ("", "", "")
        if version == FORMAT:
            return key_id, base64.b64decode(encoded, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        pass  # not of our making; said below like any other form that is not ours
    raise Unopenable("The stored grant cannot be opened: it is not in a known format.")
