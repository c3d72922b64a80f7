"""Connects a simulated mailbox through the API, as an app that holds a person's grant would."""

from __future__ import annotations

import time
from collections.abc import Mapping

from infra.local.client import AnswerError, JsonClient, ServerAway
from infra.local.progress import MailboxProgress, read_status
from infra.local.sentences import CannotRun

ATTEMPTS = 20


def connect(client: JsonClient, tokens: Mapping[str, object]) -> None:
    """Connect; a vault that is being set up just now is given a moment. Raises ``CannotRun``."""
    grant = {name: tokens[name] for name in ("access_token", "refresh_token", "expires_in")}
    for attempt in range(1, ATTEMPTS + 1):
        try:
            client.post("/mail/connect", {"provider": "google", **grant})
        except AnswerError as error:
            if error.status != 503 or attempt == ATTEMPTS:
                raise CannotRun(f"The mailbox could not be connected: {error}") from error
            time.sleep(0.5)
        else:
            return


def look(client: JsonClient) -> MailboxProgress | None:
    """What the status says now; None while nobody answers or there is no mailbox yet."""
    try:
        return read_status(client.get("/mail/status"))
    except (ServerAway, AnswerError):
        return None
