"""A stand-in for Cloud Tasks in a process of its own: every task is taken, none is dispatched.

What the bench measures is what a client pays to have a task taken, so this process is another one, whose CPU is not ours. It
ends when its standard input does, however whoever started it ended.
"""

from __future__ import annotations

import itertools
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from google.cloud.tasks_v2.services.cloud_tasks.transports.grpc import CloudTasksGrpcTransport
from google.cloud.tasks_v2.types import CreateTaskRequest, Task

from infra.local.catalogue import ROOT
from tests.contract.services import handlers, serve

START_SECONDS, END_SECONDS = 30.0, 10.0


class Taking:
    """The one method that a step calls."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def create_task(self, request: CreateTaskRequest) -> Task:
        task = request.task
        if not task.name:
            task.name = f"{request.parent}/tasks/{next(self._numbers)}"
        return task


@contextmanager
def task_service() -> Iterator[str]:
    """Start it, answer its ``host:port``, and end it. Raises ``RuntimeError`` if it does not start."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.task_service"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the bench alone, which then ends this in good order
    )
    with child:
        assert child.stdin
        assert child.stdout
        try:
            ready, _, _ = select.select([child.stdout], [], [], START_SECONDS)
            address = child.stdout.readline().strip() if ready else ""
            if not address:
                raise RuntimeError("The stand-in for Cloud Tasks did not start.")
            yield address
        finally:
            child.stdin.close()
            try:
                child.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()


def main() -> None:
    """Serve until the standard input ends."""
    server, address = serve(*handlers(CloudTasksGrpcTransport, Taking()))
    print(address, flush=True)
    sys.stdin.read()
    server.stop(None).wait()


if __name__ == "__main__":
    main()
