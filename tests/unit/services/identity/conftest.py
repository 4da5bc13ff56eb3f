"""A store, keys and an audit log that a test can read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aetherium.domain.audit import AuditEvent
from aetherium.storage.migrating import migrate
from tests.contract.store.databases import Stores


class Seconds:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


class Auditor:
    """Keeps what is recorded."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    async def record(self, event: AuditEvent) -> None:
        self.events.append(event)

    def note(self, event: AuditEvent) -> None:
        self.events.append(event)


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    migrate(tmp_path / "aetherium.db")
    async with Stores(tmp_path / "aetherium.db") as stores:
        yield stores
