"""What a request may say: bodies and query parameters, strictly typed; errors name the field and never echo its value."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
import orjson
from flask import request
from werkzeug.exceptions import UnsupportedMediaType

from shared.conversion import convertible
from shared.errors import InvalidRequest, TooLarge
from shared.events.types import RESERVED
from shared.http.app import content
from shared.providers.base import PROVIDERS

MAX_TOKEN_BYTES = 8_192
MAX_EXPIRES_IN = 10 * 366 * 86_400
MAX_DATA_BYTES = 65_536
MAX_DEPTH = 16
MAX_TYPE_CHARS = 100
MAX_PARAMETER_CHARS = 8_192
MAX_HINT_CHARS = 320
MAX_SCOPES = 20
MAX_SCOPE_CHARS = 200
DEFAULT_LIMIT, MAX_LIMIT = 100, 500

_TYPE = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+\Z")
_PATH = re.compile(r"`\$\.(\w+)|field `(\w+)`")
_Body = TypeVar("_Body", bound=msgspec.Struct)


@convertible
class Connect(msgspec.Struct, frozen=True):
    """``POST /mail/connect``."""

    provider: str
    access_token: str | None = None
    refresh_token: str | None = None
    expires_in: int | None = None
    return_to: str | None = None
    login_hint: str | None = None
    scopes: list[str] | None = None


@convertible
class Start(msgspec.Struct, frozen=True):
    """``POST /oauth/{provider}/start``."""

    return_to: str | None = None
    login_hint: str | None = None
    scopes: list[str] | None = None


@convertible
class Proof(msgspec.Struct, frozen=True):
    """``POST /oauth/{provider}/identity``."""

    code: str
    code_verifier: str


@convertible
class SignUp(msgspec.Struct, frozen=True):
    """``POST /api/auth/sign-up/email``."""

    email: str
    password: str
    name: str | None = None


@convertible
class SignIn(msgspec.Struct, frozen=True):
    """``POST /api/auth/sign-in/email`` and ``POST /api/v1/auth/login``."""

    email: str
    password: str


@convertible
class Refresh(msgspec.Struct, frozen=True):
    """``POST /api/v1/auth/refresh``."""

    refresh_token: str


@convertible
class Disconnect(msgspec.Struct, frozen=True):
    """``POST /mail/disconnect``."""

    provider: str


@convertible
class Post(msgspec.Struct, frozen=True):
    """``POST /events``."""

    type: str
    data: dict[str, Any]


def body(kind: type[_Body]) -> _Body:
    """The request's body. Raises ``InvalidRequest``, ``UnsupportedMediaType`` and, over the app's limit, 413."""
    if not request.is_json:
        raise UnsupportedMediaType
    try:
        return msgspec.json.decode(content(), type=kind)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest("The body is not well-formed JSON.") from None


def provider(name: str) -> str:
    """A provider that this server knows."""
    if name not in PROVIDERS:
        raise InvalidRequest(
            "The provider is not known.", reason="unknown_provider", field="provider", known=list(PROVIDERS)
        )
    return name


def tokens(connect: Connect) -> tuple[str, str | None, int] | None:
    """Access token, refresh token and lifetime where the body brings any; None where it brings none.

    Without ``expires_in`` the access token is taken for expired if it can be refreshed, else for good for an hour.
    """
    if connect.access_token is None and connect.refresh_token is None and connect.expires_in is None:
        return None
    if connect.access_token is None:
        raise InvalidRequest("access_token is required with the other tokens.", field="access_token")
    for name in ("access_token", "refresh_token"):
        value = getattr(connect, name)
        if value is not None and not 0 < len(value.encode()) <= MAX_TOKEN_BYTES:
            raise InvalidRequest(f"{name} must have 1 to {MAX_TOKEN_BYTES} bytes.", field=name)
    expires_in = connect.expires_in
    if expires_in is None:
        expires_in = 0 if connect.refresh_token else 3600
    if not 0 <= expires_in <= MAX_EXPIRES_IN:
        raise InvalidRequest("expires_in must be between 0 and ten years, in seconds.", field="expires_in")
    return connect.access_token, connect.refresh_token, expires_in


def login_hint(text: str | None) -> str | None:
    """Which account is meant: an e-mail address, or the subject of one; what it is is for the provider to judge."""
    if text is None or text == "":
        return None
    if len(text) > MAX_HINT_CHARS or not text.isprintable():
        raise InvalidRequest(f"login_hint must have at most {MAX_HINT_CHARS} printable characters.", field="login_hint")
    return text


def scopes(names: list[str] | None) -> tuple[str, ...]:
    """What is asked for beyond the scopes of every mailbox; whether it may be, the provider's settings say."""
    wanted = tuple(dict.fromkeys(names or ()))
    if len(names or ()) > MAX_SCOPES or not all(0 < len(name) <= MAX_SCOPE_CHARS for name in wanted):
        raise InvalidRequest(
            f"scopes may be up to {MAX_SCOPES} names of up to {MAX_SCOPE_CHARS} characters.", field="scopes"
        )
    return wanted


def event(post: Post) -> tuple[str, dict[str, Any]]:
    """Type and data of an event that a client may post. Raises ``InvalidRequest``, ``TooLarge``."""
    kind = event_type(post.type)
    if kind in RESERVED:
        raise InvalidRequest(
            "Events of this type are written by Brainstem alone.", reason="reserved_type", field="type"
        )
    if not _storable(post.data, 1):
        raise InvalidRequest(
            f"data may be nested {MAX_DEPTH} deep and hold whole numbers of up to 64 bits.", field="data"
        )
    if len(orjson.dumps(post.data)) > MAX_DATA_BYTES:
        raise TooLarge(f"data may have up to {MAX_DATA_BYTES} bytes.", field="data")
    return kind, post.data


def event_type(text: str) -> str:
    """An event type, as ``area.happening``."""
    if len(text) > MAX_TYPE_CHARS or not _TYPE.match(text):
        raise InvalidRequest("type must look like area.happening, in lower case.", field="type")
    return text


def parameter(name: str) -> str | None:
    """A query parameter; an empty one counts as absent."""
    value = request.args.get(name)
    if value is not None and (len(value) > MAX_PARAMETER_CHARS or "�" in value or "\0" in value):
        raise InvalidRequest(f"{name} is too long or not valid UTF-8.", field=name)
    return value or None


def limit() -> int:
    """How many results the caller wants."""
    text = parameter("limit")
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MAX_LIMIT):
        raise InvalidRequest(f"limit must be a number from 1 to {MAX_LIMIT}.", field="limit")
    return int(text)


def _invalid(error: msgspec.ValidationError) -> InvalidRequest:
    # msgspec's texts name types and bounds; none of ours holds an enum, the one case where it would quote the value.
    found = _PATH.search(str(error))
    text = str(error).split(" - at ")[0].replace("`", "")
    if found is None:
        return InvalidRequest(f"The body is wrong: {text}.")
    name = found[1] or found[2]
    return InvalidRequest(f"{name}: {text}.", field=name)


def _storable(value: Any, depth: int) -> bool:
    if depth > MAX_DEPTH + 1:
        return False
    if isinstance(value, dict):
        return all(_storable(item, depth + 1) for item in value.values())
    if isinstance(value, list):
        return all(_storable(item, depth + 1) for item in value)
    return not isinstance(value, int) or -(2**63) <= value < 2**63
