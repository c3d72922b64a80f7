"""When something is done to a mailbox in a demo: first in step with its backfill, then in its own time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from rich.progress import Progress

from infra.local.course import BACKFILL_SHARE, PAUSE_SECONDS, Course
from infra.local.latency import Change
from infra.local.progress import MailboxProgress


class _Full:
    """A mailbox with a hundred mails, to which nothing happens."""

    mails = 100

    def __init__(self) -> None:
        self.made: list[Change] = []

    def change(self) -> Change:
        raise AssertionError("A course only says when.")

    def summary(self) -> Counter[str]:
        return Counter()


def _course(acts: Sequence[str]) -> Course:
    return Course(_Full(), acts, random.Random(1), Progress(disable=True), "Gmail")


def _at(messages: int, status: str = "backfilling") -> MailboxProgress:
    return MailboxProgress("user:primary:GOOGLE", status, messages, 0, None)


def test_nothing_is_due_while_nobody_says_where_the_mailbox_stands() -> None:
    course = _course(["change"])
    assert not course.is_due(0.0)
    course.look(None)
    assert not course.is_due(0.0)


def test_the_first_part_keeps_step_with_the_backfill() -> None:
    course = _course(["change"] * 10)
    for done in range(6):
        needed = done / 10 / BACKFILL_SHARE * 100
        if needed:
            course.look(_at(int(needed) - 1))
            assert not course.is_due(0.0), done
        course.look(_at(int(needed) + 1))
        assert course.is_due(0.0), done
        course.take(0.0)


def test_the_rest_waits_until_the_past_is_in_and_then_comes_one_after_the_other() -> None:
    course = _course(["change"] * 10)
    for _ in range(6):
        course.take(0.0)
    course.look(_at(100))
    assert not course.is_due(100.0)
    course.look(_at(100, "live"))
    assert course.is_in
    assert course.is_due(100.0)
    course.take(100.0)
    assert not course.is_due(100.0 + PAUSE_SECONDS[0] / 2)
    assert course.is_due(100.0 + PAUSE_SECONDS[1])


def test_acts_are_taken_in_their_order_until_the_course_is_over() -> None:
    course = _course(["change", "kill"])
    course.look(_at(100, "live"))
    assert [course.take(0.0), course.take(10.0)] == ["change", "kill"]
    assert course.is_over
    assert not course.is_due(20.0)


def test_a_course_without_acts_is_over_at_once() -> None:
    assert _course([]).is_over
