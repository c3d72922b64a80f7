"""The simulator as one WSGI application: Graph, the identity side, and the control endpoints.

Mounted anywhere; the roots ``/v1.0/…``, ``/<tenant>/oauth2/v2.0/…``, ``/<tenant>/v2.0/.well-known/openid-configuration``,
``/<tenant>/discovery/v2.0/keys`` and ``/control/…`` are relative to the mount.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask

from infra.local.microsoft.simulator import MicrosoftSimulator
from infra.local.microsoft.wire import GraphEndpoint
from infra.local.simulated.control import (
    Json,
    Operation,
    add_control,
    body_of,
    id_in,
    mail_in,
    names_in,
    text_in,
    whole_in,
)


def create_app(simulator: MicrosoftSimulator) -> Flask:
    """Build the application around a simulator."""
    app = Flask("microsoft-simulator")
    app.json.sort_keys = False  # type: ignore[attr-defined]
    simulator.identity.add_routes(app, simulator.count_request)
    simulator.subscriptions.add_control(app)
    add_control(app, simulator, _operations(simulator))

    @app.post("/control/storm")
    def storm() -> Json:
        body = body_of()
        simulator.storm(whole_in(body, "seconds"), whole_in(body, "retry_after"), text_in(body, "address", ""))
        return {}

    app.wsgi_app = GraphEndpoint(simulator, app.wsgi_app)  # type: ignore[method-assign]
    return app


def _operations(simulator: MicrosoftSimulator) -> Mapping[str, Operation]:
    return {
        "draft": lambda address, body: simulator.save_draft(address, mail_in(body), text_in(body, "id", "")),
        "send-draft": lambda address, body: {"message": simulator.send_draft(address, id_in(body))},
        "move": lambda address, body: simulator.move(address, id_in(body), text_in(body, "folder")),
        "create-folder": lambda address, body: {
            "id": simulator.create_folder(address, text_in(body, "name"), text_in(body, "parent", ""))
        },
        "rename-folder": lambda address, body: simulator.rename_folder(address, id_in(body), text_in(body, "name")),
        "move-folder": lambda address, body: simulator.move_folder(address, id_in(body), text_in(body, "parent", "")),
        "delete-folder": lambda address, body: simulator.delete_folder(address, id_in(body)),
        "expire-delta": lambda address, body: simulator.expire_delta(
            address, names_in(body, "folders") if "folders" in body else None
        ),
    }
