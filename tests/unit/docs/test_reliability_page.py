"""docs/reliability.md names every invariant that the checker has, and no other."""

from __future__ import annotations

import re

from infra.local.catalogue import ROOT
from tests.chaos.simulation import checker

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
INVARIANTS = {
    *checker.ON_COMMIT, *checker.ON_PUBLISH, *checker.ON_ENQUEUE, *checker.ON_ANSWER, *checker.ON_REQUEST,
    *checker.AT_REST,
}  # fmt: skip


def test_every_invariant_stands_for_a_promise() -> None:
    promised = PAGE.partition("## How it is tested")[0]
    named = set(re.findall(r"`([a-z_0-9]{12,})`", promised))
    assert named - {"simulation"} >= INVARIANTS
    assert {name for name in named if name.count("_") >= 2} <= INVARIANTS


def test_every_command_that_proves_something_exists() -> None:
    for module in re.findall(r"`python -m ([a-z_.]+)", PAGE):
        assert (ROOT / module.replace(".", "/") / "__main__.py").exists(), module
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", PAGE)) <= targets
    for path in re.findall(r"`(tests/[a-z_/]+\.py)`", PAGE):
        assert (ROOT / path).exists(), path
