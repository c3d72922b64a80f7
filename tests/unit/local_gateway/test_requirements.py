"""The pinned requirements are what the code imports, with everything that these need, in the versions installed."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from infra.local.catalogue import ROOT

RUNTIME, TESTS = ROOT / "requirements.txt", ROOT / "tests" / "requirements.txt"
OWN = {"shared", "functions", "infra", "tests", "_typeshed"}
TOOLS = {"mypy", "ruff", "types-pyyaml", "pytest-socket", "pytest-xdist"}
PROVIDED_BY = {"googleapiclient": {"google-api-python-client"}, "yaml": {"pyyaml"}, "jwt": {"pyjwt"}}

_PROVIDERS = metadata.packages_distributions()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pins(path: Path) -> dict[str, tuple[Requirement, str]]:
    """Each pinned requirement and the group it stands in: direct or by way of."""
    pins, group = {}, "direct"
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            group = "direct"
        elif line.startswith("# by way of"):
            group = "by way of"
        elif not line.startswith(("#", "-r ")):
            requirement = Requirement(line)
            assert _normal(requirement.name) not in pins, line
            assert re.fullmatch(r"==[^*]+", str(requirement.specifier)), f"not pinned: {line}"
            pins[_normal(requirement.name)] = (requirement, group)
    return pins


def _imports(*folders: str) -> dict[str, str]:
    """Top-level third-party modules and a file that imports each."""
    found = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for module in _modules(ast.parse(path.read_text(encoding="utf-8"))):
                if module.split(".")[0] not in OWN | set(sys.stdlib_module_names):
                    found[module.split(".")[0]] = str(path.relative_to(ROOT))
    return found


def _modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def _distributions(module: str) -> set[str]:
    return PROVIDED_BY.get(module) or {_normal(name) for name in _PROVIDERS.get(module, ())}


def test_what_the_product_imports_is_pinned() -> None:
    pins = _pins(RUNTIME)
    missing = {
        module: path
        for module, path in _imports("shared", "functions", "infra").items()
        if not any(pins.get(name, (None, ""))[1] == "direct" for name in _distributions(module))
    }
    assert not missing


def test_what_the_tests_import_is_pinned() -> None:
    pins = _pins(RUNTIME) | _pins(TESTS)
    assert not {module: path for module, path in _imports("tests").items() if not _distributions(module) & pins.keys()}


@pytest.mark.parametrize(
    ("path", "folders"), [(RUNTIME, ("shared", "functions", "infra")), (TESTS, ("tests",))], ids=["runtime", "tests"]
)
def test_what_is_pinned_is_imported(path: Path, folders: tuple[str, ...]) -> None:
    imported = {name for module in _imports(*folders) for name in _distributions(module)}
    direct = {name for name, (_, group) in _pins(path).items() if group == "direct"}
    assert direct - imported - TOOLS == set()


def test_everything_that_the_pins_need_is_pinned_too() -> None:
    for path in (RUNTIME, TESTS):
        pins = _pins(RUNTIME) | (_pins(TESTS) if path is TESTS else {})
        for name, (requirement, _) in _pins(path).items():
            for text in metadata.requires(name) or ():
                need = Requirement(text)
                extras = requirement.extras or {""}
                if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras):
                    assert _normal(need.name) in pins, f"{name} needs {need}"


def test_what_is_installed_is_what_is_pinned() -> None:
    for name, (requirement, _) in (_pins(RUNTIME) | _pins(TESTS)).items():
        assert requirement.specifier.contains(metadata.version(name)), f"{requirement}: run make again"
