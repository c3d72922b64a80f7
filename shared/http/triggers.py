"""The functions that are not for people: a trigger POSTs, a use case runs, and the status says whether to come again.

2xx acknowledges. Anything else makes Pub/Sub, Cloud Tasks or Cloud Scheduler deliver the same thing again, with backoff,
until it is a dead letter; so an error is answered as it is everywhere (``shared/http/errors``) and never swallowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from flask import Flask, Response

from shared.errors import InvalidRequest
from shared.http.app import content, create_app, json_answer
from shared.http.invokers import require_invoker
from shared.identity.keys import Fetch
from shared.ports import Clock
from shared.settings import Settings


def create_trigger(
    settings: Settings,
    clock: Clock,
    actions: Mapping[str, Callable[[Any], dict[str, Any]]],
    fetch: Fetch | None = None,
) -> Flask:
    """An app that hands the JSON body to the action of its path's last part, or to the action ``""``.

    ``fetch`` reads Google's keys where the settings have invokers checked here. Raises ``ConfigurationError``.
    """
    app = create_app(settings, clock)
    require_invoker(app, settings, clock, fetch)

    @app.post("/", defaults={"path": ""})
    @app.post("/<path:path>")
    def trigger(path: str) -> Response:
        action = actions.get(path.rpartition("/")[2]) or actions[""]
        return json_answer(action(json_body()))

    return app


def json_body() -> Any:
    """The JSON of the request's body, None where it has none. Raises ``InvalidRequest``."""
    raw = content()
    if not raw:
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise InvalidRequest("The body is not JSON.") from None
