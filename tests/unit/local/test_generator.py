"""Generated mailboxes are plausible, in order, and the same for the same seed."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from infra.local.generator import SPAN_SECONDS, generate, traffic
from infra.local.simulated.words import needs_encoding
from tests.unit.local.conftest import World
from tests.unit.local.inprocess import ADDRESS, START

COUNT = 2_000
MAILS = list(generate(3, COUNT, ADDRESS, START))


def test_it_makes_as_many_as_asked_for_oldest_first_over_two_years() -> None:
    times = [mail["received_at"] for mail in MAILS]
    assert len(MAILS) == COUNT
    assert times == sorted(times)
    assert START - SPAN_SECONDS < times[0] < START - 0.9 * SPAN_SECONDS
    assert START - 0.1 * SPAN_SECONDS < times[-1] <= START


def test_the_same_seed_makes_the_same_mail() -> None:
    assert list(generate(3, COUNT, ADDRESS, START)) == MAILS
    assert list(generate(4, 10, ADDRESS, START)) != MAILS[:10]


def test_it_is_lazy() -> None:
    assert len(list(islice(generate(1, 10**9, ADDRESS, START), 5))) == 5


def test_threads_have_about_three_mails_that_answer_each_other() -> None:
    threads = Counter(mail["thread"] for mail in MAILS)
    assert 2.3 < COUNT / len(threads) < 3.5
    known = {mail["headers"]["Message-ID"] for mail in MAILS}
    answers = [mail for mail in MAILS if "In-Reply-To" in mail["headers"]]
    assert len(answers) > COUNT / 3
    for mail in answers:
        assert mail["headers"]["In-Reply-To"] in known
        assert mail["headers"]["References"].endswith(mail["headers"]["In-Reply-To"])


def test_every_kind_of_mail_occurs() -> None:
    labels = Counter(label for mail in MAILS for label in mail["labels"])
    for label in ("INBOX", "SENT", "DRAFT", "SPAM", "TRASH", "UNREAD", "STARRED", "CATEGORY_PROMOTIONS", "Later"):
        assert labels[label] > 3, label
    headers = Counter(name for mail in MAILS for name in mail["headers"])
    assert headers["List-Id"] == headers["List-Unsubscribe"] > 100
    assert headers["Auto-Submitted"] > 20
    assert any({"INBOX", "SENT"} <= set(mail["labels"]) for mail in MAILS)
    assert all(any(mail[field] for mail in MAILS) for field in ("cc", "bcc"))
    assert any(needs_encoding(mail["subject"]) for mail in MAILS)
    assert any(len(mail["subject"]) > 150 for mail in MAILS)
    assert any(mail["subject"] == "" for mail in MAILS)
    assert any(mail["date"] is None for mail in MAILS)


def test_no_subject_relies_on_white_space() -> None:
    assert all(mail["subject"] == " ".join(mail["subject"].split()) for mail in MAILS)


def test_traffic_has_its_shares_and_repeats() -> None:
    script = traffic(5, 1_000)
    shares = Counter(operation.kind for operation in script)
    assert traffic(5, 1_000) == script
    assert 450 < shares["mail"] + shares["sent"] < 550
    assert 200 < shares["labels"] < 300
    assert all(60 < shares[kind] < 140 for kind in ("trash", "delete"))
    assert all(shares[kind] > 5 for kind in ("untrash", "rescue", "sent"))


def test_traffic_applies_to_a_mailbox_through_the_control_endpoints(world: World) -> None:
    world.sim.add_mails(ADDRESS, MAILS[:60], silent=True)
    cursor = world.cursor()
    client = world.app.test_client()
    used = Counter()
    for operation in traffic(5, 100):
        mails = world.sim.truth(ADDRESS)["mails"]
        name, body = operation.request(ADDRESS, world.clock.now(), mails)
        assert operation.request(ADDRESS, world.clock.now(), mails) == (name, body)
        answer = client.post(f"/control/mailboxes/{ADDRESS}/{name}", json=body)
        assert answer.status_code == 200, answer.get_json()
        used[name] += 1
        world.clock.time += 1
    assert set(used) >= {"mails", "labels", "trash", "delete"}
    assert len(world.since(cursor, maxResults=500)) > 85


def test_traffic_finds_something_to_do_in_an_empty_mailbox() -> None:
    assert {operation.request(ADDRESS, START, [])[0] for operation in traffic(1, 50)} == {"mails"}
