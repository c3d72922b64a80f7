"""What happens in mailboxes at the provider, whoever follows them: mail, labels, drafts, deletions, a lost history."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from infra.local.generator import Operation, generate
from infra.local.simulated.errors import ControlError
from tests.chaos.simulation.plan import Action, Box

if TYPE_CHECKING:
    from tests.chaos.simulation.world import Simulation

REFUSED_FOR = 45.0


def happen(world: Simulation, box: Box, action: Action) -> None:
    """Let an action take place now; where nothing fits it, a mail arrives instead."""
    try:
        what = _happen(world, box, action)
    except ControlError as error:
        what = f"nothing: {error}"
    world.trace.say(world.scheduler.now, "world", box.address, f"{action.kind}: {what}")


def _happen(world: Simulation, box: Box, action: Action) -> str:
    host, address, now = world.host(box), box.address, world.scheduler.now
    simulator = host.simulator
    if (what := host.happen(address, action, now)) is not None:
        return what
    match action.kind:
        case "draft":
            return str(simulator.save_draft(address, _mail(address, action, now))["message"])
        case "burst":
            return " ".join(simulator.add_mails(address, [_mail(address, action, now, n) for n in range(4)]))
        case "save" | "send" | "refuse":
            return _of_one(world, box, action)
    alive = simulator.truth(address)["mails"]
    endpoint, body = Operation(action.kind, action.pick, action.seed).request(address, now, alive)
    match endpoint:
        case "mails":
            return " ".join(simulator.add_mails(address, body["mails"]))
        case "labels":
            simulator.change_labels(address, body["id"], body["add"], body["remove"])
            return f"{body['id']} +{body['add']} -{body['remove']}"
    getattr(simulator, endpoint)(address, body["id"])
    return str(body["id"])


def _of_one(world: Simulation, box: Box, action: Action) -> str:
    simulator, address, now = world.host(box).simulator, box.address, world.scheduler.now
    draft = action.kind in ("save", "send")
    fitting = [mail["id"] for mail in simulator.truth(address)["mails"] if not draft or "DRAFT" in mail["labels"]]
    if not fitting:
        return " ".join(simulator.add_mails(address, [_mail(address, action, now)]))
    chosen = fitting[int(action.pick * len(fitting))]
    if action.kind == "refuse":
        simulator.refuse(address, chosen, 500)
        world.scheduler.at(now + REFUSED_FOR, lambda: _serve_again(world, box, chosen))
        return chosen
    id_ = world.host(box).draft_of(address, chosen)
    if action.kind == "send":
        return f"{chosen} as {simulator.send_draft(address, id_)}"
    return f"{chosen} is now {simulator.save_draft(address, _mail(address, action, now), id_)['message']}"


def _serve_again(world: Simulation, box: Box, message_id: str) -> None:
    with suppress(ControlError):  # deleted meanwhile
        world.host(box).simulator.refuse(box.address, message_id, 0)


def _mail(address: str, action: Action, now: float, number: int = 0) -> dict[str, Any]:
    _, body = Operation("mail", action.pick, action.seed + number).request(address, now, ())
    plan: dict[str, Any] = body["mails"][0]
    return plan


def past(seed: int, count: int, address: str, now: float) -> list[dict[str, Any]]:
    """So many mails that were there before anybody looked."""
    return list(generate(seed, count, address, now))
