"""The same backfill on Google Cloud's adapters: operations, CPU stage by stage, and a pipeline on the high-level clients.

Firestore and Pub/Sub are Google's emulators, whose CPU is not counted; ours is that of the whole process, gRPC's threads
included. Runs of both pipelines alternate, against the same emulators. The exact counts must be those of embedded adapters,
and what was counted around the ports must be what was sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from shared.adapters.cloud import bus
from shared.adapters.cloud.bus import CloudBus
from shared.adapters.cloud.store import CloudStore
from shared.adapters.cloud.tasks import CloudTasks
from tests.bench import counts
from tests.bench.cloud import SENT, Cloud
from tests.bench.figures import CPU_PER_BACKFILLED_US, HIGH_LEVEL_SHARE, WRITES_PER_BACKFILLED, Figure
from tests.bench.high_level import HighLevel, Remembering
from tests.bench.rig import STEP, WORK, Rig, Stages, TimedPage, staged
from tests.bench.stages import compared, per_mail
from tests.bench.stopwatch import Stopwatch
from tests.bench.tape import PAGE, Tape, record

OPERATIONS, CPU, COMPARED = (
    "operations on Google Cloud's adapters",
    "CPU per backfilled mail on Google Cloud's adapters, microseconds",
    "beside Google's high-level clients one mail at a time, per backfilled mail",
)
MAILS = 400
RUNS = 3
HIGH_LEVEL_PAGES = 1
COUNTED_MAILS = 600
STAGES: Stages = {
    **WORK,
    "read documents": ((CloudStore, "get"), (CloudStore, "query")),
    "commit: build the request": ((CloudStore, "_request"),),
    "commit: send": ((CloudStore, "commit"),),
    "publish: build the request": ((bus, "_requests"),),
    "publish: send": ((CloudBus, "publish"),),
    "enqueue successor": ((CloudTasks, "enqueue"),),
}
_SHOWN = {
    (counts.BACKFILL, "document writes"): "backfilled mail: document writes",
    (counts.BACKFILL, "document reads"): "backfilled mail: document reads",
    (counts.LIVE, "isolated: document writes"): "live mail: document writes",
    (counts.LIVE, "isolated: document reads"): "live mail: document reads",
}


def count(cloud: Cloud, fresh: Callable[[], Path], mails: int = COUNTED_MAILS) -> list[Figure]:
    """Count what mails cost on both sets of adapters. ``fresh`` makes an empty folder.

    The hours without mail are left out: each of their ticks is dozens of queries that an emulator answers slowly.
    """
    ours = counts.count(fresh(), mails, samples=1, hours=False)
    with cloud.project() as project:
        theirs = counts.count(fresh(), mails, samples=1, hours=False, adapters=project)
    shown = [
        Figure(OPERATIONS, _SHOWN[key], one.value, "", one.budget, exact=True, note=one.note)
        for one in theirs
        if (key := (one.section, one.name)) in _SHOWN
    ]
    return [*shown, differing(ours, theirs)]


def differing(ours: Sequence[Figure], theirs: Sequence[Figure]) -> Figure:
    """How many exact figures of one set of adapters are not those of the other; there may be none."""
    pairs = zip(ours, theirs, strict=True)
    different = [f"{one.section}: {one.name} {one.value:g}, here {two.value:g}" for one, two in pairs if one != two]
    note = "; ".join(different) or f"{len(ours)} figures, the notes included"
    return Figure(OPERATIONS, "figures unlike those of the embedded adapters", len(different), "", 0, True, note=note)


def measure(cloud: Cloud, fresh: Callable[[], Path], advance: Callable[[str], None]) -> list[Figure]:
    """Time it all; ``advance`` hears what is being done."""
    advance(f"recording {MAILS} mails")
    world, tape = record(fresh(), MAILS)
    http = Remembering(world)
    figures = sent(cloud, fresh(), tape)
    _high_level(cloud, http, world.settings.headers)
    parts: list[TimedPage] = []
    whole: list[TimedPage] = []
    naive: list[TimedPage] = []
    for run in range(RUNS):
        advance(f"run {run + 1} of {RUNS}")
        watch = Stopwatch()
        with staged(watch, STAGES), cloud.project() as project:
            parts += Rig(fresh(), tape, watch, project).backfill()
        with cloud.project() as project:
            whole += Rig(fresh(), tape, adapters=project).backfill()
        naive += _high_level(cloud, http, world.settings.headers)
    return [*figures, *_stages(parts, whole, naive), *compared(COMPARED, whole, naive)]


def _high_level(cloud: Cloud, http: Remembering, headers: Sequence[str]) -> list[TimedPage]:
    with cloud.project() as project:
        pipeline = HighLevel(cloud.emulators, project.id, http, headers)
        try:
            return pipeline.backfill(HIGH_LEVEL_PAGES)
        finally:
            pipeline.close()


def sent(cloud: Cloud, folder: Path, tape: Tape) -> list[Figure]:
    """Count what leaves the process during a backfill."""
    with cloud.project(watched=True) as project:
        pages = Rig(folder, tape, adapters=project).backfill()
    requests: Counter[str] = Counter()
    for page in pages:
        requests += page.tally.requests
    writes = requests.pop(SENT) / len(pages)
    unlike = sum(page.tally.requests[SENT] != page.tally.writes for page in pages)
    note = "per step: " + ", ".join(f"{method} {number / len(pages):g}" for method, number in sorted(requests.items()))
    budget = WRITES_PER_BACKFILLED
    return [
        Figure(OPERATIONS, "backfill step: requests sent", requests.total() / len(pages), exact=True, note=note),
        Figure(OPERATIONS, "backfilled mail: document writes sent", writes / PAGE, "", budget, True),
        Figure(OPERATIONS, "backfill steps that sent other writes than counted", unlike, "", 0, True),
    ]


def _stages(parts: Sequence[TimedPage], whole: Sequence[TimedPage], naive: Sequence[TimedPage]) -> list[Figure]:
    figures = [
        per_mail([page.stages.get(name, 0.0) for page in parts]).figure(CPU, name, "us") for name in (*STAGES, STEP)
    ]
    end_to_end = per_mail([page.cpu for page in whole])
    theirs = per_mail([page.cpu for page in naive])
    ratio = theirs.middle / end_to_end.middle
    note = (
        "timed without the stages' clocks; CPU of the whole process, gRPC's threads included; the queue is the real client"
        " against a gRPC server of ours; network, simulator and emulators not included"
    )
    return [
        *figures,
        end_to_end.figure(CPU, "end to end, fetch to successor", "us", CPU_PER_BACKFILLED_US, note),
        Figure(
            CPU, "ours of the high-level clients'", 100 / ratio, "%", HIGH_LEVEL_SHARE,
            note=f"{ratio:.1f} times less CPU per mail than one mail at a time on Google's high-level clients",
        ),
    ]  # fmt: skip
