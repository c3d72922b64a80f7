"""The whole of Brainstem in one process: gateway, deliveries of queue and bus, scheduler; it starts and stops as one.

With ``BACKEND=emulators`` the bus is Google's emulator, which delivers by itself; whoever runs the machine makes topics and
subscriptions there (``infra.local.infrastructure``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from infra.local.catalogue import Function, load
from infra.local.gateway import Gateway
from infra.local.poster import Poster
from infra.local.pubsub_rest import create_app
from infra.local.scheduler import Scheduler
from infra.local.tokens import invoker_secret
from infra.local.web import WebServer, WSGIApp
from shared import wiring
from shared.adapters.embedded.bus import EmbeddedBus
from shared.adapters.embedded.pump import Pump
from shared.adapters.embedded.subscriptions import Subscription
from shared.adapters.embedded.tasks import EmbeddedTasks
from shared.observability import logs

WEB_THREADS = 64
"""More than all functions together that call other servers, so that a simulator on the same port is always answered."""

TASK_WORKERS = 32
BUS_WORKERS = 6
STOP_SECONDS = 3.0


class Machine:
    """One running Brainstem on one data folder; its settings are those of the environment. Raises ``CannotRun``."""

    def __init__(self, folder: Path, port: int, mounts: Mapping[str, WSGIApp] | None = None) -> None:
        brainstem = wiring.from_env()
        bus, tasks = brainstem.ports.bus, brainstem.ports.tasks
        if not isinstance(tasks, EmbeddedTasks):
            raise TypeError("The machine delivers for the embedded queue only.")
        own_bus = bus if isinstance(bus, EmbeddedBus) else None
        functions = load()
        secret = invoker_secret(folder)
        gateway = Gateway(
            functions, secret, brainstem.settings.version, create_app(own_bus) if own_bus else None, mounts or {}
        )
        self._web = WebServer(gateway, port, WEB_THREADS)
        self._post = Poster(self._web.url, secret, TASK_WORKERS + BUS_WORKERS + 2)
        self._pumps: list[Pump[Any]] = [Pump(tasks, self._post, TASK_WORKERS, brainstem.clock)]
        self._scheduler = Scheduler(self._post)
        self._jobs = _jobs(functions, brainstem.settings.tick_seconds)
        self.url = self._web.url
        if own_bus:
            self._pumps.append(Pump(own_bus, self._post, BUS_WORKERS, brainstem.clock))
            for subscription in subscriptions(functions):
                own_bus.subscribe(subscription, replace=True)

    def start(self) -> None:
        """Accept requests, deliver what is waiting, call what is scheduled."""
        self._web.start()
        for pump in self._pumps:
            pump.start()
        for path, period in self._jobs:
            self._scheduler.start(path, period)

    def stop(self) -> None:
        """Stop within ten seconds; what was not finished is delivered again after the next start."""
        self._scheduler.stop(1.0)
        for pump in self._pumps:
            pump.stop(STOP_SECONDS / 2)
        self._web.stop(STOP_SECONDS)
        self._post.close()


def log_to(stream: TextIO) -> None:
    """Send the log lines of this process to a file, so that the terminal stays readable."""
    brainstem = wiring.from_env()
    logs.configure(brainstem.clock, brainstem.settings.log_level, stream)


def subscriptions(functions: tuple[Function, ...]) -> list[Subscription]:
    """The push subscriptions that the functions ask for."""
    return [
        Subscription(function.name, topic, function.path, ack_deadline=function.timeout_seconds)
        for function in functions
        for kind, topic in [function.trigger]
        if kind == "topic"
    ]


def _jobs(functions: tuple[Function, ...], tick_seconds: float) -> list[tuple[str, float]]:
    periods = {"TICK_SECONDS": tick_seconds}
    return [
        (function.path, periods[value])
        for function in functions
        for kind, value in [function.trigger]
        if kind == "schedule"
    ]
