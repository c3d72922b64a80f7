"""Subscriptions at Microsoft: nothing is lost whatever becomes of them, and there are never two beyond one replacement."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from infra.local.microsoft.notifications import NOBODY, Heard
from infra.local.verify import seconds
from tests.world import ADDRESS, OUTLOOK, World

HOUR = 3_600.0
DAY = 24 * HOUR
SEED = 3
FAULTS = {"drop": 0.15, "duplicate": 0.2, "delay": 0.15, "delay_seconds": 120.0, "reorder": 0.1}


class Case(World):
    """A world with an Outlook account; ``posted`` is what came to the webhook, by path and status.

    ``deaf``: the webhook answers no handshake.
    """

    def __init__(self, folder: Path, seed: int = 0, **settings: Any) -> None:
        super().__init__(folder, seed, **settings)
        self.posted: list[tuple[str, int]] = []
        self.deaf = False

    def followed(self) -> None:
        """Connect, and wait until everything is there."""
        self.connect_outlook([self.mail(f"old {n}", 86_400 + n) for n in range(5)])
        self.run(120)
        assert self.status()["status"] == "live", self.status()

    def mail(self, subject: str, age: float = 0.0) -> dict[str, Any]:
        """A mail to the account, so many seconds old."""
        return {
            "subject": subject, "sender": ["Bob", "bob@example.org"], "to": [["", ADDRESS]],
            "date": self.clock.now() - age, "labels": ["INBOX", "UNREAD"], "body": f"{subject}.",
        }  # fmt: skip

    def deliver(self, subject: str) -> str:
        """A mail arrives; answers its id."""
        [id_] = self.outlook.add_mails(ADDRESS, [self.mail(subject)])
        return id_

    def told(self, *messages: str) -> list[list[str]]:
        """What the stream says of each message, in order, without the ``email.`` before each word."""
        found: dict[str, list[str]] = {message: [] for message in messages}
        for event in self.events(OUTLOOK):
            if (message := event["data"].get("provider_message_id")) in found:
                found[message].append(event["type"].removeprefix("email."))
        return list(found.values())

    def live(self) -> list[str]:
        """The ids of the account's live subscriptions."""
        return self.outlook.subscriptions.live(ADDRESS)

    def lives(self) -> float:
        """For how long the channel lives yet, as the status has it."""
        return seconds(self.status()["channel_expires_at"]) - self.clock.now()

    def prolongations(self) -> int:
        """How often a subscription was prolonged so far."""
        return int(self.outlook.report()["requests"].get("subscriptions.patch", 0))

    def post(self, *notices: dict[str, Any]) -> Heard:
        """Anyone posts notifications to the webhook."""
        return self._notified(self.settings.graph_notification_url, orjson.dumps({"value": notices}), {}, {})

    def _notified(self, url: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> Heard:
        if self.deaf and query:
            return NOBODY
        heard = super()._notified(url, body, headers, query)
        self.posted.append((urlsplit(url).path, heard.status))
        return heard


Build = Callable[..., Case]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Build]:
    opened: list[Case] = []

    def build(seed: int = 1, **settings: Any) -> Case:
        opened.append(Case(tmp_path, seed, **{"tick_seconds": 300.0, **settings}))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


def test_thirty_days_of_renewals_removals_missed_events_and_an_outage_lose_nothing(world):
    case = world(SEED, tick_seconds=HOUR, poll_seconds=2 * HOUR)
    chance = random.Random(SEED)
    case.followed()
    case.outlook.set_faults(FAULTS)
    mails: list[str] = []
    happened: dict[str, int] = {}
    for slot in range(30 * 4):
        if slot == 12 * 4:
            case.outlook.subscriptions.outage = True
        if slot == 12 * 4 + 2:  # twelve hours later
            case.outlook.subscriptions.outage = False
        end = case.clock.now() + 6 * HOUR
        mails.append(case.deliver(f"mail of slot {slot}"))
        case.run(chance.uniform(60, HOUR))
        what = "removed" if slot == 12 * 4 else chance.choice(("", "", "", "removed", "missed", "reauthorize", "lost"))
        happened[what] = happened.get(what, 0) + 1
        if what == "removed":
            case.outlook.subscriptions.lifecycle(ADDRESS, "subscriptionRemoved")
            mails.append(case.deliver(f"while there was no subscription, {slot}"))
        elif what == "missed":
            case.outlook.set_faults({"drop": 1.0})
            mails.append(case.deliver(f"nobody told of, {slot}"))
            case.run(chance.uniform(0, 60))
            case.outlook.subscriptions.lifecycle(ADDRESS, "missed")
            case.outlook.set_faults(FAULTS)
        elif what == "reauthorize":
            case.outlook.subscriptions.lifecycle(ADDRESS, "reauthorizationRequired")
        elif what == "lost":  # without a word
            for id_ in case.live():
                case.outlook.subscriptions.delete(ADDRESS, id_)
        case.run(chance.uniform(600, 2 * HOUR))
        assert len(case.live()) <= 1
        case.run(max(0.0, end - case.clock.now()))
    assert set(happened) == {"", "removed", "missed", "reauthorize", "lost"}
    counts = case.outlook.subscriptions.counts()
    assert min(counts[fate] for fate in ("sent", "retried", "lost", "lifecycle", "dropped", "duplicated")) > 0, counts
    case.outlook.set_faults({})
    case.run(4 * DAY)
    assert len(case.live()) == 1
    assert case.outlook.subscriptions.most_live(ADDRESS) <= 2
    assert case.status()["last_error"] is None
    assert case.told(*mails) == [["received"]] * len(mails)
    case.judged_outlook()


def test_a_subscription_is_opened_soon_after_connecting_and_prolonged_at_half_of_its_life(world):
    case = world(tick_seconds=1_800.0, poll_seconds=6 * HOUR)
    case.followed()
    [opened] = case.live()
    assert case.posted[:2] == [("/graph_push", 200), ("/graph_push/lifecycle", 200)], "both URLs have shaken hands"
    assert case.lives() > 6.9 * DAY
    case.run(3 * DAY)
    assert 3.8 * DAY < case.lives() < 4.1 * DAY
    for _ in range(7):
        case.run(DAY)
        assert case.lives() > 3.3 * DAY
    assert case.live() == [opened]
    assert case.outlook.subscriptions.most_live(ADDRESS) == 1
    case.judged_outlook()


def test_a_mail_is_announced_soon_after_its_notification(world):
    case = world()
    case.followed()
    mail = case.deliver("rung for")
    case.run(10)
    assert case.told(mail) == [["received"]]
    case.run(60)
    case.judged_outlook()


def test_a_removed_subscription_is_replaced_at_once_and_its_mail_found(world):
    case = world()
    case.followed()
    [old] = case.live()
    case.outlook.subscriptions.lifecycle(ADDRESS, "subscriptionRemoved")
    mail = case.deliver("nobody told of")
    case.run(30)
    [new] = case.live()
    assert new != old
    assert case.told(mail) == [["received"]]
    assert case.outlook.subscriptions.most_live(ADDRESS) == 1
    case.run(60)
    case.judged_outlook()


def test_an_old_id_keeps_ringing_after_a_replacement(world):
    case = world(poll_seconds=DAY)
    case.followed()
    case.outlook.set_faults({"delay": 1.0, "delay_seconds": 300.0})
    mail = case.deliver("told of late, by the old subscription")
    case.outlook.subscriptions.lifecycle(ADDRESS, "subscriptionRemoved")
    case.run(60)
    before = len(case.posted)
    case.run(400)
    assert case.posted[before:] == [("/graph_push", 202)]
    assert case.told(mail) == [["received"]]
    case.judged_outlook()


def test_a_demand_to_reauthorize_leads_to_one_prolongation(world):
    case = world(poll_seconds=6 * HOUR)
    case.followed()
    [opened] = case.live()
    case.run(DAY)
    assert case.lives() < 6.1 * DAY
    renewed = case.prolongations()
    case.outlook.subscriptions.lifecycle(ADDRESS, "reauthorizationRequired")
    case.run(HOUR)
    assert case.prolongations() == renewed + 1
    assert case.lives() > 6.9 * DAY
    assert case.live() == [opened]
    mail = case.deliver("still rung for")
    case.run(10)
    assert case.told(mail) == [["received"]]


def test_what_happens_in_an_outage_of_the_webhook_is_polled_for_and_found_out_at_the_next_renewal(world):
    case = world(tick_seconds=1_800.0, poll_seconds=HOUR)
    case.followed()
    case.outlook.subscriptions.outage = True
    case.outlook.subscriptions.lifecycle(ADDRESS, "subscriptionRemoved")
    for hour in range(8):
        mail = case.deliver(f"mail {hour} of the outage")
        case.run(1.5 * HOUR)
        assert case.told(mail) == [["received"]]
    case.outlook.subscriptions.outage = False
    case.run(3.5 * DAY)
    assert len(case.live()) == 1
    mail = case.deliver("rung for again")
    case.run(10)
    assert case.told(mail) == [["received"]]
    case.run(60)
    case.judged_outlook()


def test_a_webhook_that_does_not_answer_handshakes_is_a_visible_error_while_polling_goes_on(world):
    case = world()
    case.followed()
    case.deaf = True
    case.outlook.subscriptions.lifecycle(ADDRESS, "subscriptionRemoved")
    case.run(HOUR)
    assert case.live() == []
    assert "No push channel" in case.status()["last_error"]
    assert case.status()["status"] == "live", "it is followed all the same"
    mail = case.deliver("polled for")
    case.run(20 * 60)
    assert case.told(mail) == [["received"]]
    case.deaf = False
    case.run(20 * 60)
    assert len(case.live()) == 1
    assert case.status()["last_error"] is None
    mail = case.deliver("rung for again")
    case.run(10)
    assert case.told(mail) == [["received"]]
    case.run(60)
    case.judged_outlook()


def test_disconnecting_deletes_the_subscription_and_connecting_makes_another(world):
    case = world()
    case.followed()
    case.api("POST", "/mail/disconnect", {"provider": "microsoft"})
    case.run(60)
    assert case.live() == []
    assert case.status()["channel_expires_at"] is None
    case.api("POST", "/mail/connect", {"provider": "microsoft"})
    case.run(60)
    assert len(case.live()) == 1


def test_without_a_url_nothing_is_subscribed_and_the_mailbox_is_polled(world):
    case = world(graph_notification_url="", tick_seconds=60.0)
    case.followed()
    assert case.live() == []
    assert case.status()["channel_expires_at"] is None
    mail = case.deliver("polled for")
    case.run(45)
    assert case.told(mail) == [["received"]]
    case.judged_outlook()


def test_what_anyone_posts_to_the_webhook_changes_nothing(world):
    case = world()
    case.followed()
    [id_] = case.live()
    for secret in ("", "guess", None):
        notice = {"subscriptionId": id_, "clientState": secret, "lifecycleEvent": "subscriptionRemoved"}
        heard = case.post(notice, {**notice, "subscriptionId": "other"})
        assert (heard.status, heard.text) == (202, "")
    before = dict(case.outlook.report()["requests"])
    case.run(100)
    assert case.outlook.report()["requests"] == before, "nobody has looked"
    assert case.live() == [id_]
