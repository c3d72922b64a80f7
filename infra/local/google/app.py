"""The simulator as one WSGI application: the Gmail API, the identity side, and the control endpoints.

Mounted anywhere; the roots ``/gmail/v1/…``, ``/token``, ``/.well-known/openid-configuration`` and ``/control/…`` are
relative to the mount. Control errors are ``{"error": sentence}`` with 400 or 404.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request

from infra.local.google.errors import ControlError, UnknownThing
from infra.local.google.identity_routes import add_identity
from infra.local.google.simulator import GoogleSimulator
from infra.local.google.wire import GmailEndpoint

Json = dict[str, Any]


def create_app(simulator: GoogleSimulator) -> Flask:
    """Build the application around a simulator."""
    app = Flask("google-simulator")
    app.json.sort_keys = False  # type: ignore[attr-defined]
    add_identity(app, simulator)
    _add_control(app, simulator)
    _add_hindrances(app, simulator)
    app.register_error_handler(ControlError, _refusal)
    app.wsgi_app = GmailEndpoint(simulator, app.wsgi_app)  # type: ignore[method-assign]
    return app


def _add_control(app: Flask, simulator: GoogleSimulator) -> None:
    @app.post("/control/mailboxes")
    def add_mailbox() -> Json:
        return simulator.add_mailbox(_body()["address"])

    @app.post("/control/mailboxes/<address>/mails")
    def add_mails(address: str) -> Json:
        body = _body()
        mails = body["mails"]
        if not isinstance(mails, list) or not all(isinstance(mail, dict) for mail in mails):
            raise ControlError("mails must be a list of plans.")
        return {"ids": simulator.add_mails(address, mails, bool(body.get("silent", False)))}

    @app.post("/control/mailboxes/<address>/<operation>")
    def operate(address: str, operation: str) -> Json:
        body = _body()
        operations: dict[str, Callable[[], Json | None]] = {
            "labels": lambda: simulator.change_labels(address, _id(body), _names(body, "add"), _names(body, "remove")),
            "trash": lambda: simulator.trash(address, _id(body)),
            "untrash": lambda: simulator.untrash(address, _id(body)),
            "delete": lambda: simulator.delete(address, _id(body)),
            "refuse": lambda: simulator.refuse(address, _id(body), _status(body)),
            "draft": lambda: simulator.save_draft(address, _mail(body), _text(body, "id", "")),
            "send-draft": lambda: {"message": simulator.send_draft(address, _id(body))},
            "empty": lambda: simulator.empty(address),
            "rename-label": lambda: simulator.rename_label(address, _text(body, "label"), _text(body, "name")),
            "delete-label": lambda: simulator.delete_label(address, _text(body, "label")),
            "expire-history": lambda: simulator.expire_history(address),
            "revoke": lambda: simulator.revoke(address),
        }
        if operation not in operations:
            raise UnknownThing(f"There is no operation {operation!r}; known are {', '.join(operations)} and mails.")
        return operations[operation]() or {}

    @app.post("/control/topics/deny")
    def deny_topic() -> Json:
        simulator.deny_topic(_text(_body(), "topic"))
        return {}

    @app.post("/control/topics/allow")
    def allow_topic() -> Json:
        simulator.allow_topic(_text(_body(), "topic"))
        return {}

    @app.get("/control/truth/<address>")
    def truth(address: str) -> Response:
        return Response(simulator.truth_json(address), mimetype="application/json")

    @app.get("/control/report")
    def report() -> Json:
        return simulator.report()


def _add_hindrances(app: Flask, simulator: GoogleSimulator) -> None:
    @app.put("/control/faults")
    def set_faults() -> Json:
        return simulator.set_faults(_body())

    @app.put("/control/quota")
    def set_quota() -> Json:
        return simulator.set_quota(_body())

    @app.put("/control/batch")
    def set_batch() -> Json:
        wanted = _body()["batch"]
        if not isinstance(wanted, bool):
            raise ControlError("batch must be true or false.")
        simulator.batch = wanted
        return {"batch": wanted}


class _Body(dict[str, Any]):
    def __missing__(self, key: str) -> Any:
        raise ControlError(f"The body lacks {key!r}.")


def _body() -> _Body:
    data = request.get_json(force=True, silent=True) if request.get_data() else {}
    if not isinstance(data, dict):
        raise ControlError("The body must be a JSON object.")
    return _Body(data)


def _id(body: Json) -> str:
    return _text(body, "id")


def _text(body: Json, key: str, default: str | None = None) -> str:
    value = body[key] if default is None else body.get(key, default)
    if not isinstance(value, str):
        raise ControlError(f"{key} must be a string.")
    return value


def _mail(body: Json) -> Json:
    value = body["mail"]
    if not isinstance(value, dict):
        raise ControlError("mail must be a plan.")
    return value


def _status(body: Json) -> int:
    value = body["status"]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ControlError("status must be a number.")
    return value


def _names(body: Json, key: str) -> list[str]:
    value = body.get(key) or []
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise ControlError(f"{key} must be a list of labels.")
    return value


def _refusal(error: ControlError) -> tuple[Json, int]:
    return {"error": str(error)}, 404 if isinstance(error, UnknownThing) else 400
