"""The sets of adapters: embedded, the cloud's, and the cloud's on Google's emulators. ``wiring`` chooses one.

Nothing of a set is imported before it is chosen: the machine at home never loads a client of Google's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from shared import queries
from shared.errors import ConfigurationError
from shared.mail.tasks import QUEUE
from shared.ports import Blobs, Bus, Clock, Secrets, Store, Tasks
from shared.privacy import tasks as privacy
from shared.settings import Settings
from shared.vault.wrapping import Wrapping

if TYPE_CHECKING:
    import grpc


@dataclass(frozen=True, slots=True)
class Ports:
    """One set of adapters; ``keys`` is the store of data keys alone."""

    store: Store
    keys: Store
    bus: Bus
    tasks: Tasks
    secrets: Secrets
    clock: Clock
    blobs: Blobs


def embedded(settings: Settings, clock: Clock | None = None, synchronous: str = "FULL") -> Ports:
    """The adapters that need nothing but a folder."""
    from shared.adapters.embedded.bus import EmbeddedBus
    from shared.adapters.embedded.clock import SystemClock
    from shared.adapters.embedded.database import Database
    from shared.adapters.embedded.secrets import EmbeddedSecrets
    from shared.adapters.embedded.store import EmbeddedStore
    from shared.adapters.embedded.tasks import EmbeddedTasks, QueueConfig

    folder = Path(settings.data_dir)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    clock = clock or SystemClock()
    database = Database(folder / "brainstem.sqlite", synchronous=synchronous)
    keys = Database(folder / "keys.sqlite", synchronous=synchronous)
    return Ports(
        store=EmbeddedStore(database, queries.SHAPES),
        keys=EmbeddedStore(keys, queries.KEY_SHAPES),
        bus=EmbeddedBus(database, clock),
        tasks=EmbeddedTasks(
            database, clock, {QUEUE: QueueConfig(max_concurrent=32), privacy.QUEUE: QueueConfig(max_concurrent=4)}
        ),
        secrets=EmbeddedSecrets(folder / "secrets"),
        clock=clock,
        blobs=_blobs(settings.blobs_url or f"file:{folder / 'blobs'}"),
    )


class CloudPorts:
    """The adapters on Google Cloud, or its store and bus on emulators that the settings name.

    Each is made when a function first asks for it: importing one costs up to a tenth of a second, and a doorbell needs
    neither bus nor secrets. Every property raises ``ConfigurationError`` where credentials are missing.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        """Raises ``ConfigurationError`` without a project."""
        from shared.adapters.cloud.connect import project_id
        from shared.adapters.embedded.clock import SystemClock

        self._settings = settings
        self._project = project_id(settings.cloud_project)
        self.clock = clock or SystemClock()

    @cached_property
    def store(self) -> Store:
        """Firestore."""
        from shared.adapters.cloud.store import CloudStore

        return CloudStore(self._project, queries.SHAPES, self.clock, self._firestore)

    @cached_property
    def keys(self) -> Store:
        """Firestore, the database of keys."""
        from shared.adapters.cloud.store import CloudStore

        return CloudStore(self._project, queries.KEY_SHAPES, self.clock, self._firestore, database="keys")

    @cached_property
    def bus(self) -> Bus:
        """Pub/Sub."""
        from shared.adapters.cloud.bus import CloudBus
        from shared.adapters.cloud.connect import plain_channel

        host = self._settings.pubsub_emulator_host
        return CloudBus(self._project, plain_channel(host, "PUBSUB_EMULATOR_HOST") if host else None)

    @cached_property
    def tasks(self) -> Tasks:
        """Cloud Tasks. Raises ``ConfigurationError`` without a location."""
        from shared.adapters.cloud.tasks import CloudTasks

        settings = self._settings
        if not settings.cloud_location:
            raise ConfigurationError("CLOUD_LOCATION must say where the task queues are, such as europe-west1.")
        return CloudTasks(self._project, settings.cloud_location, (QUEUE, privacy.QUEUE), settings.tasks_target_url)

    @cached_property
    def secrets(self) -> Secrets:
        """Secret Manager."""
        from shared.adapters.cloud.secrets import CloudSecrets

        return CloudSecrets(self._project, self.clock)

    @cached_property
    def blobs(self) -> Blobs:
        """The bucket that the settings name. Raises ``ConfigurationError`` where they name none."""
        if not self._settings.blobs_url:
            raise ConfigurationError("BLOBS_URL must name a bucket, such as gs://bucket/prefix.")
        return _blobs(self._settings.blobs_url)

    @cached_property
    def _firestore(self) -> grpc.Channel | None:
        from shared.adapters.cloud.connect import plain_channel

        host = self._settings.firestore_emulator_host
        return plain_channel(host, "FIRESTORE_EMULATOR_HOST") if host else None


def key_in_kms(name: str) -> Wrapping:
    """A vault key in Cloud KMS, whichever set is chosen. Raises ``ConfigurationError``."""
    from shared.adapters.cloud.kms import KmsKey

    return KmsKey(name)


def emulators(settings: Settings) -> Ports:
    """The cloud's store and bus on Google's emulators; queue and secrets, of which there are none, in the folder."""
    if not settings.firestore_emulator_host or not settings.pubsub_emulator_host:
        raise ConfigurationError("BACKEND=emulators needs FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST.")
    local = embedded(settings)
    cloud = CloudPorts(settings, local.clock)
    return replace(local, store=cloud.store, keys=cloud.keys, bus=cloud.bus)


def _blobs(url: str) -> Blobs:
    """Where archives go: ``gs://bucket/prefix``, ``s3://bucket/prefix`` or ``file:folder``. Raises ``ConfigurationError``."""
    scheme, _, place = url.partition(":")
    if scheme == "file" and place.strip("/"):
        from shared.adapters.embedded.blobs import FolderBlobs

        return FolderBlobs(place)
    if scheme in ("gs", "s3") and place.startswith("//") and place.strip("/"):
        from shared.adapters.cloud import blobs

        return {"gs": blobs.gs, "s3": blobs.s3}[scheme](place.strip("/"))
    raise ConfigurationError("BLOBS_URL must be gs://bucket/prefix, s3://bucket/prefix or file:folder.")
