"""How data keys are wrapped: the Protocol of a key-encryption key, and several of them as one.

A key-encryption key has versions. New wraps use the newest, old ones stay readable for as long as their version is there, and
``rewrap`` moves all to the newest. Several keys of different kinds (`VAULT_KEY=kms:...,secret`) work the same way: the first
wraps, the others are there to read what they have wrapped before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.errors import ConfigurationError
from shared.vault.texts import KeyLost

PROBE = b"a probe, wrapped to learn which key version wraps now"


class Wrapping(Protocol):
    """Wraps data keys under the newest version of a key-encryption key."""

    def wrap(self, data: bytes, bound: bytes) -> str:
        """A text that names the key version and opens with the same ``bound`` alone.

        Raises ``Retry``, ``ConfigurationError``.
        """

    def unwrap(self, text: str, bound: bytes) -> bytes:
        """What was wrapped, under whichever version.

        Raises ``KeyLost`` where that version is not there, ``Unopenable`` where the text was altered or moved, ``Retry``.
        """

    def has_made(self, text: object) -> bool:
        """Whether a text looks like one of this key's."""


@dataclass(frozen=True, slots=True)
class Wrappings:
    """Several key-encryption keys: the first wraps, each unwraps what it has made."""

    all: Sequence[Wrapping]

    def wrap(self, data: bytes, bound: bytes) -> str:
        """Wrap with the first."""
        return self.all[0].wrap(data, bound)

    def unwrap(self, text: str, bound: bytes) -> bytes:
        """Unwrap with the one that has made the text."""
        for wrapping in self.all:
            if wrapping.has_made(text):
                return wrapping.unwrap(text, bound)
        raise KeyLost("A stored key was wrapped by a vault key that VAULT_KEY does not name.")

    def has_made(self, text: object) -> bool:
        """Whether one of them has."""
        return any(wrapping.has_made(text) for wrapping in self.all)


def combined(wrappings: Sequence[Wrapping]) -> Wrapping:
    """One key-encryption key out of those that the settings name. Raises ``ConfigurationError`` for none."""
    if not wrappings:
        raise ConfigurationError("VAULT_KEY must name a key: secret, or kms: and the name of a key.")
    return wrappings[0] if len(wrappings) == 1 else Wrappings(tuple(wrappings))
