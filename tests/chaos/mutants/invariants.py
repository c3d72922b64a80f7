"""What the simulation's checker does not ask, and mutants need: about a simulated world at rest, about a machine.

They have the checker's form, and hold of the product in every seed; the scenarios below ask them beside the checker's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from shared.events.types import RECEIVED
from shared.mail.message import PLACEHOLDER
from tests.chaos.simulation import checker
from tests.chaos.simulation.world import Simulation
from tests.machine import Machine

NOT_ABOUT_MAIL = frozenset(
    {"no_function_breaks", "nothing_is_stuck", "operations_are_within_the_budget", "the_record_is_the_store"}
)
"""Violations that say that something is wrong, but not what becomes of the mail: a mutant needs another one."""

ROUNDED = 0.002
"""Events have milliseconds."""


def origins_say_when_a_mail_came(world: Simulation) -> Iterator[str]:
    """An event is ``live`` if its mail was received at the first anchor or later, whichever chain has found it."""
    for mailbox, state in world.record.mailboxes().items():
        for event in _events(world, mailbox):
            if event["type"].startswith("email.") and event["origin"] != "repair":
                received = datetime.fromisoformat(event["data"]["msg_date"]).timestamp()
                due = "live" if received >= state["followed_since"] else "backfill"
                if event["origin"] != due and abs(received - state["followed_since"]) > ROUNDED:
                    yield f"{event['sequence']} of {mailbox} is {event['origin']}, it should be {due}"


def no_chain_needs_a_rescue(world: Simulation) -> Iterator[str]:
    """Where nothing is lost and nobody dies, no chain has to be taken up again ten minutes later."""
    for mailbox, state in world.record.mailboxes().items():
        if state["rescue"]:
            yield f"{state['rescue']} rescues of {mailbox}"


def a_living_grant_is_not_given_up(world: Simulation) -> Iterator[str]:
    """While the provider accepts a grant, its mailbox is followed."""
    for mailbox, state in world.record.mailboxes().items():
        if state["status"] == "reauth_required":
            yield mailbox


ALWAYS: dict[str, Callable[[Simulation], Iterator[str]]] = {
    "origins_say_when_a_mail_came": origins_say_when_a_mail_came
}
"""What is asked of every simulated run, at rest."""


def of_machine(machine: Machine) -> Iterator[tuple[str, str]]:
    """What is wrong with a machine at rest, each with the name of its invariant; the checker's sentences."""
    documents, events, state = list(machine.documents().values()), machine.log(), machine.state
    truth = {
        id_: {"labels": sorted(message.labels), "subject": message.subject}
        for id_, message in machine.provider.messages.items()
    }
    for detail in checker.differences(state.id, truth, documents):
        yield "the_store_equals_the_truth", detail
    for data in documents:
        if data["state"] == PLACEHOLDER:
            yield "no_placeholder_is_left", data["id"]
    if [event.sequence for event in events] != list(range(1, state.head + 1)):
        yield "sequences_are_contiguous_and_never_reused", str([event.sequence for event in events])
    sent = list(dict.fromkeys(machine.bus.sequences()))
    if sent != list(range(1, state.head + 1)):
        yield "first_deliveries_are_in_sequence_order", f"{sent} of {state.head}"
    known, wrong = checker.fold_events((event.type, event.data) for event in events)
    for detail in (*wrong, *checker.unexplained(state.id, known, documents)):
        yield "folding_the_stream_from_1_equals_the_store", detail
    due = checker.received((event.type, event.data) for event in events)
    if Counter(machine.counts()) != due:
        yield "the_consumer_has_counted_once", f"{machine.counts()}, it should be {dict(due)}"


def a_fact_has_one_id(machine: Machine) -> Iterator[str]:
    """However often a mail is announced, because its document was lost, the announcement has one id."""
    ids: dict[str, set[str]] = {}
    for event in machine.log():
        if event.type == RECEIVED:
            ids.setdefault(event.data["provider_message_id"], set()).add(event.id)
    yield from (f"{message} is announced under {sorted(known)}" for message, known in ids.items() if len(known) > 1)


def _events(world: Simulation, mailbox: str) -> Iterator[Any]:
    for segment in world.record.of(mailbox, "log"):
        yield from segment["events"]
