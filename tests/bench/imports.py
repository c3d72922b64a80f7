"""How long a hot function needs before its first request: fresh interpreters, warm bytecode.

Counted from the first import to a callable that could serve: functions-framework with Flask, ``functions/<name>/main.py``
loaded by the framework as in the cloud, and the wired use case built. The start of the interpreter is not part of it.
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

IMPORTS = "import of a hot function, seconds"
FUNCTIONS = ("sync", "gmail_push", "graph_push", "api")
"""The hot ones; those that do not exist yet are left out."""

RUNS = 7
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
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    figures: list[Figure] = []
    for name in FUNCTIONS:
        source = ROOT / "functions" / name / "main.py"
        if not source.exists():
            continue
        advance(f"import {name}")
        _run(name, source, environment)
        samples = [json.loads(_run(name, source, environment).stdout) for _ in range(RUNS)]
        framework, module, built, cpu = (Spread.of(column) for column in zip(*samples, strict=True))
        whole = Spread.of([sum(sample[:3]) for sample in samples])
        split = f"framework {framework.middle:.2f}, main.py {module.middle:.2f}, use case {built.middle:.2f}"
        packages = _packages(name, source, environment)
        largest = ", ".join(f"{package} {own:.0f}" for package, own in packages)
        figures += [
            whole.figure(IMPORTS, name, "s", IMPORT_S, split),
            cpu.figure(IMPORTS, f"{name}: CPU", "s", note=f"own modules, ms: {largest}"),
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
    """The top-level packages whose own modules take the most milliseconds to import, their dependencies not included."""
    microseconds: Counter[str] = Counter()
    for line in _run(name, source, environment, "-X", "importtime").stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            microseconds[parts[2].strip().partition(".")[0]] += int(parts[0])
    return [(package, own / 1e3) for package, own in microseconds.most_common(NAMED)]
