"""Connects a mailbox through the API as a person does: asks for it, opens the page it is sent to, and allows it."""

from __future__ import annotations

import time

import requests

from infra.local.browser import Browser, NoSuchControl
from infra.local.client import AnswerError, JsonClient, ServerAway
from infra.local.progress import MailboxProgress, read_status
from infra.local.sentences import CannotRun

ATTEMPTS = 20
PAUSE_SECONDS = 0.5


def consent_url(client: JsonClient, provider: str = "google") -> str | None:
    """Ask to connect a provider's mailbox; answers the page on which access has to be granted, None if it was granted before.

    A vault that is being set up just now is given a moment. Raises ``CannotRun``.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            client.post("/mail/connect", {"provider": provider})
        except AnswerError as error:
            if error.code == "consent_required" and "consent_url" in error.details:
                return str(error.details["consent_url"])
            if error.status != 503 or attempt == ATTEMPTS:
                raise CannotRun(f"The mailbox could not be connected: {error}") from error
            time.sleep(PAUSE_SECONDS)
        else:
            return None
    raise AssertionError("The last attempt raises or returns.")


def connect_through(provider: str, client: JsonClient, browser: Browser, address: str) -> None:
    """Connect the mailbox of an address: read our page, choose the account on the provider's, allow; again where that fails.

    Raises ``CannotRun``.
    """
    failure = ""
    for _ in range(ATTEMPTS):
        url = consent_url(client, provider)
        if url is None:
            return
        try:
            theirs = browser.press(browser.open(url), "Continue")
            end = browser.press(theirs, "Allow", account=address)
            if end.status == 200:
                return
            failure = f"the last page answered {end.status}"
        except (requests.RequestException, NoSuchControl) as error:
            failure = type(error).__name__
        time.sleep(PAUSE_SECONDS)
    raise CannotRun(f"The consent pages could not be walked to their end: {failure}.")


def look(client: JsonClient) -> dict[str, MailboxProgress]:
    """What the status says now, by provider; nothing while nobody answers."""
    try:
        return read_status(client.get("/mail/status"))
    except (ServerAway, AnswerError):
        return {}
