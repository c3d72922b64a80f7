"""The way to the provider: our own page first, then the browser is bound to the consent and sent on.

::

    link (state) --> our page: whose Brainstem account, what will be read      GET  /oauth/{provider}/consent
                 --> the person agrees: the browser is bound                   POST /oauth/{provider}/consent
                 --> the provider's pages --> the callback (``callback.py``)   GET  /oauth/{provider}/callback

The page is there because a link can be sent to anybody: without it a victim who is signed in at the provider would, with one
click on a stranger's link, connect the own mailbox to the stranger's account. For the same reason the form counts only if
our page was shown in the same browser: a stranger knows the state of the own link, but not the victim's cookie.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from shared import refs
from shared.oauth.addresses import Address
from shared.oauth.browser import Browser
from shared.oauth.client import Client
from shared.oauth.consents import Consent, Consents, Prompt, Purpose
from shared.oauth.provider import Endpoints
from shared.oauth.stopped import Stopped, Why
from shared.ports import Data, Store


@dataclass(frozen=True, slots=True)
class Asked:
    """What our page shows: the user's profile, what is asked for, the proof for the form, and the origins it may lead to."""

    profile: Data
    scopes: tuple[str, ...]
    form: str
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flow:
    """From a link to the provider's pages."""

    client: Client
    consents: Consents
    endpoints: Endpoints
    store: Store

    def ask(self, state: str, browser: Browser) -> Asked:
        """What to show before anything happens. Raises ``Stopped``, provider errors."""
        consent, _ = self.consents.find(state)
        if consent.browser is not None and not browser.is_the_one(consent.browser):
            raise Stopped(Why.OTHER_BROWSER)
        profile = self.profile(consent)
        endpoint = self.endpoints.authorization_endpoint()
        origins = [_origin(endpoint), *self.client.provider.origins(endpoint)]
        page = Address.parse(consent.return_to) if consent.return_to is not None else None
        if page is not None:
            origins.append(page.origin)
        return Asked(profile, _scopes(self.client, consent), browser.form(state), tuple(dict.fromkeys(origins)))

    def agree(self, state: str, form: str, browser: Browser) -> str:
        """Bind the browser; answers where at the provider it goes on. Raises ``Stopped``, ``Retry``, provider errors."""
        if not hmac.compare_digest(form.encode("utf-8", "replace"), browser.form(state).encode()):
            raise Stopped(Why.MALFORMED, again=self.client.consent_url(state) if self._is_open(state) else None)
        consent, _ = self.consents.find(state)
        self.profile(consent)
        endpoint = self.endpoints.authorization_endpoint()
        return authorization_url(endpoint, self.client, self.consents.bind(state, browser), state, browser)

    def signin(self, return_to: str, challenge: str, login_hint: str | None, browser: Browser) -> str:
        """Begin to sign somebody in; answers where at the provider it goes on. Raises ``InvalidRequest``, provider errors."""
        self.client.pages.check(return_to)
        endpoint = self.endpoints.authorization_endpoint()
        consent = Consent(
            Purpose.SIGNIN,
            Prompt.SELECT_ACCOUNT,
            return_to=return_to,
            login_hint=login_hint,
            challenge=challenge,
            browser=browser.digest,
        )
        state = self.consents.open(consent)
        return authorization_url(endpoint, self.client, consent, state, browser)

    def profile(self, consent: Consent) -> Data:
        """Whom a mailbox is being connected for. Raises ``Stopped`` where that is nobody."""
        ref = refs.user(consent.uid) if consent.purpose is Purpose.CONNECT and consent.uid is not None else None
        user = None if ref is None else self.store.get([ref]).get(ref)
        if user is None or user.data.get("erasing") is not None:
            raise Stopped(Why.UNKNOWN)
        return user.data

    def _is_open(self, state: str) -> bool:
        try:
            self.consents.find(state)
        except Stopped:
            return False
        return True


def authorization_url(endpoint: str, client: Client, consent: Consent, state: str, browser: Browser) -> str:
    """The provider's page for a consent (OpenID Connect Core, 3.1.2.1; RFC 7636, 4.3)."""
    asked = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uri,
        **client.provider.asked(_scopes(client, consent), consent.purpose is Purpose.CONNECT),
        "state": state,
        "nonce": browser.nonce(state),
        "code_challenge": browser.challenge(state),
        "code_challenge_method": "S256",
        "prompt": consent.prompt.value,
    }
    if consent.login_hint is not None:
        asked["login_hint"] = consent.login_hint
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked, errors='replace')}"


def _scopes(client: Client, consent: Consent) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*client.scopes, *consent.scopes)))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
