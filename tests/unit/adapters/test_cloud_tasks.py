"""The task queue on Cloud Tasks: what a task looks like there, and what a taken name means."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.cloud.tasks_v2.services.cloud_tasks.transports.grpc import CloudTasksGrpcTransport
from google.cloud.tasks_v2.types import CreateTaskRequest, GetTaskRequest, HttpMethod, Task

from shared.adapters.cloud.connect import plain_channel
from shared.adapters.cloud.tasks import CloudTasks
from shared.errors import Retry, TooLarge
from shared.ports import Enqueued
from tests.contract.service_error import ServiceError
from tests.contract.services import handlers, serve

QUEUE = "projects/p-1/locations/europe-west1/queues/sync"


class Queue:
    """Keeps what it is asked, and answers as it is told."""

    def __init__(self) -> None:
        self.created: list[CreateTaskRequest] = []
        self.looked_up: list[GetTaskRequest] = []
        self.on_create: grpc.StatusCode | None = None
        self.on_get: Task | grpc.StatusCode = Task()

    def create_task(self, request: CreateTaskRequest) -> Task:
        self.created.append(request)
        if self.on_create:
            raise ServiceError(self.on_create, "<hostile text>")
        return request.task

    def get_task(self, request: GetTaskRequest) -> Task:
        self.looked_up.append(request)
        if isinstance(self.on_get, grpc.StatusCode):
            raise ServiceError(self.on_get, "<hostile text>")
        return self.on_get


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def connect(queue: Queue) -> Iterator[Callable[..., CloudTasks]]:
    server, address = serve(*handlers(CloudTasksGrpcTransport, queue))
    made: list[CloudTasks] = []

    def connect(base_url: str = "") -> CloudTasks:
        made.append(CloudTasks("p-1", "europe-west1", ["sync"], base_url, plain_channel(address)))
        return made[-1]

    yield connect
    for tasks in made:
        tasks.close()
    server.stop(None).wait()


@pytest.fixture
def tasks(connect: Callable[..., CloudTasks]) -> CloudTasks:
    return connect()


def test_a_task_is_a_post_of_json_to_its_path(tasks: CloudTasks, queue: Queue) -> None:
    assert tasks.enqueue("sync", "/sync", {"é": [1, None]}) is Enqueued.CREATED
    (request,) = queue.created
    assert request.parent == QUEUE
    http = request.task.http_request
    assert (http.http_method, dict(http.headers)) == (HttpMethod.POST, {"Content-Type": "application/json"})
    assert http.body == '{"é":[1,null]}'.encode()
    assert request.task.name == ""
    assert "schedule_time" not in request.task


def test_without_a_base_url_a_task_can_reach_nobody_but_whom_its_queue_names(tasks: CloudTasks, queue: Queue) -> None:
    tasks.enqueue("sync", "/sync/ü b?x=1&y", {})
    assert queue.created[0].task.http_request.url == "https://queue-without-uri-override.invalid/sync/%C3%BC%20b?x=1&y"


def test_a_base_url_is_where_tasks_go(connect: Callable[..., CloudTasks], queue: Queue) -> None:
    connect("http://127.0.0.1:8080/").enqueue("sync", "/sync", {})
    assert queue.created[0].task.http_request.url == "http://127.0.0.1:8080/sync"


def test_names_that_follow_each_other_do_not_look_alike(tasks: CloudTasks, queue: Queue) -> None:
    for n in range(20):
        tasks.enqueue("sync", "/sync", {}, f"u:primary:GOOGLE-backfill-1-{n}")
    names = [request.task.name.removeprefix(f"{QUEUE}/tasks/") for request in queue.created]
    assert all(re.fullmatch(r"[0-9a-f]{64}", name) for name in names)
    assert len({name[:4] for name in names}) > 15


def test_the_same_name_is_the_same_task(tasks: CloudTasks, queue: Queue) -> None:
    for _ in range(2):
        tasks.enqueue("sync", "/sync", {}, "ü")
    assert queue.created[0].task.name == queue.created[1].task.name


@pytest.mark.parametrize("moment", [1_795_183_200.0, 1_795_183_200.123456, 1_795_183_200.9999999])
def test_a_task_is_never_scheduled_before_its_time(tasks: CloudTasks, queue: Queue, moment: float) -> None:
    tasks.enqueue("sync", "/sync", {}, not_before=moment)
    stamp = Task.pb(queue.created[0].task).schedule_time.ToNanoseconds() / 1e9
    assert moment <= stamp + 1e-7
    assert stamp == pytest.approx(moment, abs=2e-6)


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        (Task(), Enqueued.PENDING),
        (Task(dispatch_count=1), Enqueued.SPENT),
        (Task(dispatch_count=3, response_count=3), Enqueued.SPENT),
        (grpc.StatusCode.NOT_FOUND, Enqueued.SPENT),
    ],
)
def test_a_taken_name_is_looked_up(
    tasks: CloudTasks, queue: Queue, found: Task | grpc.StatusCode, answer: Enqueued
) -> None:
    queue.on_create, queue.on_get = grpc.StatusCode.ALREADY_EXISTS, found
    assert tasks.enqueue("sync", "/sync", {}, "n") is answer
    (request,) = queue.looked_up
    assert request.name == queue.created[0].task.name
    assert request.response_view == Task.View.VIEW_UNSPECIFIED, "the full view would need a permission of its own"


def test_a_look_that_fails_is_no_answer(tasks: CloudTasks, queue: Queue) -> None:
    queue.on_create, queue.on_get = grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.UNAVAILABLE
    with pytest.raises(Retry):
        tasks.enqueue("sync", "/sync", {}, "n")
    assert len(queue.looked_up) == 1


@pytest.mark.parametrize(
    "code",
    [
        code
        for code in grpc.StatusCode
        if code not in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.ALREADY_EXISTS)
    ],
)
def test_every_failure_is_to_be_tried_again_and_was_not_by_us(
    tasks: CloudTasks, queue: Queue, code: grpc.StatusCode
) -> None:
    queue.on_create = code
    with pytest.raises(Retry, match="The queue sync") as caught:
        tasks.enqueue("sync", "/sync", {}, "n")
    assert len(queue.created) == 1
    assert "hostile" not in caught.value.message


def test_what_the_queue_finds_too_large_is_too_large(tasks: CloudTasks, queue: Queue) -> None:
    queue.on_create = grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(TooLarge):
        tasks.enqueue("sync", "/sync", {})
