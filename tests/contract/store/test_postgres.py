"""The store in PostgreSQL."""

from __future__ import annotations

import pytest

from tests.contract.store.contract import StoreContract
from tests.contract.store.databases import Stores


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def stores(self, postgres_stores: Stores) -> Stores:
        return postgres_stores
