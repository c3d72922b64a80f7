"""A failed run in words: the seed, the invariant, the plan that is left of it, and the last events."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.simulation.plan import PROVIDERS, Plan
from tests.chaos.simulation.world import Outcome

LINES = 60


def failure_text(seed: int, smallest: Outcome, providers: Sequence[str] = PROVIDERS) -> str:
    """What to read when a seed fails."""
    only = f" --provider {providers[0]}" if len(providers) < len(PROVIDERS) else ""
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
            f"Again: python -m tests.chaos.simulation --seeds 1 --first {seed}{only}",
        )
    )


def plan_text(plan: Plan) -> list[str]:
    """A plan, a line for each thing in it."""
    lines = [f"instances with clocks wrong by {', '.join(map(str, plan.skews))} s; page size {plan.page_size}"]
    lines += [
        f"{box.provider} mailbox {box.number} of user{box.user}: {box.address}, {box.mails} mails, from {box.at} s"
        for box in plan.boxes
    ]
    lines += [f"{action.at:8.3f} s: {action.kind} in mailbox {action.box}" for action in plan.actions]
    lines += [f"fault {kind} at a rate of {rate}" for kind, rate in plan.rates.items()]
    lines += [f"fault {kind} at number {sorted(numbers)}" for kind, numbers in plan.forced.items()]
    for provider in plan.providers:
        faults = plan.faults(provider)
        lines += [f"{provider}: {name} {value}" for name, value in faults.items() if name != "calls"]
        lines += [f"{provider}: {rule}" for rule in faults.get("calls", ())]
    return lines
