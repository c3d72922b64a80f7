"""The pages that a person sees: plain HTML without scripts, everything in it escaped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from urllib.parse import urlsplit

from infra.local.simulated.consent import Page
from infra.local.simulated.people import display_name

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem;color:#222}"
    "fieldset{border:1px solid #ccc;border-radius:8px;margin:1rem 0;padding:1rem}label{display:block;margin:.4rem 0}"
    "small{color:#666;overflow-wrap:anywhere}button{font:inherit;padding:.5rem 1.5rem;margin-right:1rem}"
)


@dataclass(frozen=True, slots=True)
class Wording:
    """A provider's name, what it says about its scopes, and whether a person may allow only some of them."""

    provider: str
    scopes: Mapping[str, str]
    choice: bool = True


def consent_page(page: Page, action: str, wording: Wording) -> str:
    """The form: hidden ``page``, radio ``account``, the fields ``scope``, and the buttons ``decision`` allow or deny."""
    client, host = escape(page.asked.client_id), escape(urlsplit(page.asked.redirect_uri).netloc)
    boxes = "".join(_box(scope, wording) for scope in page.services)
    if boxes:
        legend = "Select what it may do" if wording.choice else "What it may do"
        boxes = f"<fieldset><legend>{legend}</legend>{boxes}</fieldset>\n"
    return _page(
        f"Sign in - Simulated {wording.provider} Accounts",
        f"<h1>{client} wants to access your {wording.provider} Account</h1>\n"
        f"<p>This is the simulator. You will return to {host}.</p>\n"
        f'<form method="post" action="{escape(action)}">\n'
        f'<input type="hidden" name="page" value="{escape(page.id)}">\n'
        "<fieldset><legend>Choose an account</legend>"
        f"{''.join(_radio(address, address == page.chosen) for address in page.addresses)}</fieldset>\n"
        f"{boxes}"
        '<button type="submit" name="decision" value="allow">Allow</button>\n'
        '<button type="submit" name="decision" value="deny" formnovalidate>Deny</button>\n'
        "</form>",
    )


def error_page(error: str, sentence: str) -> str:
    """What a person sees when nobody can be told anything."""
    return _page(
        "Error 400", f"<h1>Access blocked: this request is invalid</h1>\n<p>{escape(sentence)}</p>\n"
        f"<p>Error 400: <code>{escape(error)}</code></p>",
    )  # fmt: skip


def _radio(address: str, chosen: bool) -> str:
    ticked = " checked" if chosen else ""
    return (
        f'<label><input type="radio" name="account" value="{escape(address)}" required{ticked}> '
        f"{escape(display_name(address))} <small>{escape(address)}</small></label>"
    )


def _box(scope: str, wording: Wording) -> str:
    kind = 'type="checkbox" checked' if wording.choice else 'type="hidden"'
    return (
        f'<label><input {kind} name="scope" value="{escape(scope)}"> '
        f"{escape(wording.scopes.get(scope, 'Use another service of yours'))} <small>{escape(scope)}</small></label>"
    )


def _page(title: str, body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>{title}</title><style>{_STYLE}</style></head>\n<body>\n{body}\n'
        "</body>\n</html>\n"
    )
