"""The provider in the database."""

from __future__ import annotations

import pytest

from aetherium.domain.secrets import SecretRef
from aetherium.interfaces.secrets import SecretProvider
from aetherium.services.secrets.database import DatabaseSecrets
from aetherium.services.secrets.envelope import MasterKeys
from tests.contract.secrets.contract import PROJECT, ProviderContract
from tests.contract.store.conftest import sqlite_file, sqlite_stores, sqlite_template
from tests.contract.store.databases import Stores
from tests.fixtures.secrets import MASTER

__all__ = ["sqlite_file", "sqlite_stores", "sqlite_template"]


class TestDatabaseSecrets(ProviderContract):
    @pytest.fixture
    def provider(self, sqlite_stores: Stores) -> SecretProvider:
        return DatabaseSecrets(sqlite_stores.store, MasterKeys(MASTER))

    async def test_use_is_kept(self, provider: SecretProvider) -> None:
        secret = await provider.set(SecretRef(PROJECT, "A"), "value", by="")
        await provider.note_use([secret])
        assert (await provider.get(secret.ref)).used_at is not None
