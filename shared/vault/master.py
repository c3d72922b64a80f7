"""The key-encryption key as a secret: ``vault-key``, provided by the cloud's deployment, made at first use on the laptop.

Its versions are the ring of keys. The newest wraps; the others are found by their id, a digest of the key itself, for as long
as they are there. A version is looked for by its number, because the newest that Secret Manager tells of may be the one of
some minutes ago, and a key that another instance has just wrapped with has to be found.

The port of secrets has no compare-and-set, so two first users could each add a version, and what the first had wrapped
would be lost with the second. A claim document in the store of keys lets one of them do it; the others try again. It also
remembers that a key was made: where that has gone since, another one would only make it look as if all were well.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.cas import amend
from shared.errors import Busy, ConfigurationError, Conflict, NotFound, Retry, StoreError, Unknown
from shared.observability import logs
from shared.ports import Clock, Create, Secrets, Store, Update
from shared.vault.texts import FORMAT, KeyLost, Unopenable, compose, parse

SECRET = "vault-key"  # noqa: S105 - the name of the secret
KEY_BYTES = 32
NONCE_BYTES = 12
CLAIM = "claims/vault-key"
CLAIM_SECONDS = 60.0
MAX_VERSIONS = 200
"""Versions that are looked through; a key of a later one is found only while it is the newest."""

MAX_MISSING = 8
"""Versions missing in a row after which there are no more."""

_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class _Version:
    """A version of the key and the id by which wrapped keys name it."""

    id: str
    key: bytes = field(repr=False)


class SecretKey:
    """A ``Wrapping`` by the secret's versions; safe to share between threads."""

    def __init__(self, keys: Store, secrets: Secrets, clock: Clock, *, may_create: bool) -> None:
        """``may_create`` allows a key to be made where there is none; in the cloud one is provided."""
        self._keys = keys
        self._secrets = secrets
        self._clock = clock
        self._may_create = may_create
        self._ring: dict[str, _Version] = {}
        self._numbered: set[int] = set()
        self._lock = threading.Lock()

    def wrap(self, data: bytes, bound: bytes) -> str:
        """Wrap under the newest version. Raises ``Retry`` while another process makes the first, ``ConfigurationError``."""
        with self._lock:
            try:
                newest = self._newest()
            except NotFound:
                if not self._may_create:
                    raise ConfigurationError(f"The secret {SECRET} is missing.") from None
                newest = self._create()
        nonce = self._clock.entropy(NONCE_BYTES)
        return compose(newest.id, nonce + AESGCM(newest.key).encrypt(nonce, data, bound))

    def unwrap(self, text: str, bound: bytes) -> bytes:
        """Unwrap under the version that the text names. Raises ``KeyLost``, ``Unopenable``, ``Retry``."""
        key_id, blob = parse(text)
        version = self._ring.get(key_id) or self._found(key_id)
        try:
            return AESGCM(version.key).decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], bound)
        except (InvalidTag, ValueError):
            raise Unopenable("The stored grant cannot be opened: its key was altered or moved.") from None

    def has_made(self, text: object) -> bool:
        """Whether the text is of the form that this key writes."""
        return isinstance(text, str) and text.startswith(f"{FORMAT}.")

    def _newest(self) -> _Version:
        newest = _version(self._secrets.get(SECRET))
        if newest is None:
            raise ConfigurationError(f"The secret {SECRET} must be {KEY_BYTES} bytes.")
        self._ring[newest.id] = newest
        return newest

    def _found(self, key_id: str) -> _Version:
        """The version of an id that this instance has not met yet."""
        try:
            newest = self._newest()
            if newest.id == key_id:
                return newest
        except (NotFound, ConfigurationError):
            pass  # an older version may do for this text, and only a new wrap needs the newest
        missing = 0
        for number in range(1, MAX_VERSIONS + 1):
            if number in self._numbered:
                continue
            try:
                version = _version(self._secrets.get(SECRET, str(number)))
            except NotFound:
                missing += 1
                if missing == MAX_MISSING:
                    break
                continue
            except ConfigurationError:
                continue  # disabled, perhaps not for ever
            missing = 0
            self._numbered.add(number)
            if version is not None:
                self._ring[version.id] = version
                if version.id == key_id:
                    return version
        raise KeyLost(f"A stored key was wrapped under a version of the secret {SECRET} that is missing or disabled.")

    def _create(self) -> _Version:
        now = self._clock.now()
        by = self._clock.entropy(8).hex()
        claim = {"by": by, "until": now + CLAIM_SECONDS, "made": ""}
        found = self._keys.get([CLAIM]).get(CLAIM)
        if found is not None and found.data.get("made"):
            raise KeyLost(
                f"The secret {SECRET} was made here and is missing. Restore it, or forget what it has wrapped."
            )
        if found is not None and found.data["until"] > now:
            raise Busy("The vault is being set up; try again.", retry_after=1)
        try:
            self._keys.commit([Update(CLAIM, claim, found.version) if found else Create(CLAIM, claim)])
        except (Conflict, Unknown):
            held = self._keys.get([CLAIM]).get(CLAIM)
            if held is None or held.data["by"] != by:
                raise Busy("The vault is being set up; try again.", retry_after=1) from None
        try:
            try:
                # Looked for again under the claim: its holder before us may have added it since.
                return self._newest()
            except NotFound:
                self._secrets.add(SECRET, self._clock.entropy(KEY_BYTES))
                made = self._newest()
        except Retry:
            # At worst a version was added whose answer was lost: all versions open, so nobody has to wait for the deadline.
            self._settle(by, "until", 0.0)
            raise
        self._settle(by, "made", made.id)
        return made

    def _settle(self, by: str, name: str, value: Any) -> None:
        """Write down how the claim ended; if that fails, it runs out."""
        try:
            amend(
                self._keys,
                CLAIM,
                lambda row: {name: value} if row.data["by"] == by and row.data[name] != value else None,
            )
        except StoreError as error:
            _LOG.warning("claim_not_released", "The claim to make the vault key will run into its deadline.", error)


def _version(key: bytes) -> _Version | None:
    """The version of a key; None for what cannot be one."""
    if len(key) != KEY_BYTES:
        return None
    return _Version(hashlib.sha256(b"vault-key:" + key).hexdigest()[:16], key)
