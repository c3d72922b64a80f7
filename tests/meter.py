"""A meter that lets everything go at once, for tests that are not about quotas."""

from __future__ import annotations

from dataclasses import dataclass

from shared.providers.base import Access


@dataclass(slots=True)
class FreeMeter:
    """Counts what is spent."""

    spent: float = 0.0

    def room(self) -> float:
        """Endless."""
        return float("inf")

    def spend(self, units: float) -> None:
        """Count."""
        self.spent += units


def free(token: str = "token") -> Access:
    """What a call goes out with where nobody counts."""
    return Access(token, FreeMeter())
