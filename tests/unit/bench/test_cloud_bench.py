"""What the bench of Google Cloud's adapters makes of what it sees; the emulators themselves are in ``tests/bench``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import pytest

from shared.errors import Retry
from shared.ports import BusMessage, Data, Enqueued
from tests.bench.cloud import copying
from tests.bench.cloud_stages import differing
from tests.bench.figures import Figure
from tests.bench.imports import package_of
from tests.bench.rig import ASIDE
from tests.bench.stopwatch import Stopwatch

FIGURES = [Figure("per mail", "writes", 4, exact=True), Figure("per mail", "reads", 2, exact=True, note="1 + 1")]


@dataclass
class Noted:
    """A bus and a queue that note what they get."""

    answer: Enqueued = Enqueued.CREATED
    got: list[object] = field(default_factory=list)
    broken: bool = False

    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        if self.broken:
            raise Retry("Not now.")
        self.got.append((topic, list(messages), ordering_key))

    def enqueue(
        self, queue: str, path: str, body: Data, name: str | None = None, not_before: float | None = None
    ) -> Enqueued:
        self.got.append((queue, path, body, name, not_before))
        return self.answer


def test_equal_figures_differ_in_nothing() -> None:
    assert (found := differing(FIGURES, list(FIGURES))).ok
    assert found.value == 0


@pytest.mark.parametrize("change", [{"value": 3.0}, {"note": "2 + 0"}], ids=["value", "note"])
def test_a_figure_of_one_set_of_adapters_that_is_not_the_others_is_over_budget_and_named(change) -> None:
    found = differing(FIGURES, [FIGURES[0], replace(FIGURES[1], **change)])
    assert found.exact
    assert not found.ok
    assert "per mail: reads 2" in found.note


def test_figures_that_only_one_set_of_adapters_has_are_no_comparison() -> None:
    with pytest.raises(ValueError, match="shorter"):
        differing(FIGURES, FIGURES[:1])


def test_the_driver_gets_what_the_cloud_gets_and_is_charged_for_itself() -> None:
    ticks = count()
    watch = Stopwatch(clock=lambda: float(next(ticks)))
    cloud, local = Noted(), Noted(answer=Enqueued.SPENT)
    bus, tasks = copying(cloud, cloud, local, local, watch)
    with watch.stage("pipeline"):
        bus.publish("events", [BusMessage(b"1")], "stream")
        assert tasks.enqueue("sync", "/sync", {"n": 1}, "name", 5.0) is Enqueued.SPENT
    assert cloud.got == local.got
    assert cloud.got == [("events", [BusMessage(b"1")], "stream"), ("sync", "/sync", {"n": 1}, "name", 5.0)]
    assert watch.take()[ASIDE] == 2


def test_what_the_cloud_refuses_never_reaches_the_driver() -> None:
    local = Noted()
    bus, _ = copying(Noted(broken=True), Noted(), local, local, Stopwatch())
    with pytest.raises(Retry):
        bus.publish("events", [BusMessage(b"1")])
    assert local.got == []


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("google.cloud.firestore_v1.types.query", "google.cloud.firestore_v1"),
        ("google.api_core.retry", "google.api_core"),
        ("grpc._channel", "grpc"),
        ("shared", "shared"),
    ],
)
def test_a_package_is_named_below_googles_namespaces(module: str, package: str) -> None:
    assert package_of(module) == package
