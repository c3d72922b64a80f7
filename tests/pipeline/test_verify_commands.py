"""``make run`` and the child of ``make demo`` as processes: how they start, refuse to start, resume and end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.local.catalogue import ROOT
from infra.local.child import Child, free_port
from infra.local.client import JsonClient, ServerAway
from infra.local.environment import local_environment
from infra.local.tokens import invoker_secret


class Run:
    """A ``make run`` whose output is read from a file."""

    def __init__(self, folder: Path, port: int, output: Path) -> None:
        self.output = output
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-m", "infra.local.run", "--data", folder, "--port", str(port), "--mails", "60"],
                cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def text(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def wait_for(self, pattern: str, seconds: float = 60.0) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        while (found := re.search(pattern, self.text)) is None:
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.1)
        return found

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(10)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Path, int], Run]]:
    runs: list[Run] = []

    def begin(folder: Path, port: int) -> Run:
        runs.append(Run(folder, port, tmp_path / f"{len(runs)}.out"))
        return runs[-1]

    yield begin
    for run in runs:
        run.process.kill()
        run.process.wait()


def test_a_run_shows_what_it_says_ends_cleanly_and_resumes(start: Callable[[Path, int], Run], tmp_path: Path) -> None:
    folder, port = tmp_path / "data", free_port()
    run = start(folder, port)
    run.wait_for(r"120 mails are in")
    run.wait_for(r"primary:GOOGLE #\d+ +email\.received")
    run.wait_for(r"primary:MICROSOFT #\d+ +email\.received")
    commands = re.findall(r"^  (curl .*)$", run.text, re.MULTILINE)
    answers = [
        subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20, check=True).stdout
        for command in commands
    ]

    second = start(folder, free_port())
    assert second.process.wait(30) == 2
    assert re.fullmatch(r"Another Brainstem is running on .*\n", second.text)
    third = start(tmp_path / "other", port)
    assert third.process.wait(30) == 2
    assert re.search(rf"^Port {port} is already in use.*PORT=\d+\.$", third.text, re.MULTILINE)

    assert run.interrupt() == 0
    assert "nothing is left running" in run.text
    with pytest.raises(ServerAway):
        JsonClient(f"http://127.0.0.1:{port}").get("/health")

    assert len(answers) == 3
    assert '"status":"live"' in answers[0]
    assert '"events":[' in answers[1]
    assert '"sequence":1' in answers[2]

    again = start(folder, port)
    for title in ("Gmail", "Outlook"):
        again.wait_for(rf"Resuming with the 60 mails from the generator in {title}; nothing is loaded again")
    again.wait_for(r"email\.received")
    assert "mails are in" not in again.text
    assert again.interrupt() == 0


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    folder = tmp_path / "data"
    folder.mkdir()
    invoker_secret(folder)
    child = Child(folder, lambda home: local_environment(folder, home, "http://127.0.0.1:1/google"))
    yield child
    child.kill()


def test_a_child_stops_when_asked(child: Child) -> None:
    child.start()
    child.wait_until_healthy()
    assert child.stop()


def test_a_child_ends_when_its_parent_dies(child: Child) -> None:
    child.start()
    child.wait_until_healthy()
    process = child._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 0


def test_a_child_comes_back_on_the_same_files_after_a_kill(child: Child) -> None:
    for _ in range(2):
        child.start()
        child.wait_until_healthy()
        child.kill()
    assert child.starts == 2


def test_functions_that_are_not_public_are_closed(child: Child) -> None:
    child.start()
    child.wait_until_healthy()
    for path in ("/sync/step", "/gmail_push", "/tick", "/senders"):
        status, _ = _post(child.url, path)
        assert status == 401, path


def _post(url: str, path: str) -> tuple[int, bytes]:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode()
        )
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return int(answer.split(b" ", 2)[1]), answer


def test_the_module_is_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra.local.serve"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
        env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 2
    assert "--port" in done.stderr
