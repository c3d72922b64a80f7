"""What happens in a mailbox while it is being followed: new mail, labels, trash, deletions; the seed decides all of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from infra.local.generator import Operation, traffic
from infra.local.latency import Change
from infra.local.simulated.control import Simulator


class Traffic:
    """A person and the world at work on one simulated mailbox; ``made`` is what they did, with the time of each."""

    def __init__(self, simulator: Simulator, address: str, seed: int, count: int) -> None:
        self._simulator = simulator
        self._clock = simulator.clock
        self._address = address
        self._script = iter(traffic(seed, count))
        self.count = count
        self._mails: dict[str, dict[str, Any]] = {
            mail["id"]: {"id": mail["id"], "labels": mail["labels"]} for mail in simulator.truth(address)["mails"]
        }
        self.made: list[Change] = []

    @property
    def mails(self) -> int:
        """How many mails are there now."""
        return len(self._mails)

    def change(self) -> Change:
        """Make the next change of the script now, and answer it."""
        operation = next(self._script)
        at = self._clock.now()
        what, body = operation.request(self._address, at, list(self._mails.values()))
        id_ = self._deliver(body) if what == "mails" else self._apply(what, body)
        change = Change(at, id_, "mail" if what == "mails" else what)
        self.made.append(change)
        return change

    def summary(self) -> Counter[str]:
        """How many changes of each kind there were."""
        return Counter(change.kind for change in self.made)

    def _deliver(self, body: dict[str, Any]) -> str:
        [id_] = self._simulator.add_mails(self._address, body["mails"])
        self._mails[id_] = {"id": id_, "labels": list(body["mails"][0]["labels"])}
        return id_

    def _apply(self, what: str, body: dict[str, Any]) -> str:
        id_ = str(body["id"])
        match what:
            case "delete":
                self._simulator.delete(self._address, id_)
                del self._mails[id_]
                return id_
            case "trash":
                self._simulator.trash(self._address, id_)
                add, remove = ["TRASH"], ["INBOX"]
            case "untrash":
                self._simulator.untrash(self._address, id_)
                add, remove = ["INBOX"], ["TRASH"]
            case _:
                add, remove = body["add"], body["remove"]
                self._simulator.change_labels(self._address, id_, add, remove)
        labels = set(self._mails[id_]["labels"]).union(add).difference(remove)
        self._mails[id_]["labels"] = sorted(labels)
        return id_


def arrival(address: str, at: float) -> dict[str, Any]:
    """The plan of one new mail that arrives at a time, which decides what is in it."""
    _, body = Operation("mail", 0.0, int(at)).request(address, at, ())
    plan: dict[str, Any] = body["mails"][0]
    return plan
