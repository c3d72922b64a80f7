"""The simulator as one WSGI application: the Gmail API, the identity side, and the control endpoints.

Mounted anywhere; the roots ``/gmail/v1/…``, ``/token``, ``/.well-known/openid-configuration`` and ``/control/…`` are
relative to the mount.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask

from infra.local.google.identity_routes import add_identity
from infra.local.google.simulator import GoogleSimulator
from infra.local.google.wire import GmailEndpoint
from infra.local.simulated.control import (
    Json,
    Operation,
    add_control,
    body_of,
    id_in,
    mail_in,
    text_in,
)
from infra.local.simulated.errors import ControlError


def create_app(simulator: GoogleSimulator) -> Flask:
    """Build the application around a simulator."""
    app = Flask("google-simulator")
    app.json.sort_keys = False  # type: ignore[attr-defined]
    add_identity(app, simulator)
    add_control(app, simulator, _operations(simulator))
    _add_own(app, simulator)
    app.wsgi_app = GmailEndpoint(simulator, app.wsgi_app)  # type: ignore[method-assign]
    return app


def _operations(simulator: GoogleSimulator) -> Mapping[str, Operation]:
    return {
        "draft": lambda address, body: simulator.save_draft(address, mail_in(body), text_in(body, "id", "")),
        "send-draft": lambda address, body: {"message": simulator.send_draft(address, id_in(body))},
        "rename-label": lambda address, body: simulator.rename_label(
            address, text_in(body, "label"), text_in(body, "name")
        ),
        "delete-label": lambda address, body: simulator.delete_label(address, text_in(body, "label")),
        "expire-history": lambda address, _: simulator.expire_history(address),
    }


def _add_own(app: Flask, simulator: GoogleSimulator) -> None:
    @app.post("/control/topics/deny")
    def deny_topic() -> Json:
        simulator.deny_topic(text_in(body_of(), "topic"))
        return {}

    @app.post("/control/topics/allow")
    def allow_topic() -> Json:
        simulator.allow_topic(text_in(body_of(), "topic"))
        return {}

    @app.put("/control/batch")
    def set_batch() -> Json:
        wanted = body_of()["batch"]
        if not isinstance(wanted, bool):
            raise ControlError("batch must be true or false.")
        simulator.batch = wanted
        return {"batch": wanted}
