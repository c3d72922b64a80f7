"""One run of the demo: a mailbox is backfilled and followed while everything goes wrong that may, then judged.

This process holds the simulated Google and a subscriber of the bus; the functions run in a child process, which can be
killed at any moment and started again on the same files. What is waited for is only what the HTTP API says. With
``BACKEND=emulators`` store and bus are Google's emulators, and whatever goes over the bus goes over theirs.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, TaskID

from infra.local.browser import Browser
from infra.local.changes import Traffic
from infra.local.child import Child
from infra.local.client import AnswerError, JsonClient, ServerAway
from infra.local.collect import collect
from infra.local.connecting import connect_through_google, look
from infra.local.environment import AUDIENCE, local_environment, on_emulators
from infra.local.google.app import create_app
from infra.local.google.everything import everything
from infra.local.google.pump import PushPump
from infra.local.google.simulator import GoogleSimulator
from infra.local.latency import latencies, percentile
from infra.local.loading import fill
from infra.local.options import Options
from infra.local.progress import bars
from infra.local.publisher import HttpPublisher
from infra.local.report import Result
from infra.local.sentences import CannotRun, ensure_room
from infra.local.subscriber import PATH, Recorder
from infra.local.tokens import development_token, invoker_secret
from infra.local.verify import Report, verify
from infra.local.web import WebServer
from shared.adapters.embedded.clock import SystemClock

if TYPE_CHECKING:
    from infra.local.demo_bus import DemoBus
    from infra.local.infrastructure import Emulated

ADDRESS = "demo@example.org"
POLL_SECONDS = 10
TICK_SECONDS = 1
FAULTS = {
    "drop": 0.3, "duplicate": 0.3, "early": 0.25, "early_seconds": 1.5, "delay": 0.1, "delay_seconds": 2.0,
    "reorder": 0.1, "latency": 0.005,
}  # fmt: skip
"""What happens to the pushes, and how long each call of the API takes."""

IMPATIENT_SECONDS = 1.0
"""With all faults, calls that Google holds are given up before it lets them go, after 2 s."""

REFUSALS = (400, 403, 500, 503)
"""With which statuses the provider refuses to serve a mail."""

BACKFILL_SHARE = 0.6
"""So much of the traffic is spread over the backfill, the rest comes after it."""

PAUSE_SECONDS = (0.2, 1.0)
"""How long nothing happens between two changes after the backfill: Google sends one push a second at most."""

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
            simulator = GoogleSimulator(
                self._folder / "google.sqlite", SystemClock(), publisher, seed=self._options.seed
            )
            stack.callback(simulator.close)
            google = WebServer(create_app(simulator), 0, threads=16)
            subscriber = WebServer(self._recorder, 0, threads=8)
            for server in (google, subscriber):
                server.start()
                stack.callback(server.stop)
            child = Child(data, lambda home: self._environment(data, home, google.url))
            publisher.aim(f"http://{self._emulated.where.pubsub}" if self._emulated else child.url)
            pump = PushPump(simulator)
            pump.start()
            stack.callback(pump.stop)
            simulator.add_mailbox(ADDRESS)
            fill(simulator, ADDRESS, self._options.mbox, self._options.mails, self._options.seed, self._console)
            self._refuse(simulator)
            seed = self._options.seed
            simulator.set_faults(everything(seed) if self._options.faults else {**FAULTS, "seed": seed})
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
            browser = Browser()
            stack.callback(browser.close)
            connect_through_google(client, browser, ADDRESS)
            connected = time.time()
            traffic = Traffic(simulator, ADDRESS, self._options.seed, self._options.changes)
            with bars(self._console) as progress:
                deadline = time.monotonic() + self._patience(traffic.mails)
                self._act(traffic, child, client, progress, deadline)
                report = self._judge(simulator, client, progress, connected, deadline)
            seconds = time.time() - started
            clean = child.stop()
            return self._result(simulator, traffic, report, seconds, clean)

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

    def _environment(self, data: Path, home: str, google: str) -> dict[str, str]:
        periods = {"POLL_SECONDS": str(POLL_SECONDS), "TICK_SECONDS": str(TICK_SECONDS)}
        patience = {"PROVIDER_TIMEOUT_SECONDS": str(IMPATIENT_SECONDS)} if self._options.faults else {}
        emulated = self._emulated
        services = on_emulators(emulated.where, emulated.project) if emulated else {}
        return {**local_environment(data, home, google), **services, **periods, **patience}

    def _refuse(self, simulator: GoogleSimulator) -> None:
        """Let the provider answer some mails with errors for ever: those have to become gaps, and nothing else may."""
        ids = sorted(mail["id"] for mail in simulator.truth(ADDRESS)["mails"])
        for id_ in self._chance.sample(ids, min(self._options.refuse, len(ids))):
            simulator.refuse(ADDRESS, id_, self._chance.choice(REFUSALS))

    def _say_hello(self) -> None:
        pushes = "dropped, doubled, early, late or in the wrong order"
        if self._options.faults:
            faults = f"every kind of fault there is: pushes {pushes}, and calls refused, limited, held, cut and garbled"
        else:
            faults = f"pushes {pushes}; a call of the API takes {FAULTS['latency'] * 1000:.0f} ms"
        self._console.print(
            f"{self._options.changes} live changes will come meanwhile, under {faults}. So that a dropped push costs seconds "
            f"and not minutes, mailboxes are polled every {POLL_SECONDS} s here (15 minutes otherwise)."
        )

    def _patience(self, mails: int) -> float:
        patience = 90.0 + mails / 10 + self._options.changes * 0.5 + self._options.kills * 8.0
        patience += self._options.outage * 2.0
        return patience * (3.0 if self._options.faults else 1.0)

    def _act(self, traffic: Traffic, child: Child, client: JsonClient, progress: Progress, deadline: float) -> None:
        """Make the changes, and kill the child between them; the first part in step with the backfill."""
        acts = ["change"] * self._options.changes + ["kill"] * self._options.kills
        self._chance.shuffle(acts)
        if self._options.outage:
            acts.insert(len(acts) // 2, "outage")
        changes = progress.add_task("live changes", total=self._options.changes, note="")
        backfill = progress.add_task("backfill", total=None, note="")
        expected = traffic.mails
        for number, act in enumerate(acts):
            share = number / len(acts) / BACKFILL_SHARE
            while self._look(client, progress, backfill, expected, share) and time.monotonic() < deadline:
                time.sleep(0.05)
            if share >= 1:
                time.sleep(self._chance.uniform(*PAUSE_SECONDS))
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
                progress.advance(changes)
        child.wait_until_healthy()
        while self._look(client, progress, backfill, expected, 1.0) and time.monotonic() < deadline:
            time.sleep(0.1)

    def _look(self, client: JsonClient, progress: Progress, task: TaskID, expected: int, share: float) -> bool:
        """Show where the backfill stands; answers whether it has yet to reach this share of the mailbox."""
        ensure_room(self._folder)
        now = look(client)
        if self._bus:
            self._bus.tend(now.outbox if now else 0)
        if now is None:
            return True
        progress.update(task, total=expected, completed=min(now.messages, expected), note=now.status)
        return now.backfilling and (share >= 1 or now.messages < share * expected)

    def _judge(
        self, simulator: GoogleSimulator, client: JsonClient, progress: Progress, anchor: float, deadline: float
    ) -> Report:
        """Wait until the run is right and stays right, or until the deadline; answer the last verdict."""
        truth = simulator.truth(ADDRESS)
        due = sum(not mail["refused"] for mail in truth["mails"])
        settling = progress.add_task("settling", total=None, note="")
        right_since: float | None = None
        while True:
            ensure_room(self._folder)
            now = look(client)
            if self._bus and self._bus.tend(now.outbox if now else 0):
                time.sleep(0.1)
                continue
            late = time.monotonic() > deadline
            if late or (now is not None and now.settled and now.messages >= due):
                delivered = self._recorder.deliveries()
                try:
                    seen = collect(client)
                except (ServerAway, AnswerError) as error:
                    if late:
                        raise CannotRun(f"The API could not be read to the end: {error}") from error
                    continue
                beside = self._bus.beside() if self._bus else None
                report = verify(
                    truth, seen.messages, seen.gaps, seen.status, seen.events, delivered, seen.senders, anchor, beside
                )
                progress.update(settling, note=f"{report.difference_count} differences to go")
                if late or (report.ok and right_since is not None):
                    return report
                right_since = time.monotonic() if report.ok else None
                if report.ok:
                    progress.update(settling, note="right; looking once more")
                    time.sleep(AGAIN_SECONDS)
            time.sleep(0.3)

    def _result(
        self, simulator: GoogleSimulator, traffic: Traffic, report: Report, seconds: float, clean: bool
    ) -> Result:
        measured = latencies(traffic.made, self._recorder.deliveries())
        p50, p95 = percentile(measured, 0.5), percentile(measured, 0.95)
        counts = simulator.report()
        unreadable = tuple((entry["name"], entry["reason"]) for entry in simulator.truth(ADDRESS)["unreadable"])
        return Result(
            report=report,
            seconds=seconds,
            p50_ms=None if p50 is None else round(p50 * 1000, 1),
            p95_ms=None if p95 is None else round(p95 * 1000, 1),
            measured=len(measured),
            changes=traffic.summary(),
            kills=self._kills,
            pushes=counts["pushes"],
            requests=counts["requests"],
            faults=counts["faults"] if self._options.faults else {},
            unreadable=unreadable,
            backend=self._options.backend,
            providers=("GOOGLE",),
            clean_stop=clean,
            outage=self._bus.outage if self._bus else None,
        )


def _subscribe(invoker: JsonClient, endpoint: str) -> None:
    invoker.put(
        "/v1/projects/local/subscriptions/verify",
        {
            "topic": "projects/local/topics/events",
            "pushConfig": {"pushEndpoint": endpoint},
            "enableMessageOrdering": True,
        },
    )
