"""The Tasks port on Cloud Tasks.

A task's id is the hash of its name: ids may hold few characters, and similar ones slow the whole queue down. How fast a
queue goes and how often it tries again is the queue's own configuration, so nothing here waits or counts.

A task carries a path; which host it goes to and as whom is the queue's ``uri_override`` and token. ``base_url`` is for
queues without one. Where neither is set the task goes to a host that cannot exist, and waits, instead of to a stranger.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from typing import Any
from urllib.parse import quote

import grpc
from google.api_core import exceptions
from google.cloud.tasks_v2 import CloudTasksClient
from google.cloud.tasks_v2.services.cloud_tasks.transports.grpc import CloudTasksGrpcTransport
from google.cloud.tasks_v2.types import CreateTaskRequest, GetTaskRequest, HttpMethod

from shared.adapters import documents
from shared.adapters.cloud.connect import reach
from shared.adapters.cloud.faults import postponed
from shared.errors import TooLarge
from shared.ports import Data, Enqueued

NOWHERE = "https://queue-without-uri-override.invalid"

_RawCreate = CreateTaskRequest.pb()
_POST = int(HttpMethod.POST)


class CloudTasks:
    """The Tasks port; safe to share between threads."""

    def __init__(
        self,
        project: str,
        location: str,
        queues: Collection[str],
        base_url: str = "",
        channel: grpc.Channel | None = None,
        timeout: float = 10.0,
    ) -> None:
        """``queues`` are the ids that exist; ``channel`` leads to a stand-in, None to Google.

        Raises ``ConfigurationError`` where credentials are missing.
        """
        self._queues = {queue: f"projects/{project}/locations/{location}/queues/{queue}" for queue in queues}
        self._base = (base_url or NOWHERE).rstrip("/")
        self._timeout = timeout
        self._transport: Any = reach(CloudTasksGrpcTransport, channel)
        self._client = CloudTasksClient(transport=self._transport)

    def enqueue(
        self, queue: str, path: str, body: Data, name: str | None = None, not_before: float | None = None
    ) -> Enqueued:
        """Add a task; durable on return. Raises ``Retry``, ``TooLarge``; ``ValueError`` for what cannot be a task.

        After a ``Retry`` the task may be there all the same: a named one is then found again, one without a name may
        come twice.
        """
        parent = self._queues.get(queue)
        if parent is None:
            raise ValueError("There is no such queue.")
        if not path.startswith("/") or name == "":
            raise ValueError("A task has an absolute path, and a name that is not empty or none.")
        raw = _RawCreate(parent=parent)
        raw.task.http_request.url = self._base + quote(path, safe="/?&=%:@!$'()*+,;~")
        raw.task.http_request.http_method = _POST
        raw.task.http_request.headers["Content-Type"] = "application/json"
        raw.task.http_request.body = documents.encode(body).encode()
        if name is not None:
            raw.task.name = f"{parent}/tasks/{hashlib.sha256(name.encode()).hexdigest()}"
        if not_before is not None:
            # Rounded up: a task that comes before its time is looked at too early, one that comes after is not.
            raw.task.schedule_time.FromMicroseconds(math.ceil(not_before * 1e6))
        try:
            self._client.create_task(request=CreateTaskRequest.wrap(raw), retry=None, timeout=self._timeout)
        except exceptions.AlreadyExists:
            return self._look_up(queue, raw.task.name)
        except exceptions.InvalidArgument as error:
            raise TooLarge(f"The queue {queue} refuses a task: something of it is over a limit.") from error
        except exceptions.GoogleAPICallError as error:
            raise postponed(f"The queue {queue}", error) from error
        return Enqueued.CREATED

    def close(self) -> None:
        """Let go of the connection."""
        self._transport.close()

    def _look_up(self, queue: str, name: str) -> Enqueued:
        """What the holder of a taken name is doing: gone or dispatched is spent, also while its answer is out."""
        try:
            task = self._client.get_task(request=GetTaskRequest(name=name), retry=None, timeout=self._timeout)
        except exceptions.NotFound:
            return Enqueued.SPENT
        except exceptions.GoogleAPICallError as error:
            raise postponed(f"The queue {queue}", error) from error
        return Enqueued.SPENT if task.dispatch_count else Enqueued.PENDING
