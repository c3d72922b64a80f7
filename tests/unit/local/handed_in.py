"""Messages as a client of Gmail hands them in, and what it gets back, in short words for the tests of each method."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from googleapiclient.errors import HttpError


def raw(*fields: str, body: str = "Hello there") -> dict[str, Any]:
    mail = "\r\n".join((*fields, "Content-Type: text/plain; charset=utf-8", "", body))
    return {"raw": base64.urlsafe_b64encode(mail.encode()).decode()}


def run(call: Any) -> Any:
    return call.execute()


def status(call: Any) -> int:
    with pytest.raises(HttpError) as caught:
        call.execute()
    return int(caught.value.status_code)


def kinds(records: list[dict[str, Any]]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Every entry of some history records as (array, message id, labels that changed)."""
    return [
        (array, entry["message"]["id"], tuple(entry.get("labelIds", ())))
        for record in records
        for array in ("messagesAdded", "messagesDeleted", "labelsAdded", "labelsRemoved")
        for entry in record.get(array, ())
    ]


def decoded(body: dict[str, Any]) -> bytes:
    return base64.urlsafe_b64decode(body["data"])
