"""Databases for the contract: each test gets a copy of one that was migrated."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aetherium.storage.migrating import migrate
from tests.contract.store.databases import Stores


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "template.db"
    migrate(path)
    return path


@pytest.fixture
def sqlite_file(sqlite_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sqlite_template, tmp_path / "test.db"))


@pytest.fixture
async def sqlite_stores(sqlite_file: Path) -> AsyncIterator[Stores]:
    async with Stores(sqlite_file) as stores:
        yield stores


@pytest.fixture
async def postgres_stores(postgres_store_url: str) -> AsyncIterator[Stores]:
    async with Stores(postgres_store_url) as stores:
        yield stores
