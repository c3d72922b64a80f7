"""An export from end to end: asked for, written by tasks, fetched by its link, put into another data folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode, urlsplit

import flask
from werkzeug.test import EnvironBuilder

from infra.local.import_archive import main
from tests.unit.privacy.export_world import read
from tests.world import ADDRESS, MAILBOX, UID, World


def test_a_person_exports_their_mail_and_takes_it_along(tmp_path: Path) -> None:
    world = World(tmp_path / "one")
    world.connect(mails=30)
    world.run(60)
    world.api("POST", "/events", {"type": "note.written", "data": {"text": "hello"}})
    begun = world.api("POST", "/me/export")
    assert begun["status"] == "running"
    world.run(10)
    shown = world.api("GET", f"/me/exports/{begun['export_id']}")
    assert (shown["status"], shown["progress"]) == ("done", 1.0)
    assert [one["export_id"] for one in world.api("GET", "/me/exports")["exports"]] == [begun["export_id"]]

    link = urlsplit(shown["link"])
    environ = EnvironBuilder(path=link.path, query_string=link.query).get_environ()
    answer = world.product.api(flask.Request(environ))
    assert (answer.status_code, answer.is_streamed) == (200, True)
    archive = answer.get_data()
    for wrong in (f"{link.path}?{urlencode({'user': 'eve'})}", f"{shown['link']}x", shown["link"].replace(UID, "eve")):
        assert world.call("api", "GET", wrong)[0] == 403
    actions = [(entry["action"], entry["about"]) for entry in world.api("GET", "/me/audit")["entries"]]
    assert [action for action, _ in actions] == ["connect", "export", "export"]

    records, manifest = read(archive)
    mails = world.all("/mail/messages", "messages", mailbox=MAILBOX)
    exported = [record for record in records if record["kind"] == "message" and record["data"]["state"] == "present"]
    assert {record["data"]["id"] for record in exported} == {mail["provider_message_id"] for mail in mails}
    tokens = [one["sealed"] for one in world.grants().values()]
    assert not [text for sealed in tokens for text in sealed.values() if text and text in repr(records)]

    file = tmp_path / "archive.ndjson.gz"
    file.write_bytes(archive)
    data = tmp_path / "two" / "data"
    assert main([str(file), "--data", str(data)]) == 0
    other = World(tmp_path / "two")
    events = [
        one.all("/events", "events", stream=stream) for one in (world, other) for stream in (MAILBOX, f"{UID}:app")
    ]
    assert events[:2] == events[2:]
    assert manifest["streams"][MAILBOX]["head"] == events[0][-1]["sequence"]


def test_a_grant_that_dies_is_on_the_trail_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.connect(mails=3)
    world.run(60)
    world.google.revoke(ADDRESS)
    world.run(7200)
    assert world.api("GET", "/mail/status")["mailboxes"][0]["status"] == "reauth_required"
    entries = world.api("GET", "/me/audit")["entries"]
    assert [(entry["action"], entry["by"]) for entry in entries if entry["action"] == "reauth"] == [
        ("reauth", "provider")
    ]
