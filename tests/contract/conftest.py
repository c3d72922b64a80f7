from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.emulators import Unavailable
from tests.contract.worlds import WORLDS, World


@pytest.fixture(
    params=[pytest.param(kind, marks=pytest.mark.emulators) if kind == "cloud" else kind for kind in WORLDS]
)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(kind: str, tmp_path: Path) -> Iterator[World]:
    try:
        world = WORLDS[kind](tmp_path)
    except Unavailable as error:
        pytest.skip(str(error))
    yield world
    world.close()
