"""The tables of the documentation that the code knows better than people.

``python -m tests.unit.docs.tables`` writes them into their pages; ``test_tables`` demands that they are as written here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

from infra.local.catalogue import ROOT, load
from shared.errors import BrainstemError
from shared.http.errors import HTTP_CODES
from shared.settings import Settings
from tests.chaos.mutants.__main__ import markdown
from tests.unit.docs.pages import page


def settings() -> str:
    """Every setting, in the order of ``shared/settings.py``."""
    rows = [(f"`{spec.metadata['env']}`", _shown(spec.default), spec.metadata["meaning"]) for spec in fields(Settings)]
    return _table(("Variable", "Default", "Meaning"), rows)


def errors() -> str:
    """Every class of ``shared/errors.py``, the tree walked from its root."""
    rows = [
        (
            f"{'&nbsp;&nbsp;' * depth}`{kind.__name__}`",
            f"`{kind.code}`",
            str(kind.status),
            "again" if kind.retry else "-",
            (kind.__doc__ or "").split("\n")[0],
        )
        for depth, kind in error_tree()
    ]
    return _table(("Class", "Code", "HTTP", "Trigger", "Meaning"), rows)


def http_errors() -> str:
    """What only HTTP knows."""
    return _table(("HTTP", "Code"), [(str(status), f"`{code}`") for status, code in sorted(HTTP_CODES.items())])


def functions() -> str:
    """Every function of ``infra/functions.yaml``."""
    rows = [
        (
            f"`{one.name}`",
            " ".join(part for part in (one.trigger[0], f"`{one.trigger[1]}`") if part != "`True`"),
            ", ".join(f"`{prefix}`" for prefix in one.prefixes),
            "anyone" if one.public else "invokers",
            one.grants,
            ", ".join(f"`{secret}`" for secret in one.secrets) or "-",
            ", ".join(f"`{topic}`" for topic in one.publishes) or "-",
            str(one.concurrency),
            f"{one.timeout_seconds} s",
        )
        for one in load()
    ]
    return _table(
        ("Function", "Trigger", "Path", "Reached by", "Grants", "Secrets", "Publishes", "At once", "Limit"), rows
    )


def error_tree(kind: type[BrainstemError] = BrainstemError, depth: int = 0) -> Iterable[tuple[int, type[Any]]]:
    """The classes of the error tree with their depth, parents first."""
    yield depth, kind
    for child in kind.__subclasses__():
        if child.__module__ == BrainstemError.__module__:
            yield from error_tree(child, depth + 1)


TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "settings": ("docs/settings.md", settings),
    "errors": ("docs/errors.md", errors),
    "http-errors": ("docs/errors.md", http_errors),
    "functions": ("docs/architecture.md", functions),
    "mutants": ("docs/reliability.md", lambda: f"{markdown()}\n"),
}
"""Name of a generated part -> the page that holds it, and what writes it."""


def part(text: str, name: str) -> re.Match[str]:
    """Where a page holds a generated part; group 2 is its content. Fails where there is none."""
    found = re.search(rf"(<!-- generated: {name} -->\n)(.*?)(<!-- end -->)", text, re.DOTALL)
    assert found, f"There is no place for {name}."
    return found


def main() -> int:
    """Write every table into its page."""
    for name, (path, write) in TABLES.items():
        text = page(path)
        found = part(text, name)
        (ROOT / path).write_text(text[: found.start(2)] + write() + text[found.end(2) :], encoding="utf-8")
    return 0


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return f"`{default}`" if default != "" else "-"


if __name__ == "__main__":
    sys.exit(main())
