"""Google's own emulators of Firestore and Pub/Sub: found, started once per run, ended with it.

``FIRESTORE_EMULATOR_HOST`` and ``PUBSUB_EMULATOR_HOST`` name emulators that run already. What they do not name is started
through the gcloud CLI by a keeper, a process of its own: whoever needs an emulator first starts the keeper, other processes
of the run find its answer in a folder that ``RUN_FOLDER`` names, and the keeper ends the emulators when it is told to, or
when the run that owns the folder is gone, however that ended. gcloud leaves Java behind when it is ended alone, so each
emulator has a process group, and the group is ended. A run is one ``make run``, ``make demo`` or run of the tests, for which
``EMULATORS=off`` starts nothing. One of the emulators can be taken away for a while and brought back, empty.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.local.catalogue import ROOT

RUN_FOLDER = "BRAINSTEM_EMULATORS"
"""The variable that hands the run's folder to every process of the run."""

START_SECONDS = 90.0
END_SECONDS = 10.0

_JAVA = "-Xmx512m -XX:+UseSerialGC"


class Unavailable(Exception):
    """There are no emulators in this run; the text says why."""


@dataclass(frozen=True, slots=True)
class Emulators:
    """Where they listen, as ``host:port``."""

    firestore: str
    pubsub: str


@dataclass(frozen=True, slots=True)
class _Kind:
    variable: str
    component: str
    command: tuple[str, ...]


_KINDS = {
    "firestore": _Kind(
        "FIRESTORE_EMULATOR_HOST", "cloud-firestore-emulator", ("gcloud", "emulators", "firestore", "start")
    ),
    "pubsub": _Kind(
        "PUBSUB_EMULATOR_HOST", "pubsub-emulator", ("gcloud", "beta", "emulators", "pubsub", "start", "--project=local")
    ),
}


def own_run() -> Path | None:
    """Make the folder of a run, if no process above has; whoever gets it ends the run with ``end_run``."""
    if RUN_FOLDER in os.environ:
        return None
    folder = Path(tempfile.mkdtemp(prefix="brainstem-emulators-"))
    (folder / "owner").write_text(str(os.getpid()))
    os.environ[RUN_FOLDER] = str(folder)
    return folder


def end_run(folder: Path) -> None:
    """End what the run has started, and wait for it."""
    os.environ.pop(RUN_FOLDER, None)
    (folder / "ended").touch()
    with contextlib.suppress(FileNotFoundError):
        _wait_for_end(int((folder / "keeper").read_text()), END_SECONDS + 5)
    shutil.rmtree(folder, ignore_errors=True)


def emulators() -> Emulators:
    """The run's emulators, started if need be. Raises ``Unavailable``."""
    if os.environ.get("EMULATORS") == "off":
        raise Unavailable("EMULATORS=off")
    given = {name: os.environ[kind.variable] for name, kind in _KINDS.items() if os.environ.get(kind.variable)}
    if len(given) == len(_KINDS):
        return Emulators(**given)
    if RUN_FOLDER not in os.environ:
        raise Unavailable("no run owns the emulators")
    folder = Path(os.environ[RUN_FOLDER])
    with _locked(folder / "lock"):
        if not (folder / "answer").exists():
            _start_keeper(folder)
        answer = json.loads((folder / "answer").read_text())
    if "unavailable" in answer:
        raise Unavailable(answer["unavailable"])
    return Emulators(**answer)


def are_given() -> bool:
    """Whether the environment names an emulator, which others may use too and which is not ours to take away."""
    return any(os.environ.get(kind.variable) for kind in _KINDS.values())


def take_away(folder: Path, name: str) -> None:
    """End one emulator (``pubsub``) of the run and wait for it. It loses what it holds."""
    (folder / f"{name}.away").touch()
    _wait_for(folder / f"{name}.gone", True)


def bring_back(folder: Path, name: str) -> None:
    """Start it again where it was and wait until it answers."""
    (folder / f"{name}.away").unlink()
    _wait_for(folder / f"{name}.gone", False)


def _wait_for(mark: Path, there: bool) -> None:
    latest = time.monotonic() + START_SECONDS + 10
    while mark.exists() is not there:
        if time.monotonic() > latest:
            raise Unavailable("the keeper of the emulators does not answer")
        time.sleep(0.05)


def keep(folder: Path) -> None:
    """The keeper: start what is not there, say where it is, and end it with the run."""
    owner = int((folder / "owner").read_text())
    started: dict[str, _Started] = {}
    try:
        try:
            answer = _start_missing(folder, started)
        except Unavailable as error:
            answer = {"unavailable": str(error)}
        (folder / "answer.new").write_text(json.dumps(answer))
        (folder / "answer.new").rename(folder / "answer")
        while started and _is_running(owner) and folder.exists() and not (folder / "ended").exists():
            for emulator in started.values():
                emulator.follow_wish()
            time.sleep(0.1)
    finally:
        for emulator in started.values():
            emulator.end()
        if not _is_running(owner):
            shutil.rmtree(folder, ignore_errors=True)


def _start_keeper(folder: Path) -> None:
    with (folder / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(  # noqa: S603 - our own module, our own argument
            [sys.executable, "-m", "infra.local.emulators", str(folder)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (folder / "keeper").write_text(str(keeper.pid))
    latest = time.monotonic() + START_SECONDS + 10
    while not (folder / "answer").exists():
        if keeper.poll() is not None or time.monotonic() > latest:
            said = (folder / "keeper.log").read_text(errors="replace")[-500:]
            raise RuntimeError(f"The keeper of the emulators failed: {said}")
        time.sleep(0.05)
    # Nobody waits for the keeper, which outlives this process; without this the interpreter would warn of it.
    keeper.returncode = 0


def _start_missing(folder: Path, started: dict[str, _Started]) -> dict[str, str]:
    hosts = {name: os.environ.get(kind.variable, "") for name, kind in _KINDS.items()}
    missing = {name: kind for name, kind in _KINDS.items() if not hosts[name]}
    _look_for(missing)
    for name in missing:
        hosts[name] = f"127.0.0.1:{_free_port()}"
        started[name] = _Started(folder, name, hosts[name])
    for emulator in started.values():
        emulator.wait_until_ready()
    return hosts


def _look_for(kinds: Mapping[str, _Kind]) -> None:
    if shutil.which("gcloud") is None:
        raise Unavailable("there is no gcloud on this machine")
    said = subprocess.run(
        ["gcloud", "version", "--format=json"],  # noqa: S607 - whichever gcloud the person has
        capture_output=True,
        timeout=60,
        check=False,
    )
    if said.returncode:
        raise Unavailable("gcloud does not work on this machine")
    installed = json.loads(said.stdout)
    for component in (*(kind.component for kind in kinds.values()), "beta"):
        if component not in installed:
            raise Unavailable(f"gcloud lacks the component {component}")


class _Started:
    """One emulator that the keeper runs, on one port as long as the run lasts."""

    def __init__(self, folder: Path, name: str, host: str) -> None:
        self._folder, self._name, self._host = folder, name, host
        self._process = self._start()

    def wait_until_ready(self) -> None:
        """Wait until it answers. Raises ``Unavailable``."""
        latest = time.monotonic() + START_SECONDS
        while time.monotonic() < latest and self._process.poll() is None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://{self._host}/", timeout=2) as answer,
            ):
                if answer.read(16).strip() == b"Ok":
                    return
            time.sleep(0.1)
        said = (self._folder / f"{self._name}.log").read_text(errors="replace")[-300:]
        raise Unavailable(f"the {self._name} emulator did not start: {said!r}")

    def follow_wish(self) -> None:
        """Be away as long as ``take_away`` wants it so."""
        away, gone = self._folder / f"{self._name}.away", self._folder / f"{self._name}.gone"
        if away.exists() and not gone.exists():
            self.end()
            gone.touch()
        elif gone.exists() and not away.exists():
            self._process = self._start()
            self.wait_until_ready()
            gone.unlink()

    def end(self) -> None:
        """End its group and wait for it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            latest = time.monotonic() + END_SECONDS / 2
            while self._is_there() and time.monotonic() < latest:
                time.sleep(0.05)

    def _start(self) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "CLOUDSDK_CONFIG": str(self._folder / "gcloud"), "JAVA_TOOL_OPTIONS": _JAVA}
        command = [*_KINDS[self._name].command, f"--host-port={self._host}", "--quiet"]
        if self._name == "pubsub":
            (self._folder / self._name).mkdir(exist_ok=True)
            command.append(f"--data-dir={self._folder / self._name}")
        with (self._folder / f"{self._name}.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own arguments
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ, start_new_session=True
            )

    def _is_there(self) -> bool:
        self._process.poll()
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_for_end(process: int, seconds: float) -> None:
    latest = time.monotonic() + seconds
    while time.monotonic() < latest:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process, os.WNOHANG)  # where it is our own child
        if not _is_running(process):
            return
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    keep(Path(sys.argv[1]))
