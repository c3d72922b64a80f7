"""Whatever a mail or a page holds, it is normalised within all bounds, or refused, and never raises."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import fields
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ProviderError
from shared.providers import bounds
from shared.providers.base import FOLDER, Message, Refused, Upsert
from shared.providers.graph.links import may_follow, resolved
from shared.providers.graph.normalise import Reader, normalise
from shared.settings import Settings
from tests.unit.providers.gmail_playback import Answer, Playback
from tests.unit.providers.graph_playback import INBOX, LINK, ME, ROOT, access, mail, provider
from tests.unit.providers.hostile_mail import BROKEN_WORDS, MARKS, PLAIN, SPACE, WORDS

HEADERS = Settings().headers
READER = Reader(HEADERS, ME, {INBOX: "INBOX"})

PIECES = (*PLAIN, *BROKEN_WORDS, *WORDS, *MARKS, *SPACE, ME, "Ann", "x" * 300)
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**70, 1e300, float("inf"), float("nan"), "", "high", "flagged", "2026-09-21T14:13:20Z", [], {},
    [None], [[]], ["x", 7], {"flagStatus": "flagged"}, {"flagStatus": []}, {"emailAddress": None}, {"emailAddress": "x"},
    {"emailAddress": {"address": []}}, [{"emailAddress": {"address": 7, "name": {}}}], [{"name": "To"}], [{"value": "x"}],
    {"name": "To", "value": "x"},
)  # fmt: skip
"""Values that are not what they should be."""

text = st.binary(max_size=8).map(
    lambda drawn: "".join([PIECES[(37 * byte + at) % len(PIECES)] for at, byte in enumerate(drawn)])
)
anything = st.sampled_from(ODD)
people = st.builds(lambda name, address: {"emailAddress": {"name": name, "address": address}}, text, text) | anything
crowd = st.lists(people, max_size=3) | anything
line = st.builds(
    lambda name, value: {"name": name, "value": value}, st.sampled_from((*HEADERS, "RECEIVED", "x")) | text, text
)
resources = st.fixed_dictionaries(
    {"id": st.just("m1") | text, "changeKey": st.just("k") | text, "parentFolderId": st.just(INBOX) | text},
    optional={
        **dict.fromkeys(
            ("conversationId", "receivedDateTime", "subject", "bodyPreview", "internetMessageId"), text | anything
        ),
        **dict.fromkeys(("isRead", "isDraft", "importance", "flag", "sentDateTime"), anything),
        **dict.fromkeys(("from", "sender"), people),
        **dict.fromkeys(("toRecipients", "ccRecipients", "bccRecipients", "replyTo"), crowd),
        "categories": st.lists(text | anything, max_size=3) | anything,
        "internetMessageHeaders": st.lists(line | anything, max_size=5) | anything,
    },
)


def assert_sound(message: Message) -> None:
    assert len(orjson.dumps(message)) <= bounds.MAX_MESSAGE_BYTES
    assert b"\\u0000" not in orjson.dumps(message)
    named = (message.sender, *message.to, *message.cc, *message.bcc)
    assert max(map(len, named)) <= bounds.MAX_ADDRESS
    assert max(map(len, (message.id, message.thread_id, message.version))) <= bounds.MAX_ID
    assert len(message.subject) <= bounds.MAX_SUBJECT
    assert len(message.snippet) <= bounds.MAX_SNIPPET
    assert max(map(len, message.headers.values()), default=0) <= bounds.MAX_HEADER
    assert message.labels == tuple(sorted(set(message.labels)))
    assert [label for label in message.labels if label.startswith(FOLDER)] == [f"{FOLDER}{INBOX}"]
    assert "INBOX" in message.labels
    assert all(0 < len(label) <= bounds.MAX_LABEL for label in message.labels)
    assert set(message.headers) <= set(HEADERS)
    assert set(message.truncated) <= {spec.name for spec in fields(Message)}
    for line in (message.subject, message.snippet, *named, *message.headers.values()):
        assert "\r" not in line
        assert "\n" not in line


@given(resources)
def test_any_resource_becomes_a_message_within_bounds_or_is_refused(raw: dict[str, Any]) -> None:
    result = normalise(raw, READER)
    if isinstance(result, Refused):
        assert result.reason
    elif raw["parentFolderId"] == INBOX:
        assert_sound(result.message)


@given(anything)
def test_any_value_at_all_is_refused_or_a_message(raw: Any) -> None:
    assert isinstance(normalise(raw, READER), (Refused, Upsert))


def test_a_message_that_is_heavy_in_every_field_is_cut_and_says_so() -> None:
    heavy = "\x1f" * 200_000
    crowd = [{"emailAddress": {"name": heavy[:500], "address": f"{n}@{'x' * 900}.org"}} for n in range(3_000)]
    raw = mail(
        "m1",
        subject=heavy,
        bodyPreview="x" * 200_000,
        toRecipients=crowd,
        ccRecipients=crowd,
        bccRecipients=crowd,
        categories=[f"{n}{heavy}" for n in range(500)],
        internetMessageHeaders=[{"name": name, "value": heavy} for name in HEADERS],
    )
    result = normalise(raw, READER)
    assert isinstance(result, Upsert)
    assert_sound(result.message)
    assert {"subject", "snippet", "headers", "cc", "bcc"} <= set(result.message.truncated)


@given(text | st.text())
def test_no_link_leads_to_another_server(link: str) -> None:
    found = resolved(link, f"{LINK}d0")
    assert found is None or found.startswith("http://microsoft.test/")
    assert found is None or may_follow(found, ROOT)


LINKS = ("value", "@odata.nextLink", "@odata.deltaLink", "error")


@given(st.dictionaries(st.sampled_from(LINKS), text | anything | st.lists(resources, max_size=3)))
def test_any_page_is_read_or_is_an_error_of_the_provider(body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    http = Playback(lambda request: Answer(200, content) if "delta" in request.url else Answer(404, {}))
    with suppress(ProviderError):
        looked = provider(http).changes(access(), f"{LINK}d0", INBOX)
        assert looked.cursor.startswith("http://microsoft.test/")


@given(st.lists(resources.map(lambda raw: {**raw, "id": "m1"}), max_size=3))
def test_any_entries_with_ids_are_read_each_by_itself(entries: list[Any]) -> None:
    page = json.dumps({"value": entries, "@odata.deltaLink": f"{LINK}d1"}).encode()
    whole = json.dumps(mail("m1")).encode()
    http = Playback(lambda request: Answer(200, page if "delta" in request.url else whole))
    looked = provider(http).changes(access(), f"{LINK}d0", INBOX)
    assert [change.id for change in looked.changes] == ["m1"] * len(entries)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b'{"value": 1e400}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_an_outage(content: bytes) -> None:
    with pytest.raises(ProviderError) as caught:
        provider(Playback([Answer(200, content)])).changes(access(), f"{LINK}d0", INBOX)
    assert caught.value.code == "provider_unavailable"
