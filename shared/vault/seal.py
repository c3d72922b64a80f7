"""Secrets of a person, sealed with AES-256-GCM under a key of their own.

::

    key-encryption key (`VAULT_KEY`)  --wraps-->  data keys in keys/{uid}  --seals-->  text anywhere else
    a version of secret `vault-key`               one; two during a rotation
    or of a key in Cloud KMS

Deleting ``keys/{uid}`` makes everything sealed for that person unreadable (crypto-shredding). The associated data bind
a sealed text to user, purpose (for a grant: provider, document and field) and format, so that it cannot be moved to another
document, and a wrapped key to its user. A sealed text names its data key; a key that was replaced since is noticed instead of
used from a cache.

A sealed text is ``v1.{data key id}.{base64url(nonce + ciphertext + tag)}``. Nonces are random, 96 bits: good for far more
texts than one person has tokens (NIST SP 800-38D, 8.3).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import ConfigurationError
from shared.ports import Clock, Secrets, Store
from shared.vault.datakeys import DataKeys
from shared.vault.master import SecretKey
from shared.vault.texts import Unopenable, bound, compose, made_by, parse
from shared.vault.wrapping import Wrapping

NONCE_BYTES = 12


class Vault:
    """Seals and opens; safe to share between threads."""

    def __init__(
        self,
        keys: Store,
        secrets: Secrets,
        clock: Clock,
        *,
        may_create: bool = True,
        wrapping: Wrapping | None = None,
    ) -> None:
        """``may_create`` allows a vault key to be made where there is none; in the cloud one is provided.

        ``wrapping`` is the key-encryption key, by default the secret ``vault-key``.
        """
        self._clock = clock
        self.keys = DataKeys(keys, wrapping or SecretKey(keys, secrets, clock, may_create=may_create), clock)

    def seal(self, uid: str, purpose: str, plaintext: bytes, *, begins: bool = True) -> str:
        """Encrypt under the user's current data key; where there is none, and ``begins``, one is made.

        Reads the key afresh: after an erasure a cached one would seal what nobody else can open, and during a rotation it
        might be the one that goes. Raises ``Retry``; ``Unopenable`` where there is no key and none may be made;
        ``ConfigurationError`` when the stored data key does not open.
        """
        try:
            keys = self.keys.read(uid)
        except Unopenable as error:
            raise ConfigurationError("The vault key does not open the stored data keys.") from error
        if keys is None:
            if not begins:
                raise Unopenable("There is no key to seal with any more.")
            keys = self.keys.begin(uid)
        nonce = self._clock.entropy(NONCE_BYTES)
        sealed = AESGCM(keys.keys[keys.current]).encrypt(nonce, plaintext, bound("sealed", uid, purpose))
        return compose(keys.current, nonce + sealed)

    def open(self, uid: str, purpose: str, sealed: str) -> bytes:
        """Decrypt what ``seal`` answered for the same user and purpose.

        Raises ``ReauthRequired`` when it cannot be opened, ``ConfigurationError`` where that is no fault of the text but of
        a vault key that is missing, ``Retry``.
        """
        key_id, blob = parse(sealed)
        keys = self.keys.cached(uid)
        if keys is None or key_id not in keys.keys:
            keys = self.keys.read(uid)
        if keys is None or key_id not in keys.keys:
            raise Unopenable("The stored grant cannot be opened: its key is gone.")
        try:
            return AESGCM(keys.keys[key_id]).decrypt(
                blob[:NONCE_BYTES], blob[NONCE_BYTES:], bound("sealed", uid, purpose)
            )
        except (InvalidTag, ValueError):
            raise Unopenable("The stored grant cannot be opened: it was altered or moved.") from None

    def current(self, uid: str) -> str:
        """What ``made_by`` says of texts that are sealed now, read afresh; '' where there is no key. Raises ``Retry``."""
        stored = self.keys.stored(uid)
        return "" if stored is None else made_by(compose(stored.data["id"], b""))

    def forget(self, uid: str) -> None:
        """Delete the person's keys: from then on no instance seals for them where a key has to be there already.

        An instance that has the keys in memory can open old texts for ``datakeys.CACHED_SECONDS`` more, this one cannot.
        Raises ``Retry``; may be repeated.
        """
        self.keys.forget(uid)
