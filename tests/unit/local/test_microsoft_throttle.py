"""Limits, storms, batches and faults of calls: who is refused, in which words, and who came back too early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.local.microsoft.everything import everything
from infra.local.microsoft.faults import GRAPH
from infra.local.microsoft.throttle import GRAPH as LIMITS
from infra.local.simulated.answers import ConnectionCut
from infra.local.simulated.errors import ControlError
from infra.local.simulated.rules import read_rules
from tests.unit.local.inprocess import ADDRESS, plan
from tests.unit.local.outlook_box import OutlookBox, delta, error


@pytest.fixture
def box(tmp_path: Path) -> Any:
    box = OutlookBox(tmp_path / "microsoft.sqlite")
    yield box
    box.sim.close()


def _batch(box: OutlookBox, *requests: dict[str, Any]) -> dict[str, Any]:
    answer = box.post("/$batch", {"requests": list(requests)}, expected=200)
    return {part["id"]: part for part in answer["responses"]}


def _part(number: int, url: str = "/me", **more: Any) -> dict[str, Any]:
    return {"id": str(number), "method": "GET", "url": url, **more}


def _seen(box: OutlookBox, name: str) -> Any:
    return box.sim.report()["quota"][name]


def test_nothing_is_limited_until_it_is_asked_for(box: OutlookBox) -> None:
    for _ in range(40):
        box.get("/me")
    assert _seen(box, "refused") == {}
    assert _seen(box, "most_at_once") == {ADDRESS: 1}


def test_a_mailbox_that_used_up_its_requests_waits_until_the_first_is_forgotten(box: OutlookBox) -> None:
    box.sim.set_quota({"requests": 3, "seconds": 600})
    for _ in range(3):
        box.get("/me")
        box.clock.sleep(10)
    answer = box.ask("/me")
    assert error(answer) == (429, "ApplicationThrottled")
    assert answer.headers["Retry-After"] == "570"
    box.clock.sleep(570)
    assert box.ask("/me").status_code == 200
    assert _seen(box, "refused") == {ADDRESS: {"ApplicationThrottled": 1}}
    assert _seen(box, "too_early") == {}


def test_who_comes_before_the_promised_time_is_counted(box: OutlookBox) -> None:
    box.sim.storm(60, retry_after=30)
    assert box.ask("/me").headers["Retry-After"] == "30"
    box.clock.sleep(29)
    box.ask("/me")
    box.clock.sleep(30)
    box.ask("/me")
    assert _seen(box, "too_early") == {ADDRESS: 1}


def test_a_storm_passes(box: OutlookBox) -> None:
    box.client.post("/control/storm", json={"seconds": 20, "retry_after": 5, "address": ADDRESS})
    assert error(box.ask("/me")) == (429, "ApplicationThrottled")
    box.clock.sleep(20)
    assert box.ask("/me").status_code == 200


def test_a_batch_is_four_requests_at_a_time_each_judged_alone(box: OutlookBox) -> None:
    answers = _batch(box, *(_part(number) for number in range(6)))
    assert [answers[str(number)]["status"] for number in range(6)] == [200] * 6
    assert _seen(box, "most_at_once") == {ADDRESS: 4}
    box.sim.set_quota({"concurrency": 3})
    answers = _batch(box, *(_part(number) for number in range(4)))
    assert [answers[str(number)]["status"] for number in range(4)] == [200, 200, 200, 429]
    assert answers["3"]["headers"]["Retry-After"] == "1"
    assert answers["3"]["body"]["error"]["code"] == "MailboxConcurrency"
    assert _seen(box, "too_early") == {}


def test_parts_of_a_batch_that_are_refused_together_do_not_come_too_early(box: OutlookBox) -> None:
    box.sim.storm(60)
    _batch(box, *(_part(number) for number in range(4)))
    assert _seen(box, "too_early") == {}
    _batch(box, _part(1))
    assert _seen(box, "too_early") == {ADDRESS: 1}


def test_deltas_of_one_folder_at_one_time_are_counted(box: OutlookBox) -> None:
    _batch(box, _part(1, delta("inbox")), _part(2, delta("inbox")), _part(3, delta("archive")))
    assert _seen(box, "most_deltas_at_once")[ADDRESS] == {box.folder("inbox"): 2, box.folder("archive"): 1}


def test_parts_of_a_batch_have_headers_and_bodies_of_their_own(box: OutlookBox) -> None:
    [message] = box.sim.add_mails(ADDRESS, [plan()])
    url = f"/me/messages/{message}?$select=isRead"
    answers = _batch(
        box,
        _part(1, url, method="PATCH", body={"isRead": True}, headers={"Content-Type": "application/json"}),
        _part(2, url, headers={"Prefer": 'IdType="ImmutableId"'}, dependsOn=["1"]),
        _part(3, f"/me/messages/{message}/$value"),
    )
    assert answers["2"]["body"]["id"] == message
    assert answers["2"]["body"]["isRead"]
    assert answers["1"]["body"]["id"] != message, "the header of the whole is not that of a part"
    assert isinstance(answers["3"]["body"], str)


def test_a_part_that_depends_on_a_failed_one_fails(box: OutlookBox) -> None:
    answers = _batch(box, _part(1, "/me/mailFolders/nope"), _part(2, dependsOn=["1"]), _part(3, dependsOn=["2"]))
    assert {name: part["status"] for name, part in answers.items()} == {"1": 404, "2": 424, "3": 424}


@pytest.mark.parametrize(
    "requests",
    [
        [], [_part(number) for number in range(21)], [_part(1), _part(1)], [{"id": "1"}],
        [_part(1, dependsOn=["2"]), _part(2, dependsOn=["1"])], [_part(1, dependsOn=["9"])],
    ],
)  # fmt: skip
def test_what_is_no_batch_is_refused(box: OutlookBox, requests: list[Any]) -> None:
    assert box.ask("/$batch", "POST", {"requests": requests}).status_code == 400


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"fault": "status", "status": 503, "retry_after": 7}, (503, "ErrorServerBusy")),
        ({"fault": "status", "status": 401}, (401, "InvalidAuthenticationToken")),
        ({"fault": "limit_429", "retry_after": 7}, (429, "ApplicationThrottled")),
        ({"fault": "concurrency_429", "retry_after": 7}, (429, "MailboxConcurrency")),
    ],
)
def test_a_fault_comes_in_graphs_shape(box: OutlookBox, rule: dict[str, Any], expected: tuple[int, str]) -> None:
    box.sim.set_faults({"calls": [{**rule, "at": [1]}]})
    answer = box.ask("/me")
    assert error(answer) == expected
    assert answer.headers.get("Retry-After", "7") == "7"
    assert box.ask("/me").status_code == 200


def test_a_502_is_a_page_and_garbage_is_no_json(box: OutlookBox) -> None:
    box.sim.set_faults({"calls": [{"fault": "status", "status": 502, "at": [1]}, {"fault": "garbage", "at": [2, 3]}]})
    assert box.ask("/me").mimetype == "text/html"
    assert [box.ask("/me").status_code for _ in range(2)] == [200, 200]
    assert box.sim.report()["faults"]["garbage"] == 2


def test_a_connection_breaks_in_the_middle_or_before_the_answer(box: OutlookBox) -> None:
    box.sim.set_faults({"calls": [{"fault": "cut", "at": [1]}, {"fault": "timeout", "at": [2], "seconds": 9.0}]})
    for _ in range(2):
        with pytest.raises(ConnectionCut):
            box.ask("/me")
    assert box.clock.slept == [9.0]


def test_a_fresh_mail_may_answer_404_for_a_while(box: OutlookBox) -> None:
    box.sim.set_faults({"calls": [{"fault": "fresh_404", "probability": 1.0, "seconds": 3.0}]})
    [message] = box.sim.add_mails(ADDRESS, [plan()])
    assert error(box.ask(f"/me/messages/{message}")) == (404, "ErrorItemNotFound")
    box.clock.sleep(3)
    assert box.ask(f"/me/messages/{message}").status_code == 200


def test_the_token_endpoint_has_faults_of_its_own_shape(box: OutlookBox) -> None:
    box.sim.set_faults({"calls": [{"fault": "status", "status": 503, "methods": ["token"], "at": [1]}]})
    answer = box.client.post("/common/oauth2/v2.0/token", data={"grant_type": "refresh_token"})
    assert (answer.status_code, answer.get_json()["error"]) == (503, "temporarily_unavailable")


def test_latency_passes_on_the_clock(box: OutlookBox) -> None:
    box.sim.set_faults({"latency": 0.25})
    box.get("/me")
    assert box.clock.slept == [0.25]


@pytest.mark.parametrize(
    "faults", [{"replays": -1}, {"nonsense": 1}, {"calls": [{"fault": "expired_history", "at": [1]}]}, {"late": True}]
)
def test_a_plan_that_makes_no_sense_is_refused_and_changes_nothing(box: OutlookBox, faults: dict[str, Any]) -> None:
    before = box.sim.set_faults({"replays": 0.5})
    with pytest.raises(ControlError):
        box.sim.set_faults(faults)
    assert box.sim.set_faults(before) == before


@pytest.mark.parametrize("quota", [{"profile": "2026"}, {"requests": 0}, {"concurrency": "four"}, {"seconds": None}])
def test_a_quota_that_makes_no_sense_is_refused(box: OutlookBox, quota: dict[str, Any]) -> None:
    with pytest.raises(ControlError):
        box.sim.set_quota(quota)


def test_the_plan_with_everything_is_accepted_and_has_every_fault_of_single_calls(box: OutlookBox) -> None:
    whole = everything(1)
    rules = read_rules(whole["calls"], GRAPH)
    assert {rule.fault for rule in rules} == set(GRAPH.methods) - {"shuffled_parts"}
    assert box.sim.set_faults(whole) == box.sim.set_faults(box.sim.set_faults(whole))
    assert box.sim.set_quota(LIMITS) == LIMITS
