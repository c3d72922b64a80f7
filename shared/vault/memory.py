"""Fresh access tokens that an instance hands out again without reading their grant; bounded, and never written down."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.ports import Clock

LONGEST = 3_000.0
"""Seconds after which a grant is read again, however long its token lasts."""

MOST = 1_000
"""Tokens kept; then all are forgotten, which costs a read each."""


@dataclass(frozen=True, slots=True)
class TokenMemory:
    """Tokens by grant and by the epoch of the mailbox: a connection made anew never gets a remembered one."""

    clock: Clock
    _tokens: dict[tuple[str, int], tuple[str, float]] = field(default_factory=dict, init=False, repr=False)

    def recall(self, grant: str, epoch: int) -> str | None:
        """The token of a grant, if one is remembered that is still fresh."""
        token, until = self._tokens.get((grant, epoch), (None, 0.0))
        return token if until > self.clock.now() else None

    def keep(self, grant: str, epoch: int, token: str, until: float) -> None:
        """Remember a token for as long as it is fresh."""
        if len(self._tokens) >= MOST:
            self._tokens.clear()
        self._tokens[grant, epoch] = (token, min(until, self.clock.now() + LONGEST))
