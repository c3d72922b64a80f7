"""The documentation as tests read it: pages, tables, code blocks, headings, and the parts that are generated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from infra.local.catalogue import ROOT

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CELL = re.compile(r"(?<!\\)\|")


def pages() -> list[Path]:
    """Every page a reader may open."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def page(name: str) -> str:
    """The text of one page, by its path from the root."""
    return (ROOT / name).read_text(encoding="utf-8")


def sources(*folders: str) -> Iterator[Path]:
    """The Python files below folders of the root."""
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def table(text: str, first_column: str) -> list[list[str]]:
    """The rows of the table whose header starts with this column; fails where there is none."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("|") and _cells(line)[0] == first_column:
            rows = []
            for row in lines[number + 2 :]:
                if not row.startswith("|"):
                    break
                rows.append(_cells(row))
            return rows
    raise AssertionError(f"There is no table whose first column is {first_column}.")


def name_in(cell: str) -> str:
    """What a cell has between its first backticks."""
    found = re.search(r"`([^`]+)`", cell)
    assert found, cell
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    """The contents of the code blocks in a language."""
    return [content for name, content in _BLOCK.findall(text) if name == language]


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its own level or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert found, f"There is no heading {heading}."
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", _without_code(rest), re.MULTILINE)
    return rest[: end.start()] if end else rest


def headings(text: str) -> list[str]:
    """All headings, as they are written."""
    return re.findall(r"^#+ (.+)$", _without_code(text), re.MULTILINE)


def prose(text: str) -> str:
    """The page without its code blocks, at the same length."""
    return _without_code(text)


def _without_code(text: str) -> str:
    return _BLOCK.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in _CELL.split(line.strip())[1:-1]]
