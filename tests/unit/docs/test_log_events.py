"""``docs/architecture.md`` lists every log event that the product writes, and no other."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.unit.docs.pages import name_in, page, section, sources, table

LEVELS = {"debug", "info", "warning", "error"}


def _names() -> Iterator[str]:
    """What is said to a module's log, also by a name for one of its levels."""
    for path in sources("shared"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            to = node.func
            logged = isinstance(to, ast.Attribute) and to.attr in LEVELS and ast.unparse(to.value) == "_LOG"
            if logged or (isinstance(to, ast.Name) and to.id == "say"):
                yield str(node.args[0].value)


def test_every_log_event_is_listed() -> None:
    listed = [name_in(row[0]) for row in table(section(page("docs/architecture.md"), "Log events"), "Event")]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(_names())
