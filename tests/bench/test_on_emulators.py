"""The bench of Google Cloud's adapters, small: exact on emulators, and nothing of it outlives it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from infra.local.emulators import Unavailable
from tests.bench import cloud_stages
from tests.bench.cloud import Cloud, found_cloud
from tests.bench.high_level import HighLevel, Remembering
from tests.bench.tape import PAGE, record
from tests.bench.task_service import task_service

pytestmark = pytest.mark.emulators


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    try:
        with found_cloud() as found:
            yield found
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], Path]:
    return lambda: Path(tempfile.mkdtemp(dir=tmp_path))


def test_a_mail_costs_the_same_operations_on_both_sets_of_adapters(cloud: Cloud, fresh: Callable[[], Path]) -> None:
    figures = {figure.name: figure for figure in cloud_stages.count(cloud, fresh, mails=120)}
    unlike = figures["figures unlike those of the embedded adapters"]
    assert (unlike.value, unlike.ok) == (0, True), unlike.note
    assert figures["live mail: document writes"].ok


def test_a_step_sends_what_is_counted_in_five_requests(cloud: Cloud, fresh: Callable[[], Path]) -> None:
    _, tape = record(fresh(), 2 * PAGE)
    figures = {figure.name: figure for figure in cloud_stages.sent(cloud, fresh(), tape)}
    assert figures["backfill step: requests sent"].value == 5
    assert figures["backfill steps that sent other writes than counted"].value == 0


def test_the_high_level_pipeline_writes_four_documents_a_mail_and_leaves_the_environment_alone(
    cloud: Cloud, fresh: Callable[[], Path]
) -> None:
    world, _ = record(fresh(), 2 * PAGE)  # not every mail is listed
    before = dict(os.environ)
    with cloud.project() as project:
        pipeline = HighLevel(cloud.emulators, project.id, Remembering(world), world.settings.headers)
        assert dict(os.environ) == before
        try:
            [page] = pipeline.backfill(1)
            assert len(pipeline.rows("events")) == len(pipeline.rows("marks")) == PAGE
        finally:
            pipeline.close()
    assert (page.tally.writes, page.tally.reads, page.tally.publishes) == (4 * PAGE, PAGE, PAGE)


def test_the_stand_in_of_the_queue_ends_with_whoever_started_it() -> None:
    with task_service() as address:
        channel = grpc.insecure_channel(address)
        grpc.channel_ready_future(channel).result(timeout=20)
        channel.close()
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.FutureTimeoutError):
        grpc.channel_ready_future(channel).result(timeout=0.5)
