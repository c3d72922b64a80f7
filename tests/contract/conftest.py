from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.worlds import WORLDS, World


@pytest.fixture(params=sorted(WORLDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(kind: str, tmp_path: Path) -> Iterator[World]:
    world = WORLDS[kind](tmp_path)
    yield world
    world.close()
