"""What Gmail's calls cost and how much a mailbox may spend, and that nothing goes out uncounted."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest

from shared.errors import ConfigurationError, Paced
from shared.providers.base import Access, Channel, Limits
from shared.providers.gmail import GmailProvider
from shared.providers.gmail.quota import Quota
from shared.settings import Settings
from tests.unit.providers.gmail_playback import TOKEN, Answer, Playback, access, error, mail, provider


def quota(**settings: Any) -> Quota:
    return Quota.of(Settings(**settings))


@pytest.mark.parametrize(
    ("profile", "message", "thread", "per_minute"), [("2026", 20, 40, 6_000), ("2025", 5, 10, 15_000)]
)
def test_the_profiles(profile: str, message: float, thread: float, per_minute: float) -> None:
    found = quota(gmail_quota=profile)
    assert (found.price("messages.get"), found.price("threads.get")) == (message, thread)
    assert found.limits is not None
    assert found.limits.per_second == pytest.approx(per_minute / 60 * 0.98)
    assert found.limits.burst == pytest.approx(10 * found.limits.per_second)
    assert found.at_once == pytest.approx(found.limits.burst / 2)
    others = ("messages.list", "history.list", "getProfile", "labels.list", "watch", "stop")
    assert [found.price(method) for method in others] == [5, 2, 1, 1, 100, 50]


def test_the_newer_profile_is_the_default() -> None:
    assert quota() == quota(gmail_quota="2026")
    assert provider(Playback([])).limits == Limits(98.0, 980.0)


def test_without_a_limit_calls_still_have_prices() -> None:
    free = quota(gmail_quota="none")
    assert free.limits is None
    assert free.at_once == inf
    assert free.within("messages.get", 60) is None
    assert free.price("messages.get") == 20
    assert provider(Playback([]), gmail_quota="none").limits is None


def test_limits_and_prices_can_be_set() -> None:
    found = quota(gmail_units_per_minute=30_000, gmail_prices=("messages.get = 1", "watch=0"))
    assert found.limits is not None
    assert found.limits.per_second == pytest.approx(490)
    assert [found.price(method) for method in ("messages.get", "watch", "stop")] == [1, 0, 50]
    assert quota(gmail_quota="none", gmail_units_per_minute=600).limits is not None


@pytest.mark.parametrize("units", [600, 610])
def test_however_little_there_is_pays_for_any_one_call(units: int) -> None:
    found = quota(gmail_units_per_minute=units)
    assert found.limits is not None
    assert found.limits.burst == 100
    assert found.within("messages.get", 60) == int(units * 0.98 / 20)


@pytest.mark.parametrize(
    "settings",
    [
        {"gmail_quota": "2024"},
        {"gmail_units_per_minute": 599},  # pays for no 30 messages a minute
        {"gmail_units_per_minute": -6_000},
        {"gmail_prices": ("messages.get=201",)},
        {"gmail_prices": ("messages.get",)},
        {"gmail_prices": ("messages.get=-1",)},
        {"gmail_prices": ("messages.get=x",)},
        {"gmail_prices": ("messages.send=1",)},
    ],
)
def test_settings_that_cannot_work_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"GMAIL_QUOTA|GMAIL_PRICES|GMAIL_UNITS"):
        provider(Playback([]), **settings)


PROFILE = Answer(200, {"emailAddress": "a@x.org", "historyId": "5", "history": [], "expiration": "1790604800000"})
IN_THE_WAY = error(400, "invalidArgument", "Only one user push notification client allowed per developer")
PRECONDITION = error(400, "failedPrecondition")
CALLS: list[tuple[Callable[[GmailProvider, Access], object], list[Answer], float]] = [
    (lambda gmail, going: gmail.profile(going), [PROFILE], 1),
    (lambda gmail, going: gmail.profile(going), [PRECONDITION, PROFILE], 2),
    (lambda gmail, going: gmail.list_ids(going, None, 1), [PROFILE], 5),
    (lambda gmail, going: gmail.labels(going), [PROFILE], 1),
    (lambda gmail, going: gmail.changes(going, "1"), [PROFILE], 2),
    (lambda gmail, going: gmail.fetch(going, ["a"]), [Answer(200, mail("a"))], 20),
    (lambda gmail, going: gmail.fetch(going, ["a", "b"]), [Answer(200, mail("a")), Answer(200, mail("b"))], 40),
    (lambda gmail, going: gmail.open_channel(going, "", ""), [PROFILE], 100),
    (lambda gmail, going: gmail.open_channel(going, "", ""), [IN_THE_WAY, PROFILE, PROFILE], 250),
    (lambda gmail, going: gmail.close_channel(going, Channel("", 0.0)), [PROFILE], 50),
]  # fmt: skip


@pytest.mark.parametrize(("call", "answers", "units"), CALLS)
def test_every_request_is_counted(
    call: Callable[[GmailProvider, Access], object], answers: list[Answer], units: float
) -> None:
    going = access()
    call(provider(Playback(answers)), going)
    assert going.meter.spent == units  # type: ignore[attr-defined]


class Spent:
    """A meter without a unit left."""

    def room(self) -> float:
        return 0.0

    def spend(self, units: float) -> None:
        raise Paced("Not now.", retry_after=30.0)


@pytest.mark.parametrize("call", [call for call, _, _ in CALLS])
def test_nothing_goes_out_that_the_meter_does_not_allow(call: Callable[[GmailProvider, Access], object]) -> None:
    http = Playback([])
    with pytest.raises(Paced):
        call(provider(http), Access(TOKEN, Spent()))
    assert http.requests == http.batches == []
