"""What only some places for blobs have: files that are their owner's alone, a server that does not answer, too large a blob."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from shared import sets
from shared.adapters.cloud import blobs as cloud
from shared.adapters.embedded import files
from shared.adapters.embedded.blobs import FolderBlobs
from shared.errors import ConfigurationError, Retry, TooLarge
from shared.ports import MAX_BLOB_BYTES
from shared.settings import Settings


def test_the_folder_and_its_files_are_their_owners_alone(tmp_path: Path) -> None:
    FolderBlobs(tmp_path / "blobs").put("exports/ann/1", b"x")
    modes = {stat.S_IMODE((tmp_path / "blobs" / name).stat().st_mode) for name in ("", "exports/ann/1")}
    assert modes == {0o700, 0o600}


def test_an_empty_folder_goes_with_its_last_blob_because_its_name_says_whose_it_was(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    for name in ("exports/ann/e1/1", "exports/ann/e2/1", "exports/bob/1"):
        blobs.put(name, b"x")
    blobs.delete(["exports/ann/e1/1"])
    assert not (tmp_path / "blobs/exports/ann/e1").exists()
    blobs.delete(["exports/ann/e2/1"])
    assert [path.name for path in (tmp_path / "blobs/exports").iterdir()] == ["bob"]


def test_a_writer_that_dies_leaves_what_was_there_and_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    blobs.put("a/b", b"old")

    def dies(path: Path, value: bytes) -> None:
        path.write_bytes(value[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr("shared.adapters.embedded.blobs.write_new", dies)
    with pytest.raises(KeyboardInterrupt):
        blobs.put("a/b", b"new")
    assert blobs.get("a/b") == b"old"
    assert blobs.below("a") == ["a/b"]
    monkeypatch.setattr("shared.adapters.embedded.blobs.write_new", files.write_new)
    blobs.put("a/b", b"new")
    assert blobs.get("a/b") == b"new"


def test_a_blob_that_somebody_else_put_there_is_read_up_to_the_limit(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(10 * MAX_BLOB_BYTES)
    with pytest.raises(TooLarge):
        blobs.get("huge")


def test_a_folder_that_cannot_be_used_is_said_to_be_away_for_now(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file")
    with pytest.raises(Retry):
        FolderBlobs(tmp_path / "blobs").put("a", b"x")


@pytest.mark.loopback
@pytest.mark.parametrize("kind", ["gs", "s3"])
def test_a_server_that_is_not_there_is_said_to_be_away_for_now(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud, "CALL_SECONDS", 2.0)
    blobs = {
        "gs": lambda: cloud.gs("bucket", token="anon", endpoint_url="http://127.0.0.1:9"),
        "s3": lambda: cloud.s3("bucket", endpoint_url="http://127.0.0.1:9", key="k", secret="s"),
    }[kind]()
    with pytest.raises(Retry):
        blobs.get("a")


@pytest.mark.parametrize("url", ["gs:bucket", "gs://", "http://bucket", "bucket", "file:", "file:/", "s3:///"])
def test_a_place_that_is_none_is_a_configuration_error(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="BLOBS_URL"):
        sets.embedded(Settings(data_dir=str(tmp_path), blobs_url=url))


def test_the_cloud_needs_to_be_told_a_bucket() -> None:
    with pytest.raises(ConfigurationError, match="BLOBS_URL"):
        _ = sets.CloudPorts(Settings(cloud_project="project")).blobs


def test_what_a_process_was_writing_when_it_died_goes_with_the_next_that_writes_or_deletes(tmp_path: Path) -> None:
    FolderBlobs(tmp_path / "blobs").put("exports/ann/1", b"x")
    (tmp_path / "blobs" / ".drafts" / "1-2").write_bytes(b"what was exported")
    blobs = FolderBlobs(tmp_path / "blobs")
    assert blobs.below("exports") == ["exports/ann/1"]
    blobs.delete(["exports/ann/1"])
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []
