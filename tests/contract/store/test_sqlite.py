"""The store in SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aetherium.interfaces.clock import SystemClock
from aetherium.interfaces.store import Store
from aetherium.storage.store import open_store
from tests.contract.store.contract import StoreContract


class TestSqliteStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        async with open_store(tmp_path / "test.db", SystemClock()) as store:
            yield store
