"""Where an audit stands and what it has found: the part of a mailbox's state that audits keep."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Findings:
    """What an audit has counted, in messages.

    ``compared``: those of the provider that had to be in the store; ``missing``: of these, those that were not;
    ``differing``: those that were stored otherwise; ``gone``: stored, and answered 404; ``gaps``: known to be unreadable;
    ``repaired``: what of it was put right; ``unasked``: stored, not listed, and too many to be asked for in one audit.
    """

    compared: int = 0
    missing: int = 0
    differing: int = 0
    gone: int = 0
    gaps: int = 0
    repaired: int = 0
    unasked: int = 0

    @property
    def ratio(self) -> float:
        """The share of what had to be there that was there, before anything was repaired; 1 where nothing had to be."""
        return 1.0 if not self.compared else (self.compared - self.missing) / self.compared


@dataclass(frozen=True, slots=True)
class Told:
    """What the log has told of a message: as what it was announced, '' for not at all; as deleted, ever; as gone since."""

    announced: str = ""
    deleted: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Audit:
    """Where an audit stands that has not ended.

    ``token`` and ``until``: the page of the listing, and the time from which on the pages before it have covered all.
    ``after``: the last message of that page that has been dealt with. ``asked``: how many unlisted ones were asked for.
    ``sought``: lost messages, by the keys of their documents, of which the log is asked, and what it has told so far;
    ``searched``: up to where.
    """

    since: float
    begun_at: float
    page: int = 0
    token: str | None = None
    until: float | None = None
    after: str | None = None
    restarts: int = 0
    asked: int = 0
    sought: dict[str, Told] = field(default_factory=dict)
    searched: int | None = None
    findings: Findings = field(default_factory=Findings)


@dataclass(frozen=True, slots=True)
class Audited:
    """The result of the last audit that came to its end: of what was received since a time, and when it ended."""

    at: float
    since: float
    findings: Findings
