"""The settings of local runs: simulated providers side by side, one alone, or the real ones that ``.env`` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.local.environment import REAL, dotenv, local_environment, real_environment
from infra.local.options import providers_of
from infra.local.tokens import ISSUER
from shared.oauth.client import is_configured
from shared.settings import Settings

HOME = "http://127.0.0.1:8080"


def _local(folder: Path, microsoft: str = "") -> Settings:
    return Settings.from_env(local_environment(folder, HOME, f"{HOME}/google", microsoft))


def test_with_both_simulators_both_mailboxes_can_be_connected_and_both_notify(tmp_path: Path) -> None:
    settings = _local(tmp_path, f"{HOME}/microsoft")
    assert all(is_configured(settings, provider) for provider in providers_of(""))
    assert settings.graph_api_url == f"{HOME}/microsoft/v1.0/"
    assert settings.microsoft_login_url == f"{HOME}/microsoft/"
    assert settings.microsoft_redirect_uri == f"{HOME}/oauth/microsoft/callback"
    assert settings.graph_notification_url == f"{HOME}/graph_push"


def test_people_can_sign_in_here_beside_the_development_token(tmp_path: Path) -> None:
    assert _local(tmp_path).auth_issuer == HOME
    real = Settings.from_env({**local_environment(tmp_path, "", ""), **real_environment(tmp_path, 9000, {})})
    assert real.auth_issuer == "http://localhost:9000"
    assert real.jwt_issuer == ISSUER


def test_without_its_simulator_no_outlook_can_be_connected(tmp_path: Path) -> None:
    settings = _local(tmp_path)
    assert is_configured(settings, "google")
    assert not is_configured(settings, "microsoft")
    assert settings.graph_api_url == Settings().graph_api_url


@pytest.mark.parametrize("provider", list(REAL))
def test_a_client_id_of_ones_own_leads_to_the_real_provider_and_its_callback_here(
    provider: str, tmp_path: Path
) -> None:
    chosen = {REAL[provider]: "mine", f"{provider.upper()}_CLIENT_SECRET": "secret"}
    before = local_environment(tmp_path, HOME, f"{HOME}/google", f"{HOME}/microsoft")
    settings = Settings.from_env({**before, **real_environment(tmp_path, 9000, chosen)})
    assert is_configured(settings, provider)
    assert [one for one in REAL if is_configured(settings, one)] == [provider]
    assert getattr(settings, f"{provider}_redirect_uri") == f"http://localhost:9000/oauth/{provider}/callback"
    assert (settings.gmail_api_url, settings.graph_api_url) == (Settings().gmail_api_url, Settings().graph_api_url)
    assert settings.graph_notification_url == "", "Microsoft cannot reach this machine: Outlook is polled"


def test_both_can_be_real_at_once(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("\n".join(f"{name}=mine\n{provider.upper()}_CLIENT_SECRET=s" for provider, name in REAL.items()))
    settings = Settings.from_env(real_environment(tmp_path, 9000, dotenv(path)))
    assert all(is_configured(settings, provider) for provider in REAL)


def test_one_provider_can_be_asked_for_by_name() -> None:
    assert providers_of("google") == ("google",)
    assert providers_of("microsoft") == ("microsoft",)
    assert providers_of("") == ("google", "microsoft")
