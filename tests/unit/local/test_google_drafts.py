"""Drafts of the simulated Gmail: one id, a new message at every save, the same message when sent."""

from __future__ import annotations

from tests.unit.local.conftest import World
from tests.unit.local.handed_in import kinds, raw, run, status
from tests.unit.local.inprocess import ADDRESS, plan


def test_a_draft_gets_a_new_message_at_every_save_and_keeps_its_id_and_thread(world: World) -> None:
    drafts = world.users.drafts()
    created = run(drafts.create(userId="me", body={"message": raw("Subject: One")}))
    cursor = world.cursor()
    updated = run(drafts.update(userId="me", id=created["id"], body={"message": raw("Subject: Two")}))
    old, new = created["message"], updated["message"]
    assert updated["id"] == created["id"]
    assert new["id"] != old["id"]
    assert (new["threadId"], new["labelIds"]) == (old["threadId"], ["DRAFT"])
    assert kinds(world.since(cursor)) == [("messagesDeleted", old["id"], ()), ("messagesAdded", new["id"], ())]
    assert status(world.users.messages().get(userId="me", id=old["id"])) == 404
    shown = run(drafts.get(userId="me", id=created["id"], format="metadata"))
    assert shown["message"]["payload"]["headers"][0] == {"name": "Subject", "value": "Two"}


def test_a_sent_draft_is_the_same_message_with_sent_for_draft(world: World) -> None:
    drafts = world.users.drafts()
    draft = run(drafts.create(userId="me", body={"message": raw("To: b@x.example")}))
    cursor = world.cursor()
    sent = run(drafts.send(userId="me", body={"id": draft["id"]}))
    assert (sent["id"], sent["labelIds"]) == (draft["message"]["id"], ["SENT"])
    assert kinds(world.since(cursor)) == [
        ("labelsAdded", sent["id"], ("SENT",)), ("labelsRemoved", sent["id"], ("DRAFT",)),
    ]  # fmt: skip
    assert status(drafts.get(userId="me", id=draft["id"])) == 404
    assert run(drafts.list(userId="me")) == {"resultSizeEstimate": 0}


def test_a_draft_can_be_saved_while_it_is_sent(world: World) -> None:
    drafts = world.users.drafts()
    draft = run(drafts.create(userId="me", body={"message": raw("Subject: One")}))
    assert status(drafts.send(userId="me", body={"id": draft["id"]})) == 400
    assert status(drafts.send(userId="me", body={"message": raw("To: b@x.example")})) == 400
    body = {"id": draft["id"], "message": raw(f"To: {ADDRESS}", "Subject: Two")}
    assert run(drafts.send(userId="me", body=body))["labelIds"] == ["INBOX", "SENT", "UNREAD"]
    (mail,) = world.sim.truth(ADDRESS)["mails"]
    assert mail["subject"] == "Two"


def test_drafts_are_listed_newest_first_by_pages(world: World) -> None:
    saved = []
    for number in range(3):
        world.clock.time += 1
        saved.append(world.sim.save_draft(ADDRESS, plan(f"Draft {number}", labels=[])))
    drafts = world.users.drafts()
    first = run(drafts.list(userId="me", maxResults=2))
    second = run(drafts.list(userId="me", maxResults=2, pageToken=first["nextPageToken"]))
    listed = first["drafts"] + second["drafts"]
    assert [{"id": entry["id"], "message": entry["message"]["id"]} for entry in listed] == saved[::-1]
    world.sim.trash(ADDRESS, saved[0]["message"])
    assert len(run(drafts.list(userId="me"))["drafts"]) == 2
    assert len(run(drafts.list(userId="me", includeSpamTrash=True))["drafts"]) == 3


def test_a_draft_that_is_announced_early_shows_when_its_time_has_come(world: World) -> None:
    saved = world.sim.save_draft(ADDRESS, plan("One", labels=[]))
    world.watch()
    world.clock.time += 2
    world.sim.set_faults({"early": 1.0, "early_seconds": 5})
    drafts = world.users.drafts()
    updated = run(drafts.update(userId="me", id=saved["id"], body={"message": raw("To: b@x.example")}))
    assert world.list_ids() == [saved["message"]]
    assert status(world.users.messages().get(userId="me", id=updated["message"]["id"])) == 404
    assert status(drafts.get(userId="me", id=saved["id"])) == 404
    world.clock.time += 5
    assert world.list_ids() == [updated["message"]["id"]]
    assert run(drafts.get(userId="me", id=saved["id"]))["message"]["labelIds"] == ["DRAFT"]


def test_a_deleted_draft_is_gone_for_good(world: World) -> None:
    draft = world.sim.save_draft(ADDRESS, plan(labels=[]))
    cursor = world.cursor()
    run(world.users.drafts().delete(userId="me", id=draft["id"]))
    assert kinds(world.since(cursor)) == [("messagesDeleted", draft["message"], ())]
    assert status(world.users.drafts().delete(userId="me", id=draft["id"])) == 404


def test_every_message_with_the_label_is_a_draft_until_it_loses_it(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan(labels=["DRAFT"])], silent=True)
    (draft,) = run(world.users.drafts().list(userId="me"))["drafts"]
    assert draft["message"]["id"] == one
    world.sim.change_labels(ADDRESS, one, ["SENT"], ["DRAFT"])
    assert "drafts" not in run(world.users.drafts().list(userId="me"))


def test_the_person_behind_the_simulator_can_write_and_send_drafts(world: World) -> None:
    client = world.app.test_client()
    box = f"/control/mailboxes/{ADDRESS}"
    saved = client.post(f"{box}/draft", json={"mail": plan("One", labels=[])}).get_json()
    again = client.post(f"{box}/draft", json={"mail": plan("Two", labels=[]), "id": saved["id"]}).get_json()
    assert (again["id"], again["message"] != saved["message"]) == (saved["id"], True)
    assert client.post(f"{box}/send-draft", json={"id": saved["id"]}).get_json() == {"message": again["message"]}
    assert client.post(f"{box}/send-draft", json={"id": saved["id"]}).status_code == 404
    (mail,) = world.sim.truth(ADDRESS)["mails"]
    assert (mail["subject"], mail["labels"]) == ("Two", ["INBOX", "SENT", "UNREAD"])
