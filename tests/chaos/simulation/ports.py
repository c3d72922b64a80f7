"""The ports as one instance sees them: every call takes time, may fail, may be applied without an answer, may be the last.

Reads hand on after they are answered, so that what was read can be old by the time it is used; writes before and after.
The store of keys and the secrets never hand on, because the vault holds a lock around them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from infra.local.world import InProcess, Served
from shared.errors import Conflict, Retry, Unknown
from shared.ports import Bus, BusMessage, Data, Doc, Enqueued, Query, Secrets, Store, Tasks, Write
from tests.chaos.simulation.host import Crossing, Host
from tests.chaos.simulation.record import Published

if TYPE_CHECKING:
    from tests.chaos.simulation.instance import Life

LOST = "The simulation refuses this call."


class SlowStore:
    """The store, and with ``hands_on`` False the store of keys."""

    def __init__(self, life: Life, inner: Store, hands_on: bool = True) -> None:
        self._life, self._inner, self._hands_on = life, inner, hands_on

    def get(self, refs: Sequence[str]) -> dict[str, Doc]:
        life = self._life
        life.begin("get", refs[0] if len(refs) == 1 else f"{len(refs)} documents", self._hands_on and "read")
        if life.strikes("store.retry"):
            raise Retry(LOST)
        found = self._inner.get(refs)
        life.end("get", "", self._hands_on)
        return found

    def query(self, query: Query) -> list[Doc]:
        life = self._life
        life.begin("query", query.group, self._hands_on and "read")
        if life.strikes("store.retry"):
            raise Retry(LOST)
        found = self._inner.query(query)
        life.end("query", "", self._hands_on)
        return found

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        life = self._life
        life.begin("commit", _brief(writes), self._hands_on)
        for kind, error in (("store.conflict", Conflict), ("store.retry", Retry), ("store.unknown", Unknown)):
            if life.strikes(kind):
                raise error(LOST)
        try:
            versions = self._inner.commit(writes)
        except Conflict:
            life.say("commit", "Conflict")
            raise
        if self._hands_on:
            life.world.committed(life, writes)
        life.end("commit", "applied", self._hands_on)
        if life.strikes("store.conflict_applied"):
            raise Conflict(LOST)
        if life.strikes("store.unknown_applied"):
            raise Unknown(LOST)
        return versions


class SlowBus:
    """The publishing side of the bus."""

    def __init__(self, life: Life, inner: Bus) -> None:
        self._life, self._inner = life, inner

    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        life = self._life
        life.begin("publish", f"{topic} {_sequences(messages)}")
        if life.strikes("bus.publish_failed"):
            raise Retry(LOST)
        partial = len(messages) > 1 and life.strikes("bus.publish_partial")
        taken = messages[: (len(messages) + 1) // 2] if partial else messages
        self._inner.publish(topic, taken, ordering_key)
        life.world.published(Published(topic, taken, ordering_key))
        life.end("publish", f"took {len(taken)}")
        if partial or life.strikes("bus.publish_unheard"):
            raise Retry(LOST)


class SlowTasks:
    """The enqueueing side of the queue."""

    def __init__(self, life: Life, inner: Tasks) -> None:
        self._life, self._inner = life, inner

    def enqueue(
        self, queue: str, path: str, body: Data, name: str | None = None, not_before: float | None = None
    ) -> Enqueued:
        life = self._life
        life.begin("enqueue", name or "without a name")
        if life.strikes("tasks.enqueue_failed"):
            raise Retry(LOST)
        result = self._inner.enqueue(queue, path, body, name, not_before)
        if result is Enqueued.CREATED:
            life.world.enqueued(name, body, not_before)
        life.end("enqueue", result.value)
        if life.strikes("tasks.enqueue_unheard"):
            raise Retry(LOST)
        return result


class SlowSecrets:
    """The secrets."""

    def __init__(self, life: Life, inner: Secrets) -> None:
        self._life, self._inner = life, inner

    def get(self, name: str, version: str | None = None) -> bytes:
        self._life.begin("secret", name, False)
        if self._life.strikes("secrets.failed"):
            raise Retry(LOST)
        value = self._inner.get(name, version)
        self._life.end("secret", "", False)
        return value

    def add(self, name: str, value: bytes) -> str:
        self._life.begin("add secret", name, False)
        if self._life.strikes("secrets.failed"):
            raise Retry(LOST)
        version = self._inner.add(name, value)
        self._life.end("add secret", "added", False)
        return version


class SlowHttp:
    """The way to the providers. What a step asked after, and what came back, is noted with its call, for the checker."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Served, bytes]:
        life, world = self._life, self._life.world
        host = world.host_at(uri)
        asked = host.asked(uri, body, headers or {})
        crossing = world.sets_out(Crossing(asked, life, world.scheduler.now, life.noted("task")))
        try:
            life.begin(host.provider, asked.name)
            if life.strikes("provider.slow"):
                life.pause(world.durations.uniform(5.0, 25.0))
            if asked.cursor is not None:
                life.note("asked", (*life.noted("asked"), crossing))
            try:
                served, content = host.crowded(world.in_flight(asked.address)) or InProcess(host.website).request(
                    uri, method, body, headers
                )
            except Exception as broken:
                life.say(host.provider, f"{asked.name} broke off: {type(broken).__name__}")
                raise
            if served.status == 200:
                crossing.links = host.links(asked, content)
            life.end(host.provider, str(served.status))
            world.arrived(crossing, served)
        finally:
            world.ended(crossing)
        if asked.refresh and served.status == 200:
            content = self._refreshed(host, asked.refresh, content)
        return served, content

    def _refreshed(self, host: Host, old: str, content: bytes) -> bytes:
        """A refresh whose answer is lost, or that brings a new refresh token, which ends the old one once it is used."""
        host.refreshed(old)
        if self._life.strikes("refresh.unheard"):
            raise ConnectionResetError(LOST)
        return host.rotated(old, content) if self._life.strikes("refresh.rotated") else content


def _brief(writes: Sequence[Write]) -> str:
    refs = [write.ref for write in writes]
    shown = refs[0].removeprefix("users/")
    return shown if len(refs) == 1 else f"{shown} and {len(refs) - 1} more"


def _sequences(messages: Sequence[BusMessage]) -> str:
    numbers = [message.attributes["ce-sequence"] for message in messages if "ce-sequence" in message.attributes]
    return f"{numbers[0]}-{numbers[-1]}" if numbers else messages[0].data.decode()[-60:]
