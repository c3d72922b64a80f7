"""Every environment variable that anything reads is in ``docs/settings.md``, and nothing else is."""

from __future__ import annotations

import ast
import re
from dataclasses import fields

import pytest

from infra.local.catalogue import ROOT
from shared.settings import Settings
from tests.unit.docs.pages import name_in, page, sources, table

PAGE = page("docs/settings.md")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)*\Z")


def variables_touched(source: str) -> set[str]:
    """The names by which a module gets at the environment: keys, arguments, and lists and dicts of variables."""
    tree = ast.parse(source)
    if not any(_is_environment(node) for node in ast.walk(tree)):
        return set()
    found: list[ast.AST | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and _is_environment(node.value):
            found.append(node.slice)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if _is_environment(node.func) or _is_environment(node.func.value):
                found += node.args[:1]
        elif isinstance(node, ast.Dict):
            found += node.keys
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
            found += node.value.elts
    texts = {node.value for node in found if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if _VARIABLE.match(text)}


def _is_environment(node: ast.AST) -> bool:
    """``os.environ``, ``os.getenv``, or our own function that makes an environment for a child."""
    if isinstance(node, ast.Attribute):
        return node.attr in ("environ", "getenv", "putenv") and getattr(node.value, "id", "") == "os"
    return "local_environment" in (getattr(node, "id", ""), getattr(node, "name", ""))


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.environ.get('SECRET_SWITCH')",
        "import os\nos.environ['SECRET_SWITCH']",
        "import os\nos.getenv('SECRET_SWITCH')",
        "import os\nNAMES = ('SECRET_SWITCH', 'x')\nfor name in NAMES: os.environ.pop(name)",
        "x = local_environment() | {'SECRET_SWITCH': '1'}",
    ],
)
def test_a_variable_that_is_touched_is_noticed(source: str) -> None:
    assert variables_touched(source) == {"SECRET_SWITCH"}


def test_other_names_in_capitals_are_left_alone() -> None:
    assert variables_touched("def app(environ):\n    return environ['PATH_INFO'], {'SECRET_SWITCH': 1}") == set()


def test_every_variable_that_is_read_or_set_is_documented() -> None:
    missing = {
        (str(path.relative_to(ROOT)), name)
        for path in sources("functions", "shared", "infra", "tests/bench")
        for name in variables_touched(path.read_text(encoding="utf-8"))
        if not re.search(rf"\b{name}\b", PAGE)
    }
    assert not missing


def test_the_makefiles_variables_are_documented_with_their_defaults() -> None:
    made = re.findall(r"^([A-Z_]+) \?= ?(.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    documented = {name_in(row[0]): row[1] for row in table(PAGE, "Argument")}
    assert documented == {name: f"`{default}`" if default else "-" for name, default in made}


def test_what_the_schedule_of_a_function_names_is_a_setting() -> None:
    named = re.findall(r"schedule: (\w+)", (ROOT / "infra/functions.yaml").read_text(encoding="utf-8"))
    assert set(named) <= {spec.metadata["env"] for spec in fields(Settings)}
