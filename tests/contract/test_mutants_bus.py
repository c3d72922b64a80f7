"""The contract catches broken adapters of the bus and of the queue: each of these breaks one promise, and fails.

The adapters are the cloud's on the real thing, so that what fails is the promise and not a fake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from infra.local.emulators import Unavailable
from shared.errors import BrainstemError
from shared.ports import Bus, BusMessage, Data, Enqueued, Tasks
from tests.contract import test_bus_port as bus
from tests.contract import test_tasks_port as tasks
from tests.contract.worlds import WORLDS, World

pytestmark = pytest.mark.emulators


class SoundBus:
    def __init__(self, inner: Bus) -> None:
        self.inner = inner

    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        self.inner.publish(topic, messages, ordering_key)


class ReorderedPublish(SoundBus):
    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        self.inner.publish(topic, messages[::-1], ordering_key)


class DroppedKey(SoundBus):
    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        self.inner.publish(topic, messages)


class LostTail(SoundBus):
    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        self.inner.publish(topic, messages[:1], ordering_key)


class DroppedAttributes(SoundBus):
    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        self.inner.publish(topic, [BusMessage(message.data) for message in messages], ordering_key)


class SwallowedRefusal(SoundBus):
    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        for message in messages:
            try:
                self.inner.publish(topic, [message], ordering_key)
            except (ValueError, BrainstemError):
                continue


class SoundTasks:
    def __init__(self, inner: Tasks) -> None:
        self.inner = inner

    def enqueue(
        self, queue: str, path: str, body: Data, name: str | None = None, not_before: float | None = None
    ) -> Enqueued:
        return self.inner.enqueue(queue, path, body, name, not_before)


class PendingWhateverItDoes(SoundTasks):
    def enqueue(self, *args: object, **kw: object) -> Enqueued:
        answer = self.inner.enqueue(*args, **kw)  # type: ignore[arg-type]
        return Enqueued.PENDING if answer is Enqueued.SPENT else answer


class SpentWithoutALook(SoundTasks):
    def enqueue(self, *args: object, **kw: object) -> Enqueued:
        answer = self.inner.enqueue(*args, **kw)  # type: ignore[arg-type]
        return Enqueued.SPENT if answer is Enqueued.PENDING else answer


class DroppedName(SoundTasks):
    def enqueue(
        self, queue: str, path: str, body: Data, name: str | None = None, not_before: float | None = None
    ) -> Enqueued:
        return self.inner.enqueue(queue, path, body, None, not_before)


class DroppedTime(SoundTasks):
    def enqueue(
        self, queue: str, path: str, body: Data, name: str | None = None, not_before: float | None = None
    ) -> Enqueued:
        return self.inner.enqueue(queue, path, body, name)


class SwallowedError(SoundTasks):
    def enqueue(self, *args: object, **kw: object) -> Enqueued:
        try:
            return self.inner.enqueue(*args, **kw)  # type: ignore[arg-type]
        except BrainstemError:
            return Enqueued.CREATED


def refused_whole(world: World) -> None:
    bus.test_what_no_bus_can_carry_is_refused_whole(world, "events", BusMessage(b"a", {"n": "\ud800"}), "")


ON_BUS: list[tuple[type[SoundBus], Callable[[World], None]]] = [
    (ReorderedPublish, bus.test_messages_of_a_key_come_in_the_order_of_their_publishing),
    (DroppedKey, bus.test_of_a_key_one_message_at_a_time_is_out),
    (DroppedKey, bus.test_a_failed_message_holds_its_key_back_until_it_is_acknowledged),
    (LostTail, bus.test_every_subscription_of_the_topic_gets_every_message),
    (DroppedAttributes, bus.test_a_push_carries_the_envelope_of_pubsub),
    (SwallowedRefusal, refused_whole),
]
ON_TASKS: list[tuple[type[SoundTasks], Callable[[World], None]]] = [
    (PendingWhateverItDoes, tasks.test_a_name_is_spent_as_soon_as_its_task_starts),
    (SpentWithoutALook, tasks.test_a_name_is_pending_until_its_task_starts),
    (DroppedName, tasks.test_a_name_is_pending_until_its_task_starts),
    (DroppedTime, tasks.test_a_task_waits_for_its_time),
    (SwallowedError, tasks.test_a_body_has_a_limit),
]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    try:
        world = WORLDS["cloud"](tmp_path)
    except Unavailable as error:
        pytest.skip(str(error))
    yield world
    world.close()


@pytest.mark.parametrize(("mutant", "promise"), ON_BUS)
def test_a_broken_bus_is_caught(world: World, mutant: type[SoundBus], promise: Callable[[World], None]) -> None:
    world.bus = mutant(world.bus)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        promise(world)


@pytest.mark.parametrize(("mutant", "promise"), ON_TASKS)
def test_a_broken_queue_is_caught(world: World, mutant: type[SoundTasks], promise: Callable[[World], None]) -> None:
    world.tasks = mutant(world.tasks)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        promise(world)


@pytest.mark.parametrize("promise", [promise for _, promise in ON_BUS + ON_TASKS])
def test_the_frame_itself_breaks_nothing(world: World, promise: Callable[[World], None]) -> None:
    world.bus, world.tasks = SoundBus(world.bus), SoundTasks(world.tasks)
    promise(world)
