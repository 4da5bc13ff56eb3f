"""Where stored secrets are, by the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from aetherium.interfaces.clock import SystemClock
from aetherium.interfaces.secrets import SecretProvider
from aetherium.interfaces.store import Store
from aetherium.services.sealing import Sealer, local_key
from aetherium.services.secrets.database import DatabaseSecrets
from aetherium.services.secrets.envelope import MasterKeys
from aetherium.services.secrets.vault import open_vault
from aetherium.services.secrets.vault_http import VaultAccess
from aetherium.settings import Settings


def master_key(settings: Settings) -> str:
    """The installation's, or one that the data directory keeps for itself."""
    if settings.master_key is not None:
        return settings.master_key.get_secret_value()
    return local_key(settings.data_dir / "master.key")


def sealer(settings: Settings) -> Sealer:
    """For the secrets of tasks that wait."""
    return Sealer(master_key(settings), _text(settings.master_key_previous))


@asynccontextmanager
async def open_secrets(settings: Settings, store: Store) -> AsyncIterator[SecretProvider]:
    """The provider that the settings ask for. Raises InvalidInput."""
    if settings.secrets_provider == "vault":
        async with open_vault(
            _vault(settings), settings.vault_mount, settings.vault_prefix, SystemClock()
        ) as vault:
            yield vault
    else:
        yield DatabaseSecrets(store, MasterKeys(master_key(settings), _text(settings.master_key_previous)))


def _vault(settings: Settings) -> VaultAccess:
    return VaultAccess(
        settings.vault_url or "",
        token=_text(settings.vault_token),
        role_id=settings.vault_role_id,
        secret_id=_text(settings.vault_secret_id),
        ca=settings.vault_ca,
    )


def _text(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()
