"""The places where blobs may be: a folder, memory, and a bucket on a server that speaks S3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

from shared.adapters.blobs import FsspecBlobs
from shared.adapters.cloud import blobs as cloud
from shared.adapters.embedded.blobs import FolderBlobs
from shared.ports import Blobs


@contextmanager
def folder(path: Path) -> Iterator[Blobs]:
    yield FolderBlobs(path / "blobs")


@contextmanager
def memory(path: Path) -> Iterator[Blobs]:
    from fsspec.implementations.memory import MemoryFileSystem

    class OwnMemory(MemoryFileSystem):
        """fsspec has one memory for all."""

        store: dict[str, object] = {}  # noqa: RUF012
        pseudo_dirs = [""]  # noqa: RUF012

    OwnMemory.store, OwnMemory.pseudo_dirs = {}, [""]
    yield FsspecBlobs("/blobs", lambda: OwnMemory(skip_instance_cache=True))


@contextmanager
def s3(path: Path) -> Iterator[Blobs]:
    """A bucket on moto's server, which is a thread of this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        identity = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        with patch.dict("os.environ", identity):
            bucket = f"bucket-{uuid4().hex}"  # moto has one memory for all
            blobs = cloud.s3(f"{bucket}/prefix", endpoint_url=f"http://{host}:{port}")
            blobs._fs.mkdir(bucket)
            yield blobs
            blobs._fs.close_session(blobs._fs.loop, blobs._fs._s3)
    finally:
        server.stop()


BLOB_WORLDS = {"folder": folder, "memory": memory, "s3": s3}
