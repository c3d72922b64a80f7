"""Latency is from a change to the first event that tells of it, at the subscriber."""

from __future__ import annotations

import pytest

from infra.local.latency import Change, latencies, percentile
from infra.local.verify_delivery import Delivery


def _push(at: float, id_: str, type_: str) -> Delivery:
    return Delivery(at, {"ce-type": type_}, {"provider_message_id": id_})


def test_the_first_fitting_event_after_the_change_counts() -> None:
    delivered = [
        _push(1.0, "m", "email.updated"),
        _push(12.5, "m", "email.updated"),
        _push(13.0, "m", "email.updated"),
        _push(10.5, "m", "email.received"),
        _push(10.1, "other", "email.updated"),
    ]
    assert latencies([Change(10.0, "m", "labels")], delivered) == [2.5]


def test_a_change_that_no_event_tells_of_is_left_out() -> None:
    assert latencies([Change(10.0, "m", "delete")], [_push(11.0, "m", "email.updated")]) == []


def test_new_mail_is_told_as_received_or_sent() -> None:
    changes = [Change(10.0, "a", "mail"), Change(10.0, "b", "mail")]
    delivered = [_push(12.0, "a", "email.received"), _push(11.0, "b", "email.sent")]
    assert latencies(changes, delivered) == [1.0, 2.0]


@pytest.mark.parametrize(("share", "value"), [(0.5, 50.0), (0.95, 95.0), (1.0, 100.0), (0.0, 1.0)])
def test_percentiles_are_nearest_ranks(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], share) == value


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile([], 0.5) is None
