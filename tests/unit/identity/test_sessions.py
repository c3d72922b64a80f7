"""Of a session one refresh token is the newest, whatever races, is lost or comes again; the one before it is good for a minute
more while nobody has used its successor, and anything older ends the session.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from shared import refs
from shared.errors import BrainstemError, Retry, Unauthorized, Unknown
from shared.identity.sessions import GRACE, IDLE, LONGEST, MOST, Sessions, _digest
from shared.identity.trail import Trail
from shared.ports import Create, Data, Delete, Update, Write
from tests.interleave import Interleaver
from tests.unit.fakes import FakeClock
from tests.unit.identity.user_store import Lost, UserStore

UID = "u_" + "a" * 26


def make(store: UserStore, clock: FakeClock) -> Sessions:
    if refs.user(UID) not in store.documents:
        profile: Data = {"uid": UID, "email": None, "name": None, "created_at": 0.0}
        store.commit([Create(refs.user(UID), profile)])
    return Sessions(store, clock, Trail(store, clock))


@pytest.fixture
def store() -> UserStore:
    return UserStore()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sessions(store: UserStore, clock: FakeClock) -> Sessions:
    return make(store, clock)


def replays(store: UserStore) -> int:
    return sum(doc.data.get("action") == "session_replayed" for doc in store.documents.values())


def is_good(sessions: Sessions, token: str) -> bool:
    try:
        sessions.refresh(token)
    except Unauthorized:
        return False
    return True


def test_a_chain_of_refreshes_goes_on_for_as_long_as_it_is_used(sessions: Sessions, clock: FakeClock) -> None:
    token, began = sessions.open(UID, "email", "").refresh, clock.now()
    while clock.now() - began < LONGEST - IDLE:
        clock.time += IDLE - 1
        token = sessions.refresh(token).refresh
    clock.time = began + LONGEST
    assert not is_good(sessions, token), "in the end one has to sign in again"


def test_a_session_that_is_not_used_ends(sessions: Sessions, clock: FakeClock, store: UserStore) -> None:
    opened = sessions.open(UID, "email", "")
    clock.time += IDLE
    assert not is_good(sessions, opened.refresh)
    assert sessions.of(UID) == []
    assert sessions.find(UID, opened.id) is None
    assert replays(store) == 0


@pytest.mark.parametrize("age", [1, 2, 5])
def test_any_token_that_was_replaced_ends_the_family_however_old(
    sessions: Sessions, store: UserStore, clock: FakeClock, age: int
) -> None:
    tokens = [sessions.open(UID, "email", "").refresh]
    for _ in range(5):
        tokens.append(sessions.refresh(tokens[-1]).refresh)
    clock.time += GRACE
    assert not is_good(sessions, tokens[-1 - age])
    assert not is_good(sessions, tokens[-1])
    assert replays(store) == 1


def test_an_old_token_with_a_newer_number_ends_the_family_as_well(sessions: Sessions) -> None:
    first = sessions.open(UID, "email", "").refresh
    second = sessions.refresh(first).refresh
    parts = first.split(".")
    assert not is_good(sessions, ".".join((*parts[:2], "2", parts[3])))
    assert not is_good(sessions, second)


def test_whoever_knows_the_names_alone_can_end_nothing(sessions: Sessions, store: UserStore) -> None:
    opened = sessions.open(UID, "email", "")
    for generation in range(4):
        assert not is_good(sessions, f"{UID}.{opened.id}.{generation}.{'x' * 43}y")
    own = opened.refresh.rpartition(".")[2][22:]
    assert not is_good(sessions, f"{UID}.{opened.id}.1.{'x' * 22}{own}")
    assert is_good(sessions, opened.refresh)
    assert replays(store) == 0


def test_only_digests_are_kept(sessions: Sessions, store: UserStore) -> None:
    secret = sessions.open(UID, "email", "").refresh.rpartition(".")[2]
    kept = str(store.documents)
    assert secret[:22] not in kept
    assert secret[22:] not in kept


def test_a_replay_ends_this_family_and_no_other(sessions: Sessions, clock: FakeClock) -> None:
    mine, other = (sessions.open(UID, "email", "").refresh for _ in range(2))
    sessions.refresh(mine)
    clock.time += GRACE
    assert not is_good(sessions, mine)
    assert is_good(sessions, other)


def test_whoever_lost_the_answer_gets_another_successor_for_a_minute_and_the_lost_one_is_worth_nothing(
    sessions: Sessions, store: UserStore, clock: FakeClock
) -> None:
    token = sessions.open(UID, "email", "").refresh
    lost = sessions.refresh(token).refresh
    clock.time += GRACE - 1
    successor = sessions.refresh(token).refresh
    assert successor != lost
    assert successor.split(".")[2] == "2"
    assert is_good(sessions, successor)
    assert replays(store) == 0
    assert not is_good(sessions, lost), "somebody else had the answer that was lost"
    assert replays(store) == 1


def test_of_two_who_hold_successors_of_one_token_the_second_who_comes_ends_the_session(
    sessions: Sessions, store: UserStore
) -> None:
    token = sessions.open(UID, "email", "").refresh
    first, second = sessions.refresh(token).refresh, sessions.refresh(token).refresh
    assert not is_good(sessions, first)
    assert not is_good(sessions, second)
    assert replays(store) == 1


def test_a_successor_that_was_used_ends_the_time_of_grace(sessions: Sessions, store: UserStore) -> None:
    token = sessions.open(UID, "email", "").refresh
    newest = sessions.refresh(sessions.refresh(token).refresh).refresh
    assert not is_good(sessions, token)
    assert not is_good(sessions, newest)
    assert replays(store) == 1


def test_coming_again_and_again_does_not_put_off_the_end_of_the_time_of_grace(
    sessions: Sessions, store: UserStore, clock: FakeClock
) -> None:
    opened = sessions.open(UID, "email", "")
    sessions.refresh(opened.refresh)
    for _ in range(3):
        clock.time += GRACE / 4
        assert is_good(sessions, opened.refresh)
    clock.time += GRACE / 4
    assert not is_good(sessions, opened.refresh)
    assert replays(store) == 1
    assert sessions.find(UID, opened.id) is None


def test_a_session_from_before_there_was_a_time_of_grace_has_none(sessions: Sessions, store: UserStore) -> None:
    opened = sessions.open(UID, "email", "")
    sessions.refresh(opened.refresh)
    del store.documents[refs.session(UID, opened.id)].data["previous"]
    assert not is_good(sessions, opened.refresh)
    assert replays(store) == 1


def test_a_token_of_a_session_that_is_over_is_no_replay(sessions: Sessions, store: UserStore) -> None:
    opened = sessions.open(UID, "email", "")
    assert sessions.end(UID, opened.id, "sign_out")
    assert not sessions.end(UID, opened.id, "sign_out")
    assert not is_good(sessions, opened.refresh)
    assert replays(store) == 0


def test_a_person_has_no_more_sessions_than_the_limit_and_loses_those_unused_for_longest(
    sessions: Sessions, clock: FakeClock
) -> None:
    opened = []
    for _ in range(MOST + 5):
        clock.time += 1
        opened.append(sessions.open(UID, "email", ""))
    assert [row["id"] for row in sessions.of(UID)] == [one.id for one in reversed(opened[5:])]


@pytest.mark.parametrize("applies", [True, False])
def test_a_lost_answer_of_a_commit_logs_nobody_out(sessions: Sessions, store: UserStore, applies: bool) -> None:
    store.unknown_applies = applies
    faults: list[BrainstemError | None] = [Unknown(), None, Unknown(), None]
    store.lose = lambda: faults.pop(0) if faults else None
    token = sessions.open(UID, "email", "").refresh
    for _ in range(3):
        token = sessions.refresh(token).refresh
    assert replays(store) == 0


@pytest.mark.parametrize("applies", [True, False])
def test_neither_does_one_after_which_the_store_cannot_be_read_for_a_while(
    sessions: Sessions, store: UserStore, clock: FakeClock, applies: bool
) -> None:
    token = sessions.open(UID, "email", "").refresh
    store.unknown_applies = applies
    faults: list[BrainstemError | None] = [Unknown()]

    def lose() -> BrainstemError | None:
        fault = faults.pop(0) if faults else None
        if fault is not None:
            store.read_faults = [Retry()] * 4
        return fault

    store.lose = lose
    successor = sessions.refresh(token).refresh
    assert clock.slept == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert is_good(sessions, successor)


def test_a_store_that_stays_away_is_said_after_a_few_looks(
    sessions: Sessions, store: UserStore, clock: FakeClock
) -> None:
    token = sessions.open(UID, "email", "").refresh
    store.read_faults = [Retry()] * 100
    with pytest.raises(Retry):
        sessions.refresh(token)
    assert sum(clock.slept) < 4
    store.read_faults = []
    assert is_good(sessions, token)


def test_nobody_opens_a_session_while_their_account_is_being_deleted(sessions: Sessions, store: UserStore) -> None:
    def fence(writes: Sequence[Write]) -> None:
        store.before_commit = None
        user = store.documents[refs.user(UID)]
        store.commit([Update(user.ref, {"erasing": 1.0}, user.version)])

    store.before_commit = fence
    with pytest.raises(Unauthorized):
        sessions.open(UID, "email", "")
    assert not [ref for ref in store.documents if "/sessions/" in ref]


def test_a_refresh_that_meets_a_sign_out_loses(sessions: Sessions, store: UserStore) -> None:
    opened = sessions.open(UID, "email", "")

    def sign_out(writes: Sequence[Write]) -> None:
        store.before_commit = None
        store.commit([Delete(refs.session(UID, opened.id))])

    store.before_commit = sign_out
    assert not is_good(sessions, opened.refresh)
    assert replays(store) == 0


def _race(seed: int, racers: int, share: float) -> tuple[UserStore, FakeClock, list[str], int]:
    store, clock, chance = UserStore(), FakeClock(), Lost(seed)
    token = make(store, clock).open(UID, "email", "").refresh
    interleaver = Interleaver(seed)
    answers: list[str] = []
    postponed = 0

    def lose() -> BrainstemError | None:
        store.unknown_applies = chance.random() < 0.5
        return chance.fault(share)

    store.around, store.lose = lambda _: interleaver.point(), lose

    def body() -> None:
        nonlocal postponed
        try:
            answers.append(make(store, clock).refresh(token).refresh)
        except Unauthorized:
            pass
        except Retry:
            postponed += 1

    interleaver.run([body] * racers)
    store.around, store.lose = lambda _: None, lambda: None
    return store, clock, answers, postponed


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("racers", [2, 3, 8])
def test_of_racing_refreshes_nobody_is_logged_out_and_two_successors_never_live(racers: int, share: float) -> None:
    for seed in range(300):
        store, clock, answers, postponed = _race(seed, racers, share)
        assert len(set(answers)) + postponed == racers
        assert replays(store) == 0
        [session] = [doc for ref, doc in store.documents.items() if "/sessions/" in ref]
        live = [answer for answer in answers if _digest(answer) == session.data["digest"]]
        assert len(live) <= 1
        assert live or postponed, "it is somebody's who was told to come again"
        sessions = make(store, clock)
        assert all(is_good(sessions, answer) for answer in live)
        dead = [answer for answer in answers if answer not in live]
        if dead:
            assert not is_good(sessions, dead[0])
            assert not [ref for ref in store.documents if "/sessions/" in ref]


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_alone_nobody_is_logged_out_by_lost_answers(share: float) -> None:
    for seed in range(500):
        store, clock, chance = UserStore(), FakeClock(), Lost(seed)
        sessions = make(store, clock)
        token = sessions.open(UID, "email", "").refresh

        def lose(store: UserStore = store, chance: Lost = chance) -> BrainstemError | None:
            store.unknown_applies = chance.random() < 0.5
            return Unknown() if chance.random() < share else None

        store.lose = lose
        for _ in range(4):
            token = sessions.refresh(token).refresh
        assert replays(store) == 0


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_client_that_asks_again_whenever_an_answer_was_lost_on_the_line_is_never_logged_out(share: float) -> None:
    asked_again = 0
    for seed in range(300):
        store, clock, chance = UserStore(), FakeClock(), Lost(seed)
        sessions = make(store, clock)
        token = sessions.open(UID, "email", "").refresh

        def lose(store: UserStore = store, chance: Lost = chance) -> BrainstemError | None:
            store.unknown_applies = chance.random() < 0.5
            return Unknown() if chance.random() < share else None

        store.lose = lose
        for _ in range(5):
            successor = sessions.refresh(token).refresh
            for _ in range(3):
                if chance.random() < 0.5:
                    clock.time += GRACE / 4
                    successor = sessions.refresh(token).refresh
                    asked_again += 1
            token = successor
            clock.time += 900
        assert replays(store) == 0
    assert asked_again > 1_000


def test_in_any_history_only_the_newest_token_and_for_a_while_the_one_before_are_good_and_any_other_ends_all() -> None:
    resumed = 0
    for seed in range(600):
        chance = random.Random(seed)
        store, clock = UserStore(), FakeClock()
        sessions = make(store, clock)
        tokens, is_over = [sessions.open(UID, "email", "").refresh], False
        before, until = "", 0.0
        for _ in range(12):
            clock.time += chance.choice([0.0, GRACE / 3, GRACE])
            shown = chance.choice(tokens[-3:])
            is_newest, is_before = shown == tokens[-1], shown == before and clock.now() < until
            try:
                tokens.append(sessions.refresh(shown).refresh)
                good = True
            except Unauthorized:
                good = False
            assert good == (not is_over and (is_newest or is_before))
            is_over = not good
            resumed += good and is_before
            if good and is_newest:
                before, until = shown, clock.now() + GRACE
            assert replays(store) == int(is_over)
    assert resumed > 100


def test_an_opened_session_shows_no_token_when_it_is_printed(sessions: Sessions) -> None:
    opened = sessions.open(UID, "email", "")
    assert opened.refresh not in str(opened)
