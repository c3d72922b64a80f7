"""Faults of calls: which calls they hit, how often, in which shape, and that all of it repeats itself for a seed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from googleapiclient.errors import HttpError
from werkzeug.test import Client

from infra.local.google.everything import everything
from infra.local.google.faults import GMAIL
from infra.local.simulated.answers import ConnectionCut
from infra.local.simulated.errors import ControlError
from infra.local.simulated.faults import CallFaults
from infra.local.simulated.rules import Rule, read_rules
from tests.unit.local.conftest import World
from tests.unit.local.inprocess import ADDRESS, plan

GET = "users.messages.get"


def _suffer(world: World, *rules: dict[str, Any], **more: Any) -> None:
    world.sim.set_faults({"calls": list(rules), **more})


def _raw(world: World, path: str = "profile", method: str = "GET", data: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {world.tokens['access_token']}"}
    return Client(world.app).open(
        f"/gmail/v1/users/me/{path}", method=method, headers=headers, data=data, buffered=True
    )


def _batch(world: World, ids: list[str], content_ids: bool = True) -> Any:
    """Post a batch of gets."""
    body = "".join(
        "--b\r\nContent-Type: application/http\r\n"
        + (f"Content-ID: <part-{id_}>\r\n" if content_ids else "")
        + f"\r\nGET /gmail/v1/users/me/messages/{id_}?format=minimal HTTP/1.1\r\n\r\n\r\n"
        for id_ in ids
    )
    return Client(world.app).post(
        "/batch/gmail/v1",
        data=f"{body}--b--",
        buffered=True,
        headers={
            "Content-Type": "multipart/mixed; boundary=b",
            "Authorization": f"Bearer {world.tokens['access_token']}",
        },
    )


def _parts(answer: Any) -> list[tuple[str, int, str]]:
    """(Content-ID, status, body) of every part, in order."""
    parts = []
    for piece in answer.text.split("--batch_simulator")[1:-1]:
        head, inner, body = piece.split("\r\n\r\n", 2)
        name = next((line[12:] for line in head.split("\r\n") if line.startswith("Content-ID")), "")
        parts.append((name, int(inner.split(" ")[1]), body.removesuffix("\r\n")))
    return parts


def _fired(world: World) -> dict[str, int]:
    faults: dict[str, int] = world.sim.report()["faults"]
    return faults


def _outcomes(world: World, calls: int) -> list[int]:
    return [_raw(world).status_code for _ in range(calls)]


def _token(world: World, **more: str) -> Any:
    form = {"grant_type": "refresh_token", "refresh_token": world.tokens["refresh_token"], "client_id": "c"}
    return Client(world.app).post("/token", data=form | more, buffered=True)


@pytest.mark.parametrize(
    ("status", "reason", "name"),
    [
        (400, "badRequest", "INVALID_ARGUMENT"), (401, "authError", "UNAUTHENTICATED"),
        (403, "forbidden", "PERMISSION_DENIED"), (404, "notFound", "NOT_FOUND"), (409, "aborted", "ABORTED"),
        (429, "rateLimitExceeded", "RESOURCE_EXHAUSTED"), (500, "backendError", "INTERNAL"),
        (503, "backendError", "UNAVAILABLE"), (504, "backendError", "DEADLINE_EXCEEDED"),
    ],
)  # fmt: skip
def test_a_status_comes_in_googles_shape(world: World, status: int, reason: str, name: str) -> None:
    _suffer(world, {"fault": "status", "status": status, "at": [1]})
    answer = _raw(world)
    error = answer.get_json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (status, status, name)
    assert error["errors"][0]["reason"] == reason
    assert _raw(world).status_code == 200
    assert _fired(world) == {f"{status} {reason}": 1}


def test_a_502_is_a_page_of_html(world: World) -> None:
    _suffer(world, {"fault": "status", "status": 502, "at": [1]})
    answer = _raw(world)
    assert (answer.status_code, answer.mimetype) == (502, "text/html")
    assert "Error 502" in answer.text


def test_a_status_takes_another_reason_and_says_when_to_come_back(world: World) -> None:
    _suffer(world, {"fault": "status", "status": 403, "reason": "domainPolicy", "retry_after": 7, "at": [1]})
    answer = _raw(world)
    assert answer.headers["Retry-After"] == "7"
    assert answer.get_json()["error"]["errors"][0]["reason"] == "domainPolicy"


def test_a_failed_precondition_names_itself(world: World) -> None:
    _suffer(world, {"fault": "precondition", "at": [1]})
    error = _raw(world).get_json()["error"]
    assert (error["code"], error["status"], error["message"]) == (
        400, "FAILED_PRECONDITION", "Precondition check failed.",
    )  # fmt: skip
    assert error["errors"][0]["reason"] == "failedPrecondition"


def test_a_403_limit_comes_in_both_shapes(world: World) -> None:
    _suffer(world, {"fault": "limit_403", "at": [1, 2]})
    first, second = (_raw(world).get_json()["error"]["errors"][0] for _ in range(2))
    assert first["reason"] == "rateLimitExceeded"
    assert second["reason"] == "userRateLimitExceeded"
    assert "Retry after 20" in second["message"]


def test_a_429_limit_comes_with_and_without_a_header(world: World) -> None:
    _suffer(world, {"fault": "limit_429", "at": [1, 2]})
    first, second = _raw(world), _raw(world)
    assert (first.headers.get("Retry-After"), second.headers.get("Retry-After")) == ("1", None)
    assert second.get_json()["error"]["details"][0]["retryDelay"] == "1.000s"


def test_a_cut_answer_breaks_in_the_middle_of_the_body_and_the_call_has_happened(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan()])
    _suffer(world, {"fault": "cut", "methods": ["users.messages.modify"], "at": [1]})
    with pytest.raises(ConnectionError):
        _raw(world, f"messages/{one}/modify", "POST", b'{"addLabelIds": ["STARRED"]}')
    assert "STARRED" in world.sim.truth(ADDRESS)["mails"][0]["labels"]


def test_a_cut_answer_has_its_whole_length_announced_and_half_of_it_sent(world: World) -> None:
    _suffer(world, {"fault": "cut", "at": [1]})
    said: list[Any] = []
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/gmail/v1/users/me/profile",
        "HTTP_AUTHORIZATION": f"Bearer {world.tokens['access_token']}",
    }  # fmt: skip
    pieces = iter(world.app.wsgi_app(environ, lambda *line: said.append(line)))
    half = next(pieces)
    with pytest.raises(ConnectionCut):
        next(pieces)
    length = int(dict(said[0][1])["Content-Length"])
    assert said[0][0] == "200 OK"
    assert len(half) == length // 2


def test_an_answer_without_a_body_is_cut_before_its_headers(world: World) -> None:
    _suffer(world, {"fault": "cut", "methods": ["users.stop"], "at": [1]})
    with pytest.raises(ConnectionCut):
        _raw(world, "stop", "POST")


def test_a_timeout_holds_the_answer_and_then_cuts_without_having_done_anything(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan()])
    _suffer(world, {"fault": "timeout", "seconds": 20, "at": [1]})
    before = world.clock.time
    with pytest.raises(ConnectionError):
        _raw(world, f"messages/{one}/trash", "POST")
    assert world.clock.time == before + 20
    assert "TRASH" not in world.sim.truth(ADDRESS)["mails"][0]["labels"]


def test_garbage_is_a_200_with_half_a_body_or_a_page(world: World) -> None:
    _suffer(world, {"fault": "garbage", "at": [1, 2]})
    half, page = _raw(world), _raw(world)
    assert (half.status_code, page.status_code) == (200, 200)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(half.data)
    assert page.mimetype == "text/html"


def test_only_a_call_with_a_page_token_has_an_invalid_one(world: World) -> None:
    world.sim.add_mails(ADDRESS, [plan(), plan(), plan()])
    _suffer(world, {"fault": "bad_page_token", "at": [1], "most": 1})
    page = world.users.messages().list(userId="me", maxResults=1).execute()
    following = world.users.messages().list(userId="me", maxResults=1, pageToken=page["nextPageToken"])
    with pytest.raises(HttpError, match="Invalid pageToken"):
        following.execute()
    assert len(following.execute()["messages"]) == 1


def test_an_expired_history_is_a_404_of_history_list_alone(world: World) -> None:
    cursor = world.cursor()
    _suffer(world, {"fault": "expired_history", "at": [1]})
    world.list_ids()
    with pytest.raises(HttpError, match="404"):
        world.since(cursor)
    assert world.since(cursor) == []


def test_one_push_client_refuses_a_watch(world: World) -> None:
    _suffer(world, {"fault": "one_push_client", "at": [1]})
    with pytest.raises(HttpError, match="call /stop then try again"):
        world.watch()
    world.users.stop(userId="me").execute()
    assert world.watch()["historyId"] == world.cursor()


def test_only_a_fresh_mail_is_404_for_a_while(world: World) -> None:
    (old,) = world.sim.add_mails(ADDRESS, [plan()])
    (silent,) = world.sim.add_mails(ADDRESS, [plan()], silent=True)
    world.clock.time += 60
    world.sim.trash(ADDRESS, old)
    (new,) = world.sim.add_mails(ADDRESS, [plan()])
    _suffer(world, {"fault": "fresh_404", "probability": 1.0, "seconds": 3})
    assert [world.get(id_)["id"] for id_ in (old, silent)] == [old, silent]
    with pytest.raises(HttpError, match="404"):
        world.get(new)
    world.clock.time += 3
    assert world.get(new)["id"] == new
    assert _fired(world) == {"404 for a fresh mail": 1}


def test_a_mail_is_fresh_from_the_moment_that_it_shows(world: World) -> None:
    world.watch()
    world.clock.time += 2
    _suffer(world, {"fault": "fresh_404", "probability": 1.0, "seconds": 3}, early=1.0, early_seconds=10)
    (new,) = world.sim.add_mails(ADDRESS, [plan()])
    world.clock.time += 11
    with pytest.raises(HttpError, match="404"):
        world.get(new)
    assert _fired(world)["404 for a fresh mail"] == 1


def test_a_lost_part_is_missing_from_the_batch(world: World) -> None:
    ids = world.sim.add_mails(ADDRESS, [plan() for _ in range(5)])
    _suffer(world, {"fault": "lost_part", "at": [1]})
    names = [name for name, _, _ in _parts(_batch(world, ids))]
    whole = [f"<response-part-{id_}>" for id_ in ids]
    assert len(names) == 4
    assert names == [name for name in whole if name in names]
    assert [name for name, _, _ in _parts(_batch(world, ids))] == whole


def test_shuffled_parts_still_name_what_they_answer(world: World) -> None:
    ids = world.sim.add_mails(ADDRESS, [plan() for _ in range(5)])
    _suffer(world, {"fault": "shuffled_parts", "at": [1]})
    parts = _parts(_batch(world, ids))
    names = [name for name, _, _ in parts]
    assert sorted(names) == sorted(f"<response-part-{id_}>" for id_ in ids)
    assert all(f"<response-part-{id_}>" != name for id_, name in zip(ids, names, strict=True))
    assert all(orjson.loads(body)["id"] in name for name, _, body in parts)


def test_without_content_ids_all_parts_are_there_in_order(world: World) -> None:
    ids = world.sim.add_mails(ADDRESS, [plan() for _ in range(5)])
    _suffer(
        world,
        {"fault": "no_content_ids", "at": [1]},
        {"fault": "lost_part", "at": [1]},
        {"fault": "shuffled_parts", "at": [1]},
    )
    parts = _parts(_batch(world, ids))
    assert [(name, orjson.loads(body)["id"]) for name, _, body in parts] == [("", id_) for id_ in ids]
    # The other two were due as well and come at the next batch, together.
    assert len(_parts(_batch(world, ids))) == 4
    assert set(_fired(world).values()) == {1}


def test_a_batch_of_one_part_keeps_it(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan()])
    _suffer(world, *({"fault": kind, "probability": 1.0} for kind in ("lost_part", "shuffled_parts", "no_content_ids")))
    assert _parts(_batch(world, [one]))[0][0] == f"<response-part-{one}>"


def test_inner_faults_hit_parts_and_leave_the_batch_at_200(world: World) -> None:
    ids = world.sim.add_mails(ADDRESS, [plan() for _ in range(3)])
    _suffer(world, {"fault": "limit_429", "methods": [GET], "where": "inner", "at": [1, 2]})
    world.get(ids[0])
    answer = _batch(world, ids)
    assert answer.status_code == 200
    assert [status for _, status, _ in _parts(answer)] == [429, 429, 200]
    assert "Retry-After: 1\r\n" in answer.text


def test_outer_faults_spare_the_parts(world: World) -> None:
    ids = world.sim.add_mails(ADDRESS, [plan()])
    _suffer(world, {"fault": "status", "status": 500, "where": "outer", "at": [1]})
    assert [status for _, status, _ in _parts(_batch(world, ids))] == [200]
    assert _raw(world).status_code == 500


def test_a_garbled_part_is_garbled_alone(world: World) -> None:
    ids = world.sim.add_mails(ADDRESS, [plan() for _ in range(3)])
    _suffer(world, {"fault": "garbage", "where": "inner", "at": [2]})
    parts = _parts(_batch(world, ids))
    assert [status for _, status, _ in parts] == [200, 200, 200]
    assert orjson.loads(parts[2][2])["id"] == ids[2]
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(parts[1][2])


def test_a_batch_as_a_whole_has_to_be_named(world: World) -> None:
    ids = world.sim.add_mails(ADDRESS, [plan()])
    _suffer(world, {"fault": "status", "status": 503, "methods": ["batch"], "at": [1]})
    assert _batch(world, ids).status_code == 503
    assert _batch(world, ids).status_code == 200
    _suffer(world, {"fault": "cut", "methods": ["batch"], "at": [1]})
    with pytest.raises(ConnectionError):
        _batch(world, ids)


def test_the_token_endpoint_fails_in_the_words_of_oauth(world: World) -> None:
    _suffer(
        world,
        {"fault": "status", "status": 503, "methods": ["token"], "at": [1], "retry_after": 2},
        {"fault": "status", "status": 400, "reason": "invalid_grant", "methods": ["token"], "at": [2]},
    )
    down, dead, fine = _token(world), _token(world), _token(world)
    assert (down.status_code, down.get_json()["error"], down.headers["Retry-After"]) == (503, "internal_failure", "2")
    assert (dead.status_code, dead.get_json()["error"]) == (400, "invalid_grant")
    assert fine.get_json()["token_type"] == "Bearer"
    assert world.sim.report()["requests"] == {"token": 3}


def test_the_token_endpoint_can_be_cut_held_and_garbled(world: World) -> None:
    rules: list[dict[str, Any]] = [
        {"fault": "cut", "methods": ["token"], "at": [1]},
        {"fault": "timeout", "methods": ["token"], "seconds": 9, "at": [2]},
        {"fault": "garbage", "methods": ["token"], "at": [3]},
    ]
    _suffer(world, *rules)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            _token(world)
    assert world.clock.slept == [9]
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(_token(world).data)
    assert world.sim.report()["requests"] == {"token": 3}


def test_a_rule_counts_its_eligible_calls_and_fires_no_more_than_most(world: World) -> None:
    _suffer(world, {"fault": "status", "status": 500, "at": [2, 3, 5], "most": 2})
    assert _outcomes(world, 6) == [200, 500, 500, 200, 200, 200]


def test_draws_repeat_themselves_for_a_seed_and_differ_for_another() -> None:
    def run(seed: int) -> list[bool]:
        faults = CallFaults()
        faults.put(read_rules([{"fault": "status", "status": 500, "probability": 0.3}], GMAIL), seed)
        return [faults.strike(GET, inner=False) is not None for _ in range(200)]

    assert run(1) == run(1) != run(2)
    assert 30 < sum(run(1)) < 90


def test_a_sure_firing_that_loses_is_made_up_for_at_the_next_call(world: World) -> None:
    _suffer(world, {"fault": "status", "status": 500, "at": [1]}, {"fault": "status", "status": 503, "at": [1]})
    assert _outcomes(world, 3) == [500, 503, 200]


def test_rules_that_never_fired_are_reported_with_zero_and_counts_outlive_their_plan(world: World) -> None:
    _suffer(world, {"fault": "status", "status": 500, "at": [1]}, {"fault": "cut", "at": [99]})
    _raw(world)
    assert _fired(world) == {"500 backendError": 1, "cut in the middle": 0}
    _suffer(world, {"fault": "timeout", "at": [9], "label": "sleepy"})
    assert _fired(world) == {"500 backendError": 1, "sleepy": 0}


def test_labels_say_what_happens_to_which_calls() -> None:
    rules = read_rules(
        [
            {"fault": "status", "status": 503, "methods": ["token"], "at": [1]},
            {"fault": "limit_429", "methods": [GET, "batch"], "where": "inner", "at": [1]},
            {"fault": "lost_part", "at": [1]},
        ],
        GMAIL,
    )
    assert [rule.label for rule in rules] == [
        "503 backendError of the token endpoint", "429 rate limit of messages.get, a batch, in batches",
        "part of a batch missing",
    ]  # fmt: skip


def test_a_call_with_a_bad_token_is_no_eligible_call(world: World) -> None:
    _suffer(world, {"fault": "status", "status": 500, "at": [1]})
    assert Client(world.app).get("/gmail/v1/users/me/profile").status_code == 401
    assert _raw(world).status_code == 500


def test_a_plan_survives_a_restart_and_its_counts_begin_anew(world: World) -> None:
    _suffer(world, {"fault": "status", "status": 500, "at": [1]})
    assert _outcomes(world, 2) == [500, 200]
    world.sim.close()
    world.open()
    assert _outcomes(world, 2) == [500, 200]


def test_a_rule_reads_back_what_it_writes() -> None:
    for rule in read_rules(everything(1)["calls"], GMAIL):
        assert Rule.from_json(orjson.loads(orjson.dumps(rule.to_json())), GMAIL) == rule


@pytest.mark.parametrize(
    "rule",
    [
        {}, 7, {"fault": ["cut"], "at": [1]},
        {"fault": "typo", "at": [1]}, {"fault": "cut", "typo": 1, "at": [1]}, {"fault": "cut"},
        {"fault": "status", "at": [1]}, {"fault": "status", "status": 418, "at": [1]},
        {"fault": "cut", "status": 500, "at": [1]}, {"fault": "cut", "at": [0]}, {"fault": "cut", "at": 7},
        {"fault": "cut", "at": [True]}, {"fault": "cut", "probability": 1.5}, {"fault": "cut", "probability": "much"},
        {"fault": "cut", "where": "inner", "at": [1]}, {"fault": "cut", "where": "there", "at": [1]},
        {"fault": "cut", "methods": "users.stop", "at": [1]}, {"fault": "fresh_404", "methods": ["*"], "at": [1]},
        {"fault": "cut", "most": -1, "at": [1]}, {"fault": "cut", "label": 7, "at": [1]},
        {"fault": "lost_part", "methods": ["users.stop"], "at": [1]},
    ],
)  # fmt: skip
def test_a_rule_that_makes_no_sense_is_refused_and_changes_nothing(world: World, rule: Any) -> None:
    _suffer(world, {"fault": "status", "status": 500, "at": [1]})
    with pytest.raises(ControlError):
        _suffer(world, rule)
    assert _raw(world).status_code == 500


def test_everything_has_every_kind_and_every_fate_of_a_push_in_it(world: World) -> None:
    plan_of_all = everything(5)
    assert {rule["fault"] for rule in plan_of_all["calls"]} == set(GMAIL.methods)
    world.sim.set_faults(plan_of_all)
    fired = _fired(world)
    assert set(fired.values()) == {0}
    assert len(fired) == len(plan_of_all["calls"]) + 5
    assert everything(5) == plan_of_all


def test_everything_fires_each_of_its_rules_within_the_calls_of_a_demo() -> None:
    """Two thousand mails in eighty batches, a hundred and fifty looks at the history, ten pages, eight token calls."""
    for seed in range(5):
        faults = CallFaults()
        faults.put(read_rules(everything(seed)["calls"], GMAIL), seed)
        for number in range(80):
            faults.strike("batch", inner=False)
            for _ in range(25):
                faults.strike(GET, inner=True, age=lambda: None)
            faults.reshape([(str(part), part) for part in range(25)])
            faults.strike("users.history.list", inner=False)
            faults.strike("users.history.list", inner=False, paged=number % 20 == 0)
            if number % 8 == 0:
                faults.strike("users.messages.list", inner=False, paged=True)
            if number % 4 == 0:
                faults.strike(GET, inner=True, age=lambda: 0.5)
        faults.strike("users.watch", inner=False)
        for _ in range(8):
            faults.strike("token", inner=False)
        assert {label: count for label, count in faults.counts().items() if not count} == {}
