"""Why a consent came to nothing: one word each, which the pages turn into a sentence for the person."""

from __future__ import annotations

from enum import StrEnum

from shared.errors import RequestError


class Why(StrEnum):
    """The reasons; nothing that a provider or a person wrote is ever among them."""

    UNKNOWN = "unknown"  # never given out, used before, or too old
    MALFORMED = "malformed"  # a link or a form that is not as ours are
    NO_COOKIE = "no_cookie"
    OTHER_BROWSER = "other_browser"
    OTHER_ISSUER = "other_issuer"
    DENIED = "denied"
    BLOCKED = "blocked"  # by the person's organisation
    UNAPPROVED = "unapproved"  # an administrator has to consent first
    UNTICKED = "unticked"  # a scope that was asked for was not granted
    SPENT = "spent"  # the provider does not accept the code
    UNPROVEN = "unproven"  # the id_token is not right
    FLEETING = "fleeting"  # no refresh token, not even on request
    REFUSED = "refused"  # the provider refused for a reason that the person cannot mend
    UNAVAILABLE = "unavailable"


class Stopped(RequestError):
    """The consent came to nothing, for a reason that the person is told of.

    ``again`` is a link that starts over, ``back`` one to the application that asked; None where there is none.
    """

    def __init__(self, why: Why, *, again: str | None = None, back: str | None = None) -> None:
        super().__init__("The consent came to nothing.")
        self.why = why
        self.again = again
        self.back = back
