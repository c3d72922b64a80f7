"""The lives: each a few mails and one thing that happens to them, without chance in what goes wrong.

A life ends a while after its last action; what is to be cut short has to happen before (``wait`` makes room). Beside the
simulation's actions there are ``wait``, ``night`` (until ``morning`` there is hardly a tick), ``lose`` (a message disappears
from the store) and ``revoke`` (the account no longer accepts our tokens).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tests.chaos.simulation.plan import Action, Box, Plan

ADDRESS = "ann@example.org"

SMALL: Mapping[str, frozenset[int]] = MappingProxyType({"crash.before": frozenset()})
"""Makes a plan one with faults: exact budgets are per mail, and in so small a mailbox the mailbox itself costs most."""


FOLLOWED_BY = 4.0
"""Seconds after which a mailbox of a few mails is connected, read and looked at again, if nothing has gone wrong."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A life: its name, its plan, settings that differ from those of simulations, whether people consent in a browser.

    All lives begin alike, with connecting and the first reading; so only ``whole`` ones are cut short there.
    """

    name: str
    plan: Plan
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    consent: bool = False
    whole: bool = False

    @property
    def own_from(self) -> float:
        """Seconds after the start from which on it is a life of its own: with its first action, or once all is read."""
        return 0.0 if self.whole else min(FOLLOWED_BY, *(action.at for action in self.plan.actions))


def _life(
    name: str,
    mails: int,
    *actions: tuple[float, str] | tuple[float, str, float],
    settings: Mapping[str, Any] | None = None,
    consent: bool = False,
    whole: bool = False,
    provider: str = "google",
    **plan: Any,
) -> Scenario:
    """A life of one mailbox with so many mails; an action is when, what, and which of the fitting mails (0 to 1)."""
    happens = tuple(
        Action(action[0], action[1], 0, action[2] if len(action) > 2 else 0.5, number)
        for number, action in enumerate(actions)
    )
    plan["forced"] = SMALL | plan.get("forced", {})
    chosen = {"page_size": 3, "batch_size": 3, "poll_seconds": 300.0, "pace": 0.3} | plan
    return Scenario(
        name, Plan(7, (Box(0, 0, ADDRESS, mails, 0.0, provider),), happens, **chosen), settings or {}, consent, whole
    )


SCENARIOS = (
    _life("connected by consent", 3, (3.0, "mail"), (12.0, "wait"), consent=True, whole=True),
    _life(
        "backfill beside live changes", 7,
        (0.8, "mail"), (1.1, "labels", 0.1), (1.4, "delete", 0.2), (1.7, "mail"), (2.0, "labels", 0.9), (2.3, "trash", 0.4),
        whole=True,
    ),
    _life("live mail with a push", 2, (5.0, "mail"), (5.5, "burst"), (12.0, "mail"), (20.0, "wait")),
    _life(
        "labels, trash, deletion", 5,
        (5.0, "labels", 0.1), (5.2, "trash", 0.4), (8.0, "untrash"), (8.3, "labels", 0.1), (8.4, "delete", 0.4),
        (12.0, "delete", 0.9), (20.0, "wait"),
    ),
    _life(
        "the history expires", 5,
        (5.0, "delete", 0.3), (5.05, "labels", 0.6), (5.1, "expire"), (5.2, "mail"), (7.0, "mail"), (7.3, "delete", 0.9),
    ),
    _life(
        "a page token is refused", 7, (0.9, "mail"), (10.0, "wait"), whole=True,
        google={"calls": [{"fault": "bad_page_token", "at": [1], "most": 1}]},
    ),
    _life("a message is refused", 3, (0.0, "refuse", 0.4), (5.0, "labels", 0.4), (70.0, "wait")),
    _life(
        "tokens expire and rotate", 2, (40.0, "mail"), (80.0, "mail"), (120.0, "wait"),
        token_seconds=330.0, forced={"refresh.rotated": frozenset(range(1, 9))},
    ),
    _life("the grant is revoked", 2, (5.0, "revoke"), (5.2, "mail"), (60.0, "mail"), (70.0, "wait")),
    _life(
        "disconnected, then back", 3,
        (4.0, "mail"), (4.3, "disconnect"), (9.0, "mail"), (9.2, "delete", 0.2), (12.0, "reconnect"), (15.0, "mail"),
    ),
    _life("erased", 3, (4.0, "mail"), (4.2, "erase"), (4.6, "mail"), (20.0, "wait")),
    _life("a consumer is rebuilt", 3, (5.0, "mail"), (8.0, "rebuild"), (8.1, "mail"), (8.4, "delete", 0.1), (15.0, "wait")),
    _life("a user posts events", 1, (0.3, "post"), (0.5, "post"), (5.0, "post"), (15.0, "wait")),
    _life(
        "a post is left to the tick", 1, (5.0, "post"), (6.0, "post"), (100.0, "wait"),
        forced={"bus.publish_failed": frozenset({7, 8})},
    ),
    _life("the channel is renewed", 2, (5.0, "night"), (86_430.0, "morning"), (86_431.0, "mail"), (86_440.0, "wait")),
    _life(
        "an audit repairs a loss", 4, (5.0, "lose", 0.4), (6.0, "labels", 0.8), (600.0, "wait"),
        tick_seconds=300.0, poll_seconds=900.0, settings={"audit_days": 800.0, "audit_seconds": 1240.0},
    ),
    _life(
        "Outlook, read beside live changes", 5,
        (0.8, "mail"), (1.2, "move", 0.1), (1.5, "delete", 0.3), (1.8, "folder"), (2.1, "mail"), (12.0, "wait"),
        whole=True, provider="microsoft",
    ),
    _life(
        "Outlook, moved between folders", 4,
        (5.0, "folder"), (5.2, "move", 0.2), (5.6, "mail"), (8.0, "move", 0.6), (8.3, "drop_folder"), (8.6, "trash", 0.1),
        (9.0, "missed"), (20.0, "wait"), provider="microsoft",
    ),
    _life(
        "Outlook, cursors forgotten", 4,
        (15.0, "delete", 0.3), (15.1, "expire", 0.1), (15.3, "mail"), (15.6, "missed"), (30.0, "wait"), provider="microsoft",
    ),
    _life(
        "Outlook, subscription removed", 2, (5.0, "removed"), (5.4, "mail"), (9.0, "reauthorize"), (20.0, "wait"),
        provider="microsoft",
    ),
    _life(
        "Outlook, tokens rotate", 2, (40.0, "mail"), (80.0, "missed"), (120.0, "wait"),
        token_seconds=330.0, provider="microsoft",
    ),
)  # fmt: skip
"""In the order of a mailbox's life."""

BY_NAME = MappingProxyType({scenario.name: scenario for scenario in SCENARIOS})
