"""Our OAuth client at Google, as the settings describe it."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import ConfigurationError
from shared.oauth.addresses import Address, ReturnPages, redirect_uri
from shared.settings import Settings

IDENTITY_SCOPES = ("openid", "email", "profile")


@dataclass(frozen=True, slots=True)
class Client:
    """``scopes`` are those that connecting a mailbox needs; ``redirect_uri`` is spelt as it is registered at Google."""

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    pages: ReturnPages
    address: Address

    @classmethod
    def of(cls, settings: Settings) -> Client:
        """Read the settings. Raises ``ConfigurationError`` in one clear sentence."""
        if not is_configured(settings):
            raise ConfigurationError("Set GOOGLE_CLIENT_ID and GOOGLE_REDIRECT_URI.")
        # Google's own lists of scopes are separated by spaces; ours may be too. Who it is is asked for anyway, and is
        # granted under other names.
        scopes = tuple(
            scope for entry in settings.google_scopes for scope in entry.split() if scope not in IDENTITY_SCOPES
        )
        if not scopes:
            raise ConfigurationError("GOOGLE_SCOPES must name at least one scope of the mailbox.")
        address = redirect_uri(settings.google_redirect_uri)
        pages = ReturnPages.of(settings.oauth_return_urls)
        return cls(settings.google_client_id, settings.google_redirect_uri, scopes, pages, address)

    @property
    def secure(self) -> bool:
        """Whether people reach us over TLS."""
        return self.address.scheme == "https"

    @property
    def cookie(self) -> str:
        """The cookie that a browser is known by for the length of a consent.

        The prefix ``__Host-`` keeps every other host from setting it: somebody who has a sibling domain could otherwise give
        a victim the own cookie, and so have the victim finish what was begun elsewhere (RFC 6265bis, 4.1.3.2).
        """
        return "__Host-brainstem_oauth" if self.secure else "brainstem_oauth"

    @property
    def consent_path(self) -> str:
        """The path of our own page."""
        return self.address.path.removesuffix("callback") + "consent"

    def consent_url(self, state: str) -> str:
        """The link to our own page for one consent."""
        return f"{self.address.origin}{self.consent_path}?state={state}"


def is_configured(settings: Settings) -> bool:
    """Whether consent can be asked for at all."""
    return bool(settings.google_client_id and settings.google_redirect_uri)
