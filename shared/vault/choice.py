"""Which key-encryption key the settings name: ``VAULT_KEY``, a list whose first wraps and whose others only unwrap."""

from __future__ import annotations

from collections.abc import Callable

from shared.errors import ConfigurationError
from shared.ports import Clock, Secrets, Store
from shared.settings import Settings
from shared.vault.master import SecretKey
from shared.vault.wrapping import Wrapping, combined

KMS = "kms:"


def chosen(
    settings: Settings, keys: Store, secrets: Secrets, clock: Clock, in_kms: Callable[[str], Wrapping]
) -> Wrapping:
    """The key that ``VAULT_KEY`` names; ``in_kms`` makes one of Cloud KMS by its name.

    Raises ``ConfigurationError`` for one that cannot be.
    """

    def named(name: str) -> Wrapping:
        if name == "secret":
            # Where functions may read secrets and not write them, whoever deploys has made the vault key.
            return SecretKey(keys, secrets, clock, may_create=settings.backend != "cloud")
        if name.startswith(KMS):
            return in_kms(name.removeprefix(KMS))
        raise ConfigurationError("VAULT_KEY must be secret, or kms: and the name of a key, or several of these.")

    return combined([named(name) for name in settings.vault_key])
