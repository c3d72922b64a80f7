"""Our OAuth client at a provider, as the settings describe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import ConfigurationError
from shared.oauth import microsoft
from shared.oauth.addresses import Address, ReturnPages, redirect_uri
from shared.oauth.google import Google
from shared.oauth.microsoft import Microsoft
from shared.oauth.provider import IDENTITY_SCOPES, Provider
from shared.providers.base import PROVIDERS
from shared.settings import Settings

_ANYWAY = {*IDENTITY_SCOPES, *microsoft.CONNECTING}
"""Who it is is asked for anyway, and is granted under other names."""


@dataclass(frozen=True, slots=True)
class Client:
    """``scopes`` are those that connecting a mailbox needs, ``extra`` those that may be asked for beyond them.

    ``redirect_uri`` is spelt as it is registered at the provider.
    """

    provider: Provider
    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    extra: tuple[str, ...]
    pages: ReturnPages
    address: Address

    @classmethod
    def of(cls, settings: Settings, provider: str) -> Client:
        """Read the settings of a provider. Raises ``ConfigurationError`` in one clear sentence."""
        if not is_configured(settings, provider):
            raise ConfigurationError(f"Set {needed(provider)}.")
        client_id, uri, named = _registered(settings, provider)
        scopes = _listed(named)
        more = settings.microsoft_extra_scopes if provider == "microsoft" else settings.google_extra_scopes
        setting = PROVIDERS[provider]
        if not scopes:
            raise ConfigurationError(f"{setting}_SCOPES must name at least one scope of the mailbox.")
        address = redirect_uri(uri, provider, f"{setting}_REDIRECT_URI")
        pages = ReturnPages.of(settings.oauth_return_urls)
        return cls(_provider(settings, provider), client_id, uri, scopes, _listed(more), pages, address)

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


def is_configured(settings: Settings, provider: str) -> bool:
    """Whether consent can be asked for at all."""
    client_id, uri, _ = _registered(settings, provider)
    return bool(client_id and uri)


def needed(provider: str) -> str:
    """The settings without which nobody can be asked for consent."""
    return f"{PROVIDERS[provider]}_CLIENT_ID and {PROVIDERS[provider]}_REDIRECT_URI"


def _listed(named: Sequence[str]) -> tuple[str, ...]:
    """Scopes out of a setting. A provider's own lists of scopes are separated by spaces; ours may be too."""
    return tuple(scope for entry in named for scope in entry.split() if scope not in _ANYWAY)


def _registered(settings: Settings, provider: str) -> tuple[str, str, tuple[str, ...]]:
    """Client id, redirect URI and scopes."""
    if provider == "microsoft":
        return settings.microsoft_client_id, settings.microsoft_redirect_uri, settings.microsoft_scopes
    return settings.google_client_id, settings.google_redirect_uri, settings.google_scopes


def _provider(settings: Settings, provider: str) -> Provider:
    return Microsoft(settings.microsoft_tenant) if provider == "microsoft" else Google()
