"""One run of the demo: mailboxes are backfilled and followed while everything goes wrong that may, then judged.

This process holds the simulated providers and a subscriber of the bus; the functions run in a child process, which can be
killed at any moment and started again on the same files. What is waited for is only what the HTTP API says. With
``BACKEND=emulators`` store and bus are Google's emulators, and whatever goes over the bus goes over theirs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from infra.local.browser import Browser
from infra.local.child import Child
from infra.local.client import AnswerError, JsonClient, ServerAway
from infra.local.collect import collect
from infra.local.connecting import connect_through, look
from infra.local.course import Course
from infra.local.environment import AUDIENCE, local_environment, on_emulators
from infra.local.latency import latencies, percentile
from infra.local.options import Options
from infra.local.progress import MailboxProgress, bars
from infra.local.publisher import HttpPublisher
from infra.local.report import Figures, Result
from infra.local.sentences import CannotRun, ensure_room
from infra.local.sides import Happening, Side, open_sides
from infra.local.simulated.pump import PushPump
from infra.local.subscriber import PATH, Recorder
from infra.local.tokens import development_token, invoker_secret
from infra.local.verify import Report
from infra.local.verify_mailboxes import verify_mailboxes
from infra.local.web import WebServer

if TYPE_CHECKING:
    from infra.local.demo_bus import DemoBus
    from infra.local.infrastructure import Emulated

POLL_SECONDS = 10
TICK_SECONDS = 1
FAULTS = {
    "drop": 0.3, "duplicate": 0.3, "early": 0.25, "early_seconds": 1.5, "delay": 0.1, "delay_seconds": 2.0,
    "reorder": 0.1, "latency": 0.005, "sure": 5,
}  # fmt: skip
"""What happens to the pushes, and how long each call of the API takes."""

IMPATIENT_SECONDS = 1.0
"""With all faults, calls that a provider holds are given up before it lets them go, after 2 s."""

REFUSALS = (400, 403, 500, 503)
"""With which statuses the provider refuses to serve a mail."""

AGAIN_SECONDS = 6.0
"""A run that is right is looked at once more after this time: it has to stay right."""


class Trial:
    """One run."""

    def __init__(self, options: Options, console: Console, folder: Path) -> None:
        self._options = options
        self._console = console
        self._chance = random.Random(f"demo {options.seed}")  # noqa: S311 - a demo that repeats itself
        self._folder = folder
        self._recorder = Recorder()
        self._kills = 0
        self._anchors: dict[str, float] = {}
        self._emulated: Emulated | None = None
        self._bus: DemoBus | None = None

    def run(self) -> Result:
        """Do it all and clean up whatever happens."""
        with ExitStack() as stack:
            data = self._folder / "data"
            data.mkdir(mode=0o700)
            secret = invoker_secret(data)
            self._emulated = self._find_emulators(stack)
            publisher = HttpPublisher("" if self._emulated else secret)
            sides = open_sides(self._options.providers, self._folder, publisher, self._options.seed, stack)
            servers = {side.provider: WebServer(side.app, 0, threads=16) for side in sides}
            subscriber = WebServer(self._recorder, 0, threads=8)
            for server in (*servers.values(), subscriber):
                server.start()
                stack.callback(server.stop)
            roots = {provider: server.url for provider, server in servers.items()}
            child = Child(data, lambda home: self._environment(data, home, roots))
            publisher.aim(f"http://{self._emulated.where.pubsub}" if self._emulated else child.url)
            for side in sides:
                self._prepare(side, stack)
            self._say_hello()
            if self._emulated:
                self._bus = self._emulators_bus(stack, self._emulated, child, secret, subscriber.url + PATH)
            stack.callback(child.kill)
            child.start()
            child.wait_until_healthy()
            if not self._emulated:
                _subscribe(JsonClient(child.url, secret), subscriber.url + PATH)
            client = JsonClient(child.url, development_token(data, AUDIENCE))
            started = time.time()
            self._connect(sides, client, stack)
            traffic = {side.name: side.traffic(self._options.seed, self._options.changes) for side in sides}
            with bars(self._console) as progress:
                deadline = time.monotonic() + self._patience(sum(one.mails for one in traffic.values()), len(sides))
                self._act(traffic, child, client, progress, deadline)
                judged = self._judge(sides, client, progress, deadline)
            seconds = time.time() - started
            clean = child.stop()
            return self._result(sides, traffic, judged, seconds, clean)

    def _prepare(self, side: Side, stack: ExitStack) -> None:
        """Fill a mailbox, let the provider misbehave, and let it notify."""
        seed, simulator = self._options.seed, side.simulator
        side.fill(self._options.mbox, self._options.mails, seed, self._console)
        self._refuse(side)
        simulator.set_faults(side.everything(seed) if self._options.faults else {**FAULTS, "seed": seed})
        pump = PushPump(simulator)
        pump.start()
        stack.callback(pump.stop)

    def _connect(self, sides: list[Side], client: JsonClient, stack: ExitStack) -> None:
        browser = Browser()
        stack.callback(browser.close)
        for side in sides:
            connect_through(side.provider, client, browser, side.address)
            self._anchors[side.name] = time.time()

    def _find_emulators(self, stack: ExitStack) -> Emulated | None:
        if self._options.backend != "emulators":
            return None
        # Only here: the embedded machine never loads a client of Google's.
        from infra.local.infrastructure import emulated

        return stack.enter_context(emulated())

    def _emulators_bus(self, stack: ExitStack, emulated: Emulated, child: Child, secret: str, endpoint: str) -> DemoBus:
        from infra.local.demo_bus import DemoBus

        bus = DemoBus(emulated, child, secret, self._recorder, endpoint, self._options.outage)
        stack.callback(bus.stop)
        bus.start()
        return bus

    def _environment(self, data: Path, home: str, roots: Mapping[str, str]) -> dict[str, str]:
        periods = {"POLL_SECONDS": str(POLL_SECONDS), "TICK_SECONDS": str(TICK_SECONDS)}
        patience = {"PROVIDER_TIMEOUT_SECONDS": str(IMPATIENT_SECONDS)} if self._options.faults else {}
        emulated = self._emulated
        services = on_emulators(emulated.where, emulated.project) if emulated else {}
        own = local_environment(data, home, roots.get("google", home), roots.get("microsoft", ""))
        unlimited = {"RATE_LIMITS": "read=0"}  # the verdict reads everything, over and over
        return {**own, **services, **periods, **patience, **unlimited}

    def _refuse(self, side: Side) -> None:
        """Let the provider answer some mails with errors for ever: those have to become gaps, and nothing else may."""
        ids = sorted(mail["id"] for mail in side.simulator.truth(side.address)["mails"])
        for id_ in self._chance.sample(ids, min(self._options.refuse, len(ids))):
            side.simulator.refuse(side.address, id_, self._chance.choice(REFUSALS))

    def _say_hello(self) -> None:
        pushes = "dropped, doubled, early, late or in the wrong order"
        if self._options.faults:
            faults = f"every kind of fault there is: pushes {pushes}, and calls refused, limited, held, cut and garbled"
        else:
            faults = f"pushes {pushes}; a call of the API takes {FAULTS['latency'] * 1000:.0f} ms"
        where = "in each of them " if len(self._options.providers) > 1 else ""
        self._console.print(
            f"{self._options.changes} live changes will come {where}meanwhile, under {faults}. So that a dropped push costs "
            f"seconds and not minutes, mailboxes are polled every {POLL_SECONDS} s here (15 minutes otherwise)."
        )

    def _patience(self, mails: int, mailboxes: int) -> float:
        patience = 90.0 + mails / 10 + self._options.changes * 0.5 * mailboxes + self._options.kills * 8.0
        patience += self._options.outage * 2.0
        return patience * (3.0 if self._options.faults else 1.0)

    def _act(
        self, traffic: Mapping[str, Happening], child: Child, client: JsonClient, progress: Progress, deadline: float
    ) -> None:
        """Make the changes, and kill the child between those of the first mailbox."""
        courses = {
            name: Course(one, self._acts(alone=number > 0), self._chance, progress, name.title())
            for number, (name, one) in enumerate(traffic.items())
        }
        while not all(course.is_over for course in courses.values()):
            self._look(client, courses)
            late = time.monotonic() > deadline
            due = [one for one in courses.values() if one.is_due(time.monotonic()) or (late and not one.is_over)]
            for course in due:
                self._do(course.take(time.monotonic()), course.traffic, child)
            if not due:
                time.sleep(0.05)
        child.wait_until_healthy()
        while not all(course.is_in for course in courses.values()) and time.monotonic() < deadline:
            self._look(client, courses)
            time.sleep(0.1)

    def _acts(self, alone: bool) -> list[str]:
        """What is done in the course of a mailbox, in this order; ``alone``: to it and to nothing else."""
        acts = ["change"] * self._options.changes + ["kill"] * (0 if alone else self._options.kills)
        self._chance.shuffle(acts)
        if self._options.outage and not alone:
            acts.insert(len(acts) // 2, "outage")
        return acts

    def _do(self, act: str, traffic: Happening, child: Child) -> None:
        if act == "kill":
            child.wait_until_healthy()
            time.sleep(self._chance.uniform(0.0, 1.0))
            child.kill()
            child.start()
            self._kills += 1
        elif act == "outage" and self._bus:
            self._bus.begin_outage()
        else:
            traffic.change()

    def _look(self, client: JsonClient, courses: Mapping[str, Course]) -> None:
        """Show where the mailboxes stand, and bring the bus back when it is time."""
        ensure_room(self._folder)
        now = look(client)
        self._tend(now)
        for name, course in courses.items():
            course.look(now.get(name))

    def _tend(self, now: Mapping[str, MailboxProgress]) -> bool:
        return self._bus is not None and self._bus.tend(sum(one.outbox for one in now.values()))

    def _judge(
        self, sides: list[Side], client: JsonClient, progress: Progress, deadline: float
    ) -> tuple[Report, dict[str, Report]]:
        """Wait until the run is right and stays right, or until the deadline; answer the last verdict."""
        truths = {side.name: side.simulator.truth(side.address) for side in sides}
        due = {name: sum(not mail["refused"] for mail in truth["mails"]) for name, truth in truths.items()}
        settling = progress.add_task("settling", total=None, note="")
        right_before = False
        while True:
            ensure_room(self._folder)
            now = look(client)
            if self._tend(now):
                time.sleep(0.1)
                continue
            late = time.monotonic() > deadline
            if late or all(name in now and now[name].settled and now[name].messages >= due[name] for name in due):
                delivered = self._recorder.deliveries()
                try:
                    seen = collect(client)
                except (ServerAway, AnswerError) as error:
                    if late:
                        raise CannotRun(f"The API could not be read to the end: {error}") from error
                    continue
                beside = self._bus.beside() if self._bus else None
                report, each = verify_mailboxes(truths, seen, delivered, self._anchors, beside)
                progress.update(settling, note=f"{report.difference_count} differences to go")
                if late or (report.ok and right_before):
                    return report, each
                right_before = report.ok
                if report.ok:
                    progress.update(settling, note="right; looking once more")
                    time.sleep(AGAIN_SECONDS)
            time.sleep(0.3)

    def _result(
        self,
        sides: list[Side],
        traffic: Mapping[str, Happening],
        judged: tuple[Report, dict[str, Report]],
        seconds: float,
        clean: bool,
    ) -> Result:
        report, each = judged
        delivered = self._recorder.deliveries()
        measured = {name: latencies(one.made, delivered) for name, one in traffic.items()}
        together = sorted(value for values in measured.values() for value in values)
        return Result(
            report=report,
            seconds=seconds,
            p50_ms=_ms(together, 0.5),
            p95_ms=_ms(together, 0.95),
            measured=len(together),
            kills=self._kills,
            mailboxes={
                side.name: self._figures(side, traffic[side.name], each[side.name], measured[side.name])
                for side in sides
            },
            backend=self._options.backend,
            clean_stop=clean,
            outage=self._bus.outage if self._bus else None,
        )

    def _figures(self, side: Side, traffic: Happening, report: Report, measured: list[float]) -> Figures:
        counts = side.simulator.report()
        unreadable = side.simulator.truth(side.address)["unreadable"]
        return Figures(
            report=report,
            p50_ms=_ms(measured, 0.5),
            p95_ms=_ms(measured, 0.95),
            measured=len(measured),
            changes=traffic.summary(),
            pushes={name: count for name, count in counts["pushes"].items() if isinstance(count, int)},
            requests=counts["requests"],
            faults=counts["faults"] if self._options.faults else {},
            unreadable=tuple((entry["name"], entry["reason"]) for entry in unreadable),
        )


def _ms(ascending: list[float], share: float) -> float | None:
    value = percentile(ascending, share)
    return None if value is None else round(value * 1000, 1)


def _subscribe(invoker: JsonClient, endpoint: str) -> None:
    invoker.put(
        "/v1/projects/local/subscriptions/verify",
        {
            "topic": "projects/local/topics/events",
            "pushConfig": {"pushEndpoint": endpoint},
            "enableMessageOrdering": True,
        },
    )
