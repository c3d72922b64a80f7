"""Decisions have one shape, and the one about dependencies names every package that we chose."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from infra.local.catalogue import ROOT
from tests.unit.docs.pages import headings, name_in, page, table

FOLDER = ROOT / "docs/decisions"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name not in ("README.md", "template.md"))
DEPENDENCIES = page("docs/decisions/dependencies.md")
REQUIREMENTS = ("requirements.txt", "tests/requirements.txt")


@pytest.mark.parametrize("path", [*PAGES, FOLDER / "template.md"], ids=lambda path: path.stem)
def test_a_decision_has_date_status_and_four_parts(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    date = r"\d{4}-\d{2}-\d{2}" if path.name != "template.md" else "YYYY-MM-DD"
    assert re.search(rf"^Date: {date} · Status: (proposed|accepted|superseded by \[.+\]\(.+\))$", text, re.MULTILINE)
    assert [name for name in headings(text) if name in _PARTS] == list(_PARTS)
    assert len(text.splitlines()) <= 110, "one page"


_PARTS = ("Context", "Decision", "Consequences", "Evidence")


def test_the_index_lists_every_decision() -> None:
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", page("docs/decisions/README.md"))) == {
        path.name for path in [*PAGES, FOLDER / "template.md"]
    }


def _chosen(path: str) -> dict[str, str]:
    """The packages that a file of requirements pins for our own sake."""
    chosen, group = {}, "now"
    for line in (ROOT / path).read_text(encoding="utf-8").splitlines():
        if not line.strip():
            group = "now"
        elif line.startswith("# by way of"):
            group = "others"
        elif not line.startswith(("#", "-r ")) and group != "others":
            chosen[re.split(r"[=\[]", line)[0]] = group
    return chosen


@pytest.mark.parametrize(
    ("first", "path", "group"),
    [("Runtime", REQUIREMENTS[0], "now"), ("Tests", REQUIREMENTS[1], "now")],
    ids=["runtime", "tests"],
)
def test_every_package_that_is_used_is_explained(first: str, path: str, group: str) -> None:
    rows = table(DEPENDENCIES, first)
    assert {name_in(row[0]) for row in rows} == {name for name, kind in _chosen(path).items() if kind == group}
    assert all(len(row) == 3 and row[1] for row in rows)


def test_the_licences_are_those_of_the_installed_packages() -> None:
    for first in ("Runtime", "Tests"):
        for name, _, licence in table(DEPENDENCIES, first):
            about = metadata.metadata(name_in(name))
            said = about["License-Expression"] if "License-Expression" in about else about["License"]
            assert re.sub(r"[ -]", "", licence) == re.sub(r"[ -]", "", said), name
