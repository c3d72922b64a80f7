"""The few pages that people see: plain HTML without scripts, safe whatever names they show.

Every text that comes from outside is escaped, freed of control and direction characters, cut, and kept apart by ``<bdi>``.
The policy lets nothing load but the one style that it names by its hash, and lets forms lead only where the flow does:
browsers hold the redirects after a form against ``form-action`` too.
"""

from __future__ import annotations

import base64
import hashlib
import html
import unicodedata

from flask import Response

from shared.oauth.client import Client
from shared.oauth.flow import Asked
from shared.oauth.stopped import Stopped, Why

MAX_TEXT_CHARS = 120

_STYLE = (
    "body{font:1.0625rem/1.5 system-ui,sans-serif;margin:0;color:#1c1e21;background:#f4f5f7}"
    "main{max-width:34rem;margin:8vh auto;padding:2rem;background:#fff;border-radius:.5rem}"
    "h1{font-size:1.5rem;line-height:1.25;margin:0 0 1rem}dt{font-weight:600}dd{margin:0 0 .5rem;overflow-wrap:anywhere}"
    "button{font:inherit;padding:.625rem 1.5rem;border:0;border-radius:.25rem;color:#fff;background:#174ea6;cursor:pointer}"
    "button:focus-visible,a:focus-visible{outline:3px solid #b06000;outline-offset:2px}a{color:#174ea6}"
    "@media(prefers-color-scheme:dark){body{color:#e8eaed;background:#17181b}main{background:#24262b}a{color:#a8c7fa}}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_AUTH = "https://www.googleapis.com/auth/"
_SCOPES = {
    f"{_AUTH}gmail.readonly": "Read your mail and its labels. Brainstem cannot change, send or delete anything.",
    f"{_AUTH}gmail.metadata": "Read the headers and labels of your mail, not its text.",
    f"{_AUTH}gmail.modify": "Read your mail, change its labels, write and send mail. It cannot delete mail for good.",
    "https://mail.google.com/": "Everything that you can do with your mail yourself.",
    "Mail.Read": "Read your mail and its folders. Brainstem cannot change, send or delete anything.",
    "Mail.ReadBasic": "Read who your mail is from and to, its subjects and folders, not its text.",
    "Mail.ReadWrite": "Read, change and delete your mail. It cannot send any.",
}
_BOXES = {
    f"{_AUTH}gmail.readonly": "View your email messages and settings",
    f"{_AUTH}gmail.metadata": "View your email message metadata such as labels and headers, but not the email body",
    f"{_AUTH}gmail.modify": "Read, compose, and send emails from your Gmail account",
    "https://mail.google.com/": "Read, compose, send, and permanently delete all your email from Gmail",
    "Mail.Read": "Read your mail",
    "Mail.ReadBasic": "Read your basic mail",
    "Mail.ReadWrite": "Read and write access to your mail",
}
"""What the provider's page calls a scope, in English."""

_STOPPED: dict[Why, tuple[int, str, str]] = {  # {0} is the provider
    Why.UNKNOWN: (
        400,
        "This link no longer works",
        "It was used already, or it is older than ten minutes. Nothing was changed. Please start again.",
    ),
    Why.MALFORMED: (400, "This link is not complete", "Nothing was changed. Please start again."),
    Why.NO_COOKIE: (
        400,
        "Your browser did not send the cookie",
        "Without it nobody can tell that it was you who began this. Nothing was changed. "
        "Please allow cookies for this site and start again.",
    ),
    Why.OTHER_BROWSER: (
        400,
        "This was begun in another browser",
        "For your safety it can only be finished there. Nothing was changed. Please start again in this browser.",
    ),
    Why.OTHER_ISSUER: (
        400,
        "This answer does not come from {0}",
        "For your safety it was not used, and nothing was changed. Please start again.",
    ),
    Why.DENIED: (
        403,
        "You have not given access",
        "That is fine: nothing was connected, and nothing was read. You can start again whenever you like.",
    ),
    Why.BLOCKED: (
        403,
        "Your organisation does not allow this",
        "Nothing was connected. The administrator of your {0} account has to allow this application first.",
    ),
    Why.UNAPPROVED: (
        403,
        "An administrator has to approve this first",
        "Nothing was connected. Your organisation does not let its members decide on this alone: "
        "please ask an administrator of your {0} account to approve this application, then start again.",
    ),
    Why.UNTICKED: (
        403,
        "One box was left empty",
        "Nothing was connected, because your mail cannot be read without it. Please start again and tick on {0}'s page:",
    ),
    Why.SPENT: (
        400,
        "{0}'s answer is no longer good",
        "The link was used already, or it is too old. Nothing was connected. Please start again.",
    ),
    Why.UNPROVEN: (
        502,
        "{0}'s answer could not be verified",
        "For your safety it was not used, and nothing was connected. Please start again.",
    ),
    Why.FLEETING: (
        502,
        "{0} gave no lasting access",
        "Nothing was connected, because it would stop within the hour. Please start again.",
    ),
    Why.REFUSED: (
        502,
        "{0} did not accept our request",
        "Nothing was connected. Starting again may help; if it does not, whoever runs this site has to look at it.",
    ),
    Why.UNAVAILABLE: (503, "This cannot be finished right now", "Nothing was lost. Please try again in a minute."),
}
_FAILED = {
    404: ("There is nothing here", "Please start again."),
    405: ("This page cannot be opened like this", "Please start again."),
    429: ("Too much at once", "Please try again in a minute."),
    503: (_STOPPED[Why.UNAVAILABLE][1], _STOPPED[Why.UNAVAILABLE][2]),
}


def consent(client: Client, asked: Asked, hidden: dict[str, str]) -> Response:
    """The question before the provider is asked: whose account a mailbox is about to be connected to, and what will be read."""
    profile = asked.profile
    rows = [("Name", profile.get("name")), ("E-mail", profile.get("email")), ("Account", profile.get("uid"))]
    who = "".join(f"<dt>{label}</dt><dd>{_text(value)}</dd>" for label, value in rows if value)
    what = "".join(f"<li>{_SCOPES.get(scope) or _text(scope)}</li>" for scope in asked.scopes)
    title, action = client.provider.title, _value(client.consent_path)
    fields = "".join(f'<input type="hidden" name="{_value(k)}" value="{_value(v)}">' for k, v in hidden.items())
    body = (
        f"<p>You are about to connect a {title} mailbox to this Brainstem account:</p><dl>{who}</dl>"
        "<p><strong>Is this your account?</strong> If somebody sent you this link, or you do not know the account, "
        "close this page: whoever owns the account could read your mail.</p>"
        f"<p>What {title} will ask you to allow:</p><ul>{what}<li>See your name and e-mail address.</li></ul>"
        f'<form method="post" action="{action}">{fields}<button type="submit">Continue to {title}</button></form>'
    )
    return _page(200, "Connect a mailbox", body, f"'self' {' '.join(asked.origins)}")


def connected(address: str | None) -> Response:
    """The end of a consent whose application has no page of its own."""
    which = f" {_text(address)}" if address else ""
    return _page(
        200, "Your mailbox is connected", f"<p>Your mail{which} is being read now. You can close this page.</p>"
    )


def stopped(client: Client, end: Stopped) -> Response:
    """The end of a consent that came to nothing."""
    status, *texts = _STOPPED[end.why]
    title, sentence = (text.format(client.provider.title) for text in texts)
    body = f"<p>{sentence}</p>"
    if end.why is Why.UNTICKED:
        body += "<ul>" + "".join(f"<li>{_BOXES.get(scope) or _text(scope)}</li>" for scope in client.scopes) + "</ul>"
    return _page(status, title, body + _links(end.again, end.back))


def failed(status: int) -> Response:
    """An error that has no page of its own."""
    title, sentence = _FAILED.get(status, ("Something went wrong on our side", "Please try again later."))
    if 400 <= status < 500 and status not in _FAILED:
        title, sentence = _STOPPED[Why.MALFORMED][1:]
    return _page(status, title, f"<p>{sentence}</p>")


def _links(again: str | None, back: str | None) -> str:
    links = [(again, "Start again"), (back, "Back to the application")]
    return "".join(f'<p><a href="{_value(url)}">{label}</a></p>' for url, label in links if url is not None)


def _page(status: int, title: str, body: str, forms: str = "'none'") -> Response:
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title} - Brainstem</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<style>{_STYLE}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"
    )
    sources = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action {forms}"
    policy = f"{sources}; base-uri 'none'; frame-ancestors 'none'"
    headers = {"Content-Security-Policy": policy, "X-Frame-Options": "DENY"}
    return Response(page, status, headers, content_type="text/html; charset=utf-8")


def _text(value: object) -> str:
    """What somebody else wrote, for people to read."""
    shown = "".join(char for char in str(value) if not unicodedata.category(char).startswith("C"))
    cut = shown if len(shown) <= MAX_TEXT_CHARS else f"{shown[:MAX_TEXT_CHARS]}..."
    return f"<bdi>{html.escape(cut)}</bdi>"


def _value(value: str) -> str:
    """The value of an attribute."""
    return html.escape(value)
