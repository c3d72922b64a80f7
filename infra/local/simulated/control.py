"""The control endpoints that every simulator has, and how the bodies of all of them are read.

Whatever a body lacks or has wrong is a ``ControlError``: ``{"error": sentence}`` with 400, or 404 for an ``UnknownThing``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from flask import Flask, Response, request

from infra.local.simulated.errors import ControlError, UnknownThing
from shared.ports import Clock

Json = dict[str, Any]
Operation = Callable[[str, Json], Json | None]
"""(address, body) -> what to answer."""


class Simulator(Protocol):
    """What can be done with every simulated provider."""

    @property
    def clock(self) -> Clock:
        """The time it goes by."""

    def add_mailbox(self, address: str) -> Json:
        """Create a mailbox and answer tokens for it."""

    def add_mails(self, address: str, mails: Iterable[Mapping[str, Any]], silent: bool = False) -> list[str]:
        """Deliver mails and answer their ids."""

    def change_labels(self, address: str, message_id: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Add and remove labels of one message."""

    def trash(self, address: str, message_id: str) -> None:
        """Move a message to the trash."""

    def untrash(self, address: str, message_id: str) -> None:
        """Take a message back from the trash."""

    def delete(self, address: str, message_id: str) -> None:
        """Delete a message for good."""

    def empty(self, address: str) -> None:
        """Delete every message for good."""

    def refuse(self, address: str, message_id: str, status: int) -> None:
        """Let reading one message answer an HTTP status from now on; 0 lifts it."""

    def revoke(self, address: str) -> None:
        """Withdraw all tokens of an account."""

    def set_faults(self, faults: Mapping[str, Any]) -> Json:
        """Replace the fault plan."""

    def set_quota(self, quota: Mapping[str, Any]) -> Json:
        """Enforce another quota."""

    def note_unreadable(self, address: str, name: str, reason: str) -> None:
        """Remember something that an import could not read."""

    def pump(self) -> float | None:
        """Send what is due; answer when the next thing is, None if nothing waits."""

    def truth(self, address: str) -> Json:
        """What a faithful client should know; see ``simulated.truth``."""

    def truth_json(self, address: str) -> Iterator[bytes]:
        """What a faithful client should know, as JSON."""

    def report(self) -> Json:
        """What has happened so far."""


def add_control(app: Flask, simulator: Simulator, own: Mapping[str, Operation]) -> None:
    """Add mailboxes, mails, truth, report, faults, quota, and the operations ``/control/mailboxes/<address>/<name>``.

    ``own`` are those operations that only this provider has.
    """
    operations = {**_operations(simulator), **own}

    @app.post("/control/mailboxes")
    def add_mailbox() -> Json:
        return simulator.add_mailbox(body_of()["address"])

    @app.post("/control/mailboxes/<address>/mails")
    def add_mails(address: str) -> Json:
        body = body_of()
        mails = body["mails"]
        if not isinstance(mails, list) or not all(isinstance(mail, dict) for mail in mails):
            raise ControlError("mails must be a list of plans.")
        return {"ids": simulator.add_mails(address, mails, bool(body.get("silent", False)))}

    @app.post("/control/mailboxes/<address>/<operation>")
    def operate(address: str, operation: str) -> Json:
        body = body_of()
        if operation not in operations:
            raise UnknownThing(f"There is no operation {operation!r}; known are {', '.join(operations)} and mails.")
        return operations[operation](address, body) or {}

    @app.get("/control/truth/<address>")
    def truth(address: str) -> Response:
        return Response(simulator.truth_json(address), mimetype="application/json")

    @app.get("/control/report")
    def report() -> Json:
        return simulator.report()

    @app.put("/control/faults")
    def set_faults() -> Json:
        return simulator.set_faults(body_of())

    @app.put("/control/quota")
    def set_quota() -> Json:
        return simulator.set_quota(body_of())

    app.register_error_handler(ControlError, _refusal)


def _operations(simulator: Simulator) -> dict[str, Operation]:
    return {
        "labels": lambda address, body: simulator.change_labels(
            address, id_in(body), names_in(body, "add"), names_in(body, "remove")
        ),
        "trash": lambda address, body: simulator.trash(address, id_in(body)),
        "untrash": lambda address, body: simulator.untrash(address, id_in(body)),
        "delete": lambda address, body: simulator.delete(address, id_in(body)),
        "refuse": lambda address, body: simulator.refuse(address, id_in(body), whole_in(body, "status")),
        "empty": lambda address, _: simulator.empty(address),
        "revoke": lambda address, _: simulator.revoke(address),
    }


class _Body(dict[str, Any]):
    def __missing__(self, key: str) -> Any:
        raise ControlError(f"The body lacks {key!r}.")


def body_of() -> Json:
    """The JSON object that was posted; what it lacks is refused where it is looked up."""
    data = request.get_json(force=True, silent=True) if request.get_data() else {}
    if not isinstance(data, dict):
        raise ControlError("The body must be a JSON object.")
    return _Body(data)


def id_in(body: Json) -> str:
    """The id in a body."""
    return text_in(body, "id")


def text_in(body: Json, key: str, default: str | None = None) -> str:
    """A string in a body, or its default."""
    value = body[key] if default is None else body.get(key, default)
    if not isinstance(value, str):
        raise ControlError(f"{key} must be a string.")
    return value


def mail_in(body: Json) -> Json:
    """The plan of a mail in a body."""
    value = body["mail"]
    if not isinstance(value, dict):
        raise ControlError("mail must be a plan.")
    return value


def whole_in(body: Json, key: str) -> int:
    """A whole number in a body."""
    value = body[key]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ControlError(f"{key} must be a number.")
    return value


def names_in(body: Json, key: str) -> list[str]:
    """A list of names in a body; an absent one is empty."""
    value = body.get(key) or []
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise ControlError(f"{key} must be a list of names.")
    return value


def _refusal(error: ControlError) -> tuple[Json, int]:
    return {"error": str(error)}, 404 if isinstance(error, UnknownThing) else 400
