"""Every environment variable that the product reads: its type, its default and one line of meaning.

``docs/settings.md`` shows the same table, and a test keeps the two alike. An unreadable value is a
``ConfigurationError`` that names the variable and never repeats its value.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from shared.errors import ConfigurationError


def _setting(env: str, default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"env": env, "meaning": meaning})


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process; ``Settings.from_env()`` reads them."""

    backend: str = _setting("BACKEND", "embedded", "Which adapters to use: `embedded`, `cloud` or `emulators`.")
    data_dir: str = _setting("DATA_DIR", ".data", "Folder of the embedded store, queue, bus and secrets.")
    cloud_project: str = _setting(
        "GOOGLE_CLOUD_PROJECT", "", "The Google Cloud project whose services the `cloud` adapters use."
    )
    cloud_location: str = _setting("CLOUD_LOCATION", "", "Where the project's task queues are, such as `europe-west1`.")
    firestore_emulator_host: str = _setting(
        "FIRESTORE_EMULATOR_HOST", "", "`host:port` of a Firestore emulator to use in place of the real one."
    )
    pubsub_emulator_host: str = _setting(
        "PUBSUB_EMULATOR_HOST", "", "`host:port` of a Pub/Sub emulator to use in place of the real one."
    )
    tasks_target_url: str = _setting(
        "TASKS_TARGET_URL", "", "Where Cloud Tasks calls `/sync`; not needed where the queue has a target of its own."
    )
    vault_key: tuple[str, ...] = _setting(
        "VAULT_KEY",
        ("secret",),
        "What wraps the keys of people: `secret` (the secret `vault-key`) or `kms:` and the name of a Cloud KMS key; further"
        " ones only open.",
    )
    version: str = _setting("BRAINSTEM_VERSION", "0.1.0", "The version that `/health` and error envelopes report.")
    jwt_issuer: str = _setting("JWT_ISSUER", "", "The only accepted `iss` of access tokens.")
    jwt_audience: str = _setting("JWT_AUDIENCE", "brainstem", "The only accepted `aud` of access tokens.")
    jwt_jwks_url: str = _setting("JWT_JWKS_URL", "", "Where the issuer publishes its keys; this or `JWT_PUBLIC_KEY`.")
    jwt_public_key: str = _setting("JWT_PUBLIC_KEY", "", "A PEM public key, or the path of one, instead of a JWKS.")
    jwt_algorithms: tuple[str, ...] = _setting(
        "JWT_ALGORITHMS", ("RS256", "ES256", "EdDSA"), "Accepted signature algorithms (asymmetric only)."
    )
    auth_issuer: str = _setting(
        "AUTH_ISSUER",
        "",
        "Public URL below which `/api/auth` is, and `iss` of our own tokens; empty: nobody signs in here.",
    )
    better_auth_url: str = _setting(
        "BETTER_AUTH_URL", "", "Base URL of a Better Auth whose tokens are accepted too."
    )  # fmt: skip
    better_auth_jwks_url: str = _setting(
        "BETTER_AUTH_JWKS_URL", "", "Where it publishes its keys, unless that is `/api/auth/jwks` below its URL."
    )
    trusted_issuers: str = _setting(
        "TRUSTED_ISSUERS",
        "",
        "[Further issuers](decisions/issuers.md) of access tokens: a JSON list, or the path of one.",
    )
    account_tokens: str = _setting(
        "ACCOUNT_TOKENS",
        "owner",
        "Who may have the [access tokens of provider accounts](api.md): `owner`, `service` or `off`.",
    )
    invoker_audience: tuple[str, ...] = _setting(
        "INVOKER_AUDIENCE",
        (),
        "Audiences of Google's tokens with which functions are triggered, where the platform does not check them.",
    )
    invoker_accounts: tuple[str, ...] = _setting(
        "INVOKER_ACCOUNTS", (), "Service accounts, by e-mail address, that may trigger functions with such a token."
    )
    invoker_secret: str = _setting(
        "INVOKER_SECRET", "", "What triggers show instead in development; refused with `BACKEND=cloud`."
    )
    cloud_run_service: str = _setting(
        "K_SERVICE", "", "Set by Cloud Run, which checks who triggers a function; elsewhere in the cloud we have to."
    )
    gmail_api_url: str = _setting("GMAIL_API_URL", "https://gmail.googleapis.com/", "Root of the Gmail API.")
    google_oidc_discovery_url: str = _setting(
        "GOOGLE_OIDC_DISCOVERY_URL",
        "https://accounts.google.com/.well-known/openid-configuration",
        "Where Google's token endpoint is found.",
    )
    google_client_id: str = _setting("GOOGLE_CLIENT_ID", "", "OAuth client id at Google.")
    google_client_secret: str = _setting(
        "GOOGLE_CLIENT_SECRET", "", "OAuth client secret at Google; wins over the secret `google-client-secret`."
    )
    google_redirect_uri: str = _setting(
        "GOOGLE_REDIRECT_URI", "", "Where Google sends people back to: the public URL of `/oauth/google/callback`."
    )
    google_scopes: tuple[str, ...] = _setting(
        "GOOGLE_SCOPES",
        ("https://www.googleapis.com/auth/gmail.readonly",),
        "What connecting a mailbox asks for, beside who the person is.",
    )
    google_extra_scopes: tuple[str, ...] = _setting(
        "GOOGLE_EXTRA_SCOPES", (), "What an application may ask a person for beyond `GOOGLE_SCOPES`, when it is needed."
    )
    oauth_return_urls: tuple[str, ...] = _setting(
        "OAUTH_RETURN_URLS",
        (),
        "Pages that the consent flow may return to: origins, or origins with the path they start with.",
    )
    gmail_topic: str = _setting("GMAIL_TOPIC", "", "Pub/Sub topic of Gmail's pushes; without it mailboxes are polled.")
    gmail_batch_size: int = _setting(
        "GMAIL_BATCH_SIZE", 25, "Messages read in one request, 1 to 100; over 50 is unwise."
    )
    gmail_quota: str = _setting("GMAIL_QUOTA", "2026", "Gmail's prices and limits: `2026`, `2025` or `none`.")
    gmail_units_per_minute: int = _setting(
        "GMAIL_UNITS_PER_MINUTE", 0, "Quota units that a mailbox may use in a minute; 0 takes those of `GMAIL_QUOTA`."
    )
    gmail_prices: tuple[str, ...] = _setting(
        "GMAIL_PRICES", (), "Prices in units that differ from those of `GMAIL_QUOTA`, such as `messages.get=20`."
    )
    graph_api_url: str = _setting("GRAPH_API_URL", "https://graph.microsoft.com/v1.0/", "Root of Microsoft Graph.")
    microsoft_login_url: str = _setting(
        "MICROSOFT_LOGIN_URL", "https://login.microsoftonline.com/", "Root of Microsoft's identity platform."
    )
    microsoft_tenant: str = _setting(
        "MICROSOFT_TENANT",
        "common",
        "Whose accounts may connect: `common`, `organizations`, `consumers`, or one tenant's id.",
    )
    microsoft_client_id: str = _setting("MICROSOFT_CLIENT_ID", "", "OAuth client id at Microsoft.")
    microsoft_client_secret: str = _setting(
        "MICROSOFT_CLIENT_SECRET",
        "",
        "OAuth client secret at Microsoft; wins over the secret `microsoft-client-secret`.",
    )
    microsoft_redirect_uri: str = _setting(
        "MICROSOFT_REDIRECT_URI",
        "",
        "Where Microsoft sends people back to: the public URL of `/oauth/microsoft/callback`.",
    )
    microsoft_scopes: tuple[str, ...] = _setting(
        "MICROSOFT_SCOPES",
        ("Mail.Read",),
        "What connecting a mailbox asks for, beside who the person is: `Mail.Read` or `Mail.ReadBasic`.",
    )
    microsoft_extra_scopes: tuple[str, ...] = _setting(
        "MICROSOFT_EXTRA_SCOPES", (), "What an application may ask for beyond `MICROSOFT_SCOPES`, when it is needed."
    )
    graph_notification_url: str = _setting(
        "GRAPH_NOTIFICATION_URL", "", "Public URL of `/graph_push`; without it Outlook mailboxes are polled."
    )
    graph_page_size: int = _setting("GRAPH_PAGE_SIZE", 100, "Messages in one page of a folder's changes, 1 to 200.")
    provider_timeout: float = _setting("PROVIDER_TIMEOUT_SECONDS", 20.0, "Limit of one call to a mail provider.")
    headers: tuple[str, ...] = _setting(
        "MAIL_HEADERS",
        (
            "From", "To", "Cc", "Bcc", "Reply-To", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
            "List-Id", "List-Unsubscribe", "Auto-Submitted",
        ),
        "Header fields that are read, kept and passed on.",
    )  # fmt: skip
    page_size: int = _setting("PAGE_SIZE", 100, "Messages per backfill page, 1 to 500.")
    poll_seconds: float = _setting("POLL_SECONDS", 900.0, "How often a mailbox with a channel is looked at anyway.")
    poll_seconds_unchannelled: float = _setting(
        "POLL_SECONDS_UNCHANNELLED", 30.0, "How often a mailbox without a channel is looked at."
    )
    tick_seconds: float = _setting("TICK_SECONDS", 60.0, "How often the scheduler calls `tick`.")
    log_retention_days: float = _setting("LOG_RETENTION_DAYS", 0.0, "Age at which log segments expire; 0 keeps all.")
    audit_trail_days: float = _setting(
        "AUDIT_TRAIL_DAYS", 365.0, "Age at which entries of people's audit trails expire; 0 keeps all."
    )
    tombstone_days: float = _setting(
        "TOMBSTONE_DAYS", 0.0, "How long somebody who was deleted is refused by the same uid; 0 for ever."
    )
    audit_seconds: float = _setting(
        "AUDIT_SECONDS", 86_400.0, "How often each mailbox is compared with its provider; 0 never."
    )
    audit_days: float = _setting("AUDIT_DAYS", 7.0, "The mail of how many days an audit compares.")
    rate_limits: tuple[str, ...] = _setting(
        "RATE_LIMITS",
        (
            "read=1200", "write=240", "token=120", "service=6000", "auth=60", "page=120", "open=600", "download=60",
        ),
        "Requests a minute by [class](decisions/rate-limits.md); what is not named keeps its default, 0 is no limit.",
    )  # fmt: skip
    trusted_proxies: int = _setting(
        "TRUSTED_PROXIES",
        1,
        "How many proxies append to `X-Forwarded-For` on the way to us: 1 on Cloud Run, 2 behind a load balancer of Google's.",
    )
    cors_origins: tuple[str, ...] = _setting(
        "CORS_ORIGINS", (), "Origins of web applications that may call the API from a browser, letter by letter."
    )
    blobs_url: str = _setting(
        "BLOBS_URL",
        "",
        "Where archives go: `gs://bucket/prefix`, `s3://bucket/prefix` or `file:folder`; at home `blobs` in `DATA_DIR`.",
    )
    export_days: float = _setting("EXPORT_DAYS", 7.0, "For how many days a finished archive can be fetched.")
    max_body_bytes: int = _setting("MAX_BODY_BYTES", 262_144, "Largest accepted request body.")
    log_level: str = _setting("LOG_LEVEL", "INFO", "Least severity that is logged.")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the environment. Raises ``ConfigurationError``."""
        source = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for spec in fields(cls):
            raw = source.get(spec.metadata["env"])
            if raw is not None and raw != "":
                values[spec.name] = _parse(spec.metadata["env"], raw, spec.default)
        return cls(**values)


def _parse(name: str, raw: str, default: Any) -> Any:
    if isinstance(default, tuple):
        return tuple(part.strip() for part in raw.split(",") if part.strip())
    if isinstance(default, (int, float)):
        try:
            number = type(default)(raw)
        except ValueError:
            raise ConfigurationError(f"{name} must be a number.") from None
        if number < 0:
            raise ConfigurationError(f"{name} must not be negative.")
        return number
    return raw
