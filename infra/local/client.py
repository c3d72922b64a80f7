"""A small JSON client over one keep-alive pool, for everything that the local commands ask of a server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import urllib3

TIMEOUT = urllib3.Timeout(connect=5.0, read=30.0)


class AnswerError(Exception):
    """The server answered with an error status."""

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.details = details


class ServerAway(Exception):
    """The server could not be reached, or the connection broke before it answered."""


class JsonClient:
    """Talks JSON to one base URL with one bearer token. Raises ``AnswerError`` and ``ServerAway``; repeats nothing."""

    def __init__(self, base: str, token: str = "") -> None:
        self._base = base
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._pool = urllib3.PoolManager(maxsize=8, timeout=TIMEOUT, retries=False)

    def get(self, path: str, **query: Any) -> Any:
        """GET; query values of None are left out."""
        pairs = {name: value for name, value in query.items() if value is not None}
        return self._call("GET", f"{path}?{urlencode(pairs)}" if pairs else path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST a JSON object."""
        return self._call("POST", path, body)

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """PUT a JSON object."""
        return self._call("PUT", path, body)

    def walk(self, path: str, key: str, **query: Any) -> Iterator[Any]:
        """Everything in a paged list that ends; a page may be empty and still name a next one."""
        after = None
        while True:
            page = self.get(path, after=after, **query)
            yield from page[key]
            after = page["next"]
            if after is None:
                return

    def walk_log(self, path: str, key: str, **query: Any) -> Iterator[Any]:
        """Everything that a list without end holds by now: up to the first empty page."""
        after = None
        while True:
            page = self.get(path, after=after, **query)
            if not page[key]:
                return
            yield from page[key]
            after = page["next"]

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            answer = self._pool.request(
                method, self._base + path, headers=headers, body=None if body is None else json.dumps(body)
            )
        except urllib3.exceptions.HTTPError as error:
            raise ServerAway(f"{method} {path}: {error}") from error
        content = json.loads(answer.data) if answer.data else None
        if answer.status >= 400:
            said = content.get("error", {}) if isinstance(content, dict) else {}
            details = said.get("details") or {}
            raise AnswerError(answer.status, str(said.get("code", "")), str(said.get("message", "")), details)
        return content
