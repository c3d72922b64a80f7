"""The labels of the simulated Gmail: made, renamed, counted, deleted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.local.conftest import World
from tests.unit.local.handed_in import kinds, run, status
from tests.unit.local.inprocess import ADDRESS, plan


def test_a_renamed_label_keeps_its_id_and_leaves_no_record(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan(labels=["Work"])])
    cursor = world.cursor()
    labels = world.users.labels()
    patched = run(labels.patch(userId="me", id="Label_1", body={"name": "Office"}))
    assert patched == {"id": "Label_1", "name": "Office", "type": "user"}
    assert world.since(cursor) == []
    assert world.get(one)["labelIds"] == ["Label_1"]


def test_a_deleted_label_leaves_every_message_and_its_id_never_returns(world: World) -> None:
    one, _, two = world.sim.add_mails(ADDRESS, [plan(labels=["Work"]), plan(), plan(labels=["Work", "TRASH"])])
    cursor = world.cursor()
    run(world.users.labels().delete(userId="me", id="Label_1"))
    assert {entry[1:] for entry in kinds(world.since(cursor))} == {(one, ("Label_1",)), (two, ("Label_1",))}
    assert "labelIds" not in world.get(one)
    assert status(world.users.labels().get(userId="me", id="Label_1")) == 404
    assert run(world.users.labels().create(userId="me", body={"name": "Work"}))["id"] == "Label_2"
    assert world.app.test_client().post(
        f"/control/mailboxes/{ADDRESS}/labels", json={"id": one, "add": ["Label_1"]}
    ).status_code == 404  # fmt: skip


def test_patch_keeps_what_it_is_not_given_and_update_does_not(world: World) -> None:
    labels = world.users.labels()
    body = {"name": "Work", "labelListVisibility": "labelHide", "color": {"textColor": "#000000"}}
    label = run(labels.create(userId="me", body=body))
    assert label == {"id": "Label_1", "type": "user"} | body
    key = {"userId": "me", "id": "Label_1"}
    assert run(labels.patch(**key, body={"messageListVisibility": "hide"})) == label | {"messageListVisibility": "hide"}
    assert run(labels.update(**key, body={"name": "Work"})) == {"id": "Label_1", "name": "Work", "type": "user"}


def test_a_label_counts_its_messages_and_threads(world: World) -> None:
    world.sim.add_mails(
        ADDRESS,
        [plan(thread="t"), plan(thread="t", labels=["INBOX"]), plan(), plan(labels=["INBOX"]), plan(labels=["SENT"])],
    )
    answer = run(world.users.labels().get(userId="me", id="INBOX"))
    counts = {"messagesTotal": 4, "messagesUnread": 2, "threadsTotal": 3, "threadsUnread": 2}
    assert answer == {"id": "INBOX", "name": "INBOX", "type": "system"} | counts


def test_names_are_taken_once_in_whatever_case(world: World) -> None:
    labels = world.users.labels()
    run(labels.create(userId="me", body={"name": "Work"}))
    run(labels.create(userId="me", body={"name": "Home"}))
    for name in ("Work", "WORK", "inbox"):
        assert status(labels.create(userId="me", body={"name": name})) == 409
    assert status(labels.patch(userId="me", id="Label_2", body={"name": "work"})) == 409
    assert run(labels.patch(userId="me", id="Label_1", body={"name": "work"}))["name"] == "work"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": " "},
        {"name": 7},
        {"name": "x" * 300},
        {"name": "x", "labelListVisibility": "no"},
        {"name": "x", "color": 1},
    ],
)
def test_a_label_that_makes_no_sense_is_refused(world: World, body: dict[str, Any]) -> None:
    assert status(world.users.labels().create(userId="me", body=body)) == 400


def test_googles_own_labels_cannot_be_changed(world: World) -> None:
    labels = world.users.labels()
    assert status(labels.delete(userId="me", id="INBOX")) == 400
    assert status(labels.update(userId="me", id="INBOX", body={"name": "x"})) == 400
    assert status(labels.delete(userId="me", id="Label_9")) == 404


def test_the_person_behind_the_simulator_can_rename_and_delete_labels(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan(labels=["Work", "Home"])])
    client = world.app.test_client()
    box = f"/control/mailboxes/{ADDRESS}"
    assert client.post(f"{box}/rename-label", json={"label": "Work", "name": "Office"}).status_code == 200
    assert client.post(f"{box}/rename-label", json={"label": "Office", "name": "Home"}).status_code == 400
    assert client.post(f"{box}/delete-label", json={"label": "Label_2"}).status_code == 200
    assert client.post(f"{box}/delete-label", json={"label": "Label_2"}).status_code == 404
    names = {label["id"]: label["name"] for label in run(world.users.labels().list(userId="me"))["labels"]}
    assert world.get(one)["labelIds"] == ["Label_1"]
    assert (names["Label_1"], "Label_2" in names) == ("Office", False)
