"""What lies in the emulators has its own part in the verdict: a count and a log that differ from the API's fail the run."""

from __future__ import annotations

from infra.local.verify import Beside, Report, verify
from tests.pipeline.verdict_case import CONNECTED, Case, perfect


def _verdict(case: Case, beside: Beside) -> Report:
    return verify(
        case.truth, case.messages, case.gaps, case.status, case.events, case.delivered, case.senders, CONNECTED, beside
    )


def test_a_run_whose_emulators_agree_passes_with_both_figures() -> None:
    case = perfect()
    report = _verdict(case, Beside(len(case.messages), tuple(case.delivered)))
    assert report.ok
    assert (report.documents, report.pulled) == (4, 8)


def test_a_message_more_or_less_in_the_database_than_the_api_lists_fails() -> None:
    case = perfect()
    for documents in (3, 5):
        report = _verdict(case, Beside(documents, tuple(case.delivered)))
        assert report.differences == (f"The database holds {documents} messages; the API lists 4.",)


def test_an_event_that_the_pull_subscription_never_held_fails() -> None:
    case = perfect()
    report = _verdict(case, Beside(4, tuple(case.delivered[1:])))
    assert not report.ok
    assert report.pulled == 7
    assert all(text.startswith("Pull subscription: ") for text in report.differences)


def test_a_redelivered_event_is_counted_once() -> None:
    case = perfect()
    report = _verdict(case, Beside(4, (*case.delivered, *case.delivered[:2])))
    assert report.ok
    assert report.pulled == 8


def test_without_emulators_there_is_nothing_to_say_of_them() -> None:
    report = perfect().verdict()
    assert (report.documents, report.pulled) == (None, None)
