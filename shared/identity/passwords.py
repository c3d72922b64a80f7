"""Passwords, as Argon2id keeps them (RFC 9106, the profile for little memory): never themselves, never compared by us.

A computation takes 64 MiB and a quarter of a second, which is the point of it, and the danger: only ``AT_ONCE`` of them run
side by side in an instance, and ``attempts`` decides before who may have one. Somebody who has no password costs one too, so
that the time of an answer does not tell accounts from strangers.
"""

from __future__ import annotations

import base64
import threading
import unicodedata

from argon2 import PasswordHasher, profiles
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from shared.errors import InvalidRequest
from shared.observability import logs
from shared.ports import Clock

MIN_BYTES, MAX_BYTES = 12, 1_024
AT_ONCE = 4

_NOBODY = b"nobody has this!"
_LOG = logs.named(__name__)


def checked(password: str, *, new: bool = False) -> bytes:
    """The password as it is hashed: composed (NFC) UTF-8, so that every keyboard writes the same.

    Raises ``InvalidRequest`` over ``MAX_BYTES``, and for a new one below ``MIN_BYTES``; nothing has been computed then.
    """
    # A character has at least a byte, and composing never makes more of them than bytes allow: most is refused unread.
    try:
        written = b"" if len(password) > MAX_BYTES else unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError:
        raise InvalidRequest("password must be valid text.", field="password") from None
    if not (MIN_BYTES if new else 1) <= len(written) <= MAX_BYTES:
        raise InvalidRequest(f"password must have {MIN_BYTES} to {MAX_BYTES} bytes.", field="password")
    return written


class Passwords:
    """Hashes and verifies what ``checked`` answers; safe to share between threads."""

    def __init__(self, clock: Clock, hasher: PasswordHasher | None = None) -> None:
        """``hasher`` decides the parameters; by default those of RFC 9106 for little memory."""
        self._clock = clock
        self._hasher = hasher or PasswordHasher.from_parameters(profiles.RFC_9106_LOW_MEMORY)
        self._nobody = _of_nobody(self._hasher)
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def hash(self, password: bytes) -> str:
        """What is kept of a password: parameters, salt and hash in one text."""
        with self._places:
            return self._hasher.hash(password, salt=self._clock.entropy(self._hasher.salt_len))

    def verify(self, kept: str | None, password: bytes) -> bool:
        """Whether it is the password; without ``kept`` it is not, and that takes as long to say."""
        try:
            with self._places:
                return self._hasher.verify(kept or self._nobody, password) and kept is not None
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError) as error:
            _LOG.error("login_unreadable", "What is kept of a person's way to sign in cannot be read.", error)
            return False

    def is_outdated(self, kept: str) -> bool:
        """Whether it was made with other parameters than a new one would be."""
        return self._hasher.check_needs_rehash(kept)


def _of_nobody(hasher: PasswordHasher) -> str:
    """A text that costs what any costs and fits no password that anybody could find."""
    salt, digest = (
        base64.b64encode(value).decode().rstrip("=") for value in (_NOBODY[: hasher.salt_len], bytes(hasher.hash_len))
    )
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${costs}${salt}${digest}"
