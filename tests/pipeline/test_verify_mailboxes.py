"""Two mailboxes of one person side by side: each is judged on its own, and what they share is judged together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from infra.local.collect import Seen
from infra.local.verify import Beside, Report
from infra.local.verify_delivery import Delivery
from infra.local.verify_mailboxes import verify_mailboxes
from tests.pipeline.verdict_case import CONNECTED, MAILBOX, Case, perfect

OUTLOOK = MAILBOX.replace("GOOGLE", "MICROSOFT")


def _moved(value: Any) -> Any:
    """The same value in the other mailbox, with ids of its own."""
    if isinstance(value, dict):
        return {
            name: f"{item}-there" if name in ("id", "event_id", "ce-id") and item != MAILBOX else _moved(item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_moved(item) for item in value]
    return value.replace("GOOGLE", "MICROSOFT") if isinstance(value, str) else value


class Pair:
    """A perfect Gmail mailbox and a perfect Outlook mailbox; every test spoils one thing."""

    def __init__(self) -> None:
        self.gmail, outlook = perfect(), perfect()
        self.outlook = Case(
            truth=outlook.truth,
            messages=_moved(outlook.messages),
            gaps=_moved(outlook.gaps),
            status={"mailboxes": [entry | {"id": OUTLOOK} for entry in outlook.status["mailboxes"]]},
            events={OUTLOOK: _moved(outlook.events[MAILBOX])},
            delivered=[
                replace(push, attributes=_moved(dict(push.attributes)), data=_moved(push.data))
                for push in outlook.delivered
            ],
            senders=outlook.senders,
        )
        self.senders = [*self.gmail.senders, *self.outlook.senders]
        self.strays: list[Delivery] = []
        self.beside: Beside | None = None

    def verdict(self) -> tuple[Report, dict[str, Report]]:
        cases = (self.gmail, self.outlook)
        seen = Seen(
            messages=[message for case in cases for message in case.messages],
            gaps=[gap for case in cases for gap in case.gaps],
            status={"mailboxes": [entry for case in cases for entry in case.status["mailboxes"]]},
            events=self.gmail.events | self.outlook.events,
            senders=self.senders,
        )
        delivered = [*self.gmail.delivered, *self.outlook.delivered, *self.strays]
        truths = {"GOOGLE": self.gmail.truth, "MICROSOFT": self.outlook.truth}
        return verify_mailboxes(truths, seen, delivered, dict.fromkeys(truths, CONNECTED), self.beside)


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_two_perfect_mailboxes_pass_with_figures_that_add_up(pair: Pair) -> None:
    whole, each = pair.verdict()
    assert whole.differences == ()
    assert whole.ok
    assert (whole.expected, whole.stored, whole.events, whole.gaps) == (10, 8, 16, 2)
    assert {name: (one.expected, one.stored, one.events, one.gaps) for name, one in each.items()} == {
        "GOOGLE": (5, 4, 8, 1),
        "MICROSOFT": (5, 4, 8, 1),
    }


def test_a_difference_in_one_mailbox_is_its_own_and_says_whose(pair: Pair) -> None:
    pair.outlook.messages[0]["subject"] = "another"
    whole, each = pair.verdict()
    assert not whole.ok
    assert each["GOOGLE"].ok
    assert not each["MICROSOFT"].ok
    assert whole.difference_count == each["MICROSOFT"].difference_count
    assert all(text.startswith("MICROSOFT: ") for text in whole.differences)


def test_a_mail_that_lies_in_the_other_mailbox_is_lost_in_its_own(pair: Pair) -> None:
    strayed = pair.outlook.messages.pop(0)
    pair.gmail.messages.append(strayed | {"mailbox": MAILBOX})
    whole, each = pair.verdict()
    assert each["MICROSOFT"].lost == whole.lost == 1
    assert not each["GOOGLE"].ok


def test_a_mailbox_that_was_never_connected_fails(pair: Pair) -> None:
    pair.outlook.status["mailboxes"] = []
    assert "MICROSOFT: The status names 0 mailboxes; there is one." in pair.verdict()[0].differences


def test_a_mailbox_that_nobody_asked_for_fails(pair: Pair) -> None:
    pair.gmail.status["mailboxes"].append({"id": "user_demo:primary:OTHER"})
    whole, _ = pair.verdict()
    assert whole.differences == ("The status names the mailbox user_demo:primary:OTHER, which nobody connected.",)


def test_an_event_of_no_mailbox_on_the_bus_fails(pair: Pair) -> None:
    pair.strays = [Delivery(0.0, {"ce-id": "x", "ce-source": "user_demo:second:GOOGLE"}, {})]
    whole, _ = pair.verdict()
    assert not whole.ok
    assert any("'user_demo:second:GOOGLE', which is no mailbox" in text for text in whole.differences)


def test_an_event_id_that_both_streams_use_is_a_duplicate(pair: Pair) -> None:
    there = pair.outlook.events[OUTLOOK][1]
    there["id"] = there["data"]["event_id"] = pair.gmail.events[MAILBOX][1]["id"]
    whole, _ = pair.verdict()
    assert whole.duplicates == 1
    assert any("is in more than one stream" in text for text in whole.differences)


def test_the_consumer_has_to_have_counted_the_mails_of_both(pair: Pair) -> None:
    pair.senders = pair.gmail.senders
    whole, each = pair.verdict()
    assert not whole.consumer_ok
    assert all(one.ok for one in each.values())
    pair.senders = [*pair.gmail.senders, *pair.outlook.senders, pair.gmail.senders[0]]
    assert pair.verdict()[0].duplicates == pair.gmail.senders[0]["mails"]


@pytest.mark.parametrize("documents", [7, 9])
def test_the_database_has_to_hold_the_messages_of_both(pair: Pair, documents: int) -> None:
    pair.beside = Beside(documents, (*pair.gmail.delivered, *pair.outlook.delivered))
    whole, _ = pair.verdict()
    assert whole.differences == (f"The database holds {documents} messages; the API lists 8.",)
    pair.beside = Beside(8, (*pair.gmail.delivered, *pair.outlook.delivered))
    assert pair.verdict()[0].ok


def test_a_pull_subscription_that_held_the_events_of_one_mailbox_only_fails(pair: Pair) -> None:
    pair.beside = Beside(8, tuple(pair.gmail.delivered))
    whole, _ = pair.verdict()
    assert len(whole.differences) == 8
    assert all(text.startswith(f"Pull subscription: Stream {OUTLOOK}") for text in whole.differences)
