"""One run of a plan: the product, its provider and its services, from the first action until everything has come to rest.

Faults strike while the actions happen and for a while after. Then they are switched off, clocks stay as wrong as they are,
and virtual time runs on until nothing is left to be done, at most for ``PATIENCE``. Every note that a port makes is judged
as it comes, and the whole at the end; the first violation ends the run. Over 300 lines: one run is one object.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import flask
import orjson
from werkzeug.test import EnvironBuilder

from infra.local.simulated.chance import stream
from infra.local.world import HOME, TOPIC, Served, ask, settings_in, token_for
from shared.adapters.embedded.clock import VirtualClock
from shared.adapters.embedded.subscriptions import Subscription
from shared.ports import BusMessage, Write
from shared.providers.base import PROVIDERS
from shared.sets import Ports, embedded
from tests.chaos.simulation import checker, nature
from tests.chaos.simulation.delivery import Deliveries
from tests.chaos.simulation.gmail import Gmail
from tests.chaos.simulation.host import MICROSOFT, Crossing, Host, faults_of
from tests.chaos.simulation.instance import Life
from tests.chaos.simulation.kinds import Dice
from tests.chaos.simulation.outlook import Outlook
from tests.chaos.simulation.people import FOLLOWED, Person
from tests.chaos.simulation.plan import Action, Box, Plan
from tests.chaos.simulation.record import Answered, Enqueue, Published, Record
from tests.chaos.simulation.scheduler import Scheduler, SkewedClock
from tests.chaos.simulation.trace import Trace

PATIENCE = 6 * 3600.0
"""Virtual seconds within which everything has to come to rest: stopped chains are tried again every hour."""

AFTERMATH = 30.0
"""Seconds for which faults go on after the last action."""

LOOK_SECONDS = 45.0
"""How often users look whether their mailboxes are well."""

UNEXPECTED = 500
"""What a function answers to what nobody has thought of."""

MOST_STEPS = 400_000

PUSHES = ("gmail_push", "graph_push")
"""The functions that providers ring."""

PEOPLE = frozenset({"disconnect", "reconnect", "erase", "post", "rebuild"})


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold, and what was seen."""

    name: str
    detail: str


@dataclass(slots=True)
class Outcome:
    """What came of a run; ``theirs`` counts the providers' own faults by label, ``chances`` the opportunities by kind."""

    plan: Plan
    violations: list[Violation]
    trace: Trace
    fired: Counter[str]
    chances: Counter[str]
    theirs: Counter[str]
    seconds: float
    mails: int = 0
    changes: int = 0
    totals: Counter[str] = field(default_factory=Counter)

    @property
    def ok(self) -> bool:
        """Whether every invariant held."""
        return not self.violations


def run(plan: Plan, build: Callable[[Path, Plan], Simulation] | None = None) -> Outcome:
    """Run a plan in a folder of its own; ``build`` makes a simulation of another kind."""
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="brainstem-chaos-", dir=shm) as folder, silence():
        simulation = (build or Simulation)(Path(folder), plan)
        try:
            return simulation.run()
        finally:
            simulation.close()


class Simulation:
    """The parts of one run; ``run`` is called once."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        seed = plan.seed
        self.plan = plan
        self.clock = VirtualClock(seed=seed)
        self.trace = Trace(self.clock.now())
        self.scheduler = Scheduler(self.clock, stream(seed, "order"))
        self.durations = stream(seed, "durations")
        self._choices = stream(seed, "instances")
        self.dice = Dice(seed, plan.rates, plan.forced)
        self.record = Record(plan.faultless)
        self.violations: list[Violation] = []
        self.settings = settings_in(
            folder,
            page_size=plan.page_size,
            gmail_batch_size=plan.batch_size,
            tick_seconds=plan.tick_seconds,
            poll_seconds=plan.poll_seconds,
            gmail_topic=TOPIC if plan.channels else "",
            graph_api_url=f"{MICROSOFT}/v1.0/",
            microsoft_login_url=f"{MICROSOFT}/",
            microsoft_client_id="client",
            microsoft_client_secret="secret",
            microsoft_redirect_uri=f"{HOME}/oauth/microsoft/callback",
            graph_notification_url=f"{HOME}/graph_push" if plan.channels else "",
            graph_page_size=plan.page_size,
        )
        self.ports: Ports = embedded(self.settings, self.clock, synchronous="OFF")
        self.hosts: dict[str, Host] = {}
        if "google" in plan.providers:
            self.hosts["google"] = Gmail(folder, plan, SkewedClock(self.scheduler), self._publish)
        if "microsoft" in plan.providers:
            clock = SkewedClock(self.scheduler)
            self.hosts["microsoft"] = Outlook(folder, plan, clock, self._shake_hands, self._post)
        bus: Any = self.ports.bus
        bus.subscribe(Subscription("gmail", "gmail", "/gmail_push"))
        bus.subscribe(Subscription("senders", "segments", "/senders"))
        self.deliveries = Deliveries(self)
        self.lives = [Life(self, number, skew, 0) for number, skew in enumerate(plan.skews)]
        self.people = {box.user: Person(self, box.user) for box in plan.boxes}
        self._tokens = {person.uid: token_for(person.uid, self.clock.now()) for person in self.people.values()}
        self.quiet_since: float | None = None
        self._start = self.clock.now()

    def run(self) -> Outcome:
        """Everything, to its end."""
        plan, start = self.plan, self._start
        for provider, address in {(box.provider, box.address): box for box in plan.boxes}:
            self._fill(provider, address)
        for provider, host in self.hosts.items():
            host.simulator.set_faults({**(plan.faults(provider) or host.ways)})
        for box in plan.boxes:
            self.scheduler.at(start + box.at, lambda box=box: self.people[box.user].connect(box))
        for action in plan.actions:
            self.scheduler.at(start + action.at, lambda action=action: self._act(action))
        self.deliveries.tick()
        self._look()
        last = max([box.at for box in plan.boxes] + [action.at for action in plan.actions], default=0.0)
        self._run_until(start + last + AFTERMATH)
        self._settle()
        if not self.violations:
            self._judge()
        return self._outcome()

    def life(self) -> Life:
        """An instance that happens to get the next call."""
        return self._choices.choice(self.lives)

    def bury(self, life: Life) -> None:
        """An instance has died: a new one takes its place."""
        self.lives[life.number] = Life(self, life.number, life.skew, life.generation + 1)

    def duration(self) -> float:
        """How long one half of a port call takes."""
        draw = self.durations.random()
        span = 0.02 if draw < 0.7 else 0.2 if draw < 0.95 else 1.5
        return span * self.durations.random() * self.plan.pace

    def ask(
        self, life: Life, function: str, method: str, path: str, body: Any = None, headers: Any = None
    ) -> tuple[int, Any]:
        """One call of a function in an instance."""
        life.survive()
        if function == "graph_push":  # which answers no JSON
            status, answer = _posted(life, path, body, headers)
        else:
            status, answer = ask(getattr(life.product, function), method, path, body, headers)
        if status == UNEXPECTED:
            self.complain("no_function_breaks", f"{function} {method} {path}: {answer}")
        return status, answer

    def bearer(self, uid: str) -> dict[str, str]:
        """The header that says who is asking."""
        return {"Authorization": f"Bearer {self._tokens[uid]}"}

    def complain(self, name: str, detail: str) -> None:
        """An invariant does not hold."""
        self.violations.append(Violation(name, detail))
        self.trace.say(self.scheduler.now, "CHECK", name, detail)

    def committed(self, life: Life, writes: Sequence[Write]) -> None:
        """The store has applied a commit."""
        call = self.scheduler.current
        commit = self.record.commit(self.scheduler.now, call, writes)
        self.record.walked(commit)
        self._check(checker.ON_COMMIT, commit)

    def published(self, published: Published) -> None:
        """The bus has taken messages."""
        self._check(checker.ON_PUBLISH, published)

    def enqueued(self, name: str | None, body: Any, not_before: float | None) -> None:
        """The queue has taken a task."""
        now = self.scheduler.now
        self._check(checker.ON_ENQUEUE, Enqueue(now, name, body, max(now, not_before or now)))

    def begun(self, function: str, body: Any) -> None:
        """A delivery has reached an instance."""
        self.record.begun(function, body)
        if self.scheduler.current is not None:
            self.scheduler.current.notes["task"] = body
        if function == "sync" and body["kind"] == "live":
            for hint in body.get("hints", ()):
                self.record.hinted[body["mailbox"], hint].append(self.scheduler.now)
            if not body.get("hints"):
                self.record.looks[body["mailbox"]].append(self.scheduler.now)
        if function in PUSHES and self.scheduler.current is not None:
            self.scheduler.current.notes["rang"] = self.record.rung_by(body)

    def sets_out(self, crossing: Crossing) -> Crossing:
        """A request to a provider sets out."""
        self._check(checker.ON_REQUEST, crossing)
        self.record.crossings.append(crossing)
        return crossing

    def arrived(self, crossing: Crossing, served: Served) -> None:
        """The answer to a request has arrived."""
        connecting = crossing.task and crossing.task.get("kind") == "connect"
        if served.status in (429, 503) and not connecting and (seconds := served.get("retry-after")).isdigit():
            until = self.scheduler.now + float(seconds)
            self.record.waits[crossing.life.name, crossing.asked.address] = until

    def in_flight(self, address: str) -> int:
        """How many requests for an account are on their way; '' is no account."""
        crossings = self.record.crossings if address else ()
        return sum(one.asked.address == address and not one.life.dead for one in crossings)

    def ended(self, crossing: Crossing) -> None:
        """A request is over, with an answer or without."""
        self.record.crossings.remove(crossing)

    def answered(self, answered: Answered) -> None:
        """A delivery has been answered."""
        google = answered.body.get("mailbox", "").endswith(":GOOGLE")
        if answered.status < 300 and google and "asked" in answered.call.notes:
            self.record.looked[answered.body["mailbox"]].append(answered.began)
        self._check(checker.ON_ANSWER, answered)

    def waiting(self) -> list[tuple[float, int, Any]]:
        """The tasks in the queue: when due, how often begun, what they say."""
        with self.ports.tasks._database.read() as connection:  # type: ignore[attr-defined]
            rows = connection.execute("SELECT due, attempts, body FROM task").fetchall()
        return [(due, attempts, orjson.loads(body)) for due, attempts, body in rows]

    def host(self, box: Box) -> Host:
        """The provider of a mailbox."""
        return self.hosts[box.provider]

    def host_at(self, uri: str) -> Host:
        """The provider that a request goes to."""
        return next(host for host in self.hosts.values() if uri.startswith(f"{host.origin}/"))

    def box_of(self, mailbox: Any) -> Box:
        """Which box a mailbox follows."""
        provider = next(name for name, known in PROVIDERS.items() if known == mailbox["provider"])
        boxes = [box for box in self.plan.boxes if f"user{box.user}" == mailbox["uid"] and box.provider == provider]
        named = [box for box in boxes if mailbox["grant_id"] == f"{provider}:subject-{box.number}"]
        return (named or boxes)[0]

    def close(self) -> None:
        """Close the files."""
        for host in self.hosts.values():
            host.close()
        self.ports.store._database.close()  # type: ignore[attr-defined]
        self.ports.keys._database.close()  # type: ignore[attr-defined]

    def _publish(self, topic: str, data: bytes) -> None:
        self.ports.bus.publish(topic, [BusMessage(data)])

    def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.deliveries.post(path, body, headers)

    def _shake_hands(self, path: str, query: Mapping[str, str]) -> tuple[int, str]:
        """Some instance answers at once: a handshake calls nothing."""
        return _posted(self.life(), f"{path}?{urlencode(query)}", b"", {})

    def _fill(self, provider: str, address: str) -> None:
        simulator = self.hosts[provider].simulator
        simulator.add_mailbox(address)
        boxes = [box for box in self.plan.boxes if (box.provider, box.address) == (provider, address)]
        mails = sum(box.mails for box in boxes)
        simulator.add_mails(address, nature.past(self.plan.seed, mails, address, self._start - 60), silent=True)

    def _act(self, action: Action) -> None:
        box = next(box for box in self.plan.boxes if box.number == action.box)
        if action.kind in PEOPLE:
            self.people[box.user].act(action)
        else:
            nature.happen(self, box, action)

    def _look(self) -> None:
        self.scheduler.at(self.scheduler.now + LOOK_SECONDS, self._look)
        for person in self.people.values():
            person.look()

    def _settle(self) -> None:
        """No more faults; on until nothing is left to be done, which takes a look at each mailbox from now on."""
        self.dice.on = False
        for host in self.hosts.values():
            host.simulator.set_faults({**host.ways})
        self.quiet_since = now = self.scheduler.now
        self.trace.say(now, "world", "-", "faults end here")
        left = ""
        while not self.violations and (left := checker.left_to_do(self)) and self.scheduler.now < now + PATIENCE:
            self._run_until(self.scheduler.now + self.plan.tick_seconds)
        if left and not self.violations:
            self.complain("nothing_is_stuck", f"{PATIENCE / 3600:.0f} hours after the last fault: {left}")

    def _run_until(self, end: float) -> None:
        scheduler, hosts = self.scheduler, list(self.hosts.values())
        for _ in range(MOST_STEPS):
            if self.violations:
                return
            moments = [
                moment for moment in (*(host.pump() for host in hosts), scheduler.next_due()) if moment is not None
            ]
            following = min(moments, default=end)
            if following > end:
                self.clock.advance_to(end)
                return
            if following == scheduler.next_due():
                scheduler.step()
            else:
                self.clock.advance_to(following)
        self.complain("nothing_is_stuck", f"It does not come to rest within {MOST_STEPS} steps.")

    def _judge(self) -> None:
        for name, invariant in checker.AT_REST.items():
            for detail in invariant(self):
                self.complain(name, detail)

    def _check(self, invariants: dict[str, Callable[..., Iterator[str]]], seen: Any) -> None:
        for name, invariant in invariants.items():
            for detail in invariant(self, seen):
                self.complain(name, detail)

    def _outcome(self) -> Outcome:
        return Outcome(
            self.plan,
            self.violations,
            self.trace,
            self.dice.fired,
            self.dice.chances,
            faults_of(list(self.hosts.values())),
            self.scheduler.now - self._start,
            sum(box.mails for box in self.plan.boxes),
            len(self.plan.actions),
            self.record.totals,
        )

    def followed(self) -> dict[str, Box]:
        """The mailboxes that are to be followed at the end, by id."""
        found = {}
        for person in self.people.values():
            for box in person.boxes:
                mailbox = person.mailbox_of(box)
                if person.wanted.get(box.number) == FOLLOWED and mailbox is not None:
                    found[mailbox] = box
        return found


def _posted(life: Life, path: str, body: bytes, headers: Any) -> tuple[int, str]:
    """A POST of Microsoft's to an instance: the status and the text of the answer."""
    fields = {"content-type": "application/json", **(headers or {})}
    builder = EnvironBuilder(path=path, method="POST", data=body, headers=fields)
    answer = life.product.graph_push(flask.Request(builder.get_environ()))
    return answer.status_code, answer.get_data(as_text=True)


@contextmanager
def silence() -> Iterator[None]:
    """The product's log says what the trace says better."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
