"""Changes of a folder as Graph tells of them: links, removals, partial entries, and what makes a folder begin anew."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import (
    CursorExpired,
    FolderAbsent,
    ProviderRefused,
    ProviderUnavailable,
    RateLimited,
    ReauthRequired,
)
from shared.providers.base import Left, Missing, Page, Refused, Upsert
from tests.unit.providers.gmail_playback import TOKEN, Answer, Playback, Request
from tests.unit.providers.graph_playback import INBOX, LINK, ROOT, access, error, mail, page, provider, removed

FIRST = f"/v1.0/me/mailFolders/{INBOX.replace('=', '%3D')}/messages/delta"


def look(*script: Any, cursor: str = f"{LINK}d0", **settings: Any) -> tuple[Page, Playback]:
    http = Playback(script)
    return provider(http, **settings).changes(access(), cursor, INBOX), http


def test_a_first_round_asks_for_all_that_is_needed_newest_first_and_filters_nothing() -> None:
    looked, http = look(page(mail("m1"), next="n1"), cursor="")
    [request] = http.requests
    assert request.path == FIRST
    assert set(request.query) == {"$select", "$orderby"}
    assert request.query["$orderby"] == ["receivedDateTime desc"]
    fields = request.query["$select"][0].split(",")
    assert {"id", "changeKey", "parentFolderId", "internetMessageHeaders", "bodyPreview"} < set(fields)
    assert request.headers["prefer"] == 'IdType="ImmutableId", odata.maxpagesize=100'
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert (looked.cursor, looked.more) == (f"{LINK}n1", True)


@pytest.mark.parametrize(
    ("scopes", "preview"),
    [(("Mail.Read",), True), (("Mail.ReadBasic",), False), (("https://graph.microsoft.com/Mail.ReadBasic",), False)],
)
def test_a_preview_is_asked_for_only_where_the_scope_allows_it(scopes: tuple[str, ...], preview: bool) -> None:
    _, http = look(page(), cursor="", microsoft_scopes=scopes)
    assert ("bodyPreview" in http.requests[0].query["$select"][0]) is preview


def test_links_are_followed_letter_for_letter() -> None:
    odd = f"{ROOT}me/mailFolders('A%2Fb')/messages/delta?$skiptoken=a%2Bb+c==&x=%7e;/../'()"
    _, http = look(page(), cursor=odd)
    assert http.requests[0].url == odd


def test_a_relative_link_is_resolved_against_what_was_asked() -> None:
    looked, _ = look(Answer(200, {"value": [], "@odata.deltaLink": "delta?$deltatoken=d9"}), cursor=f"{LINK}d0")
    assert looked.cursor == f"{ROOT}me/mailFolders/{INBOX}/messages/delta?$deltatoken=d9"


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.test/v1.0/x",
        "http://microsoft.test:81/v1.0/x",
        "https://microsoft.test/v1.0/x",
        "http://microsoft.test@evil.test/x",
        "http://ann@microsoft.test/x",
        "http://microsoft.test\\@evil.test/x",
        "http://microsoft.test.evil.test/x",
        "//evil.test/x",
        "file:///etc/passwd",
        "http://microsoft.test/a b",
        "http://microsoft.test/\r\nx: y",
        "http://microsoft.test/\u00e9",
        "http://[/",
        "http://microsoft.test/" + "a" * 16_001,
        "",
        7,
        None,
        ["http://microsoft.test/x"],
    ],
)
@pytest.mark.parametrize("kind", ["@odata.nextLink", "@odata.deltaLink"])
def test_a_link_that_leads_to_another_server_is_not_followed(link: Any, kind: str) -> None:
    with pytest.raises(ProviderUnavailable, match="where to go on"):
        look(Answer(200, {"value": [], kind: link}))


def test_a_stored_link_to_another_server_is_not_followed_either() -> None:
    http = Playback([])
    with pytest.raises(CursorExpired):
        provider(http).changes(access(), "http://elsewhere.test/v1.0/x?$deltatoken=1", INBOX)
    assert http.requests == []


def test_an_empty_page_with_a_next_link_is_normal() -> None:
    looked, _ = look(page(next="n2"))
    assert looked == Page((), f"{LINK}n2", more=True)


def test_pages_that_go_in_a_circle_are_an_outage() -> None:
    with pytest.raises(ProviderUnavailable, match="circle"):
        look(page(next="d0"))


def test_a_delta_link_that_stays_the_same_is_normal() -> None:
    looked, _ = look(page(delta="d0"))
    assert looked == Page((), f"{LINK}d0")


def test_both_links_mean_another_page() -> None:
    looked, _ = look(Answer(200, {"value": [], "@odata.deltaLink": f"{LINK}d", "@odata.nextLink": f"{LINK}n"}))
    assert (looked.cursor, looked.more) == (f"{LINK}n", True)


@pytest.mark.parametrize("reason", ["changed", "deleted", "", None])
def test_whatever_the_reason_a_removed_message_has_left_this_folder_and_no_more_is_known(reason: Any) -> None:
    looked, _ = look(page(removed("m1", reason)))
    assert looked.changes == (Left("m1", f"folder:{INBOX}"),)


def test_changes_keep_their_order_repeats_included() -> None:
    looked, _ = look(page(mail("m1"), removed("m1"), mail("m2"), mail("m1", subject="again")))
    assert [(type(change), change.id) for change in looked.changes] == [
        (Upsert, "m1"),
        (Left, "m1"),
        (Upsert, "m2"),
        (Upsert, "m1"),
    ]
    [_, _, _, last] = looked.changes
    assert isinstance(last, Upsert)
    assert last.message.subject == "again"


@pytest.mark.parametrize(
    "lacking",
    ["changeKey", "parentFolderId", "conversationId", "receivedDateTime", "subject", "toRecipients", "ccRecipients",
     "bccRecipients", "isRead", "isDraft", "importance", "flag", "categories"],
)  # fmt: skip
def test_an_entry_that_lacks_what_every_message_has_is_read_whole(lacking: str) -> None:
    half = {name: value for name, value in mail("m1").items() if name != lacking}
    looked, http = look(page(half), Answer(200, mail("m1", subject="whole")))
    assert http.paths[1:] == ["GET /v1.0/me/messages/m1"]
    [change] = looked.changes
    assert isinstance(change, Upsert)
    assert change.message.subject == "whole"


def test_what_is_null_is_told_and_a_message_may_have_no_sender_and_no_headers() -> None:
    bare = mail("m1", subject=None, flag=None, conversationId=None)
    for name in ("from", "sender", "sentDateTime", "bodyPreview", "internetMessageId", "internetMessageHeaders"):
        del bare[name]
    looked, http = look(page({**bare, "isDraft": True}))
    assert [type(change) for change in looked.changes] == [Upsert]
    assert len(http.requests) == 1


@pytest.mark.parametrize("lacking", [(), ("parentFolderId",), ("changeKey",), ("parentFolderId", "changeKey")])
def test_an_entry_that_tells_only_what_has_changed_is_read_whole(lacking: tuple[str, ...]) -> None:
    partial = {"id": "m1", "isRead": True, "parentFolderId": INBOX, "changeKey": "k"}
    for name in lacking:
        del partial[name]
    looked, http = look(page(mail("m0"), partial), Answer(200, mail("m1", folder="AAother=", isRead=False)))
    assert http.paths[1] == "GET /v1.0/me/messages/m1"
    assert http.requests[1].headers["prefer"] == 'IdType="ImmutableId"'
    [_, change] = looked.changes
    assert isinstance(change, Upsert)
    assert change.message.labels == ("UNREAD", "folder:AAother=")


def test_a_partial_entry_of_a_message_that_is_gone_is_missing() -> None:
    looked, _ = look(page({"id": "m1", "isRead": True}), error(404, "ErrorItemNotFound"))
    assert looked.changes == (Missing("m1"),)


def test_an_entry_that_is_among_the_deleted_has_left_its_folder() -> None:
    http = Playback([page(mail("m1", "AAgone="), {"id": "m2", "isRead": True}), Answer(200, mail("m2", "AAgone="))])
    known = access(folders={INBOX: "INBOX", "AAgone=": "RECOVERABLE"})
    looked = provider(http).changes(known, f"{LINK}d0", INBOX)
    assert looked.changes == (Left("m1", f"folder:{INBOX}"), Missing("m2", certain=True))


def test_what_cannot_be_normalised_is_refused_and_the_page_goes_on() -> None:
    bad = mail("m2", folder="F" * 300)
    looked, _ = look(page(mail("m1"), bad, mail("m3")))
    assert [type(change) for change in looked.changes] == [Upsert, Refused, Upsert]
    assert looked.changes[1] == Refused("m2", "The message is in no folder.")


@pytest.mark.parametrize(
    "entry",
    [None, [], "m1", {}, {"id": ""}, {"id": 7}, {"id": "a b"}, {"id": "\u00e9"}, {"id": "x" * 513}, {"id": "\n"}],
)
def test_an_entry_that_cannot_be_named_stops_the_page_for_it_would_be_skipped(entry: Any) -> None:
    with pytest.raises(ProviderUnavailable, match="usable id"):
        look(page(mail("m1"), entry))


@pytest.mark.parametrize("body", [{}, {"value": None}, {"value": {}}, {"value": "x"}])
def test_a_page_without_entries_is_none(body: dict[str, Any]) -> None:
    with pytest.raises(ProviderUnavailable):
        look(Answer(200, {**body, "@odata.deltaLink": f"{LINK}d"}))


@pytest.mark.parametrize(
    "answer",
    [
        error(410),
        error(410, "resyncChangesApplyDifferences"),
        error(404, "SyncStateNotFound"),
        error(400, "syncStateNotFound"),
        error(400, "resyncRequired"),
        error(409, "resyncRequired"),
        error(400, "SyncStateInvalid"),
        error(400, "badRequest", inner="syncStateInvalid"),
    ],
)
def test_a_link_that_is_no_longer_known_makes_this_folder_begin_anew(answer: Answer) -> None:
    with pytest.raises(CursorExpired):
        look(answer)


@pytest.mark.parametrize("answer", [error(410), error(400, "syncStateNotFound")])
def test_where_nothing_was_asked_to_be_known_there_is_nothing_to_begin_anew(answer: Answer) -> None:
    with pytest.raises(ProviderUnavailable):
        look(answer, cursor="")


@pytest.mark.parametrize("cursor", ["", f"{LINK}d0"])
def test_a_folder_that_is_gone_is_absent(cursor: str) -> None:
    with pytest.raises(FolderAbsent):
        look(error(404, "ErrorItemNotFound"), cursor=cursor)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(404, "MailboxNotEnabledForRESTAPI"), ProviderRefused),
        (Answer(404, b"<html>"), ProviderRefused),
        (error(403, "ErrorAccessDenied"), ProviderRefused),
        (error(401, "InvalidAuthenticationToken"), ReauthRequired),
        (error(500, "ErrorInternalServerError"), ProviderUnavailable),
        (error(503, "syncStateNotFound"), ProviderUnavailable),
        (error(429, "TooManyRequests", **{"retry-after": "60"}), RateLimited),
        (Answer(200, b"\xff"), ProviderUnavailable),
        (OSError("canary"), ProviderUnavailable),
    ],
)
def test_other_failures(answer: Any, expected: type) -> None:
    with pytest.raises(expected) as caught:
        look(answer)
    assert type(caught.value) is expected
    assert "canary" not in caught.value.message


def test_the_reason_of_a_refusal_names_graphs_code_and_nothing_else_of_its_answer() -> None:
    with pytest.raises(ProviderRefused) as caught:
        look(error(403, "ErrorAccessDenied", "canary of ann@example.org"))
    assert caught.value.message == "Outlook refused the changes of a folder (403 ErrorAccessDenied)."
    with pytest.raises(ProviderRefused) as caught:
        look(error(403, "<b>canary</b>"))
    assert caught.value.message == "Outlook refused the changes of a folder (403)."


@pytest.mark.parametrize("folder", ["", "a b", "\n"])
def test_without_a_folder_there_are_no_changes(folder: str) -> None:
    with pytest.raises(ProviderRefused):
        provider(Playback([])).changes(access(), "", folder)


def test_a_folder_id_cannot_lead_anywhere_else() -> None:
    def serve(request: Request) -> Answer:
        assert request.path.startswith("/v1.0/me/mailFolders/..%2F..%2Fusers%3Fx/messages/delta")
        return page()

    provider(Playback(serve)).changes(access(), "", "../../users?x")


@pytest.mark.parametrize("size", [0, 1001])
def test_a_page_size_that_graph_does_not_know_is_refused(size: int) -> None:
    from shared.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="GRAPH_PAGE_SIZE"):
        provider(Playback([]), graph_page_size=size)
