"""Rate limits over many instances and one store: what is served, what is refused, and what it costs."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import queries, refs
from shared.adapters.embedded.clock import VirtualClock
from shared.errors import Conflict, Retry, Unknown
from shared.identity import allowance
from shared.identity.allowance import SHARES, Allowances, Limit, sweep
from shared.ports import Query, Write
from shared.sets import embedded
from shared.settings import Settings
from tests.unit.fakes import FakeClock, FakeStore

READ = Limit("read", 600)
AUTH = Limit("auth", 30, strict=True)
WHO = "uid|ann"


class Town:
    """Instances that share a store and a clock."""

    def __init__(self, instances: int = 1) -> None:
        self.clock, self.store = FakeClock(), FakeStore()
        self.instances = [Allowances(self.store, self.clock) for _ in range(instances)]

    def burst(self, count: int, limit: Limit = READ, instance: int = 0) -> int:
        """How many of so many requests at one moment are served."""
        return sum(self.instances[instance].take(limit, WHO).granted for _ in range(count))

    @property
    def writes(self) -> int:
        return len(self.store.commits)


def test_a_minute_holds_as_many_requests_as_the_limit_says_and_the_instances_own_share() -> None:
    town = Town()
    assert town.burst(5_000) == 600 + READ.share


def test_a_person_who_asks_seldom_costs_nothing() -> None:
    town = Town()
    for _ in range(100):
        assert town.burst(READ.share) == READ.share
        town.clock.time += 60
    assert (town.writes, town.store.reads) == (0, [])


def test_a_hot_person_costs_a_write_per_share_however_many_requests_there_are() -> None:
    town = Town()
    town.burst(100_000)
    assert town.writes == SHARES
    assert len(town.store.reads) == SHARES + 1


def test_who_is_refused_is_not_looked_up_again_until_there_is_a_share() -> None:
    town = Town()
    town.burst(1_000)
    reads = len(town.store.reads)
    refused = town.instances[0].take(READ, WHO)
    assert (refused.granted, refused.remaining, refused.reset) == (False, 0, pytest.approx(3.0))
    town.clock.time += 2.9
    assert town.burst(1_000) == 0
    assert len(town.store.reads) == reads
    town.clock.time += 0.2
    assert town.burst(1_000) == READ.share


def test_what_is_refused_for_a_minute_comes_back_at_the_rate_of_the_limit() -> None:
    town = Town()
    town.burst(1_000)
    served = 0
    for _ in range(600):
        town.clock.time += 1
        served += town.burst(50)
    assert served == pytest.approx(600 * 10 + 10 * READ.share, rel=0.01)  # and the first share of each minute
    assert town.writes <= SHARES + 600 / 3 + 1


@settings(max_examples=50)
@given(
    st.integers(1, 40),
    st.sampled_from([3, 20, 60, 100, 599, 600]),
    st.randoms(use_true_random=False),
    st.floats(0, 2),
)
def test_nobody_is_refused_before_the_last_request_that_the_limit_allows_however_many_instances(
    instances: int, per_minute: int, chance: random.Random, skew: float
) -> None:
    town, limit = Town(instances), Limit("read", per_minute)
    favourites = [chance.random() ** 4 for _ in range(instances)]
    for instance in chance.choices(range(instances), favourites, k=per_minute):
        assert town.instances[instance].take(limit, WHO).granted
        town.clock.time += skew / per_minute
    served = sum(town.burst(per_minute, limit, instance) for instance in range(instances))
    # What has come back meanwhile, and what each instance gives on its own account.
    assert served <= limit.share * instances + skew / limit.seconds + limit.share


def test_a_strict_limit_is_exact_over_all_instances() -> None:
    town = Town(10)
    assert sum(town.burst(100, AUTH, instance) for instance in range(10)) == 30
    assert town.writes == 30
    town.clock.time += 2.01
    assert sum(town.burst(100, AUTH, instance) for instance in range(10)) == 1


def test_people_and_classes_do_not_get_in_each_others_way() -> None:
    town = Town()
    town.burst(1_000)
    assert town.burst(1, Limit("write", 600)) == 1
    assert town.instances[0].take(READ, "uid|bob").granted
    assert town.instances[0].take(READ, "ip|ann").granted


def test_the_answer_says_how_many_are_left_and_when_all_are_back() -> None:
    town = Town()
    first = town.instances[0].take(READ, WHO)
    assert (first.remaining, first.reset) == (599, pytest.approx(0.1))
    seen = [town.instances[0].take(READ, WHO).remaining for _ in range(599)]
    assert seen == list(range(598, -1, -1))


def test_what_other_instances_have_leased_shows_in_what_is_left() -> None:
    town = Town(2)
    town.burst(300, instance=0)
    town.burst(READ.share, instance=1)
    assert town.instances[1].take(READ, WHO).remaining <= 600 - 270


def test_where_instances_race_for_a_bucket_each_share_is_leased_once() -> None:
    town = Town(8)
    served: Counter[int] = Counter()

    def ask(instance: int) -> None:
        served[instance] = town.burst(300, instance=instance)

    threads = [threading.Thread(target=ask, args=(instance,)) for instance in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(served.values()) == 600 + 8 * READ.share
    assert town.writes == SHARES


def test_two_instances_that_lease_at_the_same_moment_are_both_charged() -> None:
    town = Town(2)
    for instance in (0, 1):
        town.burst(READ.share, instance=instance)

    def at_the_same_moment(_: Sequence[Write]) -> None:
        town.store.before_commit = None
        town.burst(1, instance=1)

    town.burst(1, instance=0)
    town.burst(READ.share - 1, instance=0)
    town.store.before_commit = at_the_same_moment
    town.burst(1, instance=0)
    charged = town.store.data(refs.allowance(f"read|{WHO}"))["full_at"] - town.clock.now()
    assert charged == pytest.approx(3 * READ.share * READ.seconds)
    assert town.burst(10_000) == 600 - 2 * READ.share - 1


def test_while_a_thread_leases_the_others_of_the_instance_wait_for_its_share() -> None:
    town = Town()
    town.burst(READ.share)
    other = threading.Thread(target=town.burst, args=(1,))

    def meanwhile(_: Sequence[Write]) -> None:
        town.store.before_commit = None
        other.start()
        other.join(0.2)

    town.store.before_commit = meanwhile
    town.burst(1)
    other.join()
    assert town.writes == 1


@pytest.mark.parametrize("fault", [Retry(), Unknown(), Conflict()])
def test_where_the_store_cannot_be_asked_reads_go_on_and_it_is_asked_once_in_a_share(fault: Exception) -> None:
    town = Town()
    town.store.faults = [fault] * 10_000  # type: ignore[list-item]
    town.store.unknown_applies = False
    town.burst(READ.share)
    assert town.burst(10 * READ.share) == 10 * READ.share
    assert len(town.store.reads) <= 10 * allowance.ATTEMPTS
    town.store.faults = []
    assert town.burst(5_000) == 600


@pytest.mark.parametrize("fault", [Retry(), Unknown(), Conflict()])
def test_where_the_store_cannot_be_asked_nobody_signs_in(fault: Exception) -> None:
    town = Town()
    town.store.faults = [fault] * allowance.ATTEMPTS  # type: ignore[list-item]
    with pytest.raises(Retry) as refused:
        town.instances[0].take(AUTH, WHO)
    assert refused.value.retry_after == 5
    town.store.faults = []
    assert town.instances[0].take(AUTH, WHO).granted


def test_where_the_store_cannot_be_read_nobody_signs_in() -> None:
    town = Town()
    town.store.read_faults = [Retry()]
    with pytest.raises(Retry):
        town.instances[0].take(AUTH, WHO)


def test_an_instance_whose_clock_is_ahead_locks_nobody_out_for_longer_than_a_minute() -> None:
    town = Town()
    town.clock.time += 86_400
    town.burst(10_000)
    town.clock.time -= 86_400
    town.instances = [Allowances(town.store, town.clock)]
    town.burst(READ.share)
    assert town.instances[0].take(READ, WHO).reset <= 60
    town.clock.time += 60
    assert town.burst(600) >= READ.share


def test_an_instance_remembers_no_more_people_than_it_may() -> None:
    town = Town()
    town.instances = [Allowances(town.store, town.clock, size=100)]
    for number in range(1_000):
        town.instances[0].take(READ, f"uid|{number}")
    assert len(town.instances[0]._buckets) == 100


def test_to_be_forgotten_by_an_instance_does_not_help_to_sign_in() -> None:
    town = Town()
    town.instances = [Allowances(town.store, town.clock, size=2)]
    served = 0
    for number in range(500):
        served += town.burst(1, AUTH)
        town.instances[0].take(READ, f"uid|{number}")
        town.instances[0].take(READ, f"uid|{number + 1}")
    assert served == 30


def test_nobody_can_tell_from_a_bucket_whose_it_is() -> None:
    town = Town()
    town.burst(100)
    [(ref, doc)] = town.store.documents.items()
    assert "ann" not in ref + repr(doc.data)
    assert ref == refs.allowance(f"read|{WHO}")


def test_full_buckets_are_swept_shard_by_shard_and_no_others(tmp_path) -> None:
    clock = VirtualClock()
    store = embedded(Settings(data_dir=str(tmp_path)), clock, synchronous="OFF").store
    allowances = Allowances(store, clock)
    for number in range(50):
        allowances.take(AUTH, f"ip|{number}")
    clock.sleep(allowance.KEPT + AUTH.seconds + 1)
    for _ in range(10):
        allowances.take(AUTH, "ip|fresh")
    swept = 0
    for _ in range(8):
        swept += sweep(store, clock.now(), 60.0)
        allowances.take(AUTH, "ip|fresh")
        clock.sleep(60)
    assert swept == 50
    assert refs.allowance("auth|ip|fresh") in store.get([refs.allowance("auth|ip|fresh")])
    assert sweep(store, clock.now(), 60.0) <= 1


@pytest.mark.parametrize("tick", [30.0, 60.0, 120.0, 240.0, 600.0, 1_800.0])
def test_every_shard_has_its_turn_however_often_the_tick_comes(tick: float) -> None:
    turns = {queries.shard_in_turn(1_790_000_000.0 + number * tick, tick) for number in range(queries.SHARDS)}
    assert turns == set(range(queries.SHARDS))


def test_a_sweep_is_bounded() -> None:
    asked: list[Query] = []

    class Asked(FakeStore):
        def query(self, query: Query) -> list[object]:  # type: ignore[override]
            asked.append(query)
            return []

    assert sweep(Asked(), 0.0, 60.0, 7) == 0
    assert [query.limit for query in asked] == [7]
