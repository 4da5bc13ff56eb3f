"""The store in SQLite."""

from __future__ import annotations

import pytest

from tests.contract.store.contract import StoreContract
from tests.contract.store.databases import Stores


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def stores(self, sqlite_stores: Stores) -> Stores:
        return sqlite_stores
