"""Chance that is the same for the same seed, whatever the order of threads and however often a process restarts."""

from __future__ import annotations

import hashlib
import random


def digest(*parts: object) -> bytes:
    """Thirty-two bytes that depend on the parts alone."""
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=32).digest()


def draw(*parts: object) -> float:
    """A number from 0 up to but not including 1."""
    return int.from_bytes(digest(*parts)[:6], "big") / 2**48


def stream(*parts: object) -> random.Random:
    """A generator of its own for the parts."""
    return random.Random(digest(*parts))  # noqa: S311 - plausible mail and repeatable faults, not secrets
