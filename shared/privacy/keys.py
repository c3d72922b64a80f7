"""Keys that are never rotated: the first version of a secret, provided by the cloud's deployment, made here on the laptop.

Of two processes that make it at once, both go by the first.
"""

from __future__ import annotations

from typing import ClassVar

from shared.errors import ConfigurationError, NotFound
from shared.ports import Clock, Secrets

KEY_BYTES = 32


class LastingKey:
    """Reads a key once per process; ``may_create`` allows it to be made, and so not to be there yet."""

    name: ClassVar[str]

    def __init__(self, secrets: Secrets, clock: Clock, *, may_create: bool) -> None:
        self._secrets, self._clock, self._may_create = secrets, clock, may_create
        self._known: bytes | None = None

    def find(self) -> bytes | None:
        """The key; None where there is none yet. Raises ``ConfigurationError``, ``Retry``."""
        if self._known is None:
            try:
                self._known = self._secrets.get(self.name, "1")
            except NotFound:
                if not self._may_create:
                    raise ConfigurationError(f"The secret {self.name} is missing.") from None
        return self._known

    def find_or_make(self) -> bytes:
        """The key, made where there is none. Raises ``ConfigurationError``, ``Retry``."""
        known = self.find()
        if known is None:
            self._secrets.add(self.name, self._clock.entropy(KEY_BYTES))
            known = self._known = self._secrets.get(self.name, "1")
        return known
