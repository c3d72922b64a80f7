"""The verdict passes a perfect run, and fails each run in which one thing is wrong, saying what."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from infra.local.catalogue import ROOT
from infra.local.verify import expected_message
from tests.pipeline.verdict_case import AFTER_SECONDS, MAILBOX, Case, mail, perfect, push, stored

FIELDS = [*expected_message(mail("any", []))]


def test_a_perfect_run_passes_with_its_figures() -> None:
    report = perfect().verdict()

    assert report.differences == ()
    assert report.ok
    assert (report.expected, report.stored, report.events, report.gaps) == (5, 4, 8, 1)
    assert (report.lost, report.duplicates, report.contiguous, report.consumer_ok) == (0, 0, True, True)


def test_redelivery_of_the_same_event_is_allowed() -> None:
    case = perfect()
    case.delivered += case.delivered[:3]
    assert case.verdict().ok


def test_an_early_deletion_of_an_unseen_mail_leaves_no_trace() -> None:
    case = perfect()
    case.truth["deleted"].append("never seen")
    assert case.verdict().ok


@pytest.mark.parametrize("field", FIELDS)
def test_an_altered_field_of_the_store_fails(field: str) -> None:
    case = perfect()
    message = case.messages[0] = copy.deepcopy(case.messages[0])
    message[field] = _other(message[field])

    report = case.verdict()

    assert not report.ok
    assert any(field in text and "should be" in text for text in report.differences)


@pytest.mark.parametrize("field", FIELDS)
def test_an_altered_field_of_an_event_fails_even_if_the_bus_agrees(field: str) -> None:
    case = perfect()
    event = case.events[MAILBOX][2]
    event["data"][field] = _other(event["data"][field])
    case.delivered[2] = push(event)

    assert not case.verdict().ok


def test_a_field_that_is_wrong_everywhere_alike_fails() -> None:
    case = perfect()
    case.messages[1]["snippet"] = case.events[MAILBOX][2]["data"]["snippet"] = "Until"
    case.delivered[2] = push(case.events[MAILBOX][2])
    assert not case.verdict().ok


def _drop_event(case: Case, index: int) -> None:
    del case.events[MAILBOX][index]
    del case.delivered[index]


def _drop_and_renumber(case: Case, index: int) -> None:
    _drop_event(case, index)
    for number, event in enumerate(case.events[MAILBOX], start=1):
        event["sequence"] = number
        if "sequence" in event["data"]:
            event["data"]["sequence"] = number
    case.delivered = [push(event) for event in case.events[MAILBOX]]


@pytest.mark.parametrize("index", range(8))
def test_a_dropped_event_fails(index: int) -> None:
    case = perfect()
    _drop_event(case, index)
    report = case.verdict()
    assert not report.ok
    assert report.contiguous is (index == 7)  # a missing last event leaves no hole, and is missed all the same


@pytest.mark.parametrize("index", range(8))
def test_a_dropped_event_fails_even_if_the_rest_is_numbered_anew(index: int) -> None:
    case = perfect()
    _drop_and_renumber(case, index)
    report = case.verdict()
    assert report.contiguous
    assert not report.ok


def test_a_doubled_event_fails() -> None:
    case = perfect()
    case.events[MAILBOX].append(case.events[MAILBOX][6] | {"sequence": 9})
    report = case.verdict()
    assert report.duplicates == 1
    assert not report.ok


def test_a_fact_told_twice_under_another_id_fails() -> None:
    case = perfect()
    again = copy.deepcopy(case.events[MAILBOX][2])
    again |= {"id": "another", "sequence": 9}
    again["data"] |= {"event_id": "another", "sequence": 9}
    case.events[MAILBOX].append(again)
    case.delivered.append(push(again))
    report = case.verdict()
    assert report.duplicates == 1
    assert not report.ok


def test_a_repeated_sequence_fails() -> None:
    case = perfect()
    case.events[MAILBOX].insert(3, case.events[MAILBOX][3])
    report = case.verdict()
    assert not report.contiguous
    assert not report.ok


def test_a_doubled_effect_fails() -> None:
    case = perfect()
    case.senders[0]["mails"] = 3
    report = case.verdict()
    assert (report.duplicates, report.consumer_ok, report.ok) == (1, False, False)


def test_a_missing_effect_fails() -> None:
    case = perfect()
    del case.senders[1]
    report = case.verdict()
    assert (report.duplicates, report.consumer_ok, report.ok) == (0, False, False)


def test_a_lost_mail_fails() -> None:
    case = perfect()
    del case.messages[0]
    case.status["mailboxes"][0]["messages"] = 3
    report = case.verdict()
    assert report.lost == 1
    assert not report.ok


def test_a_lost_mail_fails_even_if_all_of_brainstem_forgot_it() -> None:
    case = perfect()
    _drop_and_renumber(case, 2)
    del case.messages[1]
    case.status["mailboxes"][0]["messages"] = 3
    report = case.verdict()
    assert report.lost == 1
    assert report.difference_count == 1


def test_a_gap_excuses_only_what_the_provider_refuses() -> None:
    case = perfect()
    case.truth["mails"][4]["refused"] = False
    report = case.verdict()
    assert report.lost == 0
    assert not report.ok


def test_a_resolved_gap_excuses_nothing() -> None:
    case = perfect()
    case.gaps[0]["status"] = "resolved"
    report = case.verdict()
    assert report.lost == 1


def test_a_mail_that_the_importer_could_not_read_counts_as_a_gap() -> None:
    case = perfect()
    case.truth["unreadable"] = [{"name": "7.eml", "reason": "empty"}]
    assert case.verdict().gaps == 2


def _ghost(case: Case) -> None:
    case.messages.append(stored(mail("ghost", ["DRAFT"]), None))
    case.status["mailboxes"][0]["messages"] = 5


def _kept_after_deletion(case: Case) -> None:
    case.truth["mails"] = [entry for entry in case.truth["mails"] if entry["id"] != "draft"]
    case.truth["deleted"].append("draft")


def _listed_twice(case: Case) -> None:
    case.messages.append(case.messages[0])


def _not_live(case: Case) -> None:
    case.status["mailboxes"][0]["status"] = "error"


def _outbox(case: Case) -> None:
    case.status["mailboxes"][0]["outbox"] = 1


def _wrong_count(case: Case) -> None:
    case.status["mailboxes"][0]["messages"] = 5


def _never_announced(case: Case) -> None:
    _drop_and_renumber(case, 2)
    case.messages[1]["announced"] = None


def _draft_announced(case: Case) -> None:
    case.messages[3]["announced"] = "received"
    case.add_event("email.received", case.messages[3])


def _sent_as_received(case: Case) -> None:
    case.messages[1]["announced"] = "received"
    event = case.events[MAILBOX][2]
    event |= {"type": "email.received", "subject": "user.user_demo.email.received"}
    case.delivered[2] = push(event)
    case.senders[0]["mails"] = 3


def _event_after_deletion(case: Case) -> None:
    case.add_event("email.updated", stored(mail("gone", ["TRASH"]), "received"), ["labels"])


def _update_first(case: Case) -> None:
    log = case.events[MAILBOX]
    log[1], log[4] = log[4], log[1]
    for number, event in enumerate(log, start=1):
        event["sequence"] = number
        if "sequence" in event["data"]:
            event["data"]["sequence"] = number
    case.delivered = [push(event) for event in log]


def _update_of_nothing(case: Case) -> None:
    case.add_event("email.updated", case.messages[0], ["labels"])


def _change_not_named(case: Case) -> None:
    event = case.events[MAILBOX][4]
    event["data"]["changed"] = ["subject"]
    case.delivered[4] = push(event)


def _unknown_field(case: Case) -> None:
    event = case.events[MAILBOX][2]
    event["data"]["body"] = "secret"
    case.delivered[2] = push(event)


def _wrong_origin(case: Case) -> None:
    event = case.events[MAILBOX][5]
    event["origin"] = event["data"]["origin"] = "backfill"
    case.delivered[5] = push(event)


def _wrong_subject(case: Case) -> None:
    event = case.events[MAILBOX][2]
    event["subject"] = "user.user_other.email.sent"
    case.delivered[2] = push(event)


def _undelivered(case: Case) -> None:
    del case.delivered[3]


def _delivered_in_wrong_order(case: Case) -> None:
    case.delivered[3], case.delivered[4] = case.delivered[4], case.delivered[3]


def _delivered_with_other_data(case: Case) -> None:
    case.delivered[2].data["subject"] = "Gruesse"


def _delivered_with_other_attribute(case: Case) -> None:
    attributes = {**case.delivered[2].attributes, "ce-type": "email.received"}
    case.delivered[2] = replace(case.delivered[2], attributes=attributes)


def _delivered_from_nowhere(case: Case) -> None:
    attributes = {**case.delivered[2].attributes, "ce-id": "nobody's"}
    case.delivered.append(replace(case.delivered[2], attributes=attributes, at=AFTER_SECONDS + 1))


def _gap_of_a_stored_mail(case: Case) -> None:
    case.gaps.append({**case.gaps[0], "provider_message_id": "read"})


def _gap_of_a_deleted_mail(case: Case) -> None:
    case.gaps.append({**case.gaps[0], "provider_message_id": "gone"})


@pytest.mark.parametrize(
    "spoil",
    [
        _ghost, _kept_after_deletion, _listed_twice, _not_live, _outbox, _wrong_count, _never_announced,
        _draft_announced, _sent_as_received, _event_after_deletion, _update_first, _update_of_nothing,
        _change_not_named, _unknown_field, _wrong_origin, _wrong_subject, _undelivered, _delivered_in_wrong_order,
        _delivered_with_other_data, _delivered_with_other_attribute, _delivered_from_nowhere, _gap_of_a_stored_mail,
        _gap_of_a_deleted_mail,
    ],
)  # fmt: skip
def test_one_wrong_thing_fails(spoil: Callable[[Case], None]) -> None:
    case = perfect()
    spoil(case)
    assert not case.verdict().ok


def test_a_shortened_value_has_to_be_announced_and_a_beginning() -> None:
    case = perfect()
    long = ["a@example.org"] * 5_000
    case.truth["mails"][1]["to"] = long
    case.messages[1] = {**case.messages[1], "to_addrs": long[:1000]}
    event = case.events[MAILBOX][2]
    event["data"]["to_addrs"] = long[:1000]
    case.delivered[2] = push(event)
    assert not case.verdict().ok

    event["data"]["truncated"] = ["to_addrs"]
    case.delivered[2] = push(event)
    report = case.verdict()
    assert report.ok
    assert report.shortened == 1


def test_a_short_value_may_not_be_shortened_whatever_is_announced() -> None:
    case = perfect()
    case.messages[1] = {**case.messages[1], "subject": "", "truncated": ["subject"]}
    event = case.events[MAILBOX][2]
    event["data"] |= {"subject": "", "truncated": ["subject"]}
    case.delivered[2] = push(event)
    assert not case.verdict().ok


def test_an_empty_mailbox_is_no_success() -> None:
    case = perfect()
    case.truth["mails"] = []
    assert not case.verdict().ok


def _connected_twice(case: Case) -> None:
    case.add_event("mailbox.connected", None)


def _completed_twice(case: Case) -> None:
    case.add_event("sync.completed", None)


def _phantom(case: Case) -> None:
    case.truth["deleted"].clear()


def _deleted_with_other_data(case: Case) -> None:
    event = case.events[MAILBOX][6]
    event["data"]["subject"] = "Another"
    case.delivered[6] = push(event)


def _names_more_than_changed(case: Case) -> None:
    event = case.events[MAILBOX][4]
    event["data"]["changed"] = ["labels", "subject"]
    case.delivered[4] = push(event)


def _another_provider(case: Case) -> None:
    event = case.events[MAILBOX][0]
    event["provider"] = "MICROSOFT"
    case.delivered[0] = push(event)


@pytest.mark.parametrize(
    "spoil",
    [
        _connected_twice,
        _completed_twice,
        _phantom,
        _deleted_with_other_data,
        _names_more_than_changed,
        _another_provider,
    ],
)
def test_one_wrong_thing_in_the_life_of_the_mailbox_fails(spoil: Callable[[Case], None]) -> None:
    case = perfect()
    spoil(case)
    assert not case.verdict().ok


def test_many_differences_are_counted_and_a_few_said() -> None:
    case = perfect()
    case.truth["mails"] += [mail(f"m{number}", ["INBOX"]) for number in range(500)]
    report = case.verdict()
    assert report.lost == 500
    assert report.difference_count == 500
    assert len(report.differences) == 40


def test_the_verdict_imports_nothing_of_the_product() -> None:
    todo, seen = ["infra.local.verify"], set()
    while todo:
        name = todo.pop()
        path = Path(ROOT, *name.split(".")).with_suffix(".py")
        if name in seen or not path.exists():
            continue
        seen.add(name)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                todo.append(node.module or "")
            elif isinstance(node, ast.Import):
                todo += [alias.name for alias in node.names]
        assert not any(module.split(".")[0] in ("shared", "functions") for module in todo), name
    assert len(seen) >= 3


def _other(value: object) -> object:
    if isinstance(value, list):
        return [*value, "X"]
    if isinstance(value, dict):
        return {**value, "Subject": "other"}
    return "2026-11-02T09:00:00.000Z" if str(value).startswith("2026-") else f"{value}!"
