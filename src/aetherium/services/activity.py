"""When a VM was last used, for its idle policy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from aetherium.interfaces.clock import Clock
from aetherium.interfaces.store import VMRepository


class Activity:
    """Uses of VMs by this process: kept in memory, and written to the store by `flush` every now and then, so
    that a use costs nothing."""

    def __init__(self, vms: VMRepository, clock: Clock) -> None:
        self._vms = vms
        self._clock = clock
        self._users: dict[str, int] = {}
        self._unwritten: dict[str, datetime] = {}

    @contextmanager
    def using(self, vm_id: str) -> Iterator[None]:
        """The VM is in use for the whole block."""
        self._users[vm_id] = self._users.get(vm_id, 0) + 1
        self._unwritten[vm_id] = self._clock.now()
        try:
            yield
        finally:
            self._unwritten[vm_id] = self._clock.now()
            self._users[vm_id] -= 1
            if not self._users[vm_id]:
                del self._users[vm_id]

    def in_use(self, vm_id: str) -> bool:
        """Whether this process uses it now."""
        return vm_id in self._users

    async def flush(self) -> None:
        """Write what is not written yet; VMs in use count as used now."""
        now = self._clock.now()
        batch = self._unwritten | dict.fromkeys(self._users, now)
        self._unwritten = {}
        if batch:
            await self._vms.touch(batch)
