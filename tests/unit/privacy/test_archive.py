"""An archive that was cut, changed or made up is found out before anything of it is stored."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import orjson
import pytest

from infra.local.import_archive import main
from shared import queries, refs, sets
from shared.errors import AccountDeleted, InvalidRequest
from shared.mail.imported import imported
from shared.ports import Create, Data, Put, Store, Write
from shared.privacy import archive
from shared.privacy.restore import restore
from shared.privacy.retention import DAY, Retention
from shared.privacy.tombstones import TombstoneKey, Tombstones
from shared.settings import Settings
from tests.unit.fakes import FakeClock, FakeSecrets
from tests.unit.privacy.export_world import UID, ExportWorld, stored


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An archive of one mailbox, unpacked."""
    world = ExportWorld(tmp_path_factory.mktemp("data"))
    world.person()
    world.mailbox(messages=20)
    export_id = world.begin()
    world.run()
    return gzip.decompress(world.archive(export_id))


class UnwrittenStore:
    """One to which nothing may be written."""

    def __init__(self, inner: Store) -> None:
        self.get, self.query = inner.get, inner.query

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        raise AssertionError("something was written")


def tombstones(store: Store) -> Tombstones:
    return Tombstones(store, TombstoneKey(FakeSecrets(), FakeClock(), may_create=True))


def lines_of(whole: bytes) -> list[Data]:
    return [orjson.loads(line) for line in whole.splitlines()]


def changed(whole: bytes, kind: str, change: Callable[[Data], object]) -> bytes:
    """The archive with its last record of a kind changed, and all sums made right again that are not the point."""
    lines = lines_of(whole)
    change([line for line in lines if line["kind"] == kind][-1])
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)


def resealed(whole: bytes, kind: str, change: Callable[[Data], object]) -> bytes:
    """The same with part and manifest that fit, as somebody makes them who means harm."""
    lines = lines_of(changed(whole, kind, change))
    body = [orjson.dumps(line) + b"\n" for line in lines[:-2]]
    part = archive.part(1, [], body)
    manifest = {**lines[-1], "parts": [part.sha256], "parts_sha256": archive.whole([part.sha256])}
    return gzip.decompress(part.data) + orjson.dumps(manifest) + b"\n"


def refused(tmp_path: Path, content: bytes) -> str:
    """Why an archive is not taken; nothing of it may be there."""
    file, data = tmp_path / "archive", tmp_path / "data"
    file.write_bytes(content)
    store = UnwrittenStore(sets.embedded(Settings(data_dir=str(data)), synchronous="OFF").store)
    with pytest.raises(InvalidRequest) as refusal:
        restore(store, file, imported, tombstones(store), FakeClock())
    return refusal.value.message


def test_it_is_taken_packed_and_unpacked(tmp_path: Path, whole: bytes) -> None:
    for name, content in (("packed", gzip.compress(whole)), ("unpacked", whole)):
        (tmp_path / name).write_bytes(content)
        assert main([str(tmp_path / name), "--data", str(tmp_path / f"data-{name}")]) == 0
        assert len(stored(sets.embedded(Settings(data_dir=str(tmp_path / f"data-{name}"))).store)[0]) == 20


def test_the_tools_of_everybody_read_it(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "a.ndjson.gz").write_bytes(gzip.compress(whole))
    text = subprocess.run(["gzip", "-dc", str(tmp_path / "a.ndjson.gz")], check=True, capture_output=True).stdout
    kinds = [orjson.loads(line)["kind"] for line in text.splitlines()]
    assert (kinds[0], kinds[-2], kinds[-1]) == ("archive", "part", "manifest")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_what_was_cut_off_is_refused(tmp_path: Path, whole: bytes, share: float) -> None:
    for content in (whole, gzip.compress(whole)):
        refused(tmp_path, content[: int(len(content) * share)])


def test_what_lacks_its_manifest_is_refused(tmp_path: Path, whole: bytes) -> None:
    assert "ends in the middle" in refused(tmp_path, b"\n".join(whole.splitlines()[:-1]) + b"\n")


@pytest.mark.parametrize("kind", ["profile", "message", "segment", "mailbox", "grant"])
def test_a_changed_record_is_refused(tmp_path: Path, whole: bytes, kind: str) -> None:
    assert (
        "sha256" in refused(tmp_path, changed(whole, kind, lambda line: line["data"].update(added=1)))
        or kind == "segment"
    )


def test_a_changed_segment_is_refused_even_where_the_parts_were_made_to_fit(tmp_path: Path, whole: bytes) -> None:
    assert "hash" in refused(tmp_path, resealed(whole, "segment", lambda line: line["data"].update(at=1.0)))


def test_a_missing_record_is_refused(tmp_path: Path, whole: bytes) -> None:
    lines = whole.splitlines(keepends=True)
    refused(tmp_path, b"".join(lines[:3] + lines[4:]))


def test_two_archives_one_after_the_other_are_none(tmp_path: Path, whole: bytes) -> None:
    assert "behind its end" in refused(tmp_path, whole + whole)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}\n", b"[1]\n", b"not json\n", b"\x1f\x8bnot gzip", b'{"kind": "manifest"}\n', b"x" * 5_000_000],
    ids=["nothing", "empty line", "no kind", "a list", "no json", "no gzip", "manifest alone", "endless line"],
)  # fmt: skip
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path, content)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("message", {"mailbox": "eve:primary:GOOGLE"}),
        ("message", {"mailbox": "ann:../../eve:GOOGLE"}),
        ("segment", {"stream": "eve:app"}),
        ("mailbox", {"id": "eve:primary:GOOGLE"}),
        ("message", {"data": {}}),
        ("message", {"data": None}),
        ("mailbox", {"data": {"head": 1}}),
        ("audit", {"data": None}),
    ],
)
def test_what_would_be_written_elsewhere_or_in_another_form_is_refused(
    tmp_path: Path, whole: bytes, kind: str, change: Data
) -> None:
    file, data = tmp_path / "archive", tmp_path / "data"
    file.write_bytes(resealed(whole, kind, lambda line: line.update(change)))
    store = UnwrittenStore(sets.embedded(Settings(data_dir=str(data)), synchronous="OFF").store)
    with pytest.raises(InvalidRequest, match="damaged"):
        restore(store, file, imported, tombstones(store), FakeClock())


@pytest.mark.parametrize(
    "change",
    [
        {"head": 19},
        {"head": "20"},
        {"slot": "m2"},
    ],
    ids=["its stream goes on beyond its head", "its head is no number", "it has another's name"],
)
def test_a_mailbox_that_could_not_go_on_is_refused(tmp_path: Path, whole: bytes, change: Data) -> None:
    assert "damaged" in refused(tmp_path, resealed(whole, "mailbox", lambda line: line["data"].update(change)))


def test_what_lies_below_a_mailbox_that_is_not_there_is_refused(tmp_path: Path, whole: bytes) -> None:
    def elsewhere(line: Data) -> None:
        line.update(id="ann:m2:GOOGLE")
        line["data"].update(slot="m2")

    assert "damaged" in refused(tmp_path, resealed(whole, "mailbox", elsewhere))


def test_a_person_who_is_known_is_left_alone(tmp_path: Path, whole: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "archive").write_bytes(whole)
    store = sets.embedded(Settings(data_dir=str(tmp_path / "data"))).store
    store.commit([Create(refs.user(UID), {"uid": UID})])
    assert main([str(tmp_path / "archive"), "--data", str(tmp_path / "data")]) == 1
    assert "already known" in capsys.readouterr().err
    assert stored(store) == ({}, [], {})


def test_a_file_that_is_not_there_is_said_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none"), "--data", str(tmp_path / "data")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_person_who_was_deleted_here_does_not_come_back_by_an_archive(tmp_path: Path, whole: bytes) -> None:
    file = tmp_path / "archive"
    file.write_bytes(whole)
    store = sets.embedded(Settings(data_dir=str(tmp_path / "data")), synchronous="OFF").store
    gone = tombstones(store)
    store.commit([Put(gone.place(UID), {"deleted_at": 1.0})])
    with pytest.raises(AccountDeleted):
        restore(store, file, imported, gone, FakeClock())
    assert store.get([refs.user(UID)]) == {}


def test_an_entry_of_a_trail_that_came_in_an_archive_expires_like_any_other(tmp_path: Path, whole: bytes) -> None:
    file = tmp_path / "archive"
    file.write_bytes(whole)
    store = sets.embedded(Settings(data_dir=str(tmp_path / "data")), synchronous="OFF").store
    assert restore(store, file, imported, tombstones(store), FakeClock()).counts["audit"] == 1
    retention = Retention(trail=DAY)
    now = lines_of(whole)[0]["begun_at"]
    later = datetime.fromisoformat(now).timestamp() + 2 * DAY
    assert sum(retention.sweep(store, later + 60 * number) for number in range(queries.SHARDS)) == 1
    assert store.query(queries.trail_of(UID, 10)) == []


def test_an_archive_gives_nobody_a_role(tmp_path: Path, whole: bytes) -> None:
    file = tmp_path / "archive"
    file.write_bytes(resealed(whole, "profile", lambda line: line["data"].update(role="admin", erasing=1.0)))
    store = sets.embedded(Settings(data_dir=str(tmp_path / "data")), synchronous="OFF").store
    restore(store, file, imported, tombstones(store), FakeClock())
    profile = store.get([refs.user(UID)])[refs.user(UID)].data
    assert profile["email"] is not None
    assert not {"role", "erasing"} & profile.keys()
