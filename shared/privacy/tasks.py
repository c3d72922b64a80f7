"""The queue of deletions and exports, and what the task of a deletion says.

The successor of a step is named by person, fence, turn and rescue, all read from the committed profile: whoever enqueues it
twice has done no harm.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from shared import refs
from shared.conversion import convertible
from shared.errors import InvalidRequest
from shared.ports import Doc, Enqueued, Tasks

QUEUE = "privacy"
DELETE = "/privacy/delete"
EXPORT = "/privacy/export"
"""The paths of the function; their last part is the action."""


@convertible
@dataclass(frozen=True, slots=True)
class DeletionTask:
    """One step of a deletion: whose, behind which fence (by its time), and which of its steps."""

    uid: str
    fenced_at: float
    turn: int


@convertible
@dataclass(frozen=True, slots=True)
class ExportTask:
    """One step of an export: whose, which, and the number of parts that were there."""

    uid: str
    export_id: str
    parts: int


def parse(body: object) -> DeletionTask:
    """Read a task's body. Raises ``InvalidRequest``."""
    try:
        task: DeletionTask = msgspec.convert(body, DeletionTask)
    except msgspec.ValidationError:
        raise InvalidRequest("The body is not a step of a deletion.") from None
    return task


def parse_export(body: object) -> ExportTask:
    """Read a task's body. Raises ``InvalidRequest``."""
    try:
        task: ExportTask = msgspec.convert(body, ExportTask)
    except msgspec.ValidationError:
        raise InvalidRequest("The body is not a step of an export.") from None
    return task


def enqueue_export(tasks: Tasks, export: Doc) -> Enqueued:
    """Enqueue the step that follows from where an export stands; any number of times, it runs as one."""
    data, export_id = export.data, refs.key(export.ref)
    task = ExportTask(data["uid"], export_id, len(data["parts"]))
    name = f"export|{task.uid}|{export_id}|{task.parts}|{data['status']}|{data['rescues']}"
    return tasks.enqueue(QUEUE, EXPORT, msgspec.to_builtins(task), name)


def enqueue(tasks: Tasks, profile: Doc, not_before: float | None = None) -> Enqueued:
    """Enqueue the step that follows from a fenced profile; any number of times, it runs as one."""
    uid, data = refs.key(profile.ref), profile.data
    task = DeletionTask(uid, data["erasing"], data["turn"])
    name = f"delete|{uid}|{task.fenced_at}|{task.turn}|{data['rescues']}"
    return tasks.enqueue(QUEUE, DELETE, msgspec.to_builtins(task), name, not_before)
