"""The stand-ins for Cloud Tasks and Secret Manager keep the rules that Google describes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from google.api_core import exceptions
from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports.grpc import (
    SecretManagerServiceGrpcTransport,
)
from google.cloud.tasks_v2 import CloudTasksClient
from google.cloud.tasks_v2.services.cloud_tasks.transports.grpc import CloudTasksGrpcTransport
from google.cloud.tasks_v2.types import Queue, RateLimits, RetryConfig

from shared.adapters.cloud.connect import plain_channel
from shared.adapters.embedded.clock import VirtualClock
from tests.contract.secret_manager import SecretManager
from tests.contract.services import handlers, serve
from tests.contract.task_queues import TaskQueues, backoff

PARENT = "projects/p-1/locations/l/queues/slow"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def queues(clock: VirtualClock) -> TaskQueues:
    limits = RateLimits(max_dispatches_per_second=2, max_concurrent_dispatches=10)
    retries = RetryConfig(
        max_attempts=2,
        max_retry_duration=timedelta(seconds=60),
        min_backoff=timedelta(seconds=10),
        max_backoff=timedelta(seconds=300),
        max_doublings=3,
    )
    return TaskQueues(clock, {"slow": Queue(rate_limits=limits, retry_config=retries)})


@pytest.fixture
def client(queues: TaskQueues) -> Iterator[CloudTasksClient]:
    server, address = serve(*handlers(CloudTasksGrpcTransport, queues))
    transport = CloudTasksGrpcTransport(channel=plain_channel(address))
    yield CloudTasksClient(transport=transport)
    transport.close()
    server.stop(None).wait()


def create(client: CloudTasksClient, **task: object) -> str:
    http = {"url": "https://example.invalid/x", "body": b"{}"}
    return str(client.create_task(parent=PARENT, task={"http_request": http, **task}, timeout=5).name)


def test_the_backoff_is_the_example_of_the_description() -> None:
    config = RetryConfig(min_backoff=timedelta(seconds=10), max_backoff=timedelta(seconds=300), max_doublings=3)
    assert [backoff(config, n) for n in range(1, 9)] == [10, 20, 40, 80, 160, 240, 300, 300]


def test_the_rate_is_a_bucket_of_tokens(client: CloudTasksClient, queues: TaskQueues, clock: VirtualClock) -> None:
    for _ in range(5):
        create(client)
    assert len(queues.dispatch()) == 2
    assert queues.dispatch() == []
    clock.advance(0.5)
    assert len(queues.dispatch()) == 1
    clock.advance(10)
    assert len(queues.dispatch()) == 2


def test_a_task_is_given_up_when_attempts_and_time_are_both_over(
    client: CloudTasksClient, queues: TaskQueues, clock: VirtualClock
) -> None:
    name = create(client)
    attempts = 0
    for _ in range(30):
        for attempt in queues.dispatch():
            attempts += 1
            queues.respond(attempt, 500)
        clock.advance(10)
    assert attempts == 4, "after 0, 10, 30 and 70 seconds; the second was the last only by number"
    with pytest.raises(exceptions.NotFound):
        client.get_task(name=name, retry=None, timeout=5)


def test_a_name_stays_taken_for_a_day(client: CloudTasksClient, queues: TaskQueues, clock: VirtualClock) -> None:
    name = create(client, name=f"{PARENT}/tasks/a")
    (attempt,) = queues.dispatch()
    queues.respond(attempt, 200)
    clock.advance(86_399)
    with pytest.raises(exceptions.AlreadyExists):
        create(client, name=name)
    clock.advance(2)
    assert create(client, name=name) == name


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ({"name": f"{PARENT}/tasks/a b"}, "name"),
        ({"name": "projects/p-1/locations/l/queues/other/tasks/a"}, "name"),
        ({"http_request": {"url": "/x"}}, "url"),
        ({"http_request": {"url": "https://e.invalid/" + "x" * 2083}}, "url"),
        ({"http_request": {"url": "https://e.invalid/", "http_method": "GET", "body": b"x"}}, "body"),
        ({"http_request": {"url": "https://e.invalid/", "body": b"x" * 1_000_000}}, "larger"),
        ({"schedule_time": {"seconds": 1_795_183_200 + 31 * 86_400}}, "30 days"),
    ],
)
def test_what_cloud_tasks_refuses_is_refused(client: CloudTasksClient, task: dict[str, object], reason: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=reason):
        create(client, **task)


def test_a_look_shows_the_attempts_and_not_the_body(client: CloudTasksClient, queues: TaskQueues) -> None:
    name = create(client)
    assert client.get_task(name=name, retry=None, timeout=5).dispatch_count == 0
    (attempt,) = queues.dispatch()
    task = client.get_task(name=name, retry=None, timeout=5)
    assert (task.dispatch_count, task.response_count, task.http_request.body) == (1, 0, b"")
    queues.respond(attempt, 503)
    assert client.get_task(name=name, retry=None, timeout=5).response_count == 1


def test_a_queue_that_nobody_made_is_not_found(client: CloudTasksClient) -> None:
    with pytest.raises(exceptions.NotFound):
        client.create_task(parent=PARENT.replace("slow", "other"), task={}, timeout=5)


def test_a_method_that_nobody_wrote_is_not_there(client: CloudTasksClient) -> None:
    with pytest.raises(exceptions.MethodNotImplemented):
        client.purge_queue(name=PARENT, timeout=5)


def test_a_payload_is_neither_empty_nor_damaged_nor_large(clock: VirtualClock) -> None:
    server, address = serve(*handlers(SecretManagerServiceGrpcTransport, SecretManager(clock)))
    transport = SecretManagerServiceGrpcTransport(channel=plain_channel(address))
    client = SecretManagerServiceClient(transport=transport)
    secret = client.create_secret(
        parent="projects/p-1", secret_id="s", secret={"replication": {"automatic": {}}}, timeout=5
    )
    for payload in ({"data": b""}, {"data": b"x", "data_crc32c": 1}, {"data": b"x" * 65_537}):
        with pytest.raises(exceptions.InvalidArgument):
            client.add_secret_version(parent=secret.name, payload=payload, timeout=5)
    with pytest.raises(exceptions.NotFound):
        client.access_secret_version(name=f"{secret.name}/versions/latest", retry=None, timeout=5)
    transport.close()
    server.stop(None).wait()
