"""Time, chance and the environment come in through one door each: the Clock port, and the settings."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from infra.local.catalogue import ROOT
from tests.unit.docs.pages import sources

MODULES = {"time", "random", "secrets"}
"""Modules of the standard library that nobody needs for anything else."""

NAMES = {
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "os": {"urandom", "getrandom", "environ", "environb", "getenv", "getenvb", "putenv", "times"},
    "uuid": {"uuid1", "uuid4", "uuid6", "uuid7", "uuid8"},
}
"""What may not be asked of modules and classes that have other uses."""

DOORS = {"shared/adapters/embedded/clock.py": {"secrets", "time"}, "shared/settings.py": {"os.environ"}}


def impurities(source: str) -> set[str]:
    """Every way to time, chance or the environment in a source."""
    found = set()
    names: dict[str, str] = {}
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES}
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            if node.module in MODULES:
                found.add(node.module)
            forbidden = NAMES.get(node.module, set())
            found |= {f"{node.module}.{alias.name}" for alias in node.names if alias.name in forbidden}
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            owner = names.get(owner, owner)
            if node.attr in NAMES.get(owner, ()):
                found.add(f"{owner}.{node.attr}")
    return found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\ntime.time()", {"time"}),
        ("from time import monotonic", {"time"}),
        ("import random as chance", {"random"}),
        ("import secrets", {"secrets"}),
        ("from shared.adapters.embedded import secrets", set()),
        ("import datetime\ndatetime.datetime.now()", {"datetime.now"}),
        ("from datetime import datetime as d\nd.now()", {"datetime.now"}),
        ("from datetime import date\ndate.today()", {"date.today"}),
        ("from datetime import datetime\ndatetime.fromtimestamp(0)", set()),
        ("import uuid\nuuid.uuid4()", {"uuid.uuid4"}),
        ("from uuid import uuid4", {"uuid.uuid4"}),
        ("import uuid\nuuid.uuid5(uuid.NAMESPACE_URL, '')", set()),
        ("import os\nos.environ['A']", {"os.environ"}),
        ("from os import environ", {"os.environ"}),
        ("import os as system\nsystem.urandom(1)", {"os.urandom"}),
        ("import os\nos.path.join('a')", set()),
        ("clock.now()\nrequest.environ", set()),
    ],
)
def test_every_way_out_is_noticed(source: str, found: set[str]) -> None:
    assert impurities(source) == found


@pytest.mark.parametrize("path", [*sources("shared", "functions")], ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_reads_time_chance_or_the_environment_but_the_doors(path: Path) -> None:
    expected = DOORS.get(str(path.relative_to(ROOT)), set())
    assert impurities(path.read_text(encoding="utf-8")) == expected
