"""The way back from the provider: who may come back, what the code is worth, and what becomes of it.

Until the consent is used up nothing is changed, and whatever is wrong can be mended by starting over. It is used up before
the code is traded, so that of many callbacks with one state at most one asks the provider. After that a failure costs the
person another consent, for which the page has a link.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from shared.errors import (
    BrainstemError,
    Conflict,
    ProviderRefused,
    ProviderUnavailable,
    RateLimited,
    ReauthRequired,
    Retry,
    Unauthorized,
    Unknown,
)
from shared.identity.trail import Trail
from shared.oauth.addresses import answered
from shared.oauth.browser import Browser
from shared.oauth.consents import Consent, Prompt, Purpose
from shared.oauth.flow import Flow, authorization_url
from shared.oauth.id_tokens import IdTokens
from shared.oauth.identities import Identities
from shared.oauth.links import Links, refreshable
from shared.oauth.provider import Granted, Identity, Provider
from shared.oauth.stopped import Stopped, Why
from shared.observability import logs
from shared.ports import Clock
from shared.vault.grants import Grants

MAX_CODE_CHARS = 2_048

_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider put into the callback's query; None, or '', for what it did not."""

    state: str | None
    code: str | None
    error: str | None
    issuer: str | None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Landing:
    """Where the person goes on: a page to be redirected to; None for our own, which names the connected address."""

    location: str | None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Callback:
    """From the provider's answer to a grant, or to a proven identity."""

    flow: Flow
    links: Links
    id_tokens: IdTokens
    identities: Identities
    grants: Grants
    clock: Clock

    def finish(self, answer: Answer, browser: Browser | None) -> Landing:
        """Take the provider's answer. Raises ``Stopped``, ``Retry``, provider errors, ``ConfigurationError``."""
        if not answer.state or not (answer.error or answer.code) or len(answer.code or "") > MAX_CODE_CHARS:
            raise Stopped(Why.MALFORMED)
        consent, doc = self.flow.consents.find(answer.state)
        if browser is None:
            raise Stopped(Why.NO_COOKIE)
        if not browser.is_the_one(consent.browser):
            raise Stopped(Why.OTHER_BROWSER)
        issuer = self.flow.endpoints.issuer()
        if answer.issuer is not None and not self._provider.is_issuer(answer.issuer, issuer):
            raise Stopped(Why.OTHER_ISSUER)
        if consent.purpose is Purpose.CONNECT:
            self.flow.profile(consent)
        self.flow.consents.use(doc)
        if answer.error is not None or answer.code is None:
            return self._refused(consent, *self._provider.why(answer.error or "", answer.description))
        try:
            return self._granted(consent, answer.state, answer.code, browser, issuer)
        except Stopped as stopped:
            raise self._stopped(consent, stopped.why) from stopped
        except Unauthorized as error:
            _LOG.warning("id_token_refused", "An id_token was not accepted.", error)
            raise self._stopped(consent, Why.UNPROVEN) from error
        except ProviderRefused as error:
            _LOG.warning("code_refused", "The provider refused to trade a code.", error)
            raise self._stopped(consent, Why.REFUSED) from error
        except (ProviderUnavailable, RateLimited, Retry, Unknown, Conflict) as error:
            _LOG.warning("consent_postponed", "A consent could not be finished now.", error)
            raise self._stopped(consent, Why.UNAVAILABLE) from error

    def _granted(self, consent: Consent, state: str, code: str, browser: Browser, issuer: str) -> Landing:
        client = self.flow.client
        try:
            granted = self.flow.endpoints.exchange(code, browser.verifier(state), client.redirect_uri)
        except ReauthRequired as error:
            raise Stopped(Why.SPENT) from error
        identity = self.id_tokens.identity(granted.id_token, issuer, browser.nonce(state))
        if consent.purpose is Purpose.SIGNIN:
            return self._signed_in(consent, identity)
        if granted.scopes is not None and not self._provider.covers(granted.scopes, client.scopes):
            raise Stopped(Why.UNTICKED)
        return self._connected(consent, granted, identity, browser)

    def _connected(self, consent: Consent, granted: Granted, identity: Identity, browser: Browser) -> Landing:
        name = self._provider.name
        uid, grant_id = str(consent.uid), f"{name}:{identity.subject}"
        if granted.refresh is None and not refreshable(self.flow.store, uid, (grant_id,)):
            return Landing(self._once_more(consent, identity, browser))
        lasts = max(0.0, granted.expires_at - self.clock.now())
        scopes = granted.scopes or (*self.flow.client.scopes, *consent.scopes)
        more = [scope for scope in consent.scopes if self._provider.covers(scopes, [scope])]
        self.grants.put(uid, grant_id, name, granted.access, granted.refresh, lasts, scopes, more)
        self.links.accounts.connect_account(uid, name, grant_id, identity.address)
        Trail(self.flow.store, self.clock).add(uid, "connect", provider=name)
        _LOG.info("consent_given", "A person has granted access.", provider=name, second_round=consent.again)
        if consent.return_to is None:
            return Landing(None, identity.email)
        declined = " ".join(scope for scope in consent.scopes if scope not in more)
        return Landing(answered(consent.return_to, status="connected", **({"declined": declined} if declined else {})))

    def _once_more(self, consent: Consent, identity: Identity, browser: Browser) -> str:
        """Where to go for the refresh token that some providers hand out at a full consent only (docs/gmail.md, 12)."""
        if consent.again:
            raise Stopped(Why.FLEETING)
        again = dataclasses.replace(
            consent, prompt=Prompt.CONSENT, login_hint=identity.email or consent.login_hint, again=True
        )
        flow = self.flow
        endpoint = flow.endpoints.authorization_endpoint()
        return authorization_url(endpoint, flow.client, again, flow.consents.open(again), browser)

    def _signed_in(self, consent: Consent, identity: Identity) -> Landing:
        code = self.identities.keep(identity, str(consent.challenge))
        _LOG.info("signed_in", "A person has proven who they are.", provider=self._provider.name)
        return Landing(answered(str(consent.return_to), code=code))

    def _refused(self, consent: Consent, why: Why, number: str) -> Landing:
        """What the provider said instead of giving a code; its words were compared, and are never shown."""
        if why is Why.DENIED:
            _LOG.info("consent_denied", "A person has not granted access.", provider=self._provider.name)
            if consent.return_to is not None:
                return Landing(answered(consent.return_to, error="access_denied"))
            raise self._stopped(consent, why)
        name = self._provider.name
        _LOG.warning("consent_refused", "A consent was refused.", provider=name, why=why.value, number=number)
        raise self._stopped(consent, why)

    def _stopped(self, consent: Consent, why: Why) -> Stopped:
        """The reason, with a link to start over and one to the application that asked."""
        back = None if consent.return_to is None else answered(consent.return_to, error=why.value)
        again = None
        if consent.purpose is Purpose.CONNECT:
            try:
                again = self.links.connect(str(consent.uid), consent.return_to, consent.login_hint, consent.scopes)
            except BrainstemError as error:
                _LOG.warning("no_link", "There is no link to start over with.", error)
        return Stopped(why, again=again, back=back)

    @property
    def _provider(self) -> Provider:
        return self.flow.client.provider
