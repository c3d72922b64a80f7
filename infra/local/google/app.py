"""The simulator as one WSGI application: the Gmail API, the token endpoint, OIDC discovery, and the control endpoints.

Mounted anywhere; the roots ``/gmail/v1/…``, ``/token``, ``/.well-known/openid-configuration`` and ``/control/…`` are
relative to the mount. Control errors are ``{"error": sentence}`` with 400 or 404.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request

from infra.local.google.accounts import TokenError
from infra.local.google.errors import ControlError, UnknownThing
from infra.local.google.simulator import GoogleSimulator
from infra.local.google.wire import GmailEndpoint

Json = dict[str, Any]


def create_app(simulator: GoogleSimulator) -> Flask:
    """Build the application around a simulator."""
    app = Flask("google-simulator")
    app.json.sort_keys = False  # type: ignore[attr-defined]
    _add_identity(app, simulator)
    _add_control(app, simulator)
    app.register_error_handler(ControlError, _refusal)
    app.wsgi_app = GmailEndpoint(simulator, app.wsgi_app)  # type: ignore[method-assign]
    return app


def _add_identity(app: Flask, simulator: GoogleSimulator) -> None:
    @app.post("/token")
    def token() -> tuple[Json, int]:
        simulator.count_request("token")
        if simulator.pushes.faults.latency:
            simulator.clock.sleep(simulator.pushes.faults.latency)
        try:
            return simulator.accounts.refresh(request.form.to_dict()), 200
        except TokenError as error:
            return error.body, 400

    @app.get("/.well-known/openid-configuration")
    def discovery() -> Json:
        """Name the endpoints that exist here; the pages of the consent flow are not simulated."""
        root = request.url_root
        return {
            "issuer": root.rstrip("/"),
            "token_endpoint": f"{root}token",
            "grant_types_supported": ["refresh_token"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }


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
        operations: dict[str, Callable[[], None]] = {
            "labels": lambda: simulator.change_labels(address, _id(body), _names(body, "add"), _names(body, "remove")),
            "trash": lambda: simulator.trash(address, _id(body)),
            "untrash": lambda: simulator.untrash(address, _id(body)),
            "delete": lambda: simulator.delete(address, _id(body)),
            "refuse": lambda: simulator.refuse(address, _id(body), _status(body)),
            "expire-history": lambda: simulator.expire_history(address),
            "revoke": lambda: simulator.revoke(address),
        }
        if operation not in operations:
            raise UnknownThing(f"There is no operation {operation!r}; known are {', '.join(operations)} and mails.")
        operations[operation]()
        return {}

    @app.put("/control/faults")
    def set_faults() -> Json:
        return simulator.set_faults(_body())

    @app.get("/control/truth/<address>")
    def truth(address: str) -> Response:
        return Response(simulator.truth_json(address), mimetype="application/json")

    @app.get("/control/report")
    def report() -> Json:
        return simulator.report()


class _Body(dict[str, Any]):
    def __missing__(self, key: str) -> Any:
        raise ControlError(f"The body lacks {key!r}.")


def _body() -> _Body:
    data = request.get_json(force=True, silent=True) if request.get_data() else {}
    if not isinstance(data, dict):
        raise ControlError("The body must be a JSON object.")
    return _Body(data)


def _id(body: Json) -> str:
    value = body["id"]
    if not isinstance(value, str):
        raise ControlError("id must be a string.")
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
