"""Google's emulators for one local run, and what a deployment would have made on them.

Topics and subscriptions are made before anything runs and again whenever the Pub/Sub emulator has come back empty. What was
published between a topic and its subscriptions is nobody's, as in the cloud; only there nobody restarts the topics.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports.grpc import FirestoreGrpcTransport

from infra.local.catalogue import load, topics
from infra.local.emulators import Emulators, Unavailable, are_given, emulators, end_run, own_run
from infra.local.gateway import QUERY
from infra.local.pubsub_emulator import PubSubEmulator, Pulled, Push, pushes
from infra.local.sentences import CannotRun
from infra.local.verify_delivery import Delivery
from shared.adapters.cloud.connect import plain_channel
from shared.errors import Retry

PROJECT = "local"
LOOK_SECONDS = 3.0
COUNT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Emulated:
    """The emulators of this run, the project on them, and the folder that governs them if they are ours alone."""

    where: Emulators
    project: str
    folder: Path | None


@contextmanager
def emulated() -> Iterator[Emulated]:
    """Find or start the emulators and end what was started. Raises ``CannotRun``."""
    folder = own_run()
    try:
        try:
            where = emulators()
        except Unavailable as error:
            raise CannotRun(
                f"BACKEND=emulators needs Google's emulators of Firestore and Pub/Sub: {error}. Install them with gcloud,"
                " or name running ones in FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST."
            ) from None
        if folder is not None and not are_given():
            yield Emulated(where, PROJECT, folder)
        else:
            # Others may use these emulators, and what earlier runs left is still there.
            yield Emulated(where, f"{PROJECT}-{secrets.token_hex(4)}", None)
    finally:
        if folder is not None:
            end_run(folder)


class Infrastructure:
    """Topics and subscriptions for functions at ``home``, kept there from ``start`` to ``stop``.

    ``subscribers`` are further push subscriptions, ``kept`` pairs of name and topic of pull subscriptions.
    """

    def __init__(
        self,
        emulated: Emulated,
        home: str,
        secret: str,
        subscribers: Sequence[Push] = (),
        kept: Sequence[tuple[str, str]] = (),
    ) -> None:
        functions = load()
        self._emulator = PubSubEmulator(emulated.where.pubsub, emulated.project)
        self._topics = topics(functions)
        self._pushes = [*pushes(functions, lambda function: f"{home}{function.path}?{QUERY}={secret}"), *subscribers]
        self._kept = kept
        self._lock = threading.Lock()
        self._complete = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="infrastructure", daemon=True)

    def start(self) -> None:
        """Make everything, and go on looking. Raises ``CannotRun``."""
        try:
            self.prepare()
        except (Retry, GoogleAPICallError) as error:
            raise CannotRun(f"The Pub/Sub emulator does not work: {type(error).__name__}.") from error
        self._thread.start()

    def prepare(self) -> None:
        """Make what is missing. Raises ``Retry`` and ``GoogleAPICallError``.

        Subscriptions are looked at only where a topic was missing: pointing one at its endpoint disturbs its deliveries.
        """
        with self._lock:
            if self._emulator.prepare(self._topics, ()):
                self._complete = False
            if not self._complete:
                for name, topic in self._kept:
                    self._emulator.keep(name, topic)
                self._emulator.prepare((), self._pushes)
                self._complete = True

    def pull(self, name: str) -> list[Pulled]:
        """Take what a kept subscription holds. Raises ``Retry`` and ``GoogleAPICallError``."""
        return self._emulator.pull(name)

    def stop(self) -> None:
        """Stop looking, and keep the emulator, if it goes on without us, from pushing to nobody."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=10)
        for name in [*(push.name for push in self._pushes), *(name for name, _ in self._kept)]:
            try:
                self._emulator.drop(name)
            except (Retry, GoogleAPICallError):
                break  # it is gone, and everything with it
        self._emulator.close()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.prepare()
            except (Retry, GoogleAPICallError):
                self._complete = False  # it may be away, and will be empty when it is back


def count_messages(emulated: Emulated) -> int:
    """How many messages the Firestore emulator holds, asked of it directly."""
    transport: FirestoreGrpcTransport = FirestoreGrpcTransport(channel=plain_channel(emulated.where.firestore))
    try:
        query = types.StructuredQuery(
            from_=[types.StructuredQuery.CollectionSelector(collection_id="messages", all_descendants=True)],
            where=types.StructuredQuery.Filter(
                field_filter=types.StructuredQuery.FieldFilter(
                    field=types.StructuredQuery.FieldReference(field_path="state"),
                    op=types.StructuredQuery.FieldFilter.Operator.EQUAL,
                    value=types.Value(string_value="present"),
                )
            ),
        )
        count = types.StructuredAggregationQuery.Aggregation.Count()
        request = types.RunAggregationQueryRequest(
            parent=f"projects/{emulated.project}/databases/(default)/documents",
            structured_aggregation_query=types.StructuredAggregationQuery(
                structured_query=query,
                aggregations=[types.StructuredAggregationQuery.Aggregation(count=count, alias="all")],
            ),
        )
        answers = FirestoreClient(transport=transport).run_aggregation_query(
            request=request, retry=None, timeout=COUNT_SECONDS
        )
        counts = [answer.result.aggregate_fields["all"].integer_value for answer in answers if answer.result]
        return sum(int(count) for count in counts)
    finally:
        transport.close()  # type: ignore[no-untyped-call]


def delivery_of_pulled(pulled: Pulled) -> Delivery:
    """A pulled message as ``verify`` takes it; when it came is not known."""
    return Delivery(0.0, dict(pulled.message.attributes), json.loads(pulled.message.data))
