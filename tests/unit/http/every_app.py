"""The Flask apps below all functions, as the wiring makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from infra.local.catalogue import load
from infra.local.world import settings_in, token_for
from shared import wiring
from shared.adapters.embedded.clock import VirtualClock
from shared.http import app as http_app
from shared.sets import embedded
from shared.wiring import Brainstem

OPEN = tuple(
    function.name for function in load() if function.trigger == ("http", "True") and function.name != "graph_push"
)
"""The functions that people and their applications call."""


class EveryApp:
    """One instance of each function on one store, under a virtual clock; ``settings`` change it."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.settings = settings_in(
            folder, **{"auth_issuer": "https://brain.example", "rate_limits": (), "trusted_proxies": 1, **settings}
        )
        self.ports = embedded(self.settings, self.clock, synchronous="OFF")
        made: list[Flask] = []

        def as_function(app: Flask) -> Any:
            made.append(app)
            return http_app.as_function(app)

        patch.setattr(wiring, "as_function", as_function)
        product = Brainstem(self.settings, self.ports)
        self.apps: dict[str, Flask] = {}
        for function in load():
            getattr(product, function.entry_point)
            self.apps[function.name] = made.pop()
        assert not made

    def bearer(self, uid: str = "ann") -> dict[str, str]:
        return {"Authorization": f"Bearer {token_for(uid, self.clock.now())}"}

    def routes(self, *functions: str) -> list[tuple[str, str, str, str]]:
        """Function, method, a path, and the rule that it belongs to."""
        return [
            (name, method, _path(rule.rule), rule.rule)
            for name, app in self.apps.items()
            if not functions or name in functions
            for rule in app.url_map.iter_rules()
            for method in sorted(rule.methods or ())
        ]


def _path(rule: str) -> str:
    """A path that fits a rule."""
    parts = []
    for part in rule.split("/"):
        if part.startswith("<any("):
            parts.append(part.removeprefix("<any(").partition(")")[0].split(",")[0])
        else:
            parts.append("x1" if part.startswith("<") else part)
    return "/".join(parts)
