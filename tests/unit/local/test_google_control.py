"""The control endpoints: the same operations over HTTP, with plain refusals."""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from infra.local.google.simulator import GoogleSimulator
from infra.local.simulated.state import OtherVersion
from shared.adapters.embedded.clock import VirtualClock
from tests.unit.local.conftest import World
from tests.unit.local.inprocess import ADDRESS, START, plan

BOX = f"/control/mailboxes/{ADDRESS}"


def test_the_life_of_a_mail_over_http(world: World) -> None:
    client = world.app.test_client()
    raw = base64.b64encode(b"From: z@x.example\nSubject: raw\n\nhi").decode()
    body = {"mails": [plan(thread="t"), {"raw": raw, "labels": ["SENT"], "received_at": START - 5}], "silent": True}
    one, two = client.post(f"{BOX}/mails", json=body).get_json()["ids"]
    client.post(f"{BOX}/labels", json={"id": one, "add": ["STARRED"], "remove": ["UNREAD"]})
    client.post(f"{BOX}/trash", json={"id": one})
    client.post(f"{BOX}/untrash", json={"id": one})
    client.post(f"{BOX}/refuse", json={"id": one, "status": 500})
    client.post(f"{BOX}/delete", json={"id": two})
    truth = client.get(f"/control/truth/{ADDRESS}").get_json()
    assert truth["deleted"] == [two]
    assert truth["arrived"] == {one: START, two: START}
    (mail,) = truth["mails"]
    assert mail | {"headers": None} == {
        "id": one, "thread_id": one, "labels": ["INBOX", "STARRED"], "subject": "Hello", "sender": "bob@example.net",
        "to": [ADDRESS], "cc": [], "bcc": [], "snippet": "A few words.", "headers": None, "received_at": START,
        "refused": True,
    }  # fmt: skip
    assert mail["headers"] == {
        "From": "Bob <bob@example.net>",
        "To": f"Ann <{ADDRESS}>",
        "Subject": "Hello",
        "Message-ID": f"<{one}@simulator.example>",
    }


def test_connecting_again_gives_fresh_tokens_for_the_same_mailbox(world: World) -> None:
    client = world.app.test_client()
    (one,) = world.sim.add_mails(ADDRESS, [plan()])
    fresh = client.post("/control/mailboxes", json={"address": ADDRESS}).get_json()
    assert fresh["access_token"] != world.tokens["access_token"]
    assert fresh["expires_in"] == 3600
    assert world.list_ids() == [one]


def test_faults_and_report(world: World) -> None:
    client = world.app.test_client()
    faults = client.put("/control/faults", json={"drop": 0.3, "latency": 0.01}).get_json()
    assert (faults["drop"], faults["duplicate"], faults["latency"]) == (0.3, 0.0, 0.01)
    world.cursor()
    report = client.get("/control/report").get_json()
    assert report["requests"] == {"users.getProfile": 1}
    assert set(report["pushes"]) >= {
        "wanted",
        "sent",
        "dropped",
        "duplicated",
        "delayed",
        "reordered",
        "early",
        "throttled",
    }


def test_faults_of_calls_and_their_counts_over_http(world: World) -> None:
    client = world.app.test_client()
    answer = client.put("/control/faults", json={"calls": [{"fault": "status", "status": 503, "at": [1]}]})
    assert answer.get_json()["calls"][0]["label"] == "503 backendError"
    with pytest.raises(Exception, match="503"):
        world.cursor()
    assert client.get("/control/report").get_json()["faults"] == {"503 backendError": 1}
    assert client.put("/control/faults", json={"calls": [{"fault": "typo"}]}).status_code == 400


def test_a_quota_and_its_report_over_http(world: World) -> None:
    client = world.app.test_client()
    quota = client.put("/control/quota", json={"profile": "2026", "concurrency": 25}).get_json()
    assert quota == {"profile": "2026", "concurrency": 25}
    world.cursor()
    assert client.get("/control/report").get_json()["quota"] == {
        "profile": "2026",
        "concurrency": 25,
        "per_minute": 6000,
        "spent": {ADDRESS: {"units": 1, "calls": 1, "first": START, "last": START, "utilisation": None}},
        "refused": {},
    }
    assert client.put("/control/quota", json={}).get_json() == {"profile": "none", "concurrency": None}
    assert client.put("/control/quota", json={"profile": "1999"}).status_code == 400


def test_the_batch_endpoint_can_be_taken_away(world: World) -> None:
    client = world.app.test_client()
    assert client.put("/control/batch", json={"batch": False}).get_json() == {"batch": False}
    answer = client.post("/batch/gmail/v1", data="--b--", headers={"Content-Type": "multipart/mixed; boundary=b"})
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    client.put("/control/batch", json={"batch": True})
    answer = client.post("/batch/gmail/v1", data="--b--", headers={"Content-Type": "multipart/mixed; boundary=b"})
    assert answer.status_code == 400
    assert client.put("/control/batch", json={"batch": 0}).status_code == 400


def test_expiring_the_history_over_http(world: World) -> None:
    cursor = world.cursor()
    world.sim.add_mails(ADDRESS, [plan()])
    assert world.app.test_client().post(f"{BOX}/expire-history", json={}).status_code == 200
    with pytest.raises(Exception, match="404"):
        world.since(cursor)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/control/mailboxes", {}, 400),
        ("/control/mailboxes", {"address": 7}, 400),
        ("/control/mailboxes/nobody@x.example/mails", {"mails": [plan()]}, 404),
        (f"{BOX}/mails", {}, 400),
        (f"{BOX}/mails", {"mails": [7]}, 400),
        (f"{BOX}/mails", {"mails": [{"raw": "???"}]}, 400),
        (f"{BOX}/mails", {"mails": [{"raw": ""}]}, 400),
        (f"{BOX}/mails", [], 400),
        (f"{BOX}/trash", {"id": "00ff"}, 404),
        (f"{BOX}/trash", {}, 400),
        (f"{BOX}/refuse", {"id": "00ff", "status": 200}, 400),
        (f"{BOX}/explode", {}, 404),
    ],
)
def test_nonsense_is_refused_in_a_sentence(world: World, path: str, body: Any, status: int) -> None:
    answer = world.app.test_client().post(path, json=body)
    assert answer.status_code == status
    assert answer.get_json()["error"].endswith(".")


def test_a_delivery_with_one_bad_mail_delivers_none(world: World) -> None:
    answer = world.app.test_client().post(f"{BOX}/mails", json={"mails": [plan(), {"raw": ""}]})
    assert answer.status_code == 400
    assert world.list_ids() == []


def test_a_file_of_another_version_is_refused_before_anything_is_done_to_it(tmp_path: Path) -> None:
    path = tmp_path / "google.sqlite"
    with closing(sqlite3.connect(path)) as old:
        old.execute("CREATE TABLE mailboxes (address TEXT)")
    with pytest.raises(OtherVersion):
        GoogleSimulator(path, VirtualClock(), lambda topic, data: None)
    with closing(sqlite3.connect(path)) as same:
        assert same.execute("SELECT name FROM sqlite_master").fetchall() == [("mailboxes",)]
