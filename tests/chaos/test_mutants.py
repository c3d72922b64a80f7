"""Every broken engine passes where nothing goes wrong, and is caught by an invariant about mail where something does.

By the run that is written down for it, or by another scripted one, since what happens in a run shifts with every change.
About a second of CPU time each. ``python -m tests.chaos.mutants`` does the same with progress and a table.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.mutants.patching import Stale, replaced
from tests.chaos.mutants.registry import caught
from tests.chaos.mutants.scenarios import SCENARIOS, violations_in
from tests.chaos.mutants.search import MUTANTS, escapes, fails_without_faults

NAMED = (
    "ack before enqueue", "cursor before commit", "jump to now on 404", "profile read again on resume",
    "batch parts by index", "own segments only publish", "refold without cursor check",
    "refold without rereading documents", "documents read before the mailbox version",
    "change to an unknown message ignored", "no tombstone for an unknown delete", "version guard removed",
    "sweep without 404", "both bucket names spent is success", "settle look only when empty", "successor unnamed",
    "successor before commit", "contiguity check removed", "stream restarted at 1", "rebuild keeping old effects",
    "origin by chain", "version in the received id", "epoch not raised on reconnect", "no op fence write",
    "watch not undone", "watermark by put", "refresh without a claim", "oversized page unsplit",
    "removed is deleted", "two workers per folder", "unsaved rotated token", "filtered delta", "mutable ids",
)  # fmt: skip
"""Those that have to be there, whatever else is."""

LIST = list(MUTANTS)


@pytest.mark.parametrize("name", LIST)
def test_a_broken_engine_passes_where_nothing_goes_wrong(name):
    assert fails_without_faults(MUTANTS[name]) == ""


@pytest.mark.parametrize("name", LIST)
def test_a_broken_engine_is_caught(name):
    assert escapes(MUTANTS[name]) == ""


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_engine_itself_bears_every_scenario(scenario):
    assert violations_in(scenario) == []


def test_every_mutant_that_has_to_be_there_is_and_each_is_caught_by_something():
    assert set(NAMED) <= set(LIST)
    assert set(caught()) == set(LIST)


def test_a_mutant_that_nobody_calls_is_not_taken_for_caught():
    unheard = replace(MUTANTS["origin by chain"], target="shared.mail.tasks:begin_audit")
    assert escapes(unheard) == "nobody calls shared.mail.tasks:begin_audit"


@pytest.mark.parametrize("target", ["shared.mail.fold:_gone", "shared.events.consume:Harness._gone"])
def test_a_function_that_is_gone_fails_at_once(target):
    with pytest.raises(Stale), replaced(target, lambda original: original):
        pass
