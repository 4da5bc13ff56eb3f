"""The audit log in both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aetherium.storage.migrating import migrate
from tests.contract.store.databases import Stores
from tests.integration.services.auditing import AuditLogContract, Installation


class TestAuditLogInSqlite(AuditLogContract):
    @pytest.fixture
    async def installation(self, tmp_path: Path) -> AsyncIterator[Installation]:
        await asyncio.to_thread(migrate, tmp_path / "test.db")
        async with Stores(tmp_path / "test.db") as stores:
            yield Installation(stores)


class TestAuditLogInPostgres(AuditLogContract):
    @pytest.fixture
    async def installation(self, postgres_store_url: str) -> AsyncIterator[Installation]:
        async with Stores(postgres_store_url) as stores:
            yield Installation(stores)
