"""What people are called who have nothing but an address."""

from __future__ import annotations

import re


def display_name(address: str) -> str:
    """A name made from an address: ``ann.lee@example.org`` is Ann Lee."""
    local = address.rpartition("@")[0]
    return " ".join(word.capitalize() for word in re.split(r"[._+-]+", local) if word) or local
