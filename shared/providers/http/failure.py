"""An answer that is no success, as far as every provider means the same by it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that is no success: status, reasons as the server spells them, message in lower case, wait in seconds."""

    status: int
    reasons: tuple[str, ...] = ()
    message: str = ""
    retry_after: float | None = None

    @property
    def outage(self) -> bool:
        """The server did not manage to answer; it says nothing about what was asked."""
        return self.status < 400 or self.status in (408, 409) or self.status >= 500

    @property
    def malformed(self) -> bool:
        """A success that did not bring what was promised."""
        return 200 <= self.status < 300

    def describe(self) -> str:
        """Say the status and the first reason, for people."""
        return f"{self.status} {self.reasons[0]}" if self.reasons else f"{self.status}"

    def says(self, reasons: set[str]) -> bool:
        """Whether any of these (lower case, without underscores) was given as a reason."""
        return not reasons.isdisjoint({reason.replace("_", "").lower() for reason in self.reasons})
