"""The arrows of the design hold: who may import whom."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.catalogue import ROOT
from tests.unit.docs.pages import sources

LAYERS = (
    {"errors", "settings", "ports", "refs", "queries", "cas"},
    {"adapters", "identity", "vault", "privacy", "oauth", "events", "providers", "observability", "conversion"},
    {"http", "mail", "sets", "wiring"},
)
"""The parts of ``shared`` from below; an arrow may point down or sideways, never up."""

WEB = {"flask", "werkzeug", "functions_framework"}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(source: str) -> Iterator[str]:
    """The modules that a source imports, wherever in it; ``from shared import refs`` is ``shared.refs``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_below(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


ARROWS = [
    (module_of(path), imported)
    for path in sources("shared", "functions", "infra")
    for imported in set(imports_of(path.read_text(encoding="utf-8")))
]
"""Every import of the product: importing module, imported module or name."""


def arrows(start: str, *ends: str) -> list[tuple[str, str]]:
    return [(one, other) for one, other in ARROWS if is_below(one, start) and is_below(other, *ends)]


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def layer_of(module: str) -> int:
    [layer] = [number for number, parts in enumerate(LAYERS) if part_of(module) in parts]
    return layer


def test_imports_are_read_in_every_form() -> None:
    source = "import a.b\nfrom shared import refs\ndef f():\n    from shared.mail.live import look as l\n"
    assert set(imports_of(source)) == {"a.b", "shared.refs", "shared.mail.live.look"}
    assert is_below("shared.mail.live", "shared.mail")
    assert not is_below("shared.mailing", "shared.mail")


def test_there_are_arrows_to_judge() -> None:
    assert len(ARROWS) > 300
    assert arrows("functions", "shared.wiring")


def test_no_arrow_in_shared_points_up() -> None:
    inside = [(one, other) for one, other in arrows("shared", "shared") if one != "shared" and part_of(other)]
    assert [(one, other) for one, other in inside if layer_of(other) > layer_of(one)] == []


def test_shared_knows_neither_functions_nor_infra() -> None:
    assert arrows("shared", "functions", "infra", "tests") == []


def test_functions_know_only_the_wiring_and_no_infra() -> None:
    assert arrows("functions", "infra", "tests") == []
    assert {other for _, other in arrows("functions", "shared")} == {"shared.wiring"}


def test_nothing_outside_the_tests_imports_them() -> None:
    assert arrows("infra", "tests") == []


@pytest.mark.parametrize("simulator", ["google", "microsoft", "simulated"])
def test_no_simulator_knows_anything_of_the_engine_or_its_providers(simulator: str) -> None:
    used = {other for _, other in arrows(f"infra.local.{simulator}", "shared")}
    assert not any(is_below(other, "shared.mail", "shared.providers", "shared.wiring") for other in used)
    assert all(is_below(other, "shared.ports.Clock", "shared.adapters.embedded.clock") for other in used), used


def test_the_simulators_know_nothing_of_each_other_and_what_they_share_nothing_of_them() -> None:
    assert arrows("infra.local.google", "infra.local.microsoft") == []
    assert arrows("infra.local.microsoft", "infra.local.google") == []
    assert arrows("infra.local.simulated", "infra.local.google", "infra.local.microsoft") == []


def test_no_part_of_the_laptop_reaches_into_the_engine_or_its_providers() -> None:
    assert arrows("infra", "shared.mail", "shared.providers") == []


@pytest.mark.parametrize("path", sorted((ROOT / "infra/local").glob("verify*.py")), ids=lambda path: path.stem)
def test_the_verdict_knows_nothing_of_the_product_not_even_through_others(path: Path) -> None:
    known = {module_of(path) for path in sources("infra", "shared")}
    seen: set[str] = set()
    waiting = [module_of(path)]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        for one, other in ARROWS:
            if one == module:
                waiting += [name for name in known if other == name or other.rpartition(".")[0] == name]
    assert not [name for name in seen if is_below(name, "shared")]


def test_mail_knows_what_providers_yield_and_no_provider() -> None:
    assert {other.rpartition(".")[0] for _, other in arrows("shared.mail", "shared.providers")} == {
        "shared.providers.base"
    }


def test_a_provider_knows_no_other_and_nothing_of_the_engine() -> None:
    assert arrows("shared.providers", "shared.mail", "shared.events", "shared.vault", "shared.adapters") == []
    assert arrows("shared.providers.gmail", "shared.providers.graph") == []
    assert arrows("shared.providers.graph", "shared.providers.gmail") == []
    assert arrows("shared.providers.http", "shared.providers.gmail", "shared.providers.graph") == []


def test_consent_knows_no_provider_and_no_engine() -> None:
    assert (
        arrows(
            "shared.oauth",
            "shared.providers.gmail",
            "shared.providers.graph",
            "shared.mail",
            "shared.events",
            "shared.adapters",
        )
        == []
    )


def test_only_the_sets_know_adapters_and_only_the_wiring_knows_sets_and_providers() -> None:
    def known(to: str) -> set[str]:
        return {one for one, other in arrows("shared", to) if part_of(one) != part_of(other)}

    assert known("shared.adapters") == {"shared.sets", "shared.wiring"}  # the wiring takes the clock of last resort
    assert (
        known("shared.sets") == known("shared.providers.gmail") == known("shared.providers.graph") == {"shared.wiring"}
    )


def test_only_http_and_the_wiring_import_a_web_framework() -> None:
    users = {one for one, other in ARROWS if is_below(one, "shared") and other.split(".")[0] in WEB}
    assert {part_of(one) for one in users} == {"http", "wiring"}


def test_the_kernel_needs_no_package() -> None:
    own = {f"shared.{part}" for part in LAYERS[0]}
    standard = {"__future__", "base64", "collections", "dataclasses", "enum", "hashlib", "os", "re", "typing"}
    used = {other for one, other in ARROWS if one in own and not is_below(other, "shared")}
    assert {other.split(".")[0] for other in used} <= standard


def test_nothing_outside_the_laptop_and_the_tests_mentions_simulators() -> None:
    files = [*sources("shared", "functions"), ROOT / "infra/functions.yaml", ROOT / "requirements.txt"]
    word = re.compile(r"simulat|\bfakes?\b|\bstubs?\b", re.IGNORECASE)
    assert [str(path) for path in files if word.search(path.read_text(encoding="utf-8"))] == []
