"""The tasks that drive a mailbox: what they say, how they are named, and how a chain goes on without ever forking.

A successor is named by mailbox, kind, epoch, page counter and rescue counter, all read from the committed state; whoever
enqueues it twice, a retried task or two racing ones, gets ``pending`` or ``spent`` and has done no harm.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from shared import refs
from shared.conversion import convertible
from shared.errors import InvalidRequest
from shared.mail.state import MailboxState
from shared.ports import Clock, Enqueued, Tasks

QUEUE = "sync"
PATH = "/sync/step"

KINDS = ("connect", "live", "backfill", "resync", "gaps", "audit", "channel", "erase")

BUCKET = 5.0
"""Seconds within which doorbells of one mailbox share a task."""

LATER_BUCKETS = 2
"""How many following buckets are tried before a task goes without a name: clocks of instances may be skewed."""

SMALLEST = 20
"""Messages that a step takes on however often it has failed: enough to tell bad messages from a bad moment."""

SETTLE_MIN, SETTLE_STEP = 3.0, 2.0
"""A settle look comes 3 to 5 s after the look that was rung: pushes arrive before the change can be queried."""


HINTS_AT_MOST = 20
"""Messages that one task names, at most: few enough to be read in one step."""

HINT_CHARS = 512


@convertible
@dataclass(frozen=True, slots=True)
class StepTask:
    """One step to take. ``epoch`` None means the current one; ``page`` None means wherever the chain stands.

    ``rung``: a doorbell is behind it, so a settle look has to follow. ``published``: the bus has everything up to here.
    ``waits``: how often it was put off, ``failures``: how often of those because it had failed. ``hints``: ids of messages
    that a doorbell has named, where changes are told of by folder; a live step with hints looks at these and nowhere else.
    """

    mailbox: str
    kind: str
    epoch: int | None = None
    page: str | None = None
    rung: bool = False
    published: int = 0
    waits: int = 0
    failures: int = 0
    hints: tuple[str, ...] = ()


def parse(body: object) -> StepTask:
    """Read a task's body. Raises ``InvalidRequest``, ``NotFound``."""
    try:
        task = msgspec.convert(body, StepTask)
    except msgspec.ValidationError:
        raise InvalidRequest("The body is not a step.") from None
    refs.stream(task.mailbox)
    if task.kind not in KINDS:
        raise InvalidRequest("There is no such kind of step.")
    if len(task.hints) > HINTS_AT_MOST or any(not 0 < len(hint) <= HINT_CHARS for hint in task.hints):
        raise InvalidRequest("The step names too many messages, or what can be none.")
    return task


def portion(size: int, task: StepTask) -> int:
    """How much of a size a step takes on: half as much after every failure, since what is too much for a step stays it."""
    return max(min(size, SMALLEST), size >> min(task.failures, size.bit_length()))


def page_of(state: MailboxState, kind: str) -> str | None:
    """The page counter of a chain as the mailbox has it; None for kinds without pages."""
    match kind:
        case "live":
            return str(state.pages)
        case "backfill":
            return str(state.backfill.page)
        case "resync" if state.resync is not None:
            return f"{state.resync.run}.{state.resync.page}"
        case "audit":
            return f"{state.audits}.{state.audit.page if state.audit is not None else 0}"
    return None


def continue_chain(tasks: Tasks, state: MailboxState, kind: str, published: int = 0) -> Enqueued:
    """Enqueue the step that follows the committed state; any number of times, it runs as one."""
    page = page_of(state, kind)
    task = StepTask(state.id, kind, state.epoch, page, published=published)
    return _enqueue(tasks, task, _name(state.id, kind, state.epoch, page, state.rescue))


def enqueue_once(tasks: Tasks, state: MailboxState, kind: str, key: str, not_before: float | None = None) -> Enqueued:
    """Enqueue a step of this epoch that shall run once per key."""
    task = StepTask(state.id, kind, state.epoch)
    return _enqueue(tasks, task, _name(state.id, kind, state.epoch, key), not_before)


def enqueue_gaps(tasks: Tasks, state: MailboxState, at: float) -> Enqueued:
    """Have the gaps looked at; the revision keeps the look apart from the one that asks for it."""
    return enqueue_once(tasks, state, "gaps", f"{at:.0f}.{state.rev}", at)


def begin_audit(tasks: Tasks, state: MailboxState, at: float) -> Enqueued:
    """Have the mailbox's next audit begun, once for each time that the schedule gives; of several, one commits."""
    page = page_of(state, "audit")
    task = StepTask(state.id, "audit", state.epoch, page)
    return _enqueue(tasks, task, _name("begin", state.id, "audit", state.epoch, page, at))


PATIENT_WAITS, LONGEST_PATIENCE = 8, 64.0


def put_off(tasks: Tasks, task: StepTask, state: MailboxState, until: float, grid: float = BUCKET) -> None:
    """The same task again at a later time: once for a page of a chain, else shared by all that are put off alike.

    Shared ones start on a grid of seconds, so that however many looks an outage has collected, they end up as one.
    Where our clock is behind the queue's, a time that is yet to come for us is past for the queue, which brings the task
    back at once: after many waits in a row each is longer than its reason.
    """
    later = replace(task, waits=task.waits + 1)
    if task.waits >= PATIENT_WAITS:
        until += min(LONGEST_PATIENCE, 2.0 ** (task.waits - PATIENT_WAITS))
    if task.page is not None:
        name = _name("later", task.mailbox, task.kind, task.epoch, task.page, state.rescue, later.waits)
        _enqueue(tasks, later, name, until)
        return
    until = math.ceil(until / grid) * grid
    name = _name("later", task.mailbox, task.kind, task.epoch, task.rung, until, *_digest(task.hints))
    if _enqueue(tasks, later, name, until) is Enqueued.SPENT:
        _enqueue(tasks, later, None, until)


def ring(tasks: Tasks, clock: Clock, mailbox: str, hints: Sequence[str] = ()) -> None:
    """Have a look at a mailbox started from now on, whoever else is looking; several rings may share one look.

    ``pending`` is a look that has not started, so it will see what this ring is about; ``spent`` may have looked too early.
    With ``hints``, at most ``HINTS_AT_MOST`` ids of messages, it is a look at these, shared by rings about the same ones.
    """
    task = StepTask(mailbox, "live", rung=True, hints=tuple(hints))
    bucket = math.floor(clock.now() / BUCKET)
    for later in range(LATER_BUCKETS + 1):
        not_before = (bucket + later) * BUCKET if later else None
        name = _name("ring", mailbox, bucket + later, *_digest(task.hints))
        if _enqueue(tasks, task, name, not_before) is not Enqueued.SPENT:
            return
    _enqueue(tasks, task, None, (bucket + 1) * BUCKET)


def settle(tasks: Tasks, clock: Clock, mailbox: str, hints: tuple[str, ...] = ()) -> None:
    """Have the look that follows a rung one, 3 to 5 s from now."""
    task = StepTask(mailbox, "live", hints=hints)
    boundary = (math.floor((clock.now() + SETTLE_MIN) / SETTLE_STEP) + 1) * SETTLE_STEP
    if _enqueue(tasks, task, _name("settle", mailbox, boundary, *_digest(hints)), boundary) is Enqueued.SPENT:
        _enqueue(tasks, task, None, boundary)


def poll(tasks: Tasks, mailbox: str, at: float) -> Enqueued:
    """Have a look at a time that the schedule gives; ticks that come twice enqueue it once."""
    return _enqueue(tasks, StepTask(mailbox, "live"), _name("poll", mailbox, at), at)


def _enqueue(tasks: Tasks, task: StepTask, name: str | None, not_before: float | None = None) -> Enqueued:
    body = msgspec.to_builtins(task) | {"hints": list(task.hints)}
    return tasks.enqueue(QUEUE, PATH, body, name, not_before)


def _digest(hints: tuple[str, ...]) -> tuple[str, ...]:
    """What a task's name says of its hints: nothing where there are none."""
    return (
        (hashlib.sha256("\0".join(sorted(hints)).encode("utf-8", "surrogatepass")).hexdigest()[:20],) if hints else ()
    )


def _name(*parts: Any) -> str:
    return "|".join("" if part is None else str(part) for part in parts)
