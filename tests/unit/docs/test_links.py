"""What the documentation points to is there: pages, headings, files, tests, make targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.local.catalogue import ROOT
from tests.unit.docs.pages import headings, page, pages, prose

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:shared|functions|infra|tests|docs|\.ci)/[\w./*-]*)(?:::(\w+))?`")
_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
_ARGUMENTS = set(re.findall(r"^([A-Z]+) \?=", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

each_page = pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken_links(path: Path, text: str) -> list[str]:
    broken = []
    for target in _LINK.findall(prose(text)):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        found = there.exists() and there.is_relative_to(ROOT)
        if found and anchor:
            found = anchor in map(slug, headings(there.read_text(encoding="utf-8") if file else text))
        if not found:
            broken.append(target)
    return broken


def test_a_broken_link_is_noticed() -> None:
    text = "# Brainstem\n[a](nowhere.md) [b](#brainstem) [c](#three) [d](README.md#nothing) [e](docs/)"
    assert broken_links(ROOT / "README.md", text) == ["nowhere.md", "#three", "README.md#nothing"]


@each_page
def test_links_resolve(path: Path) -> None:
    assert broken_links(path, path.read_text(encoding="utf-8")) == []


@each_page
def test_files_and_tests_that_a_page_names_exist(path: Path) -> None:
    missing = []
    for name, test in _PATH.findall(path.read_text(encoding="utf-8")):
        found = list(ROOT.glob(name.rstrip("/")))
        if not found or (test and f"def {test}(" not in found[0].read_text(encoding="utf-8")):
            missing.append(f"{name}::{test}" if test else name)
    assert not missing


@each_page
def test_make_targets_that_a_page_names_exist(path: Path) -> None:
    for command in re.findall(
        r"(?:^|`)make(?: -s)? ([a-z][\w-]*(?: [A-Z]+=\S*)*)", path.read_text(encoding="utf-8"), re.M
    ):
        target, *arguments = command.strip("`").split()
        assert target in _TARGETS, command
        assert {argument.partition("=")[0] for argument in arguments} <= _ARGUMENTS, command


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in seen or path.suffix != ".md":
            continue
        seen.add(path)
        for target in _LINK.findall(prose(path.read_text(encoding="utf-8"))):
            if not target.startswith(("http", "#")):
                waiting.append((path.parent / target.partition("#")[0]).resolve())
    assert set(pages()) <= seen


def test_no_line_of_prose_is_left_unfinished() -> None:
    for path in pages():
        assert not re.search(r"\b(TODO|TBD|FIXME|lorem)\b", path.read_text(encoding="utf-8")), path
        assert page(str(path.relative_to(ROOT))).endswith("\n")
