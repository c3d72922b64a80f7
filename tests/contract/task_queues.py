"""Queues, tasks, names and attempts as Cloud Tasks keeps them, dispatched when a test says so."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
from google.cloud.tasks_v2.types import (
    Attempt,
    CreateTaskRequest,
    GetTaskRequest,
    HttpMethod,
    Queue,
    Task,
)
from google.protobuf.timestamp_pb2 import Timestamp

from shared.ports import Clock
from tests.contract.service_error import invalid, missing, taken

NAME_SECONDS = 86_400.0
"""How long the name of a task stays taken after the task is gone."""

MAX_AHEAD_SECONDS = 30 * 86_400.0
MAX_TASK_BYTES = 1_000_000
MAX_URL = 2083

_QUEUE = re.compile(r"projects/[A-Za-z0-9:.-]+/locations/[A-Za-z0-9-]+/queues/([A-Za-z0-9-]{1,100})")
_ID = re.compile(r"[A-Za-z0-9_-]{1,500}")
_WITH_BODY = (HttpMethod.HTTP_METHOD_UNSPECIFIED, HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH)


@dataclass
class _Held:
    """A task in its queue."""

    task: Task
    queue: str
    due: float
    eta: float
    place: int
    out: bool = False
    first: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Dispatch:
    """One attempt, out for an answer."""

    name: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)


class TaskQueues:
    """The methods of the service that are needed, and the side that dispatches."""

    def __init__(self, clock: Clock, queues: Mapping[str, Queue]) -> None:
        self._clock = clock
        self._queues = queues
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._gone: dict[str, float] = {}
        self._places = itertools.count()
        self._tokens = {name: (self._burst(name), clock.now()) for name in queues}

    def create_task(self, request: CreateTaskRequest) -> Task:
        queue = self._queue(request.parent)
        _check(request.task)
        now = self._clock.now()
        with self._lock:
            place = next(self._places)
            name = request.task.name or f"{request.parent}/tasks/{8_000_000_000_000_000_000 + place}"
            parent, _, identity = name.rpartition("/tasks/")
            if parent != request.parent or not _ID.fullmatch(identity):
                raise invalid("The name of the task is malformed.")
            if name in self._held or self._gone.get(name, 0.0) > now - NAME_SECONDS:
                raise taken("The task cannot be created because a task with this name existed too recently.")
            scheduled = now
            if "schedule_time" in request.task:
                scheduled = max(now, _seconds(Task.pb(request.task).schedule_time))
            if scheduled > now + MAX_AHEAD_SECONDS:
                raise invalid("The schedule_time is more than 30 days ahead.")
            task = Task(request.task)
            task.name, task.schedule_time, task.create_time = name, _stamp(scheduled), _stamp(now // 1)
            task.dispatch_count = task.response_count = 0
            self._held[name] = _Held(task, queue, scheduled, scheduled, place)
            return _basic(task)

    def get_task(self, request: GetTaskRequest) -> Task:
        with self._lock:
            held = self._held.get(request.name)
            if held is None:
                raise missing("The task does not exist.")
            return _basic(held.task)

    def dispatch(self) -> list[Dispatch]:
        """Start what is due now, oldest first, within the limits of each queue."""
        now = self._clock.now()
        started: list[Dispatch] = []
        with self._lock:
            for queue in self._queues:
                mine = [held for held in self._held.values() if held.queue == queue]
                room = self._queues[queue].rate_limits.max_concurrent_dispatches - sum(held.out for held in mine)
                waiting = sorted(
                    (held for held in mine if not held.out and held.due <= now), key=lambda held: (held.due, held.place)
                )
                for held in waiting[: self._allowed(queue, min(room, len(waiting)), now)]:
                    started.append(_start(held, now))
        return started

    def respond(self, attempt: Dispatch, status: int) -> None:
        """Say how an attempt was answered: 2xx ends the task, anything else means again after the backoff."""
        now = self._clock.now()
        with self._lock:
            held = self._held[attempt.name]
            held.out = False
            held.task.response_count += 1
            held.task.last_attempt.response_time = _stamp(now)
            config = self._queues[held.queue].retry_config
            exhausted = 0 < config.max_attempts <= held.task.dispatch_count
            over = exhausted and now - held.first >= config.max_retry_duration.total_seconds()
            if 200 <= status < 300 or over:
                del self._held[attempt.name]
                self._gone[attempt.name] = now
                return
            held.due = held.eta = now + backoff(config, held.task.dispatch_count)
            held.task.schedule_time = _stamp(held.due)
            held.headers["X-CloudTasks-TaskPreviousResponse"] = str(status)

    def _queue(self, parent: str) -> str:
        found = _QUEUE.fullmatch(parent)
        if found is None:
            raise invalid("The name of the queue is malformed.")
        if found[1] not in self._queues:
            raise missing("The queue does not exist.")
        return found[1]

    def _burst(self, queue: str) -> float:
        return max(1.0, self._queues[queue].rate_limits.max_dispatches_per_second)

    def _allowed(self, queue: str, wanted: int, now: float) -> int:
        """Take tokens from the bucket of the queue; answer for how many dispatches they were enough."""
        tokens, since = self._tokens[queue]
        rate = self._queues[queue].rate_limits.max_dispatches_per_second
        tokens = min(self._burst(queue), tokens + max(0.0, now - since) * rate)
        allowed = max(0, min(wanted, int(tokens)))
        self._tokens[queue] = tokens - allowed, now
        return allowed


def backoff(config: Any, failures: int) -> float:
    """How long a task waits after so many failures: doubled ``max_doublings`` times, then growing evenly."""
    least, most = config.min_backoff.total_seconds(), config.max_backoff.total_seconds()
    doublings = min(failures - 1, config.max_doublings)
    return float(min(most, least * 2**doublings * (1 + max(0, failures - 1 - config.max_doublings))))


def _check(task: Task) -> None:
    http = task.http_request
    if not http.url.startswith(("http://", "https://")) or len(http.url) > MAX_URL or not http.url.isascii():
        raise invalid("The url of the task is malformed.")
    if http.body and http.http_method not in _WITH_BODY:
        raise invalid("A body is allowed with POST, PUT and PATCH only.")
    if Task.pb(task).ByteSize() > MAX_TASK_BYTES:
        raise invalid("The task is larger than 1 MB.")


def _start(held: _Held, now: float) -> Dispatch:
    task = held.task
    retries, responses = task.dispatch_count, task.response_count
    task.dispatch_count += 1
    attempt = Attempt(schedule_time=_stamp(held.due), dispatch_time=_stamp(now))
    if not retries:
        held.first = now
        task.first_attempt = Attempt(dispatch_time=_stamp(now))
    task.last_attempt = attempt
    held.out = True
    parts = urlsplit(task.http_request.url)
    return Dispatch(
        name=task.name,
        target=unquote(parts.path) + (f"?{parts.query}" if parts.query else ""),
        headers={
            **{name: text for name, text in task.http_request.headers.items() if not _is_googles(name)},
            **held.headers,
            "User-Agent": "Google-Cloud-Tasks",
            "X-CloudTasks-QueueName": held.queue,
            "X-CloudTasks-TaskName": task.name.rpartition("/")[2],
            "X-CloudTasks-TaskRetryCount": str(retries),
            "X-CloudTasks-TaskExecutionCount": str(responses),
            "X-CloudTasks-TaskETA": f"{held.eta:.6f}",
        },
        body=bytes(task.http_request.body),
    )


def _is_googles(header: str) -> bool:
    return header.lower().startswith(("x-google-", "x-appengine-", "x-cloudtasks-")) or header.lower() in (
        "host",
        "content-length",
        "user-agent",
    )


def _basic(task: Task) -> Task:
    """The view that leaves the body out, as answers do unless asked for everything."""
    answer = Task(task)
    answer.http_request.body = b""
    answer.view = Task.View.BASIC
    return answer


def _stamp(moment: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(int(moment * 1e6))
    return stamp


def _seconds(stamp: Timestamp) -> float:
    return float(stamp.ToMicroseconds()) / 1e6
