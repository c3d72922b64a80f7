"""An export is one complete archive whose records are those of the store, however often it is killed, doubled or overtaken."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from infra.local.import_archive import main
from shared import queries, refs, sets
from shared.errors import AccountDeleted, Forbidden, NotFound, TooLarge, TooManyRequests
from shared.events.app import AppStream
from shared.events.log import read_streams, streams_of
from shared.identity.trail import Trail
from shared.mail.state import MailboxState
from shared.ports import Doc, Query, Update
from shared.privacy import export, gathering, writing
from shared.privacy.links import LINK_SECONDS
from shared.settings import Settings
from tests.unit.privacy.export_world import MAILBOX, UID, ExportWorld, exported, message, read, stored

DAY = 86_400.0


@pytest.fixture
def world(tmp_path: Path) -> ExportWorld:
    return ExportWorld(tmp_path / "data")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few messages make many parts."""
    monkeypatch.setattr(gathering, "PART_BYTES", 4_000)
    monkeypatch.setattr(gathering, "MESSAGES_AT_ONCE", 10)
    monkeypatch.setattr(gathering, "SEGMENTS_AT_ONCE", 1)


def app_stream(world: ExportWorld, texts: int) -> None:
    stream = AppStream(world.ports.store, world.ports.bus, world.clock)
    for n in range(texts):
        stream.post(UID, "note.written", {"text": f"note {n}"})


def streams_in(folder: Path) -> dict[str, list[tuple[int, str, str, object]]]:
    """Every event of every stream of the person: sequence, id, type and data."""
    store = sets.embedded(Settings(data_dir=str(folder)), synchronous="OFF").store
    found: dict[str, list[tuple[int, str, str, object]]] = {}
    for name in streams_of(store, UID):
        position, events = {name: 0}, []
        while (reading := read_streams(store, [name], position, 500)).events:
            events += [(event.sequence, event.id, event.type, event.data) for event in reading.events]
            position = reading.position
        found[name] = events
    return found


def test_ten_thousand_messages_killed_five_times_are_one_complete_archive_and_the_same_streams_elsewhere(
    world: ExportWorld, tmp_path: Path
) -> None:
    world.person()
    state = world.mailbox(messages=10_000)
    for number in range(40):
        state = world.gap(state, f"bad{number}", "open" if number % 3 else "resolved")
    app_stream(world, 3)
    export_id = world.begin()
    world.fate.at = {world.fate.count + n for n in (1, 4, 8, 13, 18)}  # before and after puts, commits and enqueues
    world.run()
    assert world.fate.killed == 5
    archive = world.archive(export_id)
    records, manifest = read(archive)
    assert exported(records) == stored(world.ports.store)
    assert (manifest["counts"]["message"], manifest["counts"]["gap"]) == (10_000, 40)
    assert manifest["streams"][MAILBOX] | {"hash": ""} == {
        "first": 1, "head": 10_000, "hash": "", "missing": 0, "exact": True,
    }  # fmt: skip
    file, fresh = tmp_path / "archive.ndjson.gz", tmp_path / "fresh"
    file.write_bytes(archive)
    assert main([str(file), "--data", str(fresh)]) == 0
    assert streams_in(fresh) == streams_in(tmp_path / "data")
    again = ExportWorld(fresh)
    second = again.begin()
    again.run()
    _, theirs = read(again.archive(second))
    hashes = {name: said["hash"] for name, said in manifest["streams"].items()}
    assert {name: said["hash"] for name, said in theirs["streams"].items()} == hashes
    assert stored(again.ports.store) == stored(world.ports.store)


@pytest.mark.usefixtures("small_parts")
def test_it_may_die_at_any_call(tmp_path: Path) -> None:
    def run(folder: Path, at: set[int]) -> tuple[int, list[object]]:
        world = ExportWorld(folder)
        world.person()
        world.mailbox(messages=30)
        export_id = world.begin()
        world.fate.count, world.fate.at = 0, at
        world.run()
        count = world.fate.count
        assert world.fate.killed == len(at)
        records, manifest = read(world.archive(export_id))
        assert exported(records) == stored(world.ports.store)
        return count, [records, manifest["parts"]]

    count, undisturbed = run(tmp_path / "0", set())
    assert count >= 30
    for at in range(1, count + 1):
        assert run(tmp_path / str(at), {at})[1] == undisturbed


@pytest.mark.usefixtures("small_parts")
def test_a_task_that_comes_twice_or_late_writes_nothing_twice(world: ExportWorld) -> None:
    world.person()
    world.mailbox(messages=30)
    export_id = world.begin()
    world.step(export_id, 0)
    world.step(export_id, 0)
    world.step(export_id, 7)
    [doc] = world.ports.store.query(queries.exports_of(UID, 10))
    assert len(doc.data["parts"]) == 1
    world.run()
    world.step(export_id, 0)
    records, _ = read(world.archive(export_id))
    assert exported(records) == stored(world.ports.store)


@pytest.mark.usefixtures("small_parts")
def test_of_two_that_write_one_part_from_a_store_that_changes_the_faster_one_counts(world: ExportWorld) -> None:
    world.person()
    state = world.mailbox(messages=30)
    export_id = world.begin()
    for parts in range(20):
        ref = refs.export(UID, export_id)
        if world.ports.store.get([ref])[ref].data["at"]["place"] >= 6:  # the messages have been begun
            break
        world.step(export_id, parts)
    overtaken = []

    def overtake(query: Query) -> None:
        if query.group == "messages" and not overtaken:
            overtaken.append(True)
            world.step(export_id, parts)
            world.page(state, [f"m{n}" for n in range(30)], "email.updated", labels=["CHANGED"])

    world.store.before_query = overtake
    with pytest.raises(Exception, match="faster"):
        world.step(export_id, parts)
    world.store.before_query = None
    world.run()
    records, manifest = read(world.archive(export_id))
    assert exported(records) == stored(world.ports.store)
    assert manifest["streams"][MAILBOX]["exact"]


@pytest.mark.usefixtures("small_parts")
def test_what_changes_while_it_is_exported_is_there_as_it_is_at_the_end(world: ExportWorld) -> None:
    world.person()
    state = world.mailbox(messages=60)
    export_id = world.begin()
    changes = iter(
        [
            (["m1", "m2"], "email.updated", {"labels": ["CHANGED"]}),
            (["new1"], "email.received", {}),
            (["m3"], "email.deleted", {"state": "tombstone"}),
            (["draft"], "", {"announced": None}),
            (["new2"], "email.received", {}),
        ]
    )
    pages, resolved = 0, list[str]()

    def change(query: Query) -> None:
        nonlocal state, pages
        pages += query.group == "messages"
        if query.group == "messages" and pages == 3:
            state = world.gap(world.gap(state, "bad1"), "bad2")
        if query.group == "log" and pages > 3 and not resolved:  # the gaps of the first turn have been read
            resolved.append("bad1")
            state = world.gap(state, "bad1", "resolved")
        if query.group == "messages" and pages % 2 == 0 and (next_change := next(changes, None)):
            ids, type_, fields = next_change
            state = world.page(state, ids, type_, **fields)

    world.store.before_query = change
    world.run()
    assert next(changes, None) is None
    records, manifest = read(world.archive(export_id))
    messages, log, gaps = exported(records)
    assert (messages, log, gaps) == stored(world.ports.store)
    assert {id_: gap["status"] for id_, gap in gaps.items()} == {"bad1": "resolved", "bad2": "open"}
    assert messages["m3"]["state"] == "tombstone"
    assert "draft" in messages
    said = manifest["streams"][MAILBOX]
    assert (said["head"], said["missing"]) == (state.head, 0)


@pytest.mark.parametrize("before", [[], ["early"]])
def test_a_gap_that_comes_or_goes_once_the_gaps_were_read_is_as_it_is_in_the_end(
    world: ExportWorld, monkeypatch: pytest.MonkeyPatch, before: list[str]
) -> None:
    world.person()
    state = world.mailbox(messages=20)
    for id_ in before:
        state = world.gap(state, id_)
    export_id = world.begin()
    asked: list[str] = []
    get = world.store.get

    def look(wanted: list[str]) -> dict[str, Doc]:
        nonlocal state
        if "gaps" in asked and wanted == [refs.stream(MAILBOX)]:  # it is about to be closed
            asked.clear()
            for id_ in before:
                state = world.gap(state, id_, "resolved")
            if "late" not in stored(world.ports.store)[2]:
                state = world.gap(world.page(state, ["new"]), "late")
            world.store.before_query = None
        return get(wanted)

    world.store.before_query = lambda query: asked.append(query.group)
    monkeypatch.setattr(world.store, "get", look)
    world.run()
    records, manifest = read(world.archive(export_id))
    assert manifest["streams"][MAILBOX]["exact"] is True
    assert exported(records) == stored(world.ports.store)
    assert set(exported(records)[2]) == {*before, "late"}


def heavy(world: ExportWorld, state: MailboxState, prefix: str, count: int) -> MailboxState:
    """A page of messages of some 3 kB each."""
    return world.page(state, [f"{prefix}{n}" for n in range(count)], "email.received", snippet="x" * 3_000)


def test_a_part_is_closed_by_its_weight_however_many_heavy_messages_make_a_page(
    world: ExportWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "PART_BYTES", 10_000)
    world.person()
    state = heavy(world, world.mailbox(), "old", 60)
    export_id = world.begin()
    asked: list[str] = []

    def arrive(query: Query) -> None:
        nonlocal state
        asked.append(query.group)
        if query.group == "gaps" and asked.count("gaps") == 1:  # the log that follows names all of these
            state = heavy(world, state, "new", 60)

    world.store.before_query = arrive
    world.run()
    names = world.ports.blobs.below(refs.archive(UID, export_id))
    lines = [gzip.decompress(world.ports.blobs.get(name)).splitlines(keepends=True) for name in names]
    heaviest = max(len(line) for part in lines for line in part)
    assert max(sum(map(len, part[:-1])) for part in lines) < 10_000 + heaviest
    records, _ = read(world.archive(export_id))
    assert exported(records) == stored(world.ports.store)
    assert len(exported(records)[0]) == 120


def test_what_can_never_be_written_ends_the_export_with_the_reason(
    world: ExportWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.person()
    world.mailbox(messages=3)
    export_id = world.begin()

    def refuse(name: str, data: bytes) -> None:
        raise TooLarge("A blob is over its limit.")

    with monkeypatch.context() as patch:
        patch.setattr(world.blobs, "put", refuse)
        world.run()
    shown = world.exports.show(UID, export_id)
    assert (shown["status"], shown["error"]) == ("failed", "It cannot be written: A blob is over its limit.")
    second = world.begin()
    world.run()
    assert second != export_id
    assert world.exports.show(UID, second)["status"] == "done"


@pytest.mark.usefixtures("small_parts")
def test_a_mailbox_that_never_rests_is_said_not_to_be_of_one_moment(world: ExportWorld) -> None:
    world.person()
    state = world.mailbox(messages=30)
    export_id = world.begin()

    def change(query: Query) -> None:
        nonlocal state
        if query.group in ("messages", "gaps"):
            state = world.page(state, [f"new{state.rev}"])

    world.store.before_query = change
    world.run()
    records, manifest = read(world.archive(export_id))
    said = manifest["streams"][MAILBOX]
    assert said["exact"] is False
    messages, log, _ = exported(records)
    assert said["head"] == log[-1]["last"]
    assert {event["data"]["provider_message_id"] for segment in log for event in segment["events"]} <= set(messages)


@pytest.mark.usefixtures("small_parts")
def test_what_has_expired_from_the_log_is_said_to_be_missing(world: ExportWorld) -> None:
    world.person()
    state = world.mailbox(messages=300)
    first = refs.segment(MAILBOX, 1)
    from shared.ports import Delete

    world.ports.store.commit([Delete(first)])
    export_id = world.begin()
    world.run()
    _, manifest = read(world.archive(export_id))
    said = manifest["streams"][MAILBOX]
    assert (said["first"], said["head"], said["missing"]) == (101, state.head, 0)


def test_no_token_no_password_and_no_field_that_nobody_named_goes_out(world: ExportWorld) -> None:
    world.person()
    world.mailbox(messages=3)
    Trail(world.ports.store, world.clock).add(UID, "sign_in")
    export_id = world.begin()
    world.run()
    archive = world.archive(export_id)
    records, _ = read(archive)
    assert b"SECRET" not in b"".join(repr(record).encode() for record in records)
    assert {record["kind"] for record in records} == {
        "archive", "profile", "grant", "mailbox", "message", "segment", "audit",
    }  # fmt: skip
    [grant] = [record for record in records if record["kind"] == "grant"]
    assert grant["data"] == {"provider": "google", "subject": "1", "scopes": ["mail"], "status": "active"}


def test_one_export_runs_at_a_time_and_so_many_a_day(world: ExportWorld) -> None:
    world.person()
    first = world.begin()
    assert world.begin() == first
    world.run()
    begun = {first}
    for _ in range(export.PER_DAY - 1):
        begun.add(world.begin())
        world.run()
    assert len(begun) == export.PER_DAY
    with pytest.raises(TooManyRequests) as refusal:
        world.begin()
    assert 0 < (refusal.value.retry_after or 0) <= DAY
    world.clock.advance(DAY)
    world.begin()


def test_a_lost_answer_to_the_beginning_begins_one(world: ExportWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.errors import Unknown

    world.person()
    commit = world.store.commit
    lost: list[bool] = []

    def losing(writes: list[object]) -> list[str | None]:
        versions = commit(writes)  # type: ignore[arg-type]
        if not lost:
            lost.append(True)
            raise Unknown
        return versions

    monkeypatch.setattr(world.store, "commit", losing)
    export_id = world.begin()
    assert [refs.key(doc.ref) for doc in world.ports.store.query(queries.exports_of(UID, 10))] == [export_id]
    entries, _ = Trail(world.ports.store, world.clock).page(UID, None, 10)
    assert [(entry["action"], entry["about"]["outcome"]) for entry in entries] == [("export", "begun")]
    world.run()
    assert world.exports.show(UID, export_id)["status"] == "done"


def test_its_progress_and_its_end_can_be_seen(world: ExportWorld) -> None:
    world.person()
    world.mailbox(messages=300)
    export_id = world.begin()
    shown = world.exports.show(UID, export_id)
    assert (shown["status"], shown["progress"], shown["expires_at"]) == ("running", 0.0, None)
    assert "link" not in shown
    world.run()
    shown = world.exports.show(UID, export_id)
    assert (shown["status"], shown["progress"]) == ("done", 1.0)
    assert world.exports.page(UID, None, 10)[0][0]["export_id"] == export_id


def test_an_archive_expires_and_is_removed_with_all_that_it_left(world: ExportWorld) -> None:
    world.person()
    world.mailbox(messages=3)
    export_id = world.begin()
    world.run()
    world.ports.blobs.put(f"{refs.archive(UID, export_id)}/part-00001-of-a-slower-one", b"x")
    world.clock.advance(7 * DAY - 10)
    assert world.tick() == 0
    assert world.archive(export_id)
    world.clock.advance(10)
    shown = world.exports.show(UID, export_id)
    assert shown["status"] == "expired"
    assert "link" not in shown
    assert world.tick() == 1
    world.run()
    assert world.ports.blobs.below("exports") == []
    assert world.exports.page(UID, None, 10) == ([], None)


def test_an_export_whose_task_was_lost_is_taken_up_by_the_tick(world: ExportWorld) -> None:
    world.person()
    world.mailbox(messages=3)
    export_id = world.begin()
    world.ports.tasks.settle_all([(task, 200) for task in world.ports.tasks.claim(10)])  # type: ignore[attr-defined]
    world.run()
    assert world.exports.show(UID, export_id)["status"] == "running"
    world.clock.advance(export.STUCK_AFTER)
    assert world.tick() == 1
    assert world.tick() == 0
    world.run()
    assert world.exports.show(UID, export_id)["status"] == "done"


def test_an_export_that_comes_to_no_end_is_given_up_and_another_may_begin(world: ExportWorld) -> None:
    world.person()
    export_id = world.begin()
    world.clock.advance(writing.GIVE_UP_AFTER + 1)
    world.run()
    shown = world.exports.show(UID, export_id)
    assert shown["status"] == "failed"
    assert shown["error"]
    assert world.begin() != export_id
    world.clock.advance(export.STUCK_AFTER)
    world.tick()
    world.run()
    assert len(world.exports.page(UID, None, 10)[0]) == 1


def test_an_account_that_is_being_deleted_ends_its_exports_and_begins_none(world: ExportWorld) -> None:
    world.person()
    world.mailbox(messages=3)
    export_id = world.begin()
    ref = refs.user(UID)
    fenced = Update(ref, {"erasing": world.clock.now()}, world.ports.store.get([ref])[ref].version)

    def fence(query: Query) -> None:
        if query.group == "messages":
            world.store.before_query = None
            world.ports.store.commit([fenced])

    world.store.before_query = fence
    world.run()
    assert world.ports.store.get([refs.export(UID, export_id)])[refs.export(UID, export_id)].data["parts"] == []
    with pytest.raises(AccountDeleted):
        world.begin()
    while world.exports.forget(UID):
        pass
    assert world.ports.blobs.below("exports") == []
    assert world.exports.page(UID, None, 10) == ([], None)


def test_forgetting_one_person_leaves_all_others_alone(world: ExportWorld) -> None:
    for uid in (UID, "anna"):
        world.person(uid)
    theirs = world.begin("anna")
    world.begin()
    world.run()
    while world.exports.forget(UID):
        pass
    assert {name.split("/")[1] for name in world.ports.blobs.below("exports")} == {"anna"}
    assert read(world.archive(theirs, "anna"))[1]["user_id"] == "anna"


def signed(world: ExportWorld, export_id: str) -> tuple[str, str]:
    link = world.links.make(UID, export_id, world.clock.now() + 10**9)[0]
    given = dict(pair.split("=") for pair in link.partition("?")[2].split("&"))
    return given["expires"], given["signature"]


def test_a_link_opens_one_archive_of_one_person_until_it_ends(world: ExportWorld) -> None:
    for uid in (UID, "eve"):
        world.person(uid)
    first, theirs = world.begin(), world.begin("eve")
    world.run()
    second = world.begin()
    world.run()
    expires, signature = signed(world, first)
    assert world.exports.open(UID, first, expires, signature)
    other = "A" if signature[0] != "A" else "B"
    later = str(int(expires) + 1)
    for uid, export_id, until, sign in (
        ("eve", first, expires, signature), (UID, second, expires, signature), (UID, theirs, expires, signature),
        ("eve", theirs, expires, signature), (UID, first, later, signature), (UID, first, f"0{expires}", signature),
        (UID, first, expires, other + signature[1:]), (UID, first, expires, signature[:-1]), (UID, first, expires, ""),
        (UID, first, "", signature), (UID, first, f" {expires}", signature), (UID, first, expires, signature + "é"),
    ):  # fmt: skip
        with pytest.raises(Forbidden):
            world.exports.open(uid, export_id, until, sign)
    world.clock.advance(LINK_SECONDS - 1)
    assert world.exports.open(UID, first, expires, signature)
    world.clock.advance(1)
    with pytest.raises(Forbidden, match="expired"):
        world.exports.open(UID, first, expires, signature)


def test_a_link_ends_with_its_archive_at_the_latest(world: ExportWorld) -> None:
    world.person()
    export_id = world.begin()
    world.run()
    end = world.clock.now() + 60
    assert world.links.make(UID, export_id, end)[1] == int(end)
    expires, signature = signed(world, export_id)
    world.clock.advance(7 * DAY)
    expires, signature = signed(world, export_id)
    with pytest.raises(NotFound):
        world.exports.open(UID, export_id, expires, signature)


def test_two_processes_that_make_the_first_link_at_once_agree_on_its_key(world: ExportWorld) -> None:
    from shared.privacy.links import ArchiveLinks

    other = ArchiveLinks(world.ports.secrets, world.clock, may_create=True)
    link = world.links.make(UID, "x", world.clock.now() + 60)
    world.ports.secrets.add("link-key", b"that of the slower one, added second")
    assert other.make(UID, "x", world.clock.now() + 60) == link


def test_what_belongs_to_somebody_else_is_like_what_does_not_exist(world: ExportWorld) -> None:
    for uid in (UID, "eve"):
        world.person(uid)
    export_id = world.begin()
    for asked in (export_id, "x", "../../users/ann", "000000000000000-" + "0" * 32):
        with pytest.raises(NotFound):
            world.exports.show("eve", asked)
    assert world.exports.page("eve", None, 10) == ([], None)


def test_a_fetched_archive_is_on_the_trail(world: ExportWorld) -> None:
    world.person()
    export_id = world.begin()
    world.run()
    world.archive(export_id)
    entries, _ = Trail(world.ports.store, world.clock).page(UID, None, 10)
    assert [(entry["by"], entry["about"]["outcome"]) for entry in entries] == [(UID, "begun"), ("link", "fetched")]


def test_where_no_place_for_archives_is_named_there_are_none(world: ExportWorld) -> None:
    from dataclasses import replace

    world.person()
    nowhere = replace(world.exports, blobs=None)
    with pytest.raises(NotFound, match="BLOBS_URL"):
        nowhere.start(UID)
    assert nowhere.forget(UID) is False


def test_a_document_of_a_message_is_stored_as_the_world_writes_it(world: ExportWorld) -> None:
    world.person()
    world.mailbox(messages=1)
    ref = refs.message(MAILBOX, "m0")
    assert isinstance(world.ports.store.get([ref])[ref], Doc)
    assert world.ports.store.get([ref])[ref].data == message("m0")
