"""The part of Pub/Sub's REST interface that the machine offers, shaped like Google's.

Whoever talks to it (the Google simulator, a subscriber of the demo) can later talk to the official emulator unchanged.
Source: cloud.google.com/pubsub/docs/reference/rest. Only invokers reach it; the gateway sees to that.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from typing import Any

import flask
from flask.typing import ResponseReturnValue

from shared.adapters.embedded.bus import EmbeddedBus
from shared.adapters.embedded.subscriptions import Subscription
from shared.errors import Retry
from shared.ports import BusMessage

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._~%+-]{2,254}\Z")


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def create_app(bus: EmbeddedBus) -> flask.Flask:
    """The app over one bus."""
    app = flask.Flask(__name__)

    @app.errorhandler(_Refused)
    def refused(error: _Refused) -> ResponseReturnValue:
        return {"error": {"code": error.status, "message": str(error), "status": error.code}}, error.status

    @app.errorhandler(Retry)
    def unavailable(error: Retry) -> ResponseReturnValue:
        return {"error": {"code": 503, "message": error.message, "status": "UNAVAILABLE"}}, 503

    @app.post("/v1/projects/<project>/topics/<topic>:publish")
    def publish(project: str, topic: str) -> ResponseReturnValue:
        del project  # one machine holds one project; its name is the caller's affair
        messages, keys = _messages(_body())
        bus.publish(_checked(topic), messages, keys.pop() if keys else "")
        # The port names no ids and no publisher looks at them; the ids of deliveries are the bus's own.
        return {"messageIds": [uuid.uuid4().hex for _ in messages]}

    @app.put("/v1/projects/<project>/subscriptions/<name>")
    def subscribe(project: str, name: str) -> ResponseReturnValue:
        body = _body()
        topic = str(body.get("topic", "")).rpartition("/")[2]
        push = body.get("pushConfig")
        endpoint = push.get("pushEndpoint") if isinstance(push, dict) else None
        if not isinstance(endpoint, str) or not endpoint.startswith(("http://", "https://")):
            raise _Refused(400, "INVALID_ARGUMENT", "pushConfig.pushEndpoint must be an http or https URL.")
        if any(known.name == name for known in bus.subscriptions()):
            raise _Refused(409, "ALREADY_EXISTS", "A subscription of this name exists.")
        ordered = body.get("enableMessageOrdering") is True
        bus.subscribe(Subscription(_checked(name), _checked(topic), endpoint, ordered))
        return {"name": f"projects/{project}/subscriptions/{name}", **body}

    @app.delete("/v1/projects/<project>/subscriptions/<name>")
    def unsubscribe(project: str, name: str) -> ResponseReturnValue:
        del project
        if all(known.name != name for known in bus.subscriptions()):
            raise _Refused(404, "NOT_FOUND", "There is no such subscription.")
        bus.unsubscribe(name)
        return {}

    return app


def _body() -> dict[str, Any]:
    body = flask.request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        raise _Refused(400, "INVALID_ARGUMENT", "The body must be a JSON object.")
    return body


def _messages(body: dict[str, Any]) -> tuple[list[BusMessage], set[str]]:
    entries = body.get("messages")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise _Refused(400, "INVALID_ARGUMENT", "messages must be a list of at least one message.")
    keys = {str(entry.get("orderingKey", "")) for entry in entries}
    if len(keys) > 1:
        raise _Refused(400, "INVALID_ARGUMENT", "All messages of a request must have the same ordering key.")
    try:
        messages = [
            BusMessage(
                base64.b64decode(entry.get("data", ""), validate=True),
                {str(name): str(value) for name, value in (entry.get("attributes") or {}).items()},
            )
            for entry in entries
        ]
    except (binascii.Error, TypeError, ValueError, AttributeError):
        raise _Refused(400, "INVALID_ARGUMENT", "A message is not as it should be.") from None
    return messages, keys


def _checked(name: str) -> str:
    if not _NAME.match(name):
        raise _Refused(400, "INVALID_ARGUMENT", "This is not the name of a resource.")
    return name
