"""No body of a mail is at rest: nobody can ask for that yet, so what is kept is metadata and the provider's own preview.

The preview (``snippet``) is the beginning of the text, as long as the provider makes it; everything behind it, HTML and
attachments included, is looked for in every file that the product has written and in everything that it has said.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from infra.local.connecting import consent_url
from infra.local.world import WorldClient
from shared import refs
from shared.providers.bounds import MAX_SNIPPET
from tests.world import ADDRESS, MAILBOX, OUTLOOK, UID, World

BODY, HTML, FILE, NAME = "canarybodytext", "canaryhtmlpart", "canaryattached", "canaryfilename"
SUBJECT = "canaryinsubject"
PREVIEW = "What a preview may show. " * 60


def mail(number: int) -> bytes:
    message = EmailMessage()
    message["Subject"] = f"{SUBJECT} {number}"
    message["From"], message["To"] = "Bob <bob@example.org>", ADDRESS
    message["Message-ID"] = f"<{number}@example.org>"
    message.set_content(f"{PREVIEW}{BODY} {number}")
    message.add_alternative(f"<html><body><p>{PREVIEW}</p><b>{HTML}</b></body></html>", subtype="html")
    message.add_attachment(FILE.encode() * 50, maintype="application", subtype="pdf", filename=f"{NAME}.pdf")
    return bytes(message)


def forms_of(canary: str) -> Iterator[bytes]:
    """A text as it may stand in a file: plain, in UTF-16, in hex, in base64 from any of the three places it can begin at."""
    yield canary.encode()
    yield canary.encode("utf-16-le")
    yield canary.encode().hex().encode()
    for before in range(3):
        encoded = base64.b64encode(b"x" * before + canary.encode())
        yield encoded[4 if before else 0 : -4]


def arrivals(world: World, first: int, count: int = 12, label: str = "INBOX") -> list[dict[str, Any]]:
    now = world.clock.now()
    return [{"raw": mail(n), "labels": [label], "received_at": now - n} for n in range(first, first + count)]


def live(world: World, first: int) -> None:
    world.google.add_mails(ADDRESS, arrivals(world, first, 4))
    world.outlook.add_mails(ADDRESS, arrivals(world, first, 4))
    world.run(30)


def test_no_byte_of_a_body_is_at_rest_or_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world = World(tmp_path, page_size=5, audit_seconds=3600.0, poll_seconds=300.0)
    assert consent_url(WorldClient(world))
    tokens = world.google.add_mailbox(ADDRESS)
    old = world.google.add_mails(ADDRESS, arrivals(world, 0), silent=True)
    brought = {name: tokens[name] for name in ("access_token", "refresh_token", "expires_in")}
    world.api("POST", "/mail/connect", {"provider": "google", **brought})
    world.connect_outlook(arrivals(world, 0))
    world.run(60)
    live(world, 100)
    refused, *_ = world.google.add_mails(ADDRESS, arrivals(world, 200, 2))
    world.google.refuse(ADDRESS, refused, 500)
    world.google.trash(ADDRESS, old[0])
    world.google.delete(ADDRESS, old[1])
    world.run(60)
    world.google.expire_history(ADDRESS)
    world.outlook.expire_delta(ADDRESS)
    live(world, 300)
    status, answer = world.call("api", "POST", "/me/export", {}, Authorization=f"Bearer {world.token}")
    assert status == 202, answer
    world.run(2 * 3600)
    for mailbox in (MAILBOX, OUTLOOK):
        kept = world.all("/mail/messages", "messages", mailbox=mailbox)
        assert len(kept) >= 16
        assert all(SUBJECT in one["subject"] and len(one["snippet"]) <= MAX_SNIPPET for one in kept)
    written = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    assert sum(SUBJECT.encode() in content for content in written.values()) >= 1, "what is kept would be found"
    said = caplog.text.encode()
    for canary in (BODY, HTML, FILE, NAME):
        for form in forms_of(canary):
            assert [str(path) for path, content in written.items() if form in content] == []
            assert form not in said
    assert refs.stream(MAILBOX).startswith(refs.user(UID))
    world.close()


@pytest.mark.parametrize("before", range(3))
def test_a_canary_is_found_in_whatever_form_it_stands(before: int) -> None:
    inside = b"x" * before + BODY.encode() + b"y" * 5
    forms = list(forms_of(BODY))
    for stands in (inside, base64.b64encode(inside), inside.hex().encode(), BODY.encode("utf-16-le")):
        assert any(form in stands for form in forms)
