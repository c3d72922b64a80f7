"""How long a hot function needs before its first request: fresh interpreters, warm bytecode.

Counted from the first import to a callable that could serve: functions-framework with Flask, ``functions/<name>/main.py``
loaded by the framework as in the cloud, and the wired use case built. The start of the interpreter is not part of it.

Both sets of adapters are looked at. Those of Google Cloud are built with the credentials of a user that there is not: they
are read, and nothing is asked of the network. A service asks its machine for credentials instead, which is not counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from infra.local.catalogue import ROOT
from infra.local.environment import local_environment
from tests.bench.figures import IMPORT_S, Figure, Spread

IMPORTS, IN_THE_CLOUD = "import of a hot function, seconds", "import of a hot function with BACKEND=cloud, seconds"
FUNCTIONS = ("sync", "gmail_push", "graph_push", "api")
"""The hot ones; those that do not exist yet are left out."""

RUNS, RUNS_IN_THE_CLOUD = 7, 3
PROJECT = "brainstem-bench"
TIMEOUT = 60.0
NAMED = 6
"""How many packages are named as those that take the most."""

_PROBE = """
import json, sys, time
marks = [time.perf_counter()]
cpu = time.process_time()
import functions_framework
marks.append(time.perf_counter())
functions_framework.create_app(target=sys.argv[1], source=sys.argv[2])
marks.append(time.perf_counter())
from shared import wiring
getattr(wiring.from_env(), sys.argv[1])
marks.append(time.perf_counter())
print(json.dumps([*[end - start for start, end in zip(marks, marks[1:])], time.process_time() - cpu]))
"""


def measure(folder: Path, advance: Callable[[str], None]) -> list[Figure]:
    """Start them all; ``advance`` hears what is being done."""
    nowhere = "http://127.0.0.1:9"
    environment = {**os.environ, **local_environment(folder, nowhere, nowhere), "PYTHONPATH": str(ROOT)}
    for variable in ("PYTHONDONTWRITEBYTECODE", "FIRESTORE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST"):
        environment.pop(variable, None)
    figures = _measured(IMPORTS, environment, RUNS, advance)
    cloud = {**environment, **cloud_environment(folder)}
    return figures + _measured(IN_THE_CLOUD, cloud, RUNS_IN_THE_CLOUD, lambda what: advance(f"{what}, BACKEND=cloud"))


def cloud_environment(folder: Path) -> dict[str, str]:
    """What differs from a local environment where the adapters are the cloud's; writes credentials into ``folder``."""
    user = {"type": "authorized_user", "client_id": "bench", "client_secret": "-", "refresh_token": "-"}
    credentials = folder / "credentials.json"
    credentials.write_text(json.dumps(user))
    return {
        "BACKEND": "cloud",
        "K_SERVICE": "a-function",
        "INVOKER_SECRET": "",  # of development alone
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "CLOUD_LOCATION": "europe-west1",
        "GMAIL_TOPIC": f"projects/{PROJECT}/topics/gmail",
        "GOOGLE_APPLICATION_CREDENTIALS": str(credentials),
        "NO_GCE_CHECK": "true",
    }


def _measured(section: str, environment: dict[str, str], runs: int, advance: Callable[[str], None]) -> list[Figure]:
    figures: list[Figure] = []
    for name in FUNCTIONS:
        source = ROOT / "functions" / name / "main.py"
        if not source.exists():
            continue
        advance(f"import {name}")
        _run(name, source, environment)
        samples = [json.loads(_run(name, source, environment).stdout) for _ in range(runs)]
        framework, module, built, cpu = (Spread.of(column) for column in zip(*samples, strict=True))
        whole = Spread.of([sum(sample[:3]) for sample in samples])
        split = f"framework {framework.middle:.2f}, main.py {module.middle:.2f}, use case {built.middle:.2f}"
        packages = _packages(name, source, environment)
        largest = ", ".join(f"{package} {own:.0f}" for package, own in packages)
        figures += [
            whole.figure(section, name, "s", IMPORT_S, split),
            cpu.figure(section, f"{name}: CPU", "s", note=f"own modules, ms: {largest}"),
        ]
    return figures


def _run(name: str, source: Path, environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", _PROBE, name, str(source)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )


def _packages(name: str, source: Path, environment: dict[str, str]) -> list[tuple[str, float]]:
    """The packages whose own modules take the most milliseconds to import, their dependencies not included."""
    microseconds: Counter[str] = Counter()
    for line in _run(name, source, environment, "-X", "importtime").stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            microseconds[package_of(parts[2].strip())] += int(parts[0])
    return [(package, own / 1e3) for package, own in microseconds.most_common(NAMED)]


def package_of(module: str) -> str:
    """The top-level package of a module; below the namespaces of Google the one after."""
    parts = module.split(".")
    depth = 3 if parts[:2] == ["google", "cloud"] else 2 if parts[0] == "google" else 1
    return ".".join(parts[:depth])
