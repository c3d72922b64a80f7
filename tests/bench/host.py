"""What was measured on: timings mean nothing without it."""

from __future__ import annotations

import os
import platform
import sqlite3
from pathlib import Path


def describe(disk: Path) -> dict[str, str]:
    """The machine in words, in the order in which they are shown; ``disk`` is where the files of the bench lie."""
    one, five, _ = os.getloadavg()
    return {
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "cpu": _cpu_model(),
        "python": f"{platform.python_implementation()} {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        "platform": platform.platform(),
        "disk": _filesystem(disk),
        "load before": f"{one:.1f} over a minute, {five:.1f} over five",
    }


def _cpu_model() -> str:
    """The model's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _filesystem(path: Path) -> str:
    """The kind of file system below a path, where the system tells it."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "unknown"
    above = [(point, kind) for point, kind in mounts if path.resolve().is_relative_to(point)]
    return max(above, key=lambda mount: len(mount[0]), default=("", "unknown"))[1]
