"""A failed run in words: the seed, the invariant, the plan that is left of it, and the last events."""

from __future__ import annotations

from tests.chaos.simulation.plan import Plan
from tests.chaos.simulation.world import Outcome

LINES = 60


def failure_text(seed: int, smallest: Outcome) -> str:
    """What to read when a seed fails."""
    said = [f"  {violation.name}: {violation.detail}" for violation in smallest.violations[:5]]
    return "\n".join(
        (
            f"Seed {seed} fails. The smallest plan found that still does:",
            *said,
            "",
            *plan_text(smallest.plan),
            "",
            f"The last of {smallest.trace.count} events (seconds, instance, call, what):",
            *(line[:200] for line in smallest.trace.tail(LINES)),
            "",
            f"Again: python -m tests.chaos.simulation --seeds 1 --first {seed}",
        )
    )


def plan_text(plan: Plan) -> list[str]:
    """A plan, a line for each thing in it."""
    lines = [f"instances with clocks wrong by {', '.join(map(str, plan.skews))} s; page size {plan.page_size}"]
    lines += [
        f"mailbox {box.number} of user{box.user}: {box.address}, {box.mails} mails, from {box.at} s"
        for box in plan.boxes
    ]
    lines += [f"{action.at:8.3f} s: {action.kind} in mailbox {action.box}" for action in plan.actions]
    lines += [f"fault {kind} at a rate of {rate}" for kind, rate in plan.rates.items()]
    lines += [f"fault {kind} at number {sorted(numbers)}" for kind, numbers in plan.forced.items()]
    lines += [f"provider: {name} {value}" for name, value in plan.google.items() if name != "calls"]
    lines += [f"provider: {rule}" for rule in plan.google.get("calls", ())]
    return lines
