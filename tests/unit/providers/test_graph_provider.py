"""Outlook as a provider: profile, folders, listings, single messages."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import (
    ConfigurationError,
    CursorExpired,
    PageExpired,
    ProviderRefused,
    ProviderUnavailable,
    RateLimited,
    ReauthRequired,
)
from shared.providers.base import Folder, Folders, Listing, Missing, Profile, Refused, Span, Upsert
from tests.unit.providers.gmail_playback import Answer, Playback, Request
from tests.unit.providers.graph_playback import INBOX, ME, ROOT, access, error, mail, provider, removed

FOLDERS = f"{ROOT}me/mailFolders/delta?$deltatoken="


def known(request: Request) -> Answer:
    """A mailbox without a folder for junk."""
    ids = {"inbox": INBOX, "sentitems": "AAsent=", "drafts": "AAdrafts=", "deleteditems": "AAtrash="}
    if request.path == "/v1.0/me":
        return Answer(200, {"mail": ME, "userPrincipalName": "ann_1@example.org"})
    if request.path == "/v1.0/me/messages":
        return Answer(200, {"@odata.count": 77, "value": []})
    return Answer(200, {"id": ids[request.last]}) if request.last in ids else error(404, "ErrorItemNotFound")


def test_a_profile_says_whose_mailbox_it_is_and_which_folders_have_well_known_names() -> None:
    http = Playback(known)
    folders = {INBOX: "INBOX", "AAsent=": "SENT", "AAdrafts=": "DRAFT", "AAtrash=": "TRASH"}
    assert provider(http).profile(access("")) == Profile(ME, "", 77, folders)
    assert len(http.requests) == 11
    assert {request.headers["prefer"] for request in http.requests} == {'IdType="ImmutableId"'}


@pytest.mark.parametrize(
    ("me", "address"),
    [
        ({"mail": None, "userPrincipalName": "ann@outlook.com"}, "ann@outlook.com"),
        ({"mail": "", "userPrincipalName": "ann@outlook.com"}, "ann@outlook.com"),
        ({"mail": "ann", "userPrincipalName": "ann@outlook.com"}, "ann@outlook.com"),
        ({"mail": "a\0nn@x.org"}, "ann@x.org"),
    ],
)
def test_a_personal_account_may_have_only_a_principal_name(me: dict[str, Any], address: str) -> None:
    http = Playback(lambda request: Answer(200, me) if request.path == "/v1.0/me" else known(request))
    assert provider(http).profile(access("")).address == address


@pytest.mark.parametrize("me", [{}, {"mail": 7}, {"mail": "x" * 400 + "@y"}, {"userPrincipalName": ""}])
def test_a_profile_without_an_address_is_none(me: dict[str, Any]) -> None:
    with pytest.raises(ProviderUnavailable, match="no profile"):
        provider(Playback([Answer(200, me)])).profile(access(""))


@pytest.mark.parametrize("count", [None, "7", True, -1, 2**60])
def test_a_count_that_is_none_is_zero(count: Any) -> None:
    def serve(request: Request) -> Answer:
        return Answer(200, {"@odata.count": count}) if request.path == "/v1.0/me/messages" else known(request)

    assert provider(Playback(serve)).profile(access("")).total == 0


def test_a_folder_that_is_refused_is_not_taken_for_absent() -> None:
    def serve(request: Request) -> Answer:
        return error(403, "ErrorAccessDenied") if request.last == "drafts" else known(request)

    with pytest.raises(ProviderRefused):
        provider(Playback(serve)).profile(access(""))


@pytest.mark.parametrize("answer", [error(404, "ErrorItemNotFound"), error(400, "ErrorInvalidIdMalformed"), error(403)])
def test_a_name_of_the_deleted_that_a_mailbox_does_not_know_is_left_out(answer: Answer) -> None:
    def serve(request: Request) -> Answer:
        if request.last == "recoverableitemspurges":
            return Answer(200, {"id": "AApurges="})
        return answer if request.last.startswith("recoverable") else known(request)

    assert provider(Playback(serve)).profile(access("")).folders == {
        INBOX: "INBOX", "AAsent=": "SENT", "AAdrafts=": "DRAFT", "AAtrash=": "TRASH", "AApurges=": "RECOVERABLE",
    }  # fmt: skip


@pytest.mark.parametrize(
    "answer", [error(503), error(401, "InvalidAuthenticationToken"), error(429, **{"retry-after": "60"})]
)
def test_a_moment_in_which_the_deleted_cannot_be_asked_for_is_not_taken_for_their_absence(answer: Answer) -> None:
    def serve(request: Request) -> Answer:
        return answer if request.last == "recoverableitemsdeletions" else known(request)

    with pytest.raises((ProviderUnavailable, ReauthRequired, RateLimited)):
        provider(Playback(serve)).profile(access(""))


def test_a_server_that_knows_no_such_names_and_answers_another_folder_makes_nothing_deleted() -> None:
    def serve(request: Request) -> Answer:
        return Answer(200, {"id": INBOX}) if request.last.startswith("recoverable") else known(request)

    assert provider(Playback(serve)).profile(access("")).folders[INBOX] == "INBOX"


DELETED = {INBOX: "INBOX", "AAgone=": "RECOVERABLE"}


def test_a_message_that_is_read_among_the_deleted_is_missing_and_that_for_certain() -> None:
    http = Playback([Answer(200, mail("m1", "AAgone=")), Answer(200, mail("m2")), error(404, "ErrorItemNotFound")])
    first, second, third = provider(http).fetch(access(folders=DELETED), ["m1", "m2", "m3"])
    assert (first, third) == (Missing("m1", certain=True), Missing("m3"))
    assert isinstance(second, Upsert)


def test_an_answer_about_another_message_says_nothing_of_a_deletion() -> None:
    [answer] = provider(Playback([Answer(200, mail("m2", "AAgone="))])).fetch(access(folders=DELETED), ["m1"])
    assert isinstance(answer, Refused)


def test_a_folder_of_the_deleted_is_never_one_to_follow_nor_what_is_in_it() -> None:
    answer = folders(folder("AAgone="), folder("in", parentFolderId="AAgone="), folder("a"))
    read = provider(Playback([answer])).folders(access(folders=DELETED), f"{FOLDERS}f0")
    assert [found.id for found in read.changed] == ["a"]


def test_what_is_among_the_deleted_is_not_listed() -> None:
    entries = [{"id": "m1", "changeKey": "k", "parentFolderId": "AAgone="}, {"id": "m2", "changeKey": "k"}]
    listing = provider(Playback([Answer(200, {"value": entries})])).list_ids(access(folders=DELETED), None, 5)
    assert listing.ids == ("m2",)
    assert listing.versions == ("k",)


def folder(id: str, name: str = "", **fields: Any) -> dict[str, Any]:
    return {"id": id, "displayName": name or f"Folder {id}", "parentFolderId": "root", "totalItemCount": 3, **fields}


def folders(*entries: Any, next: str = "", delta: str = "f1") -> Answer:
    link = {"@odata.nextLink": f"{FOLDERS}{next}"} if next else {"@odata.deltaLink": f"{FOLDERS}{delta}"}
    return Answer(200, {"value": list(entries), **link})


def test_folders_are_read_to_the_end_of_their_round() -> None:
    http = Playback([folders(folder("a"), next="n1"), folders(next="n2"), folders(folder("b", totalItemCount=0))])
    read = provider(http).folders(access(), "")
    assert read == Folders((Folder("a", "Folder a", "root", 3), Folder("b", "Folder b", "root", 0)), (), f"{FOLDERS}f1")
    assert http.requests[0].path == "/v1.0/me/mailFolders/delta"
    assert set(http.requests[0].query) == {"$select"}
    assert [request.url for request in http.requests[1:]] == [f"{FOLDERS}n1", f"{FOLDERS}n2"]


def test_a_search_that_looks_like_a_folder_is_none() -> None:
    search = folder("s", **{"@odata.type": "#microsoft.graph.mailSearchFolder"})
    assert provider(Playback([folders(search, folder("a"))])).folders(access(), "").changed == (
        Folder("a", "Folder a", "root", 3),
    )


def test_of_a_folder_that_comes_several_times_the_last_word_counts() -> None:
    answer = folders(folder("a"), removed("b"), folder("a", "renamed"), folder("c"), removed("c"), folder("b", "back"))
    read = provider(Playback([answer])).folders(access(), f"{FOLDERS}f0")
    assert [found.name for found in read.changed] == ["renamed", "back"]
    assert read.gone == ("c",)


def test_where_all_are_asked_for_none_is_gone() -> None:
    assert provider(Playback([folders(removed("b"))])).folders(access(), "") == Folders((), (), f"{FOLDERS}f1")


def test_what_people_call_folders_is_cut_and_cleaned() -> None:
    entry = folder("a", "x\0\n" + "y" * 1_000, parentFolderId=["x"], totalItemCount="many")
    [found] = provider(Playback([folders(entry)])).folders(access(), "").changed
    assert (len(found.name), found.name[:3], found.parent, found.total) == (256, "x y", "", 0)


def test_folders_begin_anew_where_their_link_is_no_longer_known() -> None:
    with pytest.raises(CursorExpired):
        provider(Playback([error(410)])).folders(access(), f"{FOLDERS}f0")
    with pytest.raises(ProviderUnavailable):
        provider(Playback([error(410)])).folders(access(), "")
    with pytest.raises(CursorExpired):
        provider(Playback([])).folders(access(), "http://elsewhere.test/")


def test_folders_that_never_end_are_an_outage() -> None:
    count = iter(range(10_000))
    http = Playback(lambda _: folders(next=f"n{next(count)}"))
    with pytest.raises(ProviderUnavailable, match="do not end"):
        provider(http).folders(access(), "")
    assert len(http.requests) == 200


@pytest.mark.parametrize("id", ["", "x y", "x" * 250, None])
def test_a_folder_that_cannot_be_named_stops_the_round(id: Any) -> None:
    with pytest.raises(ProviderUnavailable, match="usable id"):
        provider(Playback([folders({**folder("a"), "id": id})])).folders(access(), "")


def listed(*ids: str, next: str | None = None) -> Answer:
    entries = [{"id": id, "conversationId": f"t{id}", "changeKey": f"k{id}"} for id in ids]
    return Answer(200, {"value": entries, **({} if next is None else {"@odata.nextLink": next})})


def test_a_listing_tells_versions_so_that_nothing_has_to_be_read_twice() -> None:
    http = Playback([listed("a", "b", next=f"{ROOT}me/messages?$skip=2"), listed("c")])
    outlook = provider(http)
    first = outlook.list_ids(access(), None, 2)
    assert first == Listing(("a", "b"), f"{ROOT}me/messages?$skip=2", None, ("ta", "tb"), ("ka", "kb"))
    assert outlook.list_ids(access(), first.next, 2) == Listing(("c",), None, None, ("tc",), ("kc",))
    assert http.requests[0].path == "/v1.0/me/messages"
    assert http.requests[0].query == {
        "$select": ["id,conversationId,changeKey,parentFolderId"],
        "$top": ["2"],
        "$orderby": ["receivedDateTime desc"],
    }
    assert http.requests[1].url == first.next
    assert outlook.labels(access()) == ()


def test_a_folder_is_listed_by_its_label_and_nothing_else_can_be() -> None:
    http = Playback([listed("a")])
    provider(http).list_ids(access(), None, 5_000, f"folder:{INBOX}")
    assert http.requests[0].path == "/v1.0/me/mailFolders/AAinbox%3D/messages"
    assert http.requests[0].query["$top"] == ["1000"]
    with pytest.raises(ProviderRefused):
        provider(Playback([])).list_ids(access(), None, 10, "UNREAD")


def test_of_a_folder_that_is_gone_nothing_is_listed() -> None:
    gone = provider(Playback([error(404, "ErrorItemNotFound")])).list_ids(access(), None, 10, "folder:x")
    assert gone == Listing((), None)
    with pytest.raises(ProviderRefused):
        provider(Playback([error(404, "MailboxNotEnabledForRESTAPI")])).list_ids(access(), None, 10, "folder:x")


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (Span(1_790_000_000.4), "receivedDateTime ge 2026-09-21T14:13:20Z"),
        (Span(0.0, 60.2), "receivedDateTime ge 1970-01-01T00:00:00Z and receivedDateTime le 1970-01-01T00:01:01Z"),
        (Span(-5.0, 10.0**15), "receivedDateTime ge 1970-01-01T00:00:00Z and receivedDateTime le 9999-12-31T23:59:59Z"),
    ],
)
def test_only_a_listing_is_filtered_and_only_by_time(span: Span, words: str) -> None:
    http = Playback([listed()])
    provider(http).list_ids(access(), None, 10, within=span)
    assert http.requests[0].query["$filter"] == [words]


@pytest.mark.parametrize("answer", [error(400, "ErrorInvalidUrlQuery"), error(410), error(404)])
def test_a_link_to_a_page_that_is_refused_has_expired(answer: Answer) -> None:
    with pytest.raises(PageExpired):
        provider(Playback([answer])).list_ids(access(), f"{ROOT}me/messages?$skip=2", 10)


def test_a_link_to_a_page_elsewhere_has_expired_too() -> None:
    with pytest.raises(PageExpired):
        provider(Playback([])).list_ids(access(), "http://elsewhere.test/", 10)


@pytest.mark.parametrize("link", ["http://elsewhere.test/", 7, f"{ROOT}me/messages?$skip=2"])
def test_a_listing_that_leads_elsewhere_or_in_a_circle_is_an_outage(link: Any) -> None:
    with pytest.raises(ProviderUnavailable):
        provider(Playback([listed("a", next=link)])).list_ids(access(), f"{ROOT}me/messages?$skip=2", 10)


def test_a_fetch_reads_one_after_another_and_answers_in_order() -> None:
    def serve(request: Request) -> Answer:
        if request.last == "gone":
            return error(404, "ErrorItemNotFound")
        return error(400, "ErrorInvalidIdMalformed") if request.last == "bad" else Answer(200, mail(request.last))

    http = Playback(serve)
    answers = provider(http).fetch(access(), ["m1", "gone", "bad", "m1", "m2"])
    assert [type(answer) for answer in answers] == [Upsert, Missing, Refused, Upsert, Upsert]
    assert [answer.id for answer in answers] == ["m1", "gone", "bad", "m1", "m2"]
    assert http.paths.count("GET /v1.0/me/messages/m1") == 1
    assert answers[2] == Refused("bad", "Outlook refused the message (400 ErrorInvalidIdMalformed).")


def test_a_404_that_is_about_the_mailbox_makes_no_message_missing() -> None:
    [answer] = provider(Playback([error(404, "MailboxNotEnabledForRESTAPI")] * 2)).fetch(access(), ["m1"])
    assert isinstance(answer, Refused)


def test_another_message_than_the_one_that_was_asked_for_is_refused() -> None:
    [answer] = provider(Playback([Answer(200, mail("M1"))])).fetch(access(), ["m1"])
    assert answer == Refused("m1", "The answer is about another message.")


@pytest.mark.parametrize("id", ["", ".", "..", "a b", "\n", "x" * 513, "\u00e9"])
def test_an_id_that_can_be_none_is_not_asked_for(id: str) -> None:
    http = Playback([])
    [answer] = provider(http).fetch(access(), [id])
    assert isinstance(answer, Refused)
    assert http.requests == []


def test_an_id_is_quoted_so_that_it_cannot_ask_for_anything_else() -> None:
    http = Playback([Answer(200, mail("a/../b?c#d"))])
    [answer] = provider(http).fetch(access(), ["a/../b?c#d"])
    assert isinstance(answer, Upsert)
    assert http.requests[0].path == "/v1.0/me/messages/a%2F..%2Fb%3Fc%23d"


def test_a_passing_trouble_is_passed_by_a_second_request() -> None:
    [answer] = provider(Playback([error(500), Answer(200, mail("m1"))])).fetch(access(), ["m1"])
    assert isinstance(answer, Upsert)
    http = Playback([Answer(200, mail("m0")), TimeoutError(), Answer(200, mail("m1"))])
    answers = provider(http).fetch(access(), ["m0", "m1"])
    assert [type(answer) for answer in answers] == [Upsert, Upsert]


def test_a_message_that_breaks_its_own_reading_is_refused_and_the_others_are_read() -> None:
    http = Playback(lambda request: TimeoutError() if request.last == "m1" else Answer(200, mail(request.last)))
    answers = provider(http).fetch(access(), ["m0", "m1", "m2"])
    assert [type(answer) for answer in answers] == [Upsert, Refused, Upsert]


def test_where_nothing_answers_it_is_not_the_messages_fault() -> None:
    with pytest.raises(ProviderUnavailable):
        provider(Playback([TimeoutError()])).fetch(access(), ["m1"])
    http = Playback(lambda request: Answer(200, mail("m0")) if request.last == "m0" else TimeoutError())
    with pytest.raises(ProviderUnavailable):
        provider(http).fetch(access(), ["m0", "m1", "m2", "m3"])


def test_where_ten_are_refused_and_none_is_served_neither() -> None:
    http = Playback(lambda _: error(500))
    with pytest.raises(ProviderUnavailable):
        provider(http).fetch(access(), [f"m{n}" for n in range(30)])
    assert len(http.requests) == 20


@pytest.mark.parametrize(
    ("answer", "expected"), [(error(401), ReauthRequired), (error(429, **{"retry-after": "11"}), RateLimited)]
)
def test_what_is_about_all_of_them_is_raised(answer: Answer, expected: type) -> None:
    http = Playback(lambda request: Answer(200, mail("m0")) if request.last == "m0" else answer)
    with pytest.raises(expected):
        provider(http).fetch(access(), ["m0", "m1"])


@pytest.mark.parametrize("root", ["", "graph.microsoft.com", "ftp://x/", "http://", "http://x y/", "http://a@b/"])
def test_a_root_that_is_none_is_refused_at_once(root: str) -> None:
    with pytest.raises(ConfigurationError, match="GRAPH_API_URL"):
        provider(Playback([]), graph_api_url=root)


def test_every_request_is_asked_of_the_meter() -> None:
    http = Playback(known)
    going = access("")
    provider(http).profile(going)
    assert going.meter.spent == len(http.requests) == 11
