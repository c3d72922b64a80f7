"""OAuth scopes: their names, what the consent page says about them, and which method of the Gmail API takes which.

The lists per method are those of Google's description of the API (``gmail.v1.json``); a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from infra.local.google.errors import GoogleError

_AUTH = "https://www.googleapis.com/auth/"
FULL = "https://mail.google.com/"
OPENID = "openid"
EMAIL = f"{_AUTH}userinfo.email"
PROFILE = f"{_AUTH}userinfo.profile"
IDENTITY = frozenset({OPENID, EMAIL, PROFILE})
"""Who somebody is; granted with every consent, there is no box to untick."""

_SHORT = {"email": EMAIL, "profile": PROFILE}
_NAME = re.compile(rf"{re.escape(_AUTH)}[\x21\x23-\x5b\x5d-\x7e]{{1,200}}")

DESCRIPTIONS = {
    FULL: "Read, compose, send, and permanently delete all your email from Gmail",
    f"{_AUTH}gmail.readonly": "View your email messages and settings",
    f"{_AUTH}gmail.modify": "Read, compose, and send emails from your Gmail account",
    f"{_AUTH}gmail.metadata": "View your email message metadata such as labels and headers, but not the email body",
    f"{_AUTH}gmail.compose": "Manage drafts and send emails",
    f"{_AUTH}gmail.send": "Send email on your behalf",
    f"{_AUTH}gmail.insert": "Add emails into your Gmail mailbox",
    f"{_AUTH}gmail.labels": "See and edit your email labels",
}


def _gmail(*names: str) -> frozenset[str]:
    return frozenset({FULL, *(f"{_AUTH}gmail.{name}" for name in names)})


_READS = _gmail("modify", "readonly")
_LOOKS = _gmail("modify", "readonly", "metadata")
_COMPOSES = _gmail("compose", "modify")
_DRAFTS = _gmail("compose", "modify", "readonly")
METHODS: Mapping[str, frozenset[str]] = {
    "users.getProfile": _LOOKS | _gmail("compose"),
    **dict.fromkeys(
        ("users.stop", "users.watch", "users.history.list", "users.messages.list", "users.messages.get",
         "users.threads.list", "users.threads.get"), _LOOKS
    ),
    "users.messages.attachments.get": _READS,
    **dict.fromkeys(("users.labels.get", "users.labels.list"), _LOOKS | _gmail("labels")),
    **dict.fromkeys(
        ("users.labels.create", "users.labels.delete", "users.labels.patch", "users.labels.update"),
        _gmail("labels", "modify"),
    ),
    **dict.fromkeys(("users.drafts.get", "users.drafts.list"), _DRAFTS),
    **dict.fromkeys(
        ("users.drafts.create", "users.drafts.delete", "users.drafts.send", "users.drafts.update"), _COMPOSES
    ),
    "users.messages.send": _COMPOSES | _gmail("send"),
    **dict.fromkeys(("users.messages.import", "users.messages.insert"), _gmail("insert", "modify")),
    **dict.fromkeys(
        ("users.messages.batchModify", "users.messages.modify", "users.messages.trash", "users.messages.untrash",
         "users.threads.modify", "users.threads.trash", "users.threads.untrash"), _gmail("modify")
    ),
    **dict.fromkeys(("users.messages.batchDelete", "users.messages.delete", "users.threads.delete"), _gmail()),
}  # fmt: skip
_ANY = frozenset().union(*METHODS.values())


def canonical(asked: str) -> tuple[list[str], list[str]]:
    """The scopes of a request under the names that Google answers with, sorted, and those that do not exist."""
    names = {_SHORT.get(name, name) for name in asked.split()}
    invalid = {name for name in names if name not in IDENTITY and name != FULL and not _NAME.fullmatch(name)}
    return sorted(names - invalid), sorted(invalid)


def joined(scopes: Iterable[str]) -> str:
    """Scopes as they are stored and answered."""
    return " ".join(sorted(scopes))


def require(scopes: str, method: str, query: Mapping[str, Sequence[str]] | None = None) -> None:
    """Raise ``GoogleError`` 403 unless a token with these scopes may call the method; without one any Gmail scope does.

    A token that may only look (``gmail.metadata``) gets no search and no bodies, which depends on the ``query``.
    """
    if not _allows(scopes, method):
        raise _insufficient(method)
    if query is not None and not _allows(scopes, "users.messages.attachments.get"):
        reads = method in ("users.messages.get", "users.threads.get")
        form = (query.get("format") or ["full"])[-1].lower()
        if reads and form in ("full", "raw"):
            raise GoogleError(403, f"Metadata scope doesn't allow format {form.upper()}")
        if method in ("users.messages.list", "users.threads.list") and query.get("q"):
            raise GoogleError(403, "Metadata scope does not support 'q' parameter")


@lru_cache(maxsize=1024)
def _allows(scopes: str, method: str) -> bool:
    return not (METHODS.get(method, _ANY)).isdisjoint(scopes.split())


def _insufficient(method: str) -> GoogleError:
    return GoogleError(
        403,
        "Request had insufficient authentication scopes.",
        "insufficientPermissions",
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
                "domain": "googleapis.com",
                "metadata": {"service": "gmail.googleapis.com", "method": method or "unknown"},
            }
        ],
    )
