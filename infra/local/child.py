"""The functions as a child process that can be killed and started again on the same files."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from infra.local.catalogue import ROOT
from infra.local.client import AnswerError, JsonClient, ServerAway
from infra.local.sentences import CannotRun

START_SECONDS = 60.0
STOP_SECONDS = 12.0


class Child:
    """``infra.local.serve`` on a port of its own; it has a session of its own, so that Ctrl-C reaches only us."""

    def __init__(self, folder: Path, environment: Callable[[str], Mapping[str, str]]) -> None:
        """``environment`` answers the variables for functions at a URL."""
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        self._environment = {**os.environ, **environment(self.url), "PYTHONPATH": str(ROOT)}
        self.log = folder / "log.jsonl"
        self.starts = 0

    def start(self) -> None:
        """Start it without waiting for it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, our own arguments
                [sys.executable, "-m", "infra.local.serve", "--port", str(self._port), "--data", str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=ROOT,
                start_new_session=True,
            )
        self.starts += 1

    def wait_until_healthy(self) -> None:
        """Wait until it answers. Raises ``CannotRun`` when it ends or takes too long."""
        client = JsonClient(self.url)
        deadline = time.monotonic() + START_SECONDS
        try:
            while time.monotonic() < deadline:
                if self._process is None or self._process.poll() is not None:
                    raise CannotRun(
                        f"The functions did not start; the end of {self.log} says why:\n{self._last_lines()}"
                    )
                try:
                    client.get("/health")
                except (ServerAway, AnswerError):
                    time.sleep(0.05)
                else:
                    return
        finally:
            client.close()
        raise CannotRun(f"The functions did not answer within {START_SECONDS:.0f} seconds; {self.log} may say why.")

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, and nothing gets a chance to tidy up."""
        if self._process is not None:
            self._process.kill()
            self._reap()

    def pause(self) -> None:
        """Let it stand still as it is, in the middle of whatever it does."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> bool:
        """Ask it to stop; answers whether it did so by itself, in time and without an error."""
        if self._process is None or self._process.poll() is not None:
            return False
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()

    def _last_lines(self) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
