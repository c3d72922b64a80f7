"""The consent world with both providers set up, in which people connect mailboxes at Microsoft."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.oauth.consent_world import ORIGIN, ConsentWorld
from tests.unit.oauth.microsoft_double import CLIENT, MicrosoftDouble

REDIRECT = f"{ORIGIN}/oauth/microsoft/callback"


class MicrosoftWorld(ConsentWorld):
    """The product where consent is set up at Microsoft too; ``settings`` change it."""

    provider = "microsoft"

    def __init__(self, folder: Path, **settings: Any) -> None:
        values = {"microsoft_client_id": CLIENT, "microsoft_redirect_uri": REDIRECT, **settings}
        super().__init__(folder, **values)
        self.microsoft = MicrosoftDouble(self.clock, self.settings.microsoft_tenant)
        self.product._microsoft_endpoints = lambda: self.microsoft  # type: ignore[method-assign]

    def authorize(self, url: str, email: str, **more: Any) -> str:
        return self.microsoft.authorize(url, email, **more)
