"""The bus within one process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aetherium.bus.memory import open_memory_bus
from aetherium.interfaces.bus import EventBus
from tests.contract.bus.contract import Again, BusContract


class TestMemoryBus(BusContract):
    @pytest.fixture
    async def bus(self) -> AsyncIterator[EventBus]:
        async with open_memory_bus() as bus:
            yield bus

    @pytest.fixture
    def again(self) -> Again:
        pytest.skip("The bus in memory is of one process only.")
