"""What Microsoft's token endpoint means by its errors: the person has to sign in again, we are set up wrong, or it will pass.

The number (AADSTS...) counts before OAuth's word, which is ``invalid_grant`` for nearly everything. Source of every number:
"Microsoft Entra authentication and authorization error codes" (docs/graph.md, 14).
"""

from __future__ import annotations

from shared import errors
from shared.providers.http.failure import Failure

REAUTH = {
    "AADSTS50034": "the account does not exist in the tenant",
    "AADSTS50057": "the account is disabled",
    "AADSTS50076": "multi-factor authentication has become necessary",
    "AADSTS50078": "multi-factor authentication has expired",
    "AADSTS50079": "multi-factor authentication has to be set up",
    "AADSTS50158": "another check of the tenant's has to be passed",
    "AADSTS50173": "the grant was revoked, as by a new password",
    "AADSTS530003": "the device has to be managed",
    "AADSTS54005": "the code was used before",
    "AADSTS65001": "consent is missing or was taken back",
    "AADSTS70000": "the grant is not, or no longer, good",
    "AADSTS70008": "the grant has expired or was not used for too long",
    "AADSTS700082": "the refresh token was not used for 90 days",
    "AADSTS70043": "the tenant's sign-in frequency has ended the grant",
}
CONFIGURATION = {
    "AADSTS50011": "MICROSOFT_REDIRECT_URI is not one of this application's",
    "AADSTS500011": "MICROSOFT_SCOPES names a resource that the tenant does not know",
    "AADSTS700016": "MICROSOFT_CLIENT_ID is not known",
    "AADSTS7000215": "the client secret is wrong",
    "AADSTS7000222": "the client secret has expired",
    "AADSTS70011": "MICROSOFT_SCOPES holds what is no scope",
    "AADSTS90002": "MICROSOFT_TENANT is not known",
}
TRANSIENT = {
    "AADSTS50000": "it could not issue the token",
    "AADSTS50053": "the account is locked for a while",
    "AADSTS50196": "it has seen the same request too often in a row",
    "AADSTS90006": "it cannot be reached for the moment",
    "AADSTS90024": "its budget for the request is used up",
    "AADSTS90033": "it is not available for the moment",
}
_REAUTH_WORDS = {"invalidgrant", "interactionrequired", "consentrequired", "loginrequired"}
_CONFIGURATION_WORDS = {"unauthorizedclient", "invalidclient"}
_TRANSIENT_WORDS = {"temporarilyunavailable", "servererror"}


def token_error(failure: Failure, what: str = "a token") -> errors.BrainstemError:
    """Map what the token endpoint, or the document that names it, has answered; ``what`` was asked for."""
    said = f"({failure.describe()})"
    if failure.status == 429:
        return errors.RateLimited(f"Microsoft asks us to slow down {said}.", retry_after=failure.retry_after)
    if failure.outage or failure.malformed:
        return errors.ProviderUnavailable(f"Microsoft did not serve {what} {said}.", retry_after=failure.retry_after)
    for code in failure.reasons:
        if code in TRANSIENT:
            return _unavailable(failure, f"Microsoft did not serve {what}, since {TRANSIENT[code]} {said}.")
        if code in CONFIGURATION:
            return errors.ConfigurationError(f"Microsoft refuses our application: {CONFIGURATION[code]} {said}.")
        if code in REAUTH:
            return errors.ReauthRequired(f"Microsoft no longer accepts the grant: {REAUTH[code]} {said}.")
    if failure.says(_TRANSIENT_WORDS):
        return _unavailable(failure, f"Microsoft did not serve {what} {said}.")
    if failure.says(_CONFIGURATION_WORDS):
        return errors.ConfigurationError(f"Microsoft does not accept MICROSOFT_CLIENT_ID or its secret {said}.")
    if failure.says(_REAUTH_WORDS):
        return errors.ReauthRequired(f"Microsoft no longer accepts the grant {said}.")
    return errors.ProviderRefused(f"Microsoft refused {what} {said}.")


def _unavailable(failure: Failure, message: str) -> errors.ProviderUnavailable:
    return errors.ProviderUnavailable(message, retry_after=failure.retry_after)
