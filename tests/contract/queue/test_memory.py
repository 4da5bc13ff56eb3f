"""The queue within one process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aetherium.interfaces.queue import TaskQueue
from aetherium.queue.memory import open_memory_queue
from tests.contract.queue.contract import Again, QueueContract


class TestMemoryQueue(QueueContract):
    @pytest.fixture
    async def queue(self) -> AsyncIterator[TaskQueue]:
        async with open_memory_queue() as queue:
            yield queue

    @pytest.fixture
    def again(self) -> Again:
        pytest.skip("The queue in memory is of one process only.")
