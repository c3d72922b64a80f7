"""The wire between an adapter and a simulated provider: in one process, written down, and able to lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import flask

from infra.local.world import InProcess
from shared.errors import Paced
from shared.providers.http.wire import HttpAnswer, HttpLike


@dataclass(slots=True)
class Purse:
    """A meter that counts, and can be empty; ``log`` has what was spent and asked, in order."""

    log: list[str] = field(default_factory=list)
    spent: float = 0.0
    empty: bool = False

    def room(self) -> float:
        return 0.0 if self.empty else float("inf")

    def spend(self, units: float) -> None:
        if self.empty:
            raise Paced(retry_after=1.0)
        self.spent += units
        self.log.append("spend")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it went out, and what came back."""

    verb: str
    uri: str
    headers: Mapping[str, str]
    answer: bytes


class Wire:
    """An HTTP client whose server is a WSGI application; ``http`` hands requests on."""

    def __init__(self, app: flask.Flask, purse: Purse) -> None:
        self.http: HttpLike = InProcess(app)
        self.asked: list[Asked] = []
        self.instead: Callable[[Mapping[str, str], Any], tuple[HttpAnswer, bytes]] | None = None
        """Answers in place of the server."""
        self.rewrite: Callable[[dict[str, str]], dict[str, str]] = lambda headers: headers
        """Changes the headers of a request on its way."""
        self._purse = purse

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[HttpAnswer, bytes]:
        sent = self.rewrite(dict(headers or {}))
        self._purse.log.append(f"{method} {uri}")
        if self.instead is not None:
            return self.instead(sent, body)
        answer, content = self.http.request(uri, method, body, sent)
        self.asked.append(Asked(method, uri, sent, content))
        return answer, content
