"""Blobs in a bucket: of Google Cloud Storage, or of S3 and whatever speaks like it.

Who we are, both find out as their own tools do: the service account of the machine; the variables and files of AWS, where
``AWS_ENDPOINT_URL`` names another server than Amazon's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.adapters.blobs import FsspecBlobs

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

CALL_SECONDS = 60.0
"""Limit of one call with all its attempts; a blob of 32 MiB fits into it over a line of 5 Mbit/s."""

CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
ATTEMPTS = 3


def gs(root: str, **more: Any) -> FsspecBlobs:
    """A bucket of Google Cloud Storage; ``root`` is ``bucket/prefix``."""

    def connect() -> AbstractFileSystem:
        import gcsfs

        return gcsfs.GCSFileSystem(skip_instance_cache=True, use_listings_cache=False, **more)

    def failures() -> tuple[type[Exception], ...]:
        import aiohttp
        from gcsfs.retry import HttpError
        from google.auth.exceptions import GoogleAuthError

        return (HttpError, aiohttp.ClientError, GoogleAuthError)

    return FsspecBlobs(root, connect, failures, CALL_SECONDS)


def s3(root: str, **more: Any) -> FsspecBlobs:
    """A bucket of S3; ``root`` is ``bucket/prefix``."""

    def connect() -> AbstractFileSystem:
        import s3fs

        config = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"total_max_attempts": ATTEMPTS},
        }
        return s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False, config_kwargs=config, **more)

    def failures() -> tuple[type[Exception], ...]:
        import aiohttp
        from botocore.exceptions import BotoCoreError, ClientError

        return (BotoCoreError, ClientError, aiohttp.ClientError)

    return FsspecBlobs(root, connect, failures, CALL_SECONDS)
