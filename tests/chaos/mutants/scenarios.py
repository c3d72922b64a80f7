"""The runs in which mutants are tried: the one without faults, scripted ones, and any seed of the simulation.

Each answers what was violated, by name. A run ends with its first violation.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import orjson
from werkzeug.wrappers import Request, Response

from infra.local.microsoft.methods import deltas
from tests.chaos.mutants import invariants, traces
from tests.chaos.simulation.plan import Action, Box, Plan
from tests.chaos.simulation.world import Simulation, silence

Violations = list[tuple[str, str]]
Invariants = dict[str, Callable[[Simulation], Iterator[str]]]

PIPELINE = "without faults"
SEED = "seed "
_BUDGET = "operations_are_within_the_budget"

_ORDINARY = (
    "mail", "labels", "mail", "sent", "trash", "mail", "draft", "delete", "save", "burst", "mail", "labels", "send", "mail",
    "post", "delete", "trash", "labels", "mail", "labels",
)  # fmt: skip


_IN_FOLDERS = (
    "mail",
    "labels",
    "folder",
    "mail",
    "move",
    "trash",
    "mail",
    "sent",
    "delete",
    "move",
    "burst",
    "labels",
    "mail",
)


def faultless() -> Plan:
    """Three people's mailboxes, one instance, ordinary traffic once all are there, and nothing that goes wrong."""
    boxes = tuple(Box(number, number, f"box{number}@example.org", 14 - 4 * number, 1.0 * number) for number in range(2))
    actions = tuple(
        Action(60.0 + 7 * number, kind, number % 2, (number * 0.37) % 1.0, number)
        for number, kind in enumerate(_ORDINARY)
    )
    outlook = tuple(
        Action(63.0 + 7 * number, kind, 2, (number * 0.37) % 1.0, number) for number, kind in enumerate(_IN_FOLDERS)
    )
    return Plan(7, (*boxes, _outlook(12, 2)), (*actions, *outlook), page_size=10, pace=0.3)


def without_faults(ignoring: str = "") -> Violations:
    """The run in which nothing goes wrong, judged by all invariants, or by all but one."""
    return simulated(faultless(), ignoring=ignoring)


def violations_in(scenario: str) -> Violations:
    """Run a scenario by its name. Raises ``KeyError`` where there is none."""
    if scenario.startswith(SEED):
        return simulated(Plan.of(int(scenario.removeprefix(SEED))), ignoring="")
    return SCENARIOS[scenario]()


def simulated(
    plan: Plan,
    also: Invariants | None = None,
    all_along: Invariants | None = None,
    meddle: Callable[[Simulation], None] = lambda _: None,
    ignoring: str = _BUDGET,
) -> Violations:
    """Run a plan; ``also`` is asked at rest, ``all_along`` after every commit; ``meddle`` prepares the world.

    What the mutants need is asked of all; ``ignoring`` is not: a script may be more than the budget allows for.
    """
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="brainstem-mutant-", dir=shm) as folder, silence():
        world = _Watched(Path(folder), plan, all_along or {}, ignoring)
        try:
            meddle(world)
            outcome = world.run()
            found = [(violation.name, violation.detail) for violation in outcome.violations]
            for name, invariant in {} if found else {**invariants.ALWAYS, **(also or {})}.items():
                found += [(name, detail) for detail in invariant(world)]
            return found
        finally:
            world.close()


class _Watched(Simulation):
    """A simulation that asks more than the checker, and one thing less."""

    def __init__(self, folder: Path, plan: Plan, all_along: Invariants, ignoring: str) -> None:
        super().__init__(folder, plan)
        self._all_along, self._ignoring = all_along, ignoring

    def complain(self, name: str, detail: str) -> None:
        if name != self._ignoring:
            super().complain(name, detail)

    def committed(self, life, writes) -> None:  # type: ignore[no-untyped-def]
        super().committed(life, writes)
        for name, invariant in self._all_along.items():
            for detail in invariant(self):
                self.complain(name, detail)


_LOST_HISTORY = (
    Action(89.7, "mail", 0, 0.5, 1),
    Action(89.8, "labels", 0, 0.5, 2),
    Action(89.9, "delete", 0, 0.2, 3),
    Action(90.0, "expire", 0),
    Action(91.0, "mail", 0, 0.5, 4),
)
"""What happens just before the history is lost that tells of it."""


def _box(mails: int = 4, number: int = 0, user: int = 0, at: float = 0.0) -> Box:
    return Box(number, user, f"box{number}@example.org", mails, at)


def _one_time_refresh_tokens() -> Violations:
    """Several steps find one token old at once, at a provider whose refresh tokens are good once; the store is slow."""
    plan = Plan(
        5,
        (_box(120),),
        tuple(Action(25.0 + 2 * number, "mail", 0, 0.5, number) for number in range(40)),
        (0.0, 0.0, 0.0),
        {"provider.slow": 0.2, "store.slow": 0.3},
        page_size=3,
        token_seconds=330.0,
        pace=3.0,
    )

    def meddle(world: Simulation) -> None:
        world.hosts["google"].website = _Once(world.hosts["google"])

    return simulated(
        plan,
        all_along={"a_living_grant_is_not_given_up": invariants.a_living_grant_is_not_given_up},
        meddle=meddle,
    )


class _Once:
    """The provider's website, with refresh tokens that end as soon as they have been used, for others in their place."""

    def __init__(self, gmail: Any) -> None:
        self._app, self._rotation = gmail.website, gmail.rotation

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        if request.path != "/token":
            return self._app(environ, start_response)
        content = request.get_data()
        environ["wsgi.input"] = BytesIO(content)
        answer = Response.from_app(self._app, environ)
        if answer.status_code == 200:
            fresh = self._rotation.rotate(parse_qs(content.decode())["refresh_token"][0])
            self._rotation.used(fresh)
            answer = Response(orjson.dumps({**orjson.loads(answer.get_data()), "refresh_token": fresh}), 200)
            answer.content_type = "application/json"
        return answer(environ, start_response)


def _chains_of_many_pages() -> Violations:
    """A backfill of many pages, and a resync of as many, while nothing goes wrong."""
    plan = Plan(5, (_box(40),), _LOST_HISTORY, page_size=3)
    return simulated(plan, {"no_chain_needs_a_rescue": invariants.no_chain_needs_a_rescue})


def _erased_and_connected_again() -> Violations:
    """A user's mailbox is erased, and then another account is connected."""
    plan = Plan(5, (_box(5), _box(5, 1, at=60.0)), (Action(30.0, "erase", 0),))
    return simulated(plan)


def _left_while_it_is_connected() -> Violations:
    """A mailbox is left and taken up again, over and over, while its steps are under way."""
    actions = []
    for number in range(25):
        actions += [
            Action(10.0 + 20 * number, "disconnect", 0),
            Action(10.5 + 20 * number + (number % 7) * 0.4, "reconnect", 0),
            Action(11.0 + 20 * number, "mail", 0, 0.5, number),
        ]
    actions.append(Action(600.0, "disconnect", 0))
    return simulated(Plan(9, (_box(12),), tuple(actions), (0.0, 0.0), page_size=3, pace=3.0))


def _changes_while_it_is_read() -> Violations:
    """Much changes while a mailbox is backfilled, and again while it is compared, by instances with a slow store."""
    kinds = ("labels", "delete", "labels", "trash", "mail", "labels", "untrash", "delete", "rescue")
    actions = [
        Action(start + 0.3 * number, kinds[number % len(kinds)], 0, (number * 0.619) % 1.0, number)
        for start in (1.0, 91.0)
        for number in range(80)
    ]
    plan = Plan(
        2,
        (_box(60),),
        (*_LOST_HISTORY, *actions),
        (0.0, 0.0),
        {"store.slow": 0.25},
        page_size=60,
        pace=3.0,
    )
    return simulated(plan)


def _services_that_refuse() -> Violations:
    """Queue and bus refuse every third call, while mail comes that nobody polls for soon."""
    actions = tuple(Action(30.0 + 3 * number, "mail", number % 2, 0.5, number) for number in range(20))
    rates = {"bus.publish_failed": 0.3, "tasks.enqueue_failed": 0.3}
    return simulated(Plan(6, (_box(6), _box(6, 1, 1)), actions, (0.0,), rates, page_size=10))


def _rebuilt() -> Violations:
    """A consumer's effects are built anew."""
    return simulated(Plan(6, (_box(12),), (Action(60.0, "rebuild", 0), Action(61.0, "mail", 0, 0.5, 1))))


def _found_late() -> Violations:
    """Mail that was spam or trash when its mailbox was connected is taken out of it."""
    actions = tuple(
        Action(60.0 + 5 * number, ("rescue", "untrash")[number % 2], 0, 0.5, number) for number in range(10)
    )
    return simulated(Plan(6, (_box(60),), actions))


def _messages_that_are_refused() -> Violations:
    """Gmail refuses a few messages for a while, and has some that it does not show at once."""
    google = {"calls": [{"fault": "fresh_404", "probability": 0.7, "seconds": 8.0}]}
    actions = [Action(1.0 + 0.2 * number, "refuse", 0, 0.1 * number, number) for number in range(8)]
    actions += [Action(40.0 + 3 * number, "mail", 0, 0.5, number) for number in range(10)]
    return simulated(Plan(6, (_box(30),), tuple(actions), google=google, page_size=10))


def _parts_in_another_order() -> Violations:
    """Every answer to a batch has its parts in another order."""
    google = {"calls": [{"fault": "shuffled_parts", "probability": 1.0}]}
    return simulated(Plan(6, (_box(30),), (), google=google, page_size=10))


def _tasks_that_come_twice() -> Violations:
    """Every other task is delivered again, at once or later."""
    rates = {"tasks.again": 0.5, "tasks.overlapping": 0.5}
    return simulated(Plan(6, (_box(30),), _LOST_HISTORY, (0.0, 0.0), rates, page_size=3))


def _left_while_its_watch_is_opened() -> Violations:
    """Mailboxes are left at any moment of their first seconds, and nobody writes to them afterwards."""
    boxes = tuple(_box(1, number, number) for number in range(24))
    actions = tuple(Action(0.5 + 0.25 * number, "disconnect", number) for number in range(24))
    return simulated(Plan(9, boxes, actions, page_size=25, pace=3.0))


def _outlook(mails: int = 12, number: int = 0) -> Box:
    return Box(number, number, f"box{number}@example.org", mails, 0.0, "microsoft")


def _moved_about() -> Violations:
    """Mail is moved between folders, and folders come, are renamed, move and go, by instances with a slow store."""
    kinds = (
        "move",
        "folder",
        "move",
        "labels",
        "trash",
        "move",
        "rename_folder",
        "move",
        "untrash",
        "move",
        "move_folder",
    )
    actions = [Action(1.0 + 0.7 * n, kinds[n % len(kinds)], 0, (n * 0.619) % 1.0, n * 7919) for n in range(120)]
    actions += [Action(30.0 + 11 * n, "drop_folder", 0, (n * 0.37) % 1.0, n) for n in range(5)]
    return simulated(
        Plan(2, (_outlook(40),), tuple(actions), (0.0, 0.0), {"store.slow": 0.1}, page_size=10, poll_seconds=180.0)
    )


def _walks_that_overlap(twice: Mapping[str, float]) -> Violations:
    """Everybody rings at once, and some things come ``twice``, while a mailbox of many folders is walked."""
    actions = [Action(1.0 + 0.1 * n, "folder", 0, 0.5, n * 7919) for n in range(12)]
    actions += [Action(20.0 + 4 * n, ("missed", "move", "mail")[n % 3], 0, (n * 0.37) % 1.0, n) for n in range(40)]
    return simulated(Plan(4, (_outlook(),), tuple(actions), (0.0, 0.0), twice, page_size=10, pace=3.0))


def _rotating_refresh_tokens() -> Violations:
    """Hours of refreshes at a provider that answers each with another token, and keeps the last few only."""
    actions = tuple(Action(30.0 + 120 * number, "mail", 0, 0.5, number) for number in range(40))
    plan = Plan(3, (_outlook(4),), actions, token_seconds=330.0)
    return simulated(plan, all_along={"a_living_grant_is_not_given_up": invariants.a_living_grant_is_not_given_up})


def _large_folders() -> Violations:
    """Folders with more mail than a filtered round of changes tells of; so that it need not be 5,000, that is less here."""
    most, deltas.FILTERED_AT_MOST = deltas.FILTERED_AT_MOST, 10
    try:
        return simulated(Plan(8, (_outlook(60),), (Action(40.0, "mail", 0, 0.5, 1),), page_size=25))
    finally:
        deltas.FILTERED_AT_MOST = most


def _forgotten_cursors_of_folders() -> Violations:
    """Folders forget their cursors while mail leaves them, and nobody has told of that."""
    actions = []
    for number in range(6):
        start = 60.0 + 90 * number
        actions += [
            Action(start + 0.1 * n, ("move", "delete", "labels")[n % 3], 0, (n * 0.31) % 1.0, n) for n in range(9)
        ]
        actions.append(Action(start + 1.0, "expire", 0, 0.1 if number % 2 else 0.9, number))
    microsoft = {"drop": 1.0}
    return simulated(Plan(8, (_outlook(30),), tuple(actions), microsoft=microsoft, page_size=10, poll_seconds=180.0))


SCENARIOS: dict[str, Callable[[], Violations]] = {
    PIPELINE: without_faults,
    **traces.TRACES,
    "one-time refresh tokens": _one_time_refresh_tokens,
    "chains of many pages": _chains_of_many_pages,
    "erased and connected again": _erased_and_connected_again,
    "left while it is connected": _left_while_it_is_connected,
    "changes while it is read": _changes_while_it_is_read,
    "services that refuse": _services_that_refuse,
    "rebuilt": _rebuilt,
    "found late": _found_late,
    "messages that are refused": _messages_that_are_refused,
    "parts in another order": _parts_in_another_order,
    "tasks that come twice": _tasks_that_come_twice,
    "left while its watch is opened": _left_while_its_watch_is_opened,
    "moved about": _moved_about,
    "walks that overlap": lambda: _walks_that_overlap({"tasks.again": 0.3, "pushes.again": 0.3}),
    "walks that meet": lambda: _walks_that_overlap({}),
    "rotating refresh tokens": _rotating_refresh_tokens,
    "large folders": _large_folders,
    "forgotten cursors of folders": _forgotten_cursors_of_folders,
}
"""By name. What comes after the first is tried where no seed catches a mutant."""
