"""An import that ends early leaves an account that works and can be deleted; one that is repeated leaves the whole archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from shared import refs
from shared.errors import AccountDeleted, Busy, InvalidRequest, Retry
from shared.events.app import AppStream
from shared.mail.state import STUCK_AFTER
from shared.mail.tick import care
from shared.ports import Data, Update, Write
from shared.privacy import restore
from shared.privacy.erasure import LONGEST_REQUEST
from tests.leaving import LeavingWorld, alone
from tests.unit.privacy.export_world import ExportWorld, stored
from tests.world import MAILBOX, UID

MESSAGES, NOTES = 8, 6
AT_ONCE = 5
COMMITS = 4
"""Of the archive, of ``AT_ONCE`` documents each: an entry of the trail, six notes, a segment, eight messages and a gap."""

OWN = f"{UID}:app"


def archive_in(folder: Path, messages: int = MESSAGES, notes: int = NOTES) -> Path:
    world = ExportWorld(folder / "data")
    world.person(UID)
    world.gap(world.mailbox(MAILBOX, messages=messages), "bad")
    for number in range(notes):
        AppStream(world.ports.store, world.ports.bus, world.clock).post(UID, "note.written", {"text": str(number)})
    export_id = world.begin(UID)
    world.run()
    file = folder / "archive"
    file.write_bytes(world.archive(export_id, UID))
    return file


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive_in(tmp_path_factory.mktemp("archive"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeavingWorld]:
    monkeypatch.setattr(restore, "COMMIT_WRITES", AT_ONCE)
    world = LeavingWorld(tmp_path)
    yield world
    world.close()


class Killed(BaseException):
    """The import has died."""


def at_commit(world: LeavingWorld, number: int, strike: Callable[[], object]) -> None:
    """Have something happen just before a commit of the import lands; numbers count from 1."""
    commits = 0

    def count(_: Sequence[Write]) -> None:
        nonlocal commits
        commits += 1
        if commits == number:
            world.store.before_commit = lambda _: None
            strike()

    world.store.before_commit = count


def visit(world: LeavingWorld) -> None:
    assert world.call("api", "GET", "/me", Authorization=f"Bearer {world.token}")[0] == 200


def killed() -> None:
    raise Killed


def ends_since_its_person_is_seen(world: LeavingWorld, archive: Path, at: int) -> None:
    at_commit(world, at, lambda: visit(world))
    with pytest.raises(InvalidRequest, match="already known"):
        world.product.restore(archive)


def ends_by_a_kill_before_its_person_is_seen(world: LeavingWorld, archive: Path, at: int) -> None:
    at_commit(world, at, killed)
    with pytest.raises(Killed):
        world.product.restore(archive)
    visit(world)
    with pytest.raises(InvalidRequest, match="already known"):
        world.product.restore(archive)


def ends_by_two_kills_before_its_person_is_seen(world: LeavingWorld, archive: Path, at: int) -> None:
    ends_by_a_kill_for_good(world, archive, 3)
    ends_by_a_kill_before_its_person_is_seen(world, archive, at)


def ends_in_an_outage_before_its_person_is_seen(world: LeavingWorld, archive: Path, at: int) -> None:
    def outage() -> None:
        raise Retry("The store cannot be reached.")

    at_commit(world, at, outage)
    with pytest.raises(Retry):
        world.product.restore(archive)
    visit(world)


def ends_by_a_kill_for_good(world: LeavingWorld, archive: Path, at: int) -> None:
    at_commit(world, at, killed)
    with pytest.raises(Killed):
        world.product.restore(archive)


def ends_since_its_person_leaves(world: LeavingWorld, archive: Path, at: int) -> None:
    at_commit(world, at, world.leave)
    with pytest.raises(AccountDeleted):
        world.product.restore(archive)


def ends_in_an_outage_and_its_repetition_at_the_fence(world: LeavingWorld, archive: Path, at: int) -> None:
    def outage() -> None:
        world.leave()
        raise Retry("The store cannot be reached.")

    at_commit(world, at, outage)
    with pytest.raises(Retry):
        world.product.restore(archive)
    with pytest.raises(AccountDeleted):
        world.product.restore(archive)


Ending = Callable[[LeavingWorld, Path, int], None]
BEFORE_USE: tuple[Ending, ...] = (
    ends_since_its_person_is_seen,
    ends_by_a_kill_before_its_person_is_seen,
    ends_by_two_kills_before_its_person_is_seen,
    ends_in_an_outage_before_its_person_is_seen,
)
ENDINGS = (
    *BEFORE_USE,
    ends_by_a_kill_for_good,
    ends_since_its_person_leaves,
    ends_in_an_outage_and_its_repetition_at_the_fence,
)
every_commit = pytest.mark.parametrize("at", range(1, COMMITS + 1))


def documents(world: LeavingWorld) -> dict[str, Data]:
    """All that is there of the person."""
    return {ref: data for ref, data in world.store.left().items() if ref.startswith(refs.user(UID))}


def complete(tmp_path: Path, archive: Path) -> dict[str, Data]:
    """What an import leaves that nothing befell."""
    world = LeavingWorld(tmp_path / "undisturbed")
    world.product.restore(archive)
    found = documents(world)
    world.close()
    return found


def deleted(world: LeavingWorld) -> bool:
    """Have the person leave, and see that nothing is left of them."""
    assert world.leave() == 202
    world.run(LONGEST_REQUEST + 300)
    return alone(world)


def followed(world: LeavingWorld, stream: str) -> tuple[int, object] | None:
    """How far our sample consumer has come in a stream, and where it is parked."""
    ref = refs.watermark("senders", stream)
    mark = world.store.inner.get([ref]).get(ref)
    return None if mark is None else (mark.data["sequence"], mark.data["parked"])


def post(world: LeavingWorld) -> Any:
    return world.api("POST", "/events", {"type": "note.written", "data": {"text": "mine"}})


def test_the_archive_takes_so_many_commits(world: LeavingWorld, archive: Path) -> None:
    commits = 0

    def count(_: Sequence[Write]) -> None:
        nonlocal commits
        commits += 1

    world.store.before_commit = count
    restored = world.product.restore(archive)
    assert commits == COMMITS
    assert restored.counts == {
        "profile": 1,
        "audit": 1,
        "segment": NOTES + 1,
        "message": MESSAGES,
        "gap": 1,
        "mailbox": 1,
    }
    assert [event["sequence"] for event in world.events(OWN)] == list(range(1, NOTES + 1))
    assert post(world)["sequence"] == NOTES + 1


@every_commit
@pytest.mark.parametrize("ends", ENDINGS)
def test_whoever_leaves_after_an_import_that_ended_early_is_gone(
    world: LeavingWorld, archive: Path, ends: Ending, at: int
) -> None:
    ends(world, archive, at)
    assert deleted(world)


@pytest.mark.parametrize("ends", ENDINGS)
def test_nor_is_anything_left_of_one_without_a_stream_of_their_own(
    world: LeavingWorld, tmp_path: Path, ends: Ending
) -> None:
    ends(world, archive_in(tmp_path / "archive", notes=0), 2)
    assert deleted(world)


@every_commit
@pytest.mark.parametrize("ends", BEFORE_USE)
def test_the_account_of_somebody_who_was_seen_before_the_end_works(
    world: LeavingWorld, archive: Path, ends: Ending, at: int
) -> None:
    ends(world, archive, at)
    assert world.api("GET", "/mail/status")["mailboxes"] == [], "of what is not there as a whole nothing is shown"
    mine = post(world)["sequence"]
    assert [event["sequence"] for event in world.events(OWN)] == list(range(1, mine + 1)), "there is no hole"
    world.run(STUCK_AFTER + 120)
    assert stored(world.store.inner, MAILBOX) == ({}, [], {})
    world.connect(mails=7)
    world.run(300)
    [mailbox] = world.api("GET", "/mail/status")["mailboxes"]
    assert (mailbox["status"], mailbox["messages"], mailbox["backfill"]["done"]) == ("live", 7, True)
    assert len(world.all("/mail/messages", "messages", mailbox=mailbox["id"])) == 7
    assert [event["type"] for event in world.events(mailbox["id"])].count("email.received") <= 7
    assert post(world)["sequence"] == mine + 1
    world.run(60)
    assert followed(world, OWN) == (mine + 1, None)
    assert deleted(world)


@every_commit
def test_until_the_tick_has_removed_it_a_mailbox_that_was_begun_holds_its_place(
    world: LeavingWorld, archive: Path, at: int
) -> None:
    ends_by_a_kill_before_its_person_is_seen(world, archive, at)
    tokens = world.google.add_mailbox("ann@example.org")
    grant = {"provider": "google", **{name: tokens[name] for name in ("access_token", "refresh_token", "expires_in")}}
    status, answer = world.call("api", "POST", "/mail/connect", grant, Authorization=f"Bearer {world.token}")
    if at == 1:
        assert status < 300, "nothing had been written"
    else:
        assert (status, answer["error"]["code"]) == (409, "busy")
    world.run(STUCK_AFTER + 120)
    assert world.call("api", "POST", "/mail/connect", grant, Authorization=f"Bearer {world.token}")[0] < 300
    world.run(60)
    assert world.api("GET", "/mail/status")["mailboxes"][0]["status"] == "live"


@every_commit
def test_an_import_that_was_killed_is_repeated_and_whole(
    world: LeavingWorld, tmp_path: Path, archive: Path, at: int
) -> None:
    ends_by_a_kill_for_good(world, archive, at)
    world.product.restore(archive)
    assert documents(world) == complete(tmp_path, archive)


@every_commit
def test_an_import_may_be_killed_again_earlier_or_later(
    world: LeavingWorld, tmp_path: Path, archive: Path, at: int
) -> None:
    ends_by_a_kill_for_good(world, archive, 3)
    ends_by_a_kill_for_good(world, archive, at)
    world.product.restore(archive)
    assert documents(world) == complete(tmp_path, archive)


@every_commit
def test_what_a_killed_import_has_left_is_removed_by_the_tick_and_it_can_be_repeated(
    world: LeavingWorld, tmp_path: Path, archive: Path, at: int
) -> None:
    ends_by_a_kill_for_good(world, archive, at)
    world.run(STUCK_AFTER + 120)
    assert not [ref for ref in documents(world) if "/mailboxes/" in ref]
    world.product.restore(archive)
    assert documents(world) == complete(tmp_path, archive)


def test_while_it_is_being_removed_an_import_is_not_repeated(world: LeavingWorld, archive: Path) -> None:
    ends_by_a_kill_for_good(world, archive, 3)
    ref = refs.stream(MAILBOX)
    world.store.inner.commit(
        [Update(ref, {"rescue": 1}, world.store.inner.get([ref])[ref].version)]
    )  # as the tick does
    before = documents(world)
    with pytest.raises(Busy, match="being removed"):
        world.product.restore(archive)
    assert documents(world) == before


@pytest.mark.parametrize("notes", [0, NOTES])
def test_another_archive_of_the_person_is_not_mixed_with_one_that_was_begun(
    world: LeavingWorld, tmp_path: Path, archive: Path, notes: int
) -> None:
    ends_by_a_kill_for_good(world, archive, 3)
    before = documents(world)
    with pytest.raises(InvalidRequest, match="Another archive"):
        world.product.restore(archive_in(tmp_path / "another", messages=3, notes=notes))
    assert documents(world) == before


@every_commit
def test_a_server_may_run_meanwhile(world: LeavingWorld, tmp_path: Path, archive: Path, at: int) -> None:
    at_commit(world, at, lambda: world.run(STUCK_AFTER - 60))
    world.product.restore(archive)
    assert documents(world) == complete(tmp_path, archive)
    assert followed(world, MAILBOX) is None, "what is not there as a whole is not read"
    world.run(3600)
    assert (followed(world, OWN), followed(world, MAILBOX)) == ((NOTES, None), (MESSAGES, None))


@pytest.mark.parametrize("at", range(2, COMMITS + 1))
def test_an_import_that_stands_still_for_too_long_ends_and_can_be_repeated(
    world: LeavingWorld, tmp_path: Path, archive: Path, at: int
) -> None:
    at_commit(world, at, lambda: world.run(STUCK_AFTER + 120))
    with pytest.raises(Busy, match="import it again"):
        world.product.restore(archive)
    assert not [ref for ref in documents(world) if "/mailboxes/" in ref]
    world.product.restore(archive)
    assert documents(world) == complete(tmp_path, archive)


def test_a_tick_that_found_it_due_just_before_it_was_repeated_lets_it_be(
    world: LeavingWorld, tmp_path: Path, archive: Path
) -> None:
    ends_by_a_kill_for_good(world, archive, 3)
    ref = refs.stream(MAILBOX)
    found = world.store.inner.get([ref])[ref]
    world.clock.advance(STUCK_AFTER)

    def go_on() -> None:
        care(world.product.accounts.ctx, found, world.clock.now())
        world.run(30)

    at_commit(world, 3, go_on)
    world.product.restore(archive)
    assert documents(world) == complete(tmp_path, archive)


@pytest.mark.parametrize("at", range(2, COMMITS + 1))
def test_a_commit_that_comes_after_the_end_of_a_deletion_writes_nothing(
    world: LeavingWorld, archive: Path, at: int
) -> None:
    at_commit(world, at, lambda: deleted(world))
    with pytest.raises(AccountDeleted):
        world.product.restore(archive)
    assert alone(world)


@pytest.mark.parametrize("at", range(2, COMMITS + 1))
def test_what_a_person_has_written_meanwhile_stays(world: LeavingWorld, archive: Path, at: int) -> None:
    at_commit(world, at, lambda: post(world))
    with pytest.raises(InvalidRequest, match="already known"):
        world.product.restore(archive)
    events = world.events(OWN)
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert [event["data"]["text"] for event in events][-1] == "mine"
    world.run(STUCK_AFTER + 120)
    assert world.events(OWN) == events
