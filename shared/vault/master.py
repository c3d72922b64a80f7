"""The key-encryption key: secret ``vault-key``, provided by the cloud's deployment, made at first use on the laptop.

The port of secrets has no compare-and-set, so two first users could each add a version, and what the first had wrapped
would be lost with the second. A claim document in the store of keys lets one of them do it; the others try again.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field

from shared.cas import amend
from shared.errors import Busy, ConfigurationError, Conflict, NotFound, Retry, StoreError, Unknown
from shared.observability import logs
from shared.ports import Clock, Create, Secrets, Store, Update

SECRET = "vault-key"  # noqa: S105 - the name of the secret
KEY_BYTES = 32
CLAIM = "claims/vault-key"
CLAIM_SECONDS = 60.0

_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class Master:
    """A key-encryption key and the id by which wrapped keys name it."""

    id: str
    key: bytes = field(repr=False)


class MasterKey:
    """Reads the vault key once per process and again when a wrapped key names another."""

    def __init__(self, keys: Store, secrets: Secrets, clock: Clock, *, may_create: bool) -> None:
        self._keys = keys
        self._secrets = secrets
        self._clock = clock
        self._may_create = may_create
        self._known: Master | None = None
        self._lock = threading.Lock()

    def read(self, wanted: str) -> Master:
        """The vault key of this id. Raises ``NotFound`` when there is none or another."""
        known = self._known
        if known is None or known.id != wanted:
            known = self._known = self._newest()
        if known.id != wanted:
            raise NotFound("The vault key is another one.")
        return known

    def read_or_create(self) -> Master:
        """The vault key to wrap new keys with. Raises ``Retry`` while another process is making it."""
        with self._lock:
            try:
                self._known = self._newest()
            except NotFound:
                if not self._may_create:
                    raise ConfigurationError(f"The secret {SECRET} is missing.") from None
                self._known = self._create()
            return self._known

    def _newest(self) -> Master:
        key = self._secrets.get(SECRET)
        if len(key) != KEY_BYTES:
            raise ConfigurationError(f"The secret {SECRET} must be {KEY_BYTES} bytes.")
        return Master(hashlib.sha256(b"vault-key:" + key).hexdigest()[:16], key)

    def _create(self) -> Master:
        now = self._clock.now()
        by = self._clock.entropy(8).hex()
        claim = {"by": by, "until": now + CLAIM_SECONDS}
        found = self._keys.get([CLAIM]).get(CLAIM)
        if found is not None and found.data["until"] > now:
            raise Busy("The vault is being set up; try again.", retry_after=1)
        try:
            self._keys.commit([Update(CLAIM, claim, found.version) if found else Create(CLAIM, claim)])
        except (Conflict, Unknown):
            held = self._keys.get([CLAIM]).get(CLAIM)
            if held is None or held.data["by"] != by:
                raise Busy("The vault is being set up; try again.", retry_after=1) from None
        try:
            # Looked for again under the claim: its holder before us may have added it since.
            return self._newest()
        except NotFound:
            self._secrets.add(SECRET, self._clock.entropy(KEY_BYTES))
            return self._newest()
        except Retry:
            self._release(by)
            raise

    def _release(self, by: str) -> None:
        """Give the claim back, since nothing was added and nobody has to wait for it; if that fails, it runs out."""
        try:
            amend(self._keys, CLAIM, lambda row: {"until": 0.0} if row.data["by"] == by and row.data["until"] else None)
        except StoreError as error:
            _LOG.warning("claim_not_released", "The claim to make the vault key will run into its deadline.", error)
