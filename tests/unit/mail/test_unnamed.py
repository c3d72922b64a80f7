"""What no folder has named is read again at the end of a walk, and what cannot be read then keeps nothing from being kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared import queries
from shared.errors import Paced, ProviderRefused, ProviderUnavailable, RateLimited
from shared.mail.folders import unnamed
from shared.mail.schedule import DAY
from shared.mail.tasks import poll
from shared.providers.base import Access, Fetched
from tests.machine import MAILBOX, Machine
from tests.unit.mail.test_gone import Forgetful, Outlook, told

TROUBLES = [ProviderRefused("Outlook refused it (403)."), ProviderUnavailable("Outlook did not serve it (504).")]


@dataclass(slots=True)
class Failing(Forgetful):
    """Has messages that cannot be asked for at all."""

    failing: dict[str, Exception] = field(default_factory=dict)

    def fetch(self, access: Access, ids: Sequence[str], threads: Sequence[str] = ()) -> tuple[Fetched, ...]:
        for id_ in ids:
            if id_ in self.failing:
                self._called("get")
                raise self.failing[id_]
        return Forgetful.fetch(self, access, ids, threads)


class Odd(Outlook):
    """An Outlook mailbox with a folder whose changes cannot be read, though its messages can."""

    provider: Failing

    def __init__(self, folder: Path) -> None:
        Machine.__init__(self, folder, provider=Failing)

    def hinted(self, number: int) -> list[str]:
        """Mails of that folder, of which doorbells have told."""
        ids = [f"odd{each:02}" for each in range(number)]
        for id_ in ids:
            self.provider.deliver(id_, folder="f-odd")
            self.ring(id_)
        self.run(30)
        self.walks(1)
        assert self.state.unwalked.keys() == set(ids)
        return ids

    def gets_of_a_walk(self) -> float:
        """How many messages a walk asks for; a folder that waits may have brought more walks than one."""
        self.provider.calls.clear()
        self.walks(1)
        return self.provider.calls["get"] / self.provider.calls["folders"]


@pytest.fixture
def odd(tmp_path: Path) -> Odd:
    machine = Odd(tmp_path)
    machine.provider.create_folder("f-odd")
    machine.followed(mails=3)
    machine.provider.trouble["f-odd"] = ProviderRefused("Outlook refused it (403).")
    return machine


@pytest.mark.parametrize("trouble", TROUBLES, ids=["refused", "not-served"])
def test_what_cannot_be_asked_for_keeps_nothing_of_the_walk_from_being_kept(odd: Odd, trouble: Exception) -> None:
    odd.provider.failing = dict.fromkeys(odd.hinted(12), trouble)
    odd.provider.deliver("mail")  # and no push tells of it
    odd.walks(1)
    assert told(odd, "mail") == ["email.received"]
    assert odd.state.walk is None
    assert odd.state.status == "live"


@pytest.mark.parametrize("number", [1, 4, 12])
def test_what_is_stored_and_cannot_be_read_is_no_gap_and_stops_no_mailbox(odd: Odd, number: int) -> None:
    odd.provider.refused.update(odd.hinted(number))
    for _ in range(12):
        odd.walks(1)
        assert odd.state.status == "live"
        assert odd.state.refused_in_row == 0
    assert odd.store.inner.query(queries.gaps_of(MAILBOX, 10)) == []
    assert odd.gets_of_a_walk() == number


@pytest.mark.parametrize("failing", [False, True])
def test_each_gets_its_turn_though_others_are_named_by_no_folder_ever(
    odd: Odd, monkeypatch: pytest.MonkeyPatch, failing: bool
) -> None:
    monkeypatch.setattr(unnamed, "AT_ONCE", 4)
    odd.hinted(10)
    odd.provider.failing = {f"odd{number:02}": TROUBLES[1] for number in (2, 7)} if failing else {}
    odd.provider.deliver("last", at=odd.clock.now() - 60 * DAY)  # too old for an audit
    odd.ring("last")
    odd.run(10)
    odd.provider.delete("last")  # and neither a push nor a folder tells of it
    assert odd.gets_of_a_walk() <= 4
    odd.walks(3)
    assert told(odd, "last") == ["email.received", "email.deleted"]
    assert len(odd.state.unwalked) == 10


def test_a_provider_that_serves_nothing_is_not_asked_for_them_all(odd: Odd) -> None:
    odd.provider.failing = dict.fromkeys(odd.hinted(12), TROUBLES[1])
    assert odd.gets_of_a_walk() == unnamed.FAILURES


@pytest.mark.parametrize("limit", [RateLimited("Too many.", retry_after=120.0), Paced("Too fast.", retry_after=120.0)])
def test_a_limit_keeps_what_the_walk_has_read_and_is_obeyed(odd: Odd, limit: RateLimited) -> None:
    ids = odd.hinted(3)
    odd.walks(3)  # of the folder itself it is asked an hour later
    odd.provider.failing = dict.fromkeys(ids, limit)
    odd.provider.deliver("mail")
    poll(odd.tasks, MAILBOX, odd.clock.now())
    odd.run(10)
    assert told(odd, "mail") == ["email.received"]
    before = odd.provider.calls.copy()
    if not isinstance(limit, Paced):  # it holds for whoever comes next, too
        poll(odd.tasks, MAILBOX, odd.clock.now())
    odd.run(100)
    assert odd.provider.calls == before
    odd.provider.failing = {}
    odd.walks(2)
    assert odd.state.status == "live"
    assert odd.state.walk is None
