"""The operation counts per mail, exact: a read or a write more per mail fails here before anybody pays for it.

``make bench`` prints the same figures with many more mails; timings are its business alone.
"""

from __future__ import annotations

import pytest

from tests.bench import counts
from tests.bench.figures import Figure

MAILS = 600


@pytest.fixture(scope="module")
def figures(tmp_path_factory) -> list[Figure]:
    return counts.count(tmp_path_factory.mktemp("counted"), MAILS)


@pytest.fixture
def value(figures):
    by_name = {(figure.section, figure.name): figure.value for figure in figures}
    return lambda section, name: by_name[section, name]


def test_no_operation_count_is_over_its_budget(figures):
    assert [f"{f.section}: {f.name}: {f.value:g} > {f.budget:g} ({f.note})" for f in figures if not f.ok] == []


def test_a_page_is_one_commit_of_mailbox_mails_and_one_segment(value):
    assert value(counts.PAGE_STEP, "commits") == 1
    # A hundred mails are 102 writes; a thread that is read whole brings some mails of later pages along.
    assert 102 <= value(counts.PAGE_STEP, "document writes") < 115


def test_a_page_reads_nothing_but_its_mailbox(value):
    assert value(counts.PAGE_STEP, "document reads") == 1


def test_a_page_enqueues_its_successor_and_publishes_its_events_and_its_doorbell(value):
    assert value(counts.PAGE_STEP, "tasks enqueued") == 1
    assert value(counts.PAGE_STEP, "bus publishes") == 2


def test_a_backfilled_mail_is_fetched_once_alone_or_with_its_thread_for_no_more(value):
    assert 0.4 < value(counts.BACKFILL, "requests: get") + 2 * value(counts.BACKFILL, "requests: thread") <= 1
    assert value(counts.BACKFILL, "requests: batch") < 0.05
    assert value(counts.BACKFILL, "requests: list") == 0.01


def test_connecting_costs_a_handful_of_writes_however_many_mails_there_are(value):
    pages = MAILS / 100
    assert value(counts.BACKFILL, "document writes") * MAILS == pytest.approx(102 * pages + 15)


@pytest.mark.parametrize("which", ["isolated", "following"])
def test_a_live_mail_is_two_commits_two_tasks_one_get_and_two_looks(value, which):
    assert value(counts.LIVE, f"{which}: document writes") == 4
    assert value(counts.LIVE, f"{which}: commits") == 2
    assert value(counts.LIVE, f"{which}: tasks enqueued") == 2
    assert value(counts.LIVE, f"{which}: requests: get") == 1
    assert value(counts.LIVE, f"{which}: requests: history") == 2


def test_an_empty_look_writes_nothing(value):
    assert value(counts.IDLE, "empty look: document writes") == 0


def test_a_settle_look_reads_the_mailbox_alone(value):
    assert value(counts.IDLE, "settle look: document reads") == 1


def test_an_idle_tick_writes_nothing(value):
    assert value(counts.IDLE, "idle tick: document writes") == 0


@pytest.mark.parametrize("what", ["backfilled page", "live mail"])
def test_a_consumer_writes_its_watermark_and_reads_it_and_one_segment(value, what):
    assert value(counts.CONSUMER, f"{what}: document writes") == 1
    assert value(counts.CONSUMER, f"{what}: document reads") == 2


OUTLOOK_MAILS, OUTLOOK_FOLDERS = 2_000, 60


@pytest.fixture(scope="module")
def outlook_backfill(tmp_path_factory) -> list[Figure]:
    return counts.count_outlook(tmp_path_factory.mktemp("large"), OUTLOOK_MAILS, 1)


@pytest.fixture(scope="module")
def outlook(tmp_path_factory) -> dict[str, float]:
    figures = counts.count_outlook(tmp_path_factory.mktemp("folders"), 240, OUTLOOK_FOLDERS)
    return {f"{figure.section.partition(': ')[2]}: {figure.name}": figure.value for figure in figures}


def test_no_operation_count_of_outlook_is_over_its_budget(outlook_backfill):
    over = [f"{f.section}: {f.name}: {f.value:g} > {f.budget:g} ({f.note})" for f in outlook_backfill if not f.ok]
    assert over == []


@pytest.mark.parametrize("which", ["isolated", "following"])
def test_a_live_mail_of_outlook_costs_what_one_of_gmail_costs_however_many_folders_there_are(outlook, which):
    spent = {name.partition(f"{which}: ")[2]: value for name, value in outlook.items() if f"{which}: " in name}
    assert spent["document writes"] == 4
    assert spent["document reads"] == 3
    assert spent["commits"] == 2
    assert {name: value for name, value in spent.items() if name.startswith("requests")} == {"requests: message": 1}


def test_a_poll_of_outlook_asks_each_folder_once(outlook):
    everywhere = OUTLOOK_FOLDERS + 7  # the mailbox's own
    assert outlook[f"{counts.IDLE}: poll: requests: folders"] == 1
    assert outlook[f"{counts.IDLE}: poll: requests: delta"] == everywhere
    assert outlook[f"{counts.IDLE}: poll: document writes"] <= everywhere + 6, (
        "each folder's cursor, and the walk's steps"
    )
