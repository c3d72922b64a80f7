"""``docs/architecture.md`` names the folders, states and kinds of step that the code has."""

from __future__ import annotations

import ast
import re

from infra.local.catalogue import ROOT
from shared.events.publish import EVENTS_TOPIC, SEGMENTS_TOPIC
from shared.mail.tasks import KINDS, QUEUE
from tests.unit.docs.pages import name_in, page, sources, table

PAGE = page("docs/architecture.md")


def test_the_layout_names_every_part_of_shared() -> None:
    parts = {path.name for path in (ROOT / "shared").iterdir() if path.name not in ("__init__.py", "__pycache__")}
    assert {name_in(row[0]).removeprefix("shared/").rstrip("/") for row in table(PAGE, "Part")} == parts


def test_the_states_are_those_that_the_engine_sets() -> None:
    """A status is written as ``status="..."``, or assigned to ``status`` in ``settled``."""
    found = set()
    for path in sources("shared/mail"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "status" and isinstance(node.value, ast.Constant):
                found.add(node.value.value)
            elif isinstance(node, ast.FunctionDef) and node.name == "settled":
                found |= {
                    one.value
                    for assigned in ast.walk(node)
                    if isinstance(assigned, ast.Assign)
                    for one in ast.walk(assigned.value)
                    if isinstance(one, ast.Constant) and isinstance(one.value, str)
                }
    assert {name_in(row[0]) for row in table(PAGE, "Status")} == found


def test_the_kinds_of_step_are_those_of_the_engine() -> None:
    assert [name_in(row[0]) for row in table(PAGE, "Kind")] == list(KINDS)


def test_topics_and_queue_have_their_names() -> None:
    for name in (EVENTS_TOPIC, SEGMENTS_TOPIC, "gmail", QUEUE):
        assert re.search(rf"`{name}`", PAGE), name
