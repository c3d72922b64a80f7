"""Crashes at every call of scripted lives: a fixed share of the points, by turns; ``make chaos CRASHES=1`` takes them all."""

from __future__ import annotations

from functools import cache

import pytest

from shared.ports import Bus, Secrets, Store, Tasks
from shared.providers.gmail.quota import Quota
from shared.settings import Settings
from tests.chaos.crashes.__main__ import main
from tests.chaos.crashes.points import KINDS, Point, attempt, every, sample, undisturbed
from tests.chaos.crashes.report import failure_text
from tests.chaos.crashes.scenarios import BY_NAME, SCENARIOS
from tests.chaos.crashes.stage import Played, play
from tests.chaos.simulation.ports import SlowBus

SHARE = 89
"""One point of so many; a prime number, so that it does not fall on the same call of every tick."""

SAMPLED = 4
CALLED = {
    (Store, "get"): ("get", "keys get"),
    (Store, "query"): ("query",),
    (Store, "commit"): ("commit", "keys commit"),
    (Bus, "publish"): ("publish events", "publish segments"),
    (Tasks, "enqueue"): ("enqueue",),
    (Secrets, "get"): ("secret",),
    (Secrets, "add"): ("add secret",),
}
"""By method of a port: what its calls are called here."""

OUTLOOK_CALLED = (
    "me", "me/messages", "me/messages/*", "me/mailFolders/delta", "me/mailFolders/*/messages/delta", "me/mailFolders/inbox",
    "me/mailFolders/sentitems", "me/mailFolders/drafts", "me/mailFolders/junkemail", "me/mailFolders/deleteditems",
    "me/mailFolders/recoverableitemsdeletions", "me/mailFolders/recoverableitemspurges", "me/mailFolders/recoverableitemsroot",
    "me/mailFolders/recoverableitemsversions", "subscriptions", "subscriptions/*", "openid-configuration", "token",
)  # fmt: skip
"""What is asked of Microsoft; nobody consents in Outlook's lives, so no keys are."""

NAMES = [scenario.name for scenario in SCENARIOS]


@cache
def life(name: str) -> Played:
    return undisturbed(BY_NAME[name])


@cache
def points(name: str) -> list[Point]:
    return every(BY_NAME[name], life(name))


def judge(point: Point) -> bool:
    result = attempt(point)
    if result.violations:
        pytest.fail(failure_text(point), pytrace=False)
    return result.reached


@pytest.mark.parametrize("name", NAMES)
def test_a_life_that_is_cut_short_anywhere_ends_as_if_it_had_not_been(name):
    for point in points(name)[NAMES.index(name) * 5 % SHARE :: SHARE]:
        assert judge(point), point


@pytest.mark.parametrize("kind", ["store.unknown_applied", "refresh.unheard"])
def test_every_lost_answer_of_some_lives_does_no_harm(kind):
    names = ["erased"] if kind.startswith("store") else NAMES
    chosen = [point for name in names for point in points(name) if point.kind == kind]
    assert chosen
    for point in chosen:
        assert judge(point), point


def test_a_sample_of_racing_instances_and_of_clocks_ten_minutes_wrong_ends_right():
    everything = [point for name in NAMES for point in points(name)]
    for point in sample(everything, SAMPLED, seed=5):
        judge(point)


def test_the_lives_reach_every_port_call_that_the_product_makes():
    """A new method of a port, or a new method of the provider's API, needs a life that calls it."""
    methods = {(port, name) for port, _ in CALLED for name in vars(port) if not name.startswith("_")}
    assert methods == set(CALLED)
    calls = {name for names in CALLED.values() for name in names}
    calls |= {f"google {method}" for method in Quota.of(Settings()).prices}
    calls |= {"google batch", "google token", "google .well-known", "google oauth2"}
    calls |= {f"microsoft {call}" for call in OUTLOOK_CALLED}
    for kind in ("crash.before", "crash.after"):
        assert {call for name in NAMES for call in life(name).calls[kind]} == calls
        assert {point.call for name in NAMES for point in points(name) if point.kind == kind} == calls


def test_the_beginning_that_lives_share_is_cut_short_in_those_that_are_whole():
    whole = {scenario.name for scenario in SCENARIOS if scenario.whole}
    assert whole
    everywhere = {point.call for name in whole for point in points(name)}
    for name in NAMES:
        shared, calls = life(name).shared, life(name).calls
        assert name not in whole or not shared.total()
        assert {call for kind in KINDS for call in calls.get(kind, ())[: shared[kind]]} <= everywhere


def test_the_lives_have_every_kind_of_point():
    assert {point.kind for name in NAMES for point in points(name)} == set(KINDS)


def test_each_life_is_about_what_its_name_says():
    """Otherwise a change of moments could leave a life without what is to be cut short."""
    said = {name: "\n".join(life(name).outcome.trace.tail(10_000)) for name in NAMES}
    lines = {name: text.splitlines() for name, text in said.items()}

    def has(name: str, *words: str) -> bool:
        return any(all(word in line for word in words) for line in before_the_end(lines[name]))

    assert has("connected by consent", "browser 200 at the end")
    assert has("backfill beside live changes", "backfill page", "Conflict")
    assert has("live mail with a push", "gmail_push", "enqueue ring")
    assert has("labels, trash, deletion", "live rung", "commit -> applied")
    assert has("the history expires", "resync page", "commit -> applied")
    assert life("a page token is refused").outcome.theirs.total() == 1
    assert has("a message is refused", "gaps", "commit -> applied")
    assert life("tokens expire and rotate").outcome.fired["refresh.rotated"] >= 2
    assert has("the grant is revoked", "POST /mail/connect 200")
    assert has("disconnected, then back", "google stop")
    assert has("erased", "erase", "commit -> applied")
    assert has("a consumer is rebuilt", "rebuild", "commit -> applied")
    assert has("a user posts events", "POST /events 201")
    assert has("a post is left to the tick", "tick ", "publish events")
    assert (
        sum("channel" in line and "google watch" in line for line in before_the_end(lines["the channel is renewed"]))
        == 2
    )
    assert has("an audit repairs a loss", "audit page", "publish events")
    assert has("Outlook, read beside live changes", "backfill page", "commit -> applied")
    assert has("Outlook, moved between folders", "graph_push", "enqueue ring")
    assert has("Outlook, cursors forgotten", "resync page", "commit -> applied")
    assert has("Outlook, subscription removed", "channel", "microsoft subscriptions")
    assert has("Outlook, tokens rotate", "microsoft token")


def before_the_end(lines: list[str]) -> list[str]:
    """The lines of a trace up to where nothing is cut short any more."""
    end = next(number for number, line in enumerate(lines) if "faults end here" in line)
    return lines[:end]


def test_a_point_can_be_played_again_from_its_command(capsys):
    assert main(["--only", "erased", "--kind", "crash.after", "--number", "60"]) == 0
    assert "Every invariant holds" in capsys.readouterr().out


def test_a_life_that_ends_wrong_is_shown_with_its_trace(monkeypatch):
    """Here the bus loses everything and says nothing."""
    monkeypatch.setattr(SlowBus, "publish", lambda *_args, **_more: None)
    point = points("erased")[0]
    text = failure_text(point)
    assert "published_never_exceeds_what_was_sent" in text
    assert "python -m tests.chaos.crashes --only" in text


def test_a_point_is_the_same_run_each_time():
    point = points("the history expires")[100]
    first, second = (play(BY_NAME[point.scenario], point.plan).outcome.trace.digest for _ in range(2))
    assert first == second
