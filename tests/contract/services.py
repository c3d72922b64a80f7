"""Cloud Tasks and Secret Manager as far as their clients can tell, on a gRPC server of this process.

Paths, requests and answers are those of Google's generated transports, which are asked for them, so nothing here can
drift from what the clients send; a method that nobody wrote below is UNIMPLEMENTED. The rules are those of the services'
public descriptions (the docstrings of the message types; for headers cloud.google.com/tasks/docs/creating-http-target-tasks).
Time is that of the injected clock only. Written from the outside: nothing of ``shared/adapters`` is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import grpc
from google.cloud.secretmanager_v1.services.secret_manager_service.transports.grpc import (
    SecretManagerServiceGrpcTransport,
)
from google.cloud.tasks_v2.services.cloud_tasks.transports.grpc import CloudTasksGrpcTransport
from google.cloud.tasks_v2.types import Queue, RateLimits, RetryConfig

from shared.ports import Clock
from tests.contract.secret_manager import SecretManager
from tests.contract.service_error import ServiceError
from tests.contract.task_queues import TaskQueues
from tests.contract.worlds import QUEUES, Answer, Call

Method = tuple[Any, Any]
"""How a request is read and an answer written."""


class _Listener(grpc.Channel):  # type: ignore[misc]
    """A channel that goes nowhere and only notes which methods a generated transport asks it for."""

    def __init__(self) -> None:
        self.methods: dict[str, Method] = {}

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, *args: Any, **kw: Any
    ) -> Callable[..., Any]:
        self.methods[method] = request_serializer, response_deserializer
        return lambda *args, **kw: None

    def unary_stream(self, *args: Any, **kw: Any) -> Any:
        raise NotImplementedError

    stream_unary = stream_stream = unary_stream

    def subscribe(self, *args: Any, **kw: Any) -> None: ...

    def unsubscribe(self, *args: Any, **kw: Any) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> _Listener:
        return self

    def __exit__(self, *args: object) -> None: ...


def handlers(transport: Callable[..., Any], servicer: object) -> list[Any]:
    """The gRPC handlers of a servicer, whose methods are called as the service's, in snake_case."""
    listener = _Listener()
    generated = transport(channel=listener)
    generated._logged_channel = listener  # what the transport wrapped around ours would ask it only when called
    generated._stubs.clear()
    services: dict[str, dict[str, Any]] = {}
    for name in dir(servicer):
        if name.startswith("_") or not hasattr(generated, name):
            continue
        getattr(generated, name)
        path, (serializer, deserializer) = listener.methods.popitem()
        _, service, method = path.split("/")
        services.setdefault(service, {})[method] = grpc.unary_unary_rpc_method_handler(
            _refusing(getattr(servicer, name)),
            request_deserializer=serializer.__self__.deserialize,
            response_serializer=deserializer.__self__.serialize,
        )
    return [grpc.method_handlers_generic_handler(service, found) for service, found in services.items()]


def _refusing(handle: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def respond(request: Any, context: Any) -> Any:
        try:
            return handle(request)
        except ServiceError as error:
            context.abort(error.code, str(error))

    return respond


def serve(*generic: Any) -> tuple[Any, str]:
    """A started server on loopback and its ``host:port``."""
    server = grpc.server(ThreadPoolExecutor(max_workers=8, thread_name_prefix="service"))
    server.add_generic_rpc_handlers(generic)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


class Services:
    """Both services behind one address, and the delivering side of the queues."""

    def __init__(self, clock: Clock, queues: Mapping[str, Any] = QUEUES) -> None:
        """Any project and location has the queues, each configured like the ``QueueConfig`` of its id."""
        self.queues = TaskQueues(clock, {name: _queue(config) for name, config in queues.items()})
        self.secrets = SecretManager(clock)
        self._server, self.address = serve(
            *handlers(CloudTasksGrpcTransport, self.queues),
            *handlers(SecretManagerServiceGrpcTransport, self.secrets),
        )

    def turn(self, answer: Answer) -> int:
        """Dispatch the tasks that are due, once each, and answer how many there were."""
        dispatched = self.queues.dispatch()
        for attempt in dispatched:
            self.queues.respond(attempt, answer(Call(attempt.target, attempt.headers, attempt.json())))
        return len(dispatched)

    def together(self) -> list[Call]:
        """The tasks that would be out at once if nobody answered; all are answered 200 afterwards."""
        dispatched = self.queues.dispatch()
        assert self.queues.dispatch() == []
        for attempt in dispatched:
            self.queues.respond(attempt, 200)
        return [Call(attempt.target, attempt.headers, attempt.json()) for attempt in dispatched]

    def close(self) -> None:
        self._server.stop(None).wait()


def _queue(config: Any) -> Queue:
    return Queue(
        rate_limits=RateLimits(max_dispatches_per_second=500, max_concurrent_dispatches=config.max_concurrent),
        retry_config=RetryConfig(
            max_attempts=config.max_attempts,
            min_backoff=timedelta(seconds=config.min_backoff),
            max_backoff=timedelta(seconds=config.max_backoff),
            max_doublings=16,
        ),
    )
