"""The adapter against the simulated Outlook: whole rounds, moves, expiry, subscriptions and tokens over its HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from werkzeug.test import Client

from infra.local.microsoft.app import create_app
from infra.local.microsoft.notifications import Heard
from infra.local.microsoft.simulator import MicrosoftSimulator
from infra.local.microsoft.throttle import GRAPH
from shared.errors import CursorExpired, FolderAbsent, RateLimited, ReauthRequired
from shared.providers.base import Access, Change, Channel, Left, Missing, Refused, Upsert
from shared.providers.graph import GraphProvider
from shared.providers.http.wire import Reply
from shared.settings import Settings
from tests.meter import FreeMeter
from tests.unit.fakes import FakeClock
from tests.unit.providers.graph_playback import LOGIN, ROOT

ME = "ann@example.org"


class Wired:
    """The simulator as the HTTP that the adapter has."""

    def __init__(self, simulator: MicrosoftSimulator) -> None:
        self._client = Client(create_app(simulator))
        self.methods: list[str] = []

    def request(self, uri: str, method: str = "GET", body: Any = None, headers: Any = None) -> tuple[Reply, bytes]:
        parts = urlsplit(uri)
        self.methods.append(method)
        answer = self._client.open(
            parts.path,
            base_url="http://microsoft.test",
            query_string=parts.query,
            method=method,
            data=body,
            headers=headers,
            buffered=True,
        )
        return Reply(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}), answer.data


class Outlook:
    """A mailbox, the adapter, and what a plain follower keeps of it: messages by folder, links by folder."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.sim = MicrosoftSimulator(path, self.clock, seed=3, notify=_hears)
        self.http = Wired(self.sim)
        settings = Settings(
            graph_api_url=ROOT,
            microsoft_login_url=LOGIN,
            microsoft_client_id="client",
            graph_notification_url="https://bell.test/graph_push",
            graph_page_size=3,
        )
        self.provider = GraphProvider(settings, self.clock, lambda: "secret", lambda: self.http)
        self.tokens = self.sim.add_mailbox(ME)
        access = Access(self.tokens["access_token"], FreeMeter())
        profile = self.provider.profile(access)
        self.access = Access(access.token, access.meter, profile.address, profile.folders)
        self.links: dict[str, str] = {}
        self.folders_link = ""

    def deliver(self, subject: str, folder: str = "Inbox", **fields: Any) -> str:
        mail = {"subject": subject, "sender": ["Bob", "bob@x.org"], "to": [["Ann", ME]], "body": "Words.", **fields}
        labels = {} if folder == "Inbox" else {"folder": folder}
        [id] = self.sim.add_mails(ME, [{"labels": ["INBOX", "UNREAD"], **mail, **labels}])
        return str(id)

    def known(self, label: str) -> str:
        return next(id for id, name in self.access.folders.items() if name == label)

    def walk(self) -> list[Change]:
        """A look at all folders, each to the end of its round."""
        read = self.provider.folders(self.access, self.folders_link)
        self.folders_link = read.cursor
        for gone in read.gone:
            del self.links[gone]
        for folder in read.changed:
            self.links.setdefault(folder.id, "")
        return [change for id in list(self.links) for change in self.look(id)]

    def look(self, folder: str) -> list[Change]:
        changes: list[Change] = []
        more = True
        while more:
            page = self.provider.changes(self.access, self.links[folder], folder)
            self.links[folder], more = page.cursor, page.more
            changes += page.changes
        return changes


def _hears(url: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> Heard:
    return Heard(200, 0.1, query.get("validationToken", ""))


@pytest.fixture
def outlook(tmp_path: Path) -> Iterator[Outlook]:
    outlook = Outlook(tmp_path / "microsoft.sqlite")
    yield outlook
    outlook.sim.close()


def mails(changes: list[Change]) -> dict[str, Any]:
    return {change.id: change.message for change in changes if isinstance(change, Upsert)}


def test_a_profile_knows_the_five_folders_and_those_of_deleted_mail(outlook: Outlook) -> None:
    assert outlook.access.address == ME
    names = outlook.access.folders.values()
    assert sorted(set(names)) == ["DRAFT", "INBOX", "RECOVERABLE", "SENT", "SPAM", "TRASH"]
    assert len(names) == 5 + 4


def test_first_rounds_bring_everything_as_it_truly_is(outlook: Outlook) -> None:
    for number in range(8):
        outlook.deliver(f"Grüße {number}", "A/B" if number % 2 else "Inbox", categories=["Red"])
    found = mails(outlook.walk())
    truth = {mail["id"]: mail for mail in outlook.sim.truth(ME)["mails"]}
    assert set(found) == set(truth)
    for id, message in found.items():
        assert message.subject == truth[id]["subject"]
        assert set(message.labels) == set(truth[id]["labels"])
        assert f"folder:{truth[id]['folder']}" in message.labels
        assert message.headers == {name: truth[id]["headers"][name] for name in message.headers}
    assert mails(outlook.walk()) == {}


def test_a_move_is_a_leaving_and_an_arrival_of_one_id(outlook: Outlook) -> None:
    id = outlook.deliver("moved")
    outlook.walk()
    outlook.sim.move(ME, id, "deleteditems")
    changes = outlook.walk()
    assert Left(id, f"folder:{outlook.known('INBOX')}") in changes
    assert "TRASH" in mails(changes)[id].labels


def test_a_deletion_is_a_leaving_and_then_missing(outlook: Outlook) -> None:
    id = outlook.deliver("deleted")
    outlook.walk()
    outlook.sim.delete(ME, id)
    assert outlook.walk() == [Left(id, f"folder:{outlook.known('INBOX')}")]
    assert outlook.provider.fetch(outlook.access, [id]) == (Missing(id),)


def test_a_deleted_message_that_can_still_be_read_is_missing_all_the_same(outlook: Outlook) -> None:
    outlook.sim.set_faults({"recoverable": 1.0})
    ids = [outlook.deliver(f"deleted {number}") for number in range(6)]
    outlook.walk()
    for id in ids:
        outlook.sim.delete(ME, id)
    assert {type(change) for change in outlook.walk()} == {Left}
    assert outlook.provider.fetch(outlook.access, ids) == tuple(Missing(id, certain=True) for id in ids)
    assert outlook.sim.report()["faults"]["deleted mail still read"] == len(ids)


def test_halves_of_messages_are_read_whole(outlook: Outlook) -> None:
    outlook.sim.set_faults({"halves": 1.0})
    ids = [outlook.deliver(f"half {number}") for number in range(4)]
    before = mails(outlook.walk())
    for id in ids:
        outlook.sim.change_labels(ME, id, remove=["UNREAD"])
    after = mails(outlook.walk())
    assert set(after) == set(ids)
    for id in ids:
        assert after[id] == replace(
            before[id], version=after[id].version, labels=tuple(sorted({*before[id].labels} - {"UNREAD"}))
        )


def test_only_the_folders_whose_links_have_expired_are_refused(outlook: Outlook) -> None:
    outlook.deliver("a", "A")
    outlook.walk()
    outlook.sim.expire_delta(ME, outlook.known("INBOX"))
    with pytest.raises(CursorExpired):
        outlook.look(outlook.known("INBOX"))
    del outlook.links[outlook.known("INBOX")]
    outlook.walk()


def test_the_hierarchys_link_expires_too(outlook: Outlook) -> None:
    outlook.walk()
    outlook.sim.expire_delta(ME, "")
    with pytest.raises(CursorExpired):
        outlook.provider.folders(outlook.access, outlook.folders_link)


def test_folders_come_and_go(outlook: Outlook) -> None:
    outlook.walk()
    made = outlook.sim.create_folder(ME, "New")
    outlook.sim.create_folder(ME, "Search", search=True)
    read = outlook.provider.folders(outlook.access, outlook.folders_link)
    assert [(folder.id, folder.name) for folder in read.changed] == [(made, "New")]
    outlook.sim.delete_folder(ME, made)
    assert outlook.provider.folders(outlook.access, read.cursor).gone == (made,)
    with pytest.raises(FolderAbsent):
        outlook.provider.changes(outlook.access, "", made)


def test_a_message_that_cannot_be_read_does_not_stop_its_folder(outlook: Outlook) -> None:
    bad, good = outlook.deliver("bad"), outlook.deliver("good")
    outlook.sim.refuse(ME, bad, 500)
    changes = outlook.walk()
    assert good in mails(changes)
    assert [change.id for change in changes if isinstance(change, Refused)] == [bad]


def test_listings_tell_the_versions_that_changes_tell(outlook: Outlook) -> None:
    for number in range(5):
        outlook.clock.time += 60
        outlook.deliver(f"{number}", "A" if number % 2 else "Inbox")
    found = mails(outlook.walk())
    first = outlook.provider.list_ids(outlook.access, None, 2)
    listed = dict(zip(first.ids, first.versions, strict=True))
    page = first.next
    while page is not None:
        listing = outlook.provider.list_ids(outlook.access, page, 2)
        listed |= dict(zip(listing.ids, listing.versions, strict=True))
        page = listing.next
    assert listed == {id: message.version for id, message in found.items()}
    received = [found[id].received_at for id in listed]
    assert received == sorted(received, reverse=True)
    inbox = outlook.provider.list_ids(outlook.access, None, 10, f"folder:{outlook.known('INBOX')}")
    assert set(inbox.ids) == {id for id, message in found.items() if "INBOX" in message.labels}


def test_a_storm_is_sat_out_without_a_request(outlook: Outlook) -> None:
    outlook.walk()
    outlook.sim.set_quota(GRAPH)
    outlook.sim.storm(60, retry_after=60)
    with pytest.raises(RateLimited) as caught:
        outlook.walk()
    assert caught.value.retry_after == 60
    asked = len(outlook.http.methods)
    with pytest.raises(RateLimited):
        outlook.walk()
    assert len(outlook.http.methods) == asked
    outlook.clock.time += 61
    outlook.walk()
    assert outlook.sim.report()["quota"]["too_early"] == {}


def test_there_is_one_subscription_whatever_becomes_of_it(outlook: Outlook) -> None:
    opened = outlook.provider.open_channel(outlook.access, "", "secret")
    assert opened is not None
    assert opened.expires_at - outlook.clock.now() > 6.9 * 86_400
    outlook.clock.time += 86_400
    token = outlook.provider.refresh(outlook.tokens["refresh_token"]).access
    outlook.access = Access(token, outlook.access.meter, ME, outlook.access.folders)
    again = outlook.provider.open_channel(outlook.access, opened.id, "secret")
    assert again == Channel(opened.id, opened.expires_at + 86_400)
    lost = outlook.provider.open_channel(outlook.access, "", "secret")
    assert lost is not None
    assert outlook.sim.subscriptions.live(ME) == [lost.id]
    assert outlook.sim.subscriptions.most_live(ME) == 1
    outlook.provider.close_channel(outlook.access, lost)
    outlook.provider.close_channel(outlook.access, lost)
    assert outlook.sim.subscriptions.live(ME) == []
    replaced = outlook.provider.open_channel(outlook.access, lost.id, "secret")
    assert replaced is not None
    outlook.provider.close_channel(outlook.access, Channel("", 0.0))
    assert outlook.sim.subscriptions.live(ME) == []


def test_a_refresh_token_is_rotated_and_a_revoked_one_is_dead(outlook: Outlook) -> None:
    refresh = outlook.tokens["refresh_token"]
    for _ in range(5):
        tokens = outlook.provider.refresh(refresh)
        assert tokens.refresh is not None
        assert tokens.refresh != refresh
        refresh = tokens.refresh
        profile = outlook.provider.profile(Access(tokens.access, FreeMeter()))
        assert profile.address == ME
    outlook.sim.revoke(ME)
    with pytest.raises(ReauthRequired):
        outlook.provider.refresh(refresh)
    with pytest.raises(ReauthRequired):
        outlook.provider.profile(outlook.access)
