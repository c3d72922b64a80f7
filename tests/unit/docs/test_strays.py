"""No file names the machine that it was written on, or a registry that packages came from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from infra.local.catalogue import ROOT

# Put together, so that this file does not name them either.
_MACHINE = re.compile("|".join(rf"(?<![\w.:-])/{name}/" for name in ("work", "root", "home", "Users", "tmp/probe")))
_REGISTRY = re.compile(
    "|".join(("py" + "pi", "python" + "hosted", "index" + "-url", "arti" + "factory", "go" + "proxy")), re.I
)
_SKIPPED = {".git", ".venv", ".data", ".bench", "__pycache__"}


def files() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(part in _SKIPPED or (part.startswith(".") and part.endswith("_cache")) for part in parts)
        if path.is_file() and not hidden and ".hypothesis" not in parts:
            yield path


def strays(text: str) -> list[str]:
    return _MACHINE.findall(text) + _REGISTRY.findall(text)


def test_a_stray_is_noticed() -> None:
    assert strays("see " + "/wo" + "rk/main/x and https://" + "py" + "pi.org/simple")
    assert not strays("GET /mail/messages, docs/work/, https://host/home/x")


def test_no_file_names_a_machine_or_a_registry() -> None:
    named = {
        str(path.relative_to(ROOT)): found
        for path in files()
        if (found := strays(path.read_bytes().decode("utf-8", "replace")))
    }
    assert not named
